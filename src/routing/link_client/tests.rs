//! The link to routers that are real, on threads of the test.

use super::*;
use crate::config::RouterSettings;
use crate::link::{RoutedApp, RoutedState, WebTarget};
use crate::router::process::run_until;
use crate::router::timers::Timers;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(20);

/// Routers on threads; the newest one can be ended.
#[derive(Default)]
struct Routers {
    started: AtomicUsize,
    stop: Mutex<Option<tokio::sync::oneshot::Sender<()>>>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl Routers {
    fn launcher(self: &Arc<Self>, dir: PathBuf) -> Launcher {
        let routers = self.clone();
        Arc::new(move || {
            routers.started.fetch_add(1, Ordering::Relaxed);
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            *routers.stop.lock().unwrap() = Some(stop);
            let settings = RouterSettings {
                server_socket: dir.join("none.sock"),
                router_dir: dir.clone(),
                router_threads: 1,
            };
            let timers = Timers::default();
            let thread = std::thread::spawn(move || {
                let stop = || async {
                    let _ = stopped.await;
                };
                run_until(settings, timers, stop).unwrap();
            });
            routers.threads.lock().unwrap().push(thread);
            Ok(())
        })
    }

    /// Ends the newest router and waits until its threads are gone.
    fn end(&self) {
        drop(self.stop.lock().unwrap().take());
    }

    fn join(&self) {
        self.end();
        for thread in self.threads.lock().unwrap().drain(..) {
            thread.join().unwrap();
        }
    }
}

async fn start(
    dir: &std::path::Path,
    routers: &Arc<Routers>,
) -> (RouterLink, mpsc::Receiver<Vec<RouterLog>>) {
    start_at("127.0.0.1:0".parse().unwrap(), dir, routers).await
}

async fn start_at(
    addr: SocketAddr,
    dir: &std::path::Path,
    routers: &Arc<Routers>,
) -> (RouterLink, mpsc::Receiver<Vec<RouterLog>>) {
    let secure = SocketAddr::from(([127, 0, 0, 1], 0));
    let listen = [(HTTP, addr), (HTTPS, secure)];
    let listen = listen.map(|(name, addr)| ListenerName { name: name.to_string(), addr }).to_vec();
    let launcher = routers.launcher(dir.to_path_buf());
    RouterLink::start_with(dir.to_path_buf(), listen, launcher).await.unwrap()
}

fn snapshot(version: u64, targets: &[(&str, SocketAddr)]) -> Snapshot {
    let id = Uuid::from_u128(1);
    let target = |(id, addr): &(&str, SocketAddr)| WebTarget {
        id: (*id).to_string(),
        dyno: "web.1".into(),
        addr: *addr,
    };
    let state = if targets.is_empty() { RoutedState::Blank } else { RoutedState::Dynos };
    let app = RoutedApp {
        id,
        name: "sample".into(),
        state,
        starting: false,
        targets: targets.iter().map(target).collect(),
        error_page_url: None,
        maintenance_page_url: None,
        https_redirect: false,
        hsts: false,
    };
    let hosts = [("sample.localhost".to_string(), id)].into();
    Snapshot { version, apps: vec![app], hosts, ..Snapshot::default() }
}

async fn ask(addr: SocketAddr) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: sample.localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

/// The app's answer as long as it has no dynos: the router has its table.
async fn blank(addr: SocketAddr, when: &str) {
    let answer = ask(addr).await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{when}: {answer:?}");
}

#[tokio::test]
async fn a_router_that_ends_is_replaced_and_no_connection_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let routers = Arc::new(Routers::default());
    let (link, _logs) = start(dir.path(), &routers).await;
    link.publish(snapshot(7, &[]));
    assert!(link.applied(7, PATIENCE).await);
    let addr = link.listen_addr(HTTP).unwrap();
    blank(addr, "the first router").await;
    for round in 2..5 {
        routers.end();
        blank(addr, "whether it meets the old router, none or the new one").await;
        let waiting = async {
            while routers.started.load(Ordering::Relaxed) < round || !link.alive() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap();
        assert!(link.applied(7, PATIENCE).await, "the snapshot is sent again");
        blank(addr, "the new router has the snapshot").await;
    }
    routers.join();
}

#[tokio::test]
async fn a_server_that_restarts_finds_the_router_and_its_listener() {
    let dir = tempfile::tempdir().unwrap();
    let routers = Arc::new(Routers::default());
    let (path, known) = (dir.path().to_path_buf(), routers.clone());
    // A server whose tasks all end with it.
    let old_server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let (first, _logs) = start(&path, &known).await;
            first.publish(snapshot(1, &[]));
            assert!(first.applied(1, PATIENCE).await);
            first.listen_addr(HTTP).unwrap()
        })
    });
    let addr = old_server.join().unwrap();
    blank(addr, "nobody needs the server").await;
    let (second, _logs) = start(dir.path(), &routers).await;
    assert_eq!(second.listen_addr(HTTP), Some(addr));
    assert_eq!(routers.started.load(Ordering::Relaxed), 1);
    blank(addr, "the old snapshot still routes").await;
    second.publish(snapshot(2, &[]));
    assert!(second.applied(2, PATIENCE).await);
    routers.join();
}

