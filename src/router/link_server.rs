//! The router's end of the link: takes snapshots and listeners from the server, and gives it
//! notices and log lines. One server at a time; a new one takes the place of the old.

use super::listen::Listeners;
use super::shared::{Shared, Worker};
use super::snapshot_file;
use crate::clock::Timestamp;
use crate::link::{self, Frame, ListenerName, PROTOCOL, Snapshot, ToRouter, ToServer};
use crate::{limits, tasks};
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::Instant;

pub struct LinkServer {
    pub shared: Arc<Shared>,
    pub workers: Vec<Arc<Worker>>,
    pub router_dir: PathBuf,
    /// Where the threads find what to accept on.
    pub accepting: watch::Sender<Listeners>,
    /// What the server gave, accepted on or not yet.
    pub held: Mutex<Vec<(ListenerName, TcpListener)>>,
}

impl LinkServer {
    /// Serves one server after the other. A connected one is dropped when another connects.
    pub async fn run(self: Arc<Self>, socket: UnixListener) {
        let mut session: Option<tokio::task::JoinHandle<()>> = None;
        loop {
            let stream = match socket.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::error!(%error, "can't accept on the link");
                    tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if !is_permitted(&stream) {
                tracing::warn!("a process of another user tried to use the link");
                continue;
            }
            if let Some(session) = session.take() {
                session.abort();
                // The next one must not meet a listener half taken.
                let _ = session.await;
            }
            let link = self.clone();
            session = Some(tasks::spawn("link", async move {
                if let Err(error) = link.session(stream).await {
                    tracing::info!(%error, "the server left");
                }
            }));
        }
    }

    async fn session(&self, mut stream: UnixStream) -> io::Result<()> {
        let hello = tokio::time::timeout(limits::LINK_HELLO_TIMEOUT, link::receive(&mut stream));
        match hello.await?? {
            Frame::Message(ToRouter::Hello { protocol: PROTOCOL }) => {}
            other => return Err(io::Error::other(format!("no greeting but {other:?}"))),
        }
        self.greet(&mut stream).await?;
        let (mut reader, mut writer) = stream.into_split();
        let (frames, mut received) = mpsc::channel(4);
        let reading = tasks::spawn("link reader", async move {
            while let Ok(message) = read(&mut reader).await {
                if frames.send(message).await.is_err() {
                    return;
                }
            }
        });
        let result = self.talk(&mut received, &mut writer).await;
        reading.abort();
        result
    }

    /// Says hello and hands the listeners to a server that is new.
    async fn greet(&self, stream: &mut UnixStream) -> io::Result<()> {
        let held = self.held.lock().await;
        let listeners: Vec<_> = held.iter().map(|(name, _)| name.clone()).collect();
        let hello = ToServer::Hello {
            protocol: PROTOCOL,
            pid: std::process::id(),
            listeners,
            tls: true,
            proofs: true,
        };
        link::send(stream, &hello).await?;
        let descriptors: Vec<_> = held.iter().map(|(_, listener)| listener.as_fd()).collect();
        link::send_descriptors(stream, &descriptors).await
    }

    async fn talk(
        &self,
        received: &mut mpsc::Receiver<Received>,
        writer: &mut OwnedWriteHalf,
    ) -> io::Result<()> {
        let mut flush_at = self.flush_logs(writer).await?;
        loop {
            tokio::select! {
                message = received.recv() => match message {
                    Some(message) => self.take(message, writer).await?,
                    None => return Err(io::ErrorKind::UnexpectedEof.into()),
                },
                () = self.shared.drains.changed.notified() => self.send_drains(writer).await?,
                () = self.shared.logs_waiting.notified(), if flush_at.is_none() => {
                    flush_at = Some(Instant::now() + limits::LOG_FLUSH);
                }
                () = tokio::time::sleep_until(flush_at.unwrap_or_else(Instant::now)),
                    if flush_at.is_some() =>
                {
                    flush_at = self.flush_logs(writer).await?;
                }
            }
        }
    }

