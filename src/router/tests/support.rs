//! A router on a thread, the server's end of its link, dynos and clients.

use crate::config::RouterSettings;
use crate::link::{
    self, Certificate, Frame, HTTP, HTTPS, ListenerName, PROTOCOL, Proofs, RoutedApp, RoutedState,
    RouterLog, Snapshot, ToRouter, ToServer, WebTarget,
};
use crate::router::process::run_until;
use crate::router::timers::Timers;
use crate::tasks;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

/// No condition of these tests takes longer, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn short_timers() -> Timers {
    let ms = Duration::from_millis;
    Timers { snapshot_wait: ms(10), stop_grace: ms(500), stop_idle: ms(100), ..Timers::default() }
}

pub struct TestRouter {
    pub addr: SocketAddr,
    pub tls_addr: SocketAddr,
    _dir: tempfile::TempDir,
    pub server_socket: PathBuf,
    pub snapshot: Snapshot,
    writer: OwnedWriteHalf,
    events: Arc<Mutex<Events>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Events {
    logs: Vec<RouterLog>,
    drained: Vec<String>,
    applied: u64,
    certified: u64,
    shows: u64,
}

/// Looks again and again until there is something.
pub async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

impl TestRouter {
    pub async fn start(timers: Timers) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server_socket = dir.path().join("server.sock");
        let settings = RouterSettings {
            router_dir: dir.path().to_path_buf(),
            server_socket: server_socket.clone(),
            router_threads: 2,
        };
        let thread = std::thread::spawn(move || {
            let stop = || async {
                let _ = stopped.await;
            };
            run_until(settings, timers, stop).unwrap();
        });
        let socket = link::socket(dir.path());
        eventually("the link's socket", || socket.exists().then_some(())).await;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        link::send(&mut stream, &ToRouter::Hello { protocol: PROTOCOL }).await.unwrap();
        let hello = link::receive::<ToServer>(&mut stream).await.unwrap();
        assert!(matches!(hello, Frame::Message(ToServer::Hello { .. })), "{hello:?}");
        let tls = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let tls_addr = tls.local_addr().unwrap();
        let listeners = [(HTTP, addr), (HTTPS, tls_addr)]
            .map(|(name, addr)| ListenerName { name: name.to_string(), addr });
        let listeners = listeners.to_vec();
        link::send(&mut stream, &ToRouter::Listeners { listeners }).await.unwrap();
        link::send_descriptors(&stream, &[listener.as_fd(), tls.as_fd()]).await.unwrap();
        let events = Arc::new(Mutex::new(Events::default()));
        let (mut reader, writer) = stream.into_split();
        let noted = events.clone();
        tasks::spawn("test link", async move {
            while let Ok(frame) = link::receive::<ToServer>(&mut reader).await {
                let mut events = noted.lock().unwrap();
                match frame {
                    Frame::Logs(logs) => events.logs.extend(logs),
                    Frame::Message(ToServer::Drained { target }) => events.drained.push(target),
                    Frame::Message(ToServer::Applied { version }) => events.applied = version,
                    Frame::Message(ToServer::Certified { version }) => events.certified = version,
                    Frame::Message(ToServer::Shows { version }) => events.shows = version,
                    Frame::Message(ToServer::Hello { .. }) => panic!("a second hello"),
                }
            }
        });
        let (stop, thread) = (Some(stop), Some(thread));
        let snapshot = Snapshot::default();
        Self { addr, tls_addr, _dir: dir, server_socket, snapshot, writer, events, stop, thread }
    }

    /// A router with one app at `sample.localhost` on these dynos.
    pub async fn with_dynos(timers: Timers, dynos: &[&Dyno]) -> Self {
        let mut router = Self::start(timers).await;
        router.set_app(app("sample", dynos)).await;
        router
    }

    /// Adds the app or puts it in the place of one of the same name.
    pub async fn set_app(&mut self, app: RoutedApp) {
        self.snapshot.apps.retain(|known| known.name != app.name);
        self.snapshot.hosts.insert(format!("{}.localhost", app.name), app.id);
        self.snapshot.apps.push(app);
        self.publish().await;
    }

    pub async fn publish(&mut self) {
        self.snapshot.version += 1;
        let snapshot = self.snapshot.clone();
        let version = snapshot.version;
        self.send(&ToRouter::Snapshot { snapshot }).await;
        let events = self.events.clone();
        eventually("the snapshot is applied", || {
            (events.lock().unwrap().applied == version).then_some(())
        })
        .await;
    }

    /// Makes these the certificates.
    pub async fn certify(&mut self, version: u64, certificates: Vec<Certificate>) {
        self.send(&ToRouter::Certificates { version, certificates }).await;
        let events = self.events.clone();
        eventually("the certificates are there", || {
            (events.lock().unwrap().certified == version).then_some(())
        })
        .await;
    }

