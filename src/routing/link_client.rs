//! The server's end of the link: makes the listeners, starts a router or finds a running one,
//! keeps it supplied with the latest snapshot and starts another the moment it is gone.

use super::router_child::{self, Launcher};
use crate::config::ServerSettings;
use crate::error::{Context, Error, Result};
use crate::link::{
    self, Certificate, Frame, HTTP, HTTPS, ListenerName, PROTOCOL, RouterLog, Snapshot, ToRouter,
    ToServer,
};
use crate::{limits, tasks};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc, watch};
use uuid::Uuid;

/// A handle; clones share the link.
#[derive(Clone)]
pub struct RouterLink(Arc<Inner>);

struct Inner {
    router_dir: PathBuf,
    /// The listeners that there shall be; the one without TLS comes first.
    listen: Vec<ListenerName>,
    launcher: Launcher,
    state: Mutex<State>,
    /// There is something to send.
    outgoing: Notify,
    /// Version that the connected router applied; 0 while there is none.
    applied: watch::Sender<u64>,
    /// The same of the certificates.
    certified: watch::Sender<u64>,
    /// Changes whenever a target drains.
    drained: watch::Sender<u64>,
    connected: watch::Sender<bool>,
    logs: mpsc::Sender<Vec<RouterLog>>,
}

#[derive(Default)]
struct State {
    snapshot: Option<Arc<Snapshot>>,
    /// The connected router has not been sent it.
    unsent: bool,
    certificates: Option<(u64, Arc<Vec<Certificate>>)>,
    uncertified: bool,
    /// The connected router is new enough for certificates.
    takes_certificates: bool,
    drained: HashSet<String>,
    watched: BTreeSet<String>,
    unasked: Vec<String>,
    listeners: HashMap<String, TcpListener>,
    /// Lines that found the log store too busy.
    lost: HashMap<Uuid, u64>,
}

impl RouterLink {
    /// Finds a running router, or binds the listener and starts one. The router outlives the
    /// server. Log lines come in batches.
    pub async fn start(
        settings: Arc<ServerSettings>,
    ) -> Result<(RouterLink, mpsc::Receiver<Vec<RouterLog>>)> {
        let launcher = router_child::launcher(&settings)?;
        let mut listen = vec![ListenerName { name: HTTP.to_string(), addr: settings.listen }];
        let tls = settings.tls_listen;
        listen.extend(tls.map(|addr| ListenerName { name: HTTPS.to_string(), addr }));
        Self::start_with(settings.router_dir(), listen, launcher).await
    }

    /// As [`RouterLink::start`], with a router that `launcher` starts.
    pub async fn start_with(
        router_dir: PathBuf,
        listen: Vec<ListenerName>,
        launcher: Launcher,
    ) -> Result<(RouterLink, mpsc::Receiver<Vec<RouterLog>>)> {
        let (logs, receiver) = mpsc::channel(limits::LINK_LOG_BATCHES);
        let link = Self(Arc::new(Inner {
            router_dir,
            listen,
            launcher,
            state: Mutex::default(),
            outgoing: Notify::new(),
            applied: watch::channel(0).0,
            certified: watch::channel(0).0,
            drained: watch::channel(0).0,
            connected: watch::channel(false).0,
            logs,
        }));
        // The first connection is waited for, so that a port in use is an error at start.
        let stream = link.connect().await?;
        let running = link.clone();
        tasks::spawn("router link", async move { running.run(stream).await });
        Ok((link, receiver))
    }

    /// Makes this the snapshot that the router shall have; a router that comes back gets it too.
    pub fn publish(&self, snapshot: Snapshot) {
        let mut state = self.state();
        for target in snapshot.apps.iter().flat_map(|app| &app.targets) {
            state.drained.remove(&target.id);
        }
        state.snapshot = Some(Arc::new(snapshot));
        state.unsent = true;
        drop(state);
        self.0.outgoing.notify_one();
    }

