//! The server's end of the link: makes the listeners, starts a router or finds a running one,
//! keeps it supplied with the latest snapshot and starts another the moment it is gone.

use super::router_child::{self, Launcher};
use crate::config::ServerSettings;
use crate::error::{Context, Error, Result};
use crate::link::{
    self, Certificate, Frame, HTTP, HTTPS, ListenerName, PROTOCOL, Proofs, RouterLog, Snapshot,
    ToRouter, ToServer,
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
    /// The same of the proofs.
    shows: watch::Sender<u64>,
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
    proofs: Option<(u64, Proofs)>,
    unshown: bool,
    takes_proofs: bool,
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
            shows: watch::channel(0).0,
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

    /// Makes these the proofs that the router shall show, and returns their version.
    pub fn publish_proofs(&self, proofs: Proofs) -> u64 {
        let mut state = self.state();
        let version = state.proofs.as_ref().map_or(0, |(version, _)| *version) + 1;
        state.proofs = Some((version, proofs));
        state.unshown = state.takes_proofs;
        drop(state);
        self.0.outgoing.notify_one();
        version
    }

    /// True once the router shows these proofs or later ones; false after `timeout`.
    pub async fn shows(&self, version: u64, timeout: Duration) -> bool {
        let mut shows = self.0.shows.subscribe();
        let reached = shows.wait_for(|shows| *shows >= version);
        matches!(tokio::time::timeout(timeout, reached).await, Ok(Ok(_)))
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
            self.0.shows.send_replace(0);
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
        let Frame::Message(ToServer::Hello { protocol: PROTOCOL, pid, listeners, tls, proofs }) =
            link::receive(&mut stream).await?
        else {
            return Err(io::Error::other("no greeting"));
        };
        let descriptors = link::receive_descriptors(&stream, listeners.len()).await?;
        let descriptors = descriptors.into_iter().map(TcpListener::from);
        let mut theirs: Vec<(ListenerName, TcpListener)> =
            listeners.into_iter().zip(descriptors).collect();
        tracing::info!(pid, listeners = theirs.len(), "router connected");
        // What it says of itself is not enough to touch another process for.
        let peer = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let peer = peer.and_then(|peer| u32::try_from(peer).ok());
        if peer == Some(pid) && pid != std::process::id() {
            router_child::prefer(pid);
        }
        let (mut names, mut given) = (Vec::new(), Vec::new());
        for wanted in &self.0.listen {
            if wanted.name == HTTPS && !tls {
                tracing::warn!(pid, "the router that runs is too old for TLS: end it to get TLS");
                continue;
            }
            let fitting = theirs.iter().position(|(name, _)| fits(name, wanted));
            let known = fitting.map(|at| theirs.swap_remove(at).1);
            let is_known = known.is_some();
            let old = theirs.iter().position(|(name, _)| is_in_the_way(name, wanted));
            let listener = match (self.hold_listener(wanted, known), old) {
                (Ok(listener), _) => listener,
                (Err(_), Some(old)) => {
                    let names = vec![theirs.swap_remove(old).0.name];
                    link::send(&mut stream, &ToRouter::Close { names }).await?;
                    self.hold_once_free(wanted).await
                }
                (Err(error), None) => return Err(io::Error::other(error.chain())),
            };
            if !is_known {
                let addr = listener.local_addr()?;
                names.push(ListenerName { name: wanted.name.clone(), addr });
                given.push(listener);
            }
        }
        {
            let mut state = self.state();
            (state.takes_certificates, state.takes_proofs) = (tls, proofs);
        }
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

    /// Binds a listener as soon as the router has closed the one that is in its way. The greeting's
    /// time limit ends it.
    async fn hold_once_free(&self, wanted: &ListenerName) -> TcpListener {
        loop {
            match self.hold_listener(wanted, None) {
                Ok(listener) => return listener,
                Err(_) => tokio::time::sleep(limits::LINK_RETRY).await,
            }
        }
    }

    /// Talks to a router until it is gone.
    async fn session(&self, stream: UnixStream) -> io::Error {
        {
            let mut state = self.state();
            state.unsent = state.snapshot.is_some();
            state.uncertified = state.takes_certificates && state.certificates.is_some();
            state.unshown = state.takes_proofs && state.proofs.is_some();
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
            let (certificates, proofs, snapshot, targets) = {
                let mut state = self.state();
                let unsent = std::mem::take(&mut state.unsent);
                let snapshot = unsent.then(|| state.snapshot.clone()).flatten();
                let uncertified = std::mem::take(&mut state.uncertified);
                let certificates = uncertified.then(|| state.certificates.clone()).flatten();
                let unshown = std::mem::take(&mut state.unshown);
                let proofs = unshown.then(|| state.proofs.clone()).flatten();
                (certificates, proofs, snapshot, std::mem::take(&mut state.unasked))
            };
            if let Some((version, proofs)) = proofs {
                let message = ToRouter::Proofs { version, proofs };
                if let Err(error) = link::send(writer, &message).await {
                    return error;
                }
            }
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
                Ok(Frame::Message(ToServer::Shows { version })) => {
                    self.0.shows.send_replace(version);
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

/// A listener at another address of the port that is wanted, such as 127.0.0.1 for 0.0.0.0.
fn is_in_the_way(theirs: &ListenerName, wanted: &ListenerName) -> bool {
    theirs.name == wanted.name && theirs.addr.port() == wanted.addr.port()
}

#[cfg(test)]
mod tests;