    async fn take(&self, message: Received, writer: &mut OwnedWriteHalf) -> io::Result<()> {
        match message {
            Received::Listeners(listeners) => self.hold(listeners).await,
            Received::Message(ToRouter::Close { names }) => self.close(&names).await,
            Received::Message(ToRouter::Certificates { version, certificates }) => {
                self.shared.tls.set(&certificates);
                link::send(writer, &ToServer::Certified { version }).await?;
            }
            Received::Message(ToRouter::Proofs { version, proofs }) => {
                self.shared.tls.show(&proofs.tls);
                self.shared.proofs.store(Arc::new(proofs.http));
                link::send(writer, &ToServer::Shows { version }).await?;
            }
            Received::Message(ToRouter::Snapshot { snapshot }) => {
                let version = snapshot.version;
                self.apply(snapshot).await;
                link::send(writer, &ToServer::Applied { version }).await?;
                self.send_drains(writer).await?;
            }
            Received::Message(ToRouter::Query { targets }) => {
                for target in targets.into_iter().filter(|target| self.shared.is_idle(target)) {
                    link::send(writer, &ToServer::Drained { target }).await?;
                }
            }
            Received::Message(other) => tracing::warn!(?other, "unexpected on the link"),
        }
        Ok(())
    }

    /// Makes the snapshot the table, begins to accept if that waited for it, and keeps it.
    pub async fn apply(&self, snapshot: Snapshot) {
        let kept = snapshot_file::save(&self.router_dir, &snapshot);
        self.shared.apply(snapshot);
        if let Err(error) = kept {
            tracing::warn!(%error, "can't keep the snapshot");
        }
        self.accept().await;
    }

    /// Takes listeners; one of a known name takes the place of the other.
    async fn hold(&self, listeners: Vec<(ListenerName, TcpListener)>) {
        let mut held = self.held.lock().await;
        for (name, listener) in listeners {
            held.retain(|(known, _)| known.name != name.name);
            held.push((name, listener));
        }
        drop(held);
        self.accept_again().await;
    }

    async fn close(&self, names: &[String]) {
        self.held.lock().await.retain(|(held, _)| !names.contains(&held.name));
        self.accept_again().await;
    }

    /// After a change of what is held, unless the first snapshot has yet to come.
    async fn accept_again(&self) {
        let snapshot_known = *self.shared.table_changed.borrow() > 0;
        if snapshot_known {
            self.accept().await;
        }
    }

    /// Lets the threads accept on all that is held.
    pub async fn accept(&self) {
        let held = self.held.lock().await;
        let known = self.accepting.borrow().len() == held.len()
            && self.accepting.borrow().iter().zip(held.iter()).all(|((_, accepted), (name, _))| {
                accepted.local_addr().is_ok_and(|addr| addr == name.addr)
            });
        if known {
            return;
        }
        let duplicates = held
            .iter()
            .filter_map(|(name, listener)| Some((name.name.clone(), listener.try_clone().ok()?)));
        self.accepting.send_replace(Arc::new(duplicates.collect()));
    }

    async fn send_drains(&self, writer: &mut OwnedWriteHalf) -> io::Result<()> {
        for target in self.shared.drains.take() {
            link::send(writer, &ToServer::Drained { target }).await?;
        }
        Ok(())
    }

    /// Sends what the rings hold now, and says when to come again if lines arrived meanwhile.
    async fn flush_logs(&self, writer: &mut OwnedWriteHalf) -> io::Result<Option<Instant>> {
        let mut is_left = false;
        for worker in &self.workers {
            for _ in 0..worker.ring.pieces() {
                let Some(chunk) = worker.ring.pop(Timestamp::now().0) else { break };
                if let Err(error) = link::send_logs(writer, &chunk).await {
                    worker.ring.put_back(chunk);
                    return Err(error);
                }
            }
            is_left |= worker.ring.pieces() > 0;
        }
        Ok(is_left.then(|| Instant::now() + limits::LOG_FLUSH))
    }
}

enum Received {
    Message(ToRouter),
    Listeners(Vec<(ListenerName, TcpListener)>),
}

async fn read(reader: &mut OwnedReadHalf) -> io::Result<Received> {
    match link::receive(reader).await? {
        Frame::Message(ToRouter::Listeners { listeners }) => {
            let descriptors = link::receive_descriptors(reader.as_ref(), listeners.len()).await?;
            let mut taken = Vec::new();
            for (name, descriptor) in listeners.into_iter().zip(descriptors) {
                let listener = TcpListener::from(descriptor);
                listener.set_nonblocking(true)?;
                taken.push((name, listener));
            }
            Ok(Received::Listeners(taken))
        }
        Frame::Message(message) => Ok(Received::Message(message)),
        Frame::Logs(_) => Err(io::Error::other("log lines from the server")),
    }
}

/// Only root and the router's own user may say where requests go.
fn is_permitted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}