    /// Makes these the certificates that the router shall have, and returns their version.
    pub fn publish_certificates(&self, certificates: Vec<Certificate>) -> u64 {
        let mut state = self.state();
        let version = state.certificates.as_ref().map_or(0, |(version, _)| *version) + 1;
        state.certificates = Some((version, Arc::new(certificates)));
        state.uncertified = state.takes_certificates;
        drop(state);
        self.0.outgoing.notify_one();
        version
    }

    /// True once the router has these certificates or later ones; false after `timeout`.
    pub async fn certified(&self, version: u64, timeout: Duration) -> bool {
        let mut certified = self.0.certified.subscribe();
        let reached = certified.wait_for(|certified| *certified >= version);
        matches!(tokio::time::timeout(timeout, reached).await, Ok(Ok(_)))
    }

    /// True once the router applied this version or a later one; false after `timeout`.
    pub async fn applied(&self, version: u64, timeout: Duration) -> bool {
        let mut applied = self.0.applied.subscribe();
        let reached = applied.wait_for(|applied| *applied >= version);
        matches!(tokio::time::timeout(timeout, reached).await, Ok(Ok(_)))
    }

    /// The target left the snapshot and no ordinary request is in flight on it. Asking makes
    /// the link watch the target until [`RouterLink::forget`].
    pub fn is_drained(&self, target: &str) -> bool {
        let mut state = self.state();
        if state.drained.contains(target) {
            return true;
        }
        if state.watched.len() < limits::LINK_DRAINED_TARGETS
            && state.watched.insert(target.to_string())
        {
            state.unasked.push(target.to_string());
            drop(state);
            self.0.outgoing.notify_one();
        }
        false
    }

    /// Waits until the target is drained; false after `timeout`.
    pub async fn drained(&self, target: &str, timeout: Duration) -> bool {
        let mut changed = self.watch_drained();
        let reached = changed.wait_for(|_| self.is_drained(target));
        matches!(tokio::time::timeout(timeout, reached).await, Ok(Ok(_)))
    }

    /// Changes whenever a target drains.
    pub fn watch_drained(&self) -> watch::Receiver<u64> {
        self.0.drained.subscribe()
    }

    /// The target is gone: nothing about it is remembered any more.
    pub fn forget(&self, target: &str) {
        let mut state = self.state();
        state.drained.remove(target);
        state.watched.remove(target);
    }

    /// Is a router connected?
    pub fn alive(&self) -> bool {
        *self.0.connected.borrow()
    }

    /// The address of a listener: the port is real where 0 was asked for.
    pub fn listen_addr(&self, name: &str) -> Option<SocketAddr> {
        self.state().listeners.get(name).and_then(|listener| listener.local_addr().ok())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self, mut stream: UnixStream) {
        loop {
            self.0.connected.send_replace(true);
            let ended = self.session(stream).await;
            self.0.connected.send_replace(false);
            self.0.applied.send_replace(0);
            self.0.certified.send_replace(0);
            tracing::warn!(reason = %ended, "the router is gone; starting another");
            let mut wait = limits::LINK_RETRY;
            stream = loop {
                match self.connect().await {
                    Ok(stream) => break stream,
                    Err(error) => {
                        tracing::error!(error = error.chain(), "no router");
                        tokio::time::sleep(wait).await;
                        wait = (wait * 2).min(limits::LINK_START_TIMEOUT);
                    }
                }
            };
        }
    }