    /// Has authorities shown these.
    pub async fn show(&mut self, version: u64, proofs: Proofs) {
        self.send(&ToRouter::Proofs { version, proofs }).await;
        let events = self.events.clone();
        eventually("the proofs are shown", || {
            (events.lock().unwrap().shows == version).then_some(())
        })
        .await;
    }

    pub async fn send(&mut self, message: &ToRouter) {
        link::send(&mut self.writer, message).await.unwrap();
    }

    pub fn drained(&self) -> Vec<String> {
        self.events.lock().unwrap().drained.clone()
    }

    /// The first log line that holds `text`.
    pub async fn log_line(&self, text: &str) -> String {
        let find = || {
            self.events.lock().unwrap().logs.iter().find_map(|log| match log {
                RouterLog::Line { text: line, .. } if line.contains(text) => Some(line.clone()),
                _ => None,
            })
        };
        let found = tokio::time::timeout(PATIENCE / 2, eventually(text, find)).await;
        found.unwrap_or_else(|_| panic!("no {text}: {:?}", self.events.lock().unwrap().logs))
    }

    pub fn log_lines(&self) -> usize {
        self.events.lock().unwrap().logs.len()
    }

    /// As SIGTERM does: begun requests may end.
    pub fn stop(&mut self) {
        drop(self.stop.take());
    }

    pub async fn client(&self) -> Client {
        Client(BufReader::new(TcpStream::connect(self.addr).await.unwrap()))
    }

    /// One request on a connection of its own.
    pub async fn get(&self, path: &str) -> Response {
        self.client().await.request(&get(path)).await
    }
}

impl Drop for TestRouter {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.unwrap();
            }
        }
    }
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: sample.localhost:5757\r\n\r\n")
}

pub fn app(name: &str, dynos: &[&Dyno]) -> RoutedApp {
    let target = |(index, dyno): (usize, &&Dyno)| WebTarget {
        id: dyno.id.clone(),
        dyno: format!("web.{}", index + 1),
        addr: dyno.addr,
    };
    RoutedApp {
        id: Uuid::new_v4(),
        name: name.into(),
        state: RoutedState::Dynos,
        starting: false,
        targets: dynos.iter().enumerate().map(target).collect(),
        error_page_url: None,
        maintenance_page_url: None,
        https_redirect: false,
        hsts: false,
    }
}

pub struct Dyno {
    pub id: String,
    pub addr: SocketAddr,
    pub connections: Arc<Mutex<usize>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Dyno {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Dyno {
    /// A dyno that serves each connection with `serve`.
    pub async fn start<F>(serve: impl Fn(Client) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(0));
        let count = connections.clone();
        let accepting = tasks::spawn("dyno", async move {
            while let Ok((stream, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                tasks::spawn("dyno connection", serve(Client(BufReader::new(stream))));
            }
        });
        Self { id: Uuid::new_v4().to_string(), addr, connections, accepting }
    }

    /// Answers every request with these bytes and keeps the connection.
    pub async fn answering(answer: &str) -> Self {
        let answer = answer.to_string();
        Self::start(move |mut client| {
            let answer = answer.clone();
            async move {
                while client.head().await.is_some() {
                    client.write(&answer).await;
                }
            }
        })
        .await
    }

    /// Answers 200 with `body`.
    pub async fn saying(body: &str) -> Self {
        Self::answering(&ok(body)).await
    }

    /// Answers with the head that it got.
    pub async fn echoing_heads() -> Self {
        Self::start(|mut client| async move {
            while let Some(head) = client.head().await {
                client.write(&ok(&head)).await;
            }
        })
        .await
    }

    pub fn connection_count(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A raw connection: a client's to the router, or the router's to a dyno.
pub struct Client<S = TcpStream>(pub BufReader<S>);

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Lines up to the empty one; `None` at the end.
    pub async fn head(&mut self) -> Option<String> {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            if line == "\r\n" {
                return Some(head);
            }
            head.push_str(&line);
        }
    }

    pub async fn write(&mut self, text: &str) {
        // The other side may be gone already; the test sees that in what it reads.
        let _ = self.0.get_mut().write_all(text.as_bytes()).await;
    }

    pub async fn read(&mut self, length: usize) -> String {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Everything up to the end of the connection, however it ends.
    pub async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let _ = self.0.read_to_end(&mut bytes).await;
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub async fn response(&mut self) -> Response {
        let waiting = tokio::time::timeout(PATIENCE, self.head());
        let head = waiting.await.expect("no response in time").expect("closed without response");
        let status = head[9..12].parse().unwrap();
        let mut response = Response { status, head, body: String::new() };
        if let Some(length) = response.header("content-length") {
            let length = length.parse().unwrap();
            response.body = self.read(length).await;
        }
        response
    }

    pub async fn request(&mut self, request: &str) -> Response {
        self.write(request).await;
        self.response().await
    }
}