#[tokio::test]
async fn a_new_address_of_the_same_port_takes_the_old_ones_place() {
    let dir = tempfile::tempdir().unwrap();
    let routers = Arc::new(Routers::default());
    let (path, known) = (dir.path().to_path_buf(), routers.clone());
    let old_server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let (first, _logs) = start(&path, &known).await;
            first.publish(snapshot(1, &[]));
            assert!(first.applied(1, PATIENCE).await);
            first.listen_addr(HTTP).unwrap()
        })
    });
    let addr = old_server.join().unwrap();
    let everywhere = SocketAddr::from(([0, 0, 0, 0], addr.port()));
    let (second, _logs) = start_at(everywhere, dir.path(), &routers).await;
    assert_eq!(second.listen_addr(HTTP), Some(everywhere));
    assert_eq!(routers.started.load(Ordering::Relaxed), 1, "the router goes on");
    second.publish(snapshot(2, &[]));
    assert!(second.applied(2, PATIENCE).await);
    blank(addr, "at the new listener").await;
    routers.join();
}

#[tokio::test]
async fn lines_and_drains_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let routers = Arc::new(Routers::default());
    let (link, mut logs) = start(dir.path(), &routers).await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dyno = listener.local_addr().unwrap();
    drop(listener);
    link.publish(snapshot(1, &[("c1", dyno)]));
    assert!(link.applied(1, PATIENCE).await);
    assert!(!link.is_drained("c1"));
    assert!(ask(link.listen_addr(HTTP).unwrap()).await.starts_with("HTTP/1.1 503"));
    let batch = tokio::time::timeout(PATIENCE, logs.recv()).await.unwrap().unwrap();
    let RouterLog::Line { app, text, .. } = &batch[0] else { panic!("{batch:?}") };
    assert_eq!(*app, Uuid::from_u128(1));
    assert!(text.starts_with("at=error code=H21 "), "{text}");
    assert!(!link.drained("c1", Duration::from_millis(10)).await);
    link.publish(snapshot(2, &[]));
    assert!(link.drained("c1", PATIENCE).await);
    assert!(link.drained("never seen", PATIENCE).await, "asked for, and idle");
    link.publish(snapshot(3, &[("c1", dyno)]));
    assert!(!link.is_drained("c1"), "it came back");
    routers.join();
}

#[tokio::test]
async fn a_router_from_before_tls_is_given_none_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let socket = tokio::net::UnixListener::bind(link::socket(dir.path())).unwrap();
    let addr = "127.0.0.1:0".parse().unwrap();
    let listen = [HTTP, HTTPS].map(|name| ListenerName { name: name.to_string(), addr });
    let launcher: Launcher = Arc::new(|| Ok(()));
    let started = RouterLink::start_with(dir.path().to_path_buf(), listen.to_vec(), launcher);
    let old_router = async {
        let (mut stream, _) = socket.accept().await.unwrap();
        link::receive::<ToRouter>(&mut stream).await.unwrap();
        let hello = serde_json::json!({
            "type": "hello", "protocol": PROTOCOL, "pid": 1, "listeners": [],
        });
        link::send(&mut stream, &hello).await.unwrap();
        let frame = link::receive(&mut stream).await.unwrap();
        let Frame::Message(ToRouter::Listeners { listeners }) = frame else {
            panic!("no listeners but {frame:?}");
        };
        assert_eq!(listeners.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), [HTTP]);
        link::receive_descriptors(&stream, 1).await.unwrap();
        stream
    };
    let (started, mut stream) = tokio::join!(started, old_router);
    let (link, _logs) = started.unwrap();
    link.publish_certificates(Vec::new());
    link.publish(snapshot(1, &[]));
    let frame = link::receive(&mut stream).await.unwrap();
    assert!(matches!(frame, Frame::Message(ToRouter::Snapshot { .. })), "{frame:?}");
}

#[tokio::test]
async fn a_port_in_use_is_an_error_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let listen = vec![ListenerName { name: HTTP.to_string(), addr }];
    let launcher = Arc::new(Routers::default()).launcher(dir.path().to_path_buf());
    let error = RouterLink::start_with(dir.path().to_path_buf(), listen, launcher).await;
    let error = error.err().expect("the port is taken");
    assert!(error.chain().starts_with(&format!("can't listen on {addr}: ")));
}