    /// A greeted connection; both sides hold the listeners afterwards.
    async fn connect(&self) -> Result<UnixStream> {
        let socket = link::socket(&self.0.router_dir);
        // A router that runs already is used, whoever started it.
        if let Ok(stream) = UnixStream::connect(&socket).await {
            match self.greet(stream).await {
                Ok(stream) => return Ok(stream),
                Err(error) => tracing::warn!(%error, "the running router does not greet"),
            }
        }
        // Before the router is started, so that a port in use is an error here.
        for wanted in &self.0.listen {
            self.hold_listener(wanted, None)?;
        }
        (self.0.launcher)().context("can't start the router")?;
        let deadline = tokio::time::Instant::now() + limits::LINK_START_TIMEOUT;
        loop {
            let error = match UnixStream::connect(&socket).await {
                Ok(stream) => match self.greet(stream).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if tokio::time::Instant::now() >= deadline {
                return Err(Error::internal("the router that was started does not answer", error));
            }
            tokio::time::sleep(limits::LINK_RETRY).await;
        }
    }

    async fn greet(&self, stream: UnixStream) -> io::Result<UnixStream> {
        let greeting = tokio::time::timeout(limits::LINK_HELLO_TIMEOUT, self.exchange(stream));
        greeting.await?
    }

    async fn exchange(&self, mut stream: UnixStream) -> io::Result<UnixStream> {
        link::send(&mut stream, &ToRouter::Hello { protocol: PROTOCOL }).await?;
        let Frame::Message(ToServer::Hello { protocol: PROTOCOL, pid, listeners, tls }) =
            link::receive(&mut stream).await?
        else {
            return Err(io::Error::other("no greeting"));
        };
        let descriptors = link::receive_descriptors(&stream, listeners.len()).await?;
        let descriptors = descriptors.into_iter().map(TcpListener::from);
        let mut theirs: Vec<(ListenerName, TcpListener)> =
            listeners.into_iter().zip(descriptors).collect();
        tracing::info!(pid, listeners = theirs.len(), "router connected");
        let (mut names, mut given) = (Vec::new(), Vec::new());
        for wanted in &self.0.listen {
            if wanted.name == HTTPS && !tls {
                tracing::warn!(pid, "the router that runs is too old for TLS: end it to get TLS");
                continue;
            }
            let fitting = theirs.iter().position(|(name, _)| fits(name, wanted));
            let known = fitting.map(|at| theirs.swap_remove(at).1);
            let is_known = known.is_some();
            let listener = self
                .hold_listener(wanted, known)
                .map_err(|error| io::Error::other(error.chain()))?;
            if !is_known {
                let addr = listener.local_addr()?;
                names.push(ListenerName { name: wanted.name.clone(), addr });
                given.push(listener);
            }
        }
        self.state().takes_certificates = tls;
        let is_wanted = |name: &str| self.0.listen.iter().any(|wanted| wanted.name == name);
        let others = theirs.into_iter().map(|(name, _)| name.name).filter(|name| !is_wanted(name));
        let others: Vec<String> = others.collect();
        if !others.is_empty() {
            link::send(&mut stream, &ToRouter::Close { names: others }).await?;
        }
        if !names.is_empty() {
            link::send(&mut stream, &ToRouter::Listeners { listeners: names }).await?;
            let given: Vec<_> = given.iter().map(AsFd::as_fd).collect();
            link::send_descriptors(&stream, &given).await?;
        }
        Ok(stream)
    }

    /// Keeps the router's listener, or binds one if there is none yet. Gives a duplicate.
    fn hold_listener(
        &self,
        wanted: &ListenerName,
        known: Option<TcpListener>,
    ) -> Result<TcpListener> {
        let mut state = self.state();
        let listener = match known.or_else(|| state.listeners.remove(&wanted.name)) {
            Some(listener) => listener,
            None => router_child::bind(wanted.addr)?,
        };
        let duplicate = listener.try_clone().context("can't duplicate the listener")?;
        state.listeners.insert(wanted.name.clone(), listener);
        Ok(duplicate)
    }

    /// Talks to a router until it is gone.
    async fn session(&self, stream: UnixStream) -> io::Error {
        {
            let mut state = self.state();
            state.unsent = state.snapshot.is_some();
            state.uncertified = state.takes_certificates && state.certificates.is_some();
            // What drained while nobody listened was not told.
            state.unasked = state.watched.iter().cloned().collect();
        }
        let (mut reader, mut writer) = stream.into_split();
        self.0.outgoing.notify_one();
        let receiving = self.receive(&mut reader);
        let sending = self.send(&mut writer);
        tokio::select! {
            error = receiving => error,
            error = sending => error,
        }
    }

    async fn send(&self, writer: &mut OwnedWriteHalf) -> io::Error {
        loop {
            self.0.outgoing.notified().await;
            let (certificates, snapshot, targets) = {
                let mut state = self.state();
                let unsent = std::mem::take(&mut state.unsent);
                let snapshot = unsent.then(|| state.snapshot.clone()).flatten();
                let uncertified = std::mem::take(&mut state.uncertified);
                let certificates = uncertified.then(|| state.certificates.clone()).flatten();
                (certificates, snapshot, std::mem::take(&mut state.unasked))
            };
            // Before the first snapshot, for with that the router begins to accept.
            if let Some((version, certificates)) = certificates {
                let message = link::CertificatesRef { version, certificates: &certificates };
                if let Err(error) = link::send(writer, &message).await {
                    return error;
                }
            }
            if let Some(snapshot) = snapshot {
                let message = link::SnapshotRef { snapshot: &snapshot };
                if let Err(error) = link::send(writer, &message).await {
                    return error;
                }
            }
            // In this order: a target may have left with that very snapshot.
            if !targets.is_empty()
                && let Err(error) = link::send(writer, &ToRouter::Query { targets }).await
            {
                return error;
            }
        }
    }

    async fn receive(&self, reader: &mut OwnedReadHalf) -> io::Error {
        loop {
            match link::receive(reader).await {
                Err(error) => return error,
                Ok(Frame::Message(ToServer::Applied { version })) => {
                    self.0.applied.send_replace(version);
                }
                Ok(Frame::Message(ToServer::Certified { version })) => {
                    self.0.certified.send_replace(version);
                }
                Ok(Frame::Message(ToServer::Drained { target })) => self.note_drained(target),
                Ok(Frame::Message(other)) => tracing::warn!(?other, "unexpected on the link"),
                Ok(Frame::Logs(batch)) => self.pass_on(batch),
            }
        }
    }

    fn note_drained(&self, target: String) {
        let mut state = self.state();
        let listed = |snapshot: &Arc<Snapshot>| {
            snapshot.apps.iter().any(|app| app.targets.iter().any(|known| known.id == target))
        };
        // It may have come back with a snapshot that is still on its way.
        if state.snapshot.as_ref().is_some_and(listed) {
            return;
        }
        if state.drained.len() < limits::LINK_DRAINED_TARGETS {
            state.drained.insert(target);
        }
        drop(state);
        self.0.drained.send_modify(|changes| *changes += 1);
    }

    /// Never waits for the log store: notices come over the same stream.
    fn pass_on(&self, mut batch: Vec<RouterLog>) {
        let mut state = self.state();
        let now = crate::clock::Timestamp::now().0;
        let lost = std::mem::take(&mut state.lost);
        let counts = lost.iter().map(|(app, lines)| RouterLog::Lost {
            app: *app,
            at_micros: now,
            lines: *lines,
        });
        batch.splice(0..0, counts);
        if let Err(error) = self.0.logs.try_send(batch) {
            for log in error.into_inner() {
                let (app, lines) = match log {
                    RouterLog::Line { app, .. } => (app, 1),
                    RouterLog::Lost { app, lines, .. } => (app, lines),
                };
                *state.lost.entry(app).or_default() += lines;
            }
        }
    }
}

fn fits(theirs: &ListenerName, wanted: &ListenerName) -> bool {
    let (addr, asked) = (theirs.addr, wanted.addr);
    theirs.name == wanted.name
        && addr.ip() == asked.ip()
        && (asked.port() == 0 || addr.port() == asked.port())
}

#[cfg(test)]
mod tests {
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
        let addr = "127.0.0.1:0".parse().unwrap();
        let listen = [HTTP, HTTPS].map(|name| ListenerName { name: name.to_string(), addr });
        let listen = listen.to_vec();
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
}
