//! The composition root of `senryu router`: a thread with its own runtime for each core that
//! serves requests, and the main thread for the link to the server. Nothing ticks while idle.

use super::link_server::LinkServer;
use super::listen::{self, Listeners, Peer};
use super::shared::{Shared, Worker};
use super::snapshot_file;
use super::timers::Timers;
use crate::config::RouterSettings;
use crate::{limits, link, tasks};
use anyhow::Context;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};

/// Runs the router until SIGTERM.
pub fn run(settings: RouterSettings) -> anyhow::Result<()> {
    // A session of its own: out of reach of the server's terminal.
    let _ = rustix::process::setsid();
    raise_descriptor_limit();
    run_until(settings, Timers::default(), stop_signal)
}

/// Runs the router until `stop` resolves.
pub fn run_until<F, S>(settings: RouterSettings, timers: Timers, stop: S) -> anyhow::Result<()>
where
    S: FnOnce() -> F,
    F: Future<Output = ()>,
{
    std::fs::create_dir_all(&settings.router_dir).context("can't make the router's directory")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let lock = runtime.block_on(take_lock(&settings.router_dir))?;
    let shared = Arc::new(Shared::new(timers.clone(), settings.server_socket.clone())?);
    let (accepting, listeners) = watch::channel(Listeners::default());
    let (stopping, stopped) = watch::channel(false);
    let threads = start_threads(&settings, &shared, listeners, stopped)?;
    let link = Arc::new(LinkServer {
        shared,
        workers: threads.workers.clone(),
        router_dir: settings.router_dir.clone(),
        accepting,
        held: tokio::sync::Mutex::default(),
    });
    runtime.block_on(async {
        let socket = bind_link(&settings.router_dir)?;
        let serving = tasks::spawn("link server", link.clone().run(socket));
        let falling_back = tasks::spawn("snapshot file", use_file(link.clone(), timers.clone()));
        stop().await;
        falling_back.abort();
        // The server sees the link end and starts the next router, which shares the listeners;
        // this one only finishes what it began.
        serving.abort();
        let _ = serving.await;
        stopping.send_replace(true);
        drop(lock);
        finish(&threads, timers).await;
        Ok(())
    })
}

struct Threads {
    workers: Vec<Arc<Worker>>,
    running: Vec<std::thread::JoinHandle<()>>,
}

fn start_threads(
    settings: &RouterSettings,
    shared: &Arc<Shared>,
    listeners: watch::Receiver<Listeners>,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<Threads> {
    let count = match settings.router_threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    };
    let (mut peers, mut inboxes) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (inbox, receiver) = mpsc::channel(limits::ROUTER_INBOX);
        peers.push(Peer { worker: Arc::new(Worker::new(shared.clone())), inbox });
        inboxes.push(receiver);
    }
    let workers = peers.iter().map(|peer| peer.worker.clone()).collect();
    let mut running = Vec::new();
    for (own, inbox) in inboxes.into_iter().enumerate() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (peers, listeners, stopped) = (peers.clone(), listeners.clone(), stopped.clone());
        let thread = std::thread::Builder::new().name(format!("router {own}"));
        running.push(thread.spawn(move || {
            runtime.block_on(async {
                let worker = peers[own].worker.clone();
                let taken_in = listen::take_in(worker.clone(), inbox, stopped.clone());
                let taking = tasks::spawn("inbox", taken_in);
                listen::accept(peers, own, listeners, stopped).await;
                let _ = taking.await;
                // Connections live on this thread: leaving it would cut what has begun.
                while worker.connections.load(Ordering::Relaxed) > 0 {
                    tokio::time::sleep(limits::LOG_FLUSH).await;
                }
            });
        })?);
    }
    Ok(Threads { workers, running })
}

/// One router for a directory. An old one lets go when it was told to stop.
async fn take_lock(router_dir: &Path) -> anyhow::Result<std::fs::File> {
    let lock = std::fs::File::create(router_dir.join("router.lock"))?;
    let deadline = tokio::time::Instant::now() + limits::LINK_START_TIMEOUT;
    let operation = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    while rustix::fs::flock(&lock, operation).is_err() {
        if tokio::time::Instant::now() >= deadline {
            anyhow::bail!("another router runs in {}", router_dir.display());
        }
        tokio::time::sleep(limits::LINK_RETRY).await;
    }
    Ok(lock)
}

/// Binds the link's socket beside its name and moves it there, so that whoever finds the name
/// can connect.
fn bind_link(router_dir: &Path) -> anyhow::Result<UnixListener> {
    let path = link::socket(router_dir);
    let temporary = router_dir.join("link.sock.new");
    let _ = std::fs::remove_file(&temporary);
    let socket = UnixListener::bind(&temporary)
        .with_context(|| format!("can't listen on {}", temporary.display()))?;
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&temporary, &path)?;
    Ok(socket)
}

/// Uses the snapshot of the file unless the server sends one first.
async fn use_file(link: Arc<LinkServer>, timers: Timers) {
    let mut changed = link.shared.table_changed.subscribe();
    let first = tokio::time::timeout(timers.snapshot_wait, changed.wait_for(|count| *count > 0));
    if first.await.is_ok() {
        return;
    }
    match snapshot_file::load(&link.router_dir) {
        Ok(Some(snapshot)) => {
            tracing::info!(version = snapshot.version, "routing by the snapshot in the file");
            link.shared.apply(snapshot);
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "can't read the snapshot's file"),
    }
    link.accept().await;
}

/// Waits for connections to end, but not for ever. Only a thread's own end says that it has none:
/// a count of nothing could be followed by a connection that was just accepted.
async fn finish(threads: &Threads, timers: Timers) {
    let deadline = tokio::time::Instant::now() + timers.stop_grace;
    while threads.running.iter().any(|thread| !thread.is_finished())
        && tokio::time::Instant::now() < deadline
    {
        tokio::time::sleep(limits::LOG_FLUSH).await;
    }
    let open = threads.workers.iter().map(|worker| worker.connections.load(Ordering::Relaxed));
    tracing::info!(connections = open.sum::<usize>(), "router stops");
}

/// SIGTERM or SIGINT. SIGHUP is caught and means nothing: the router outlives terminals.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut interrupt), Ok(_hangup)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    ) else {
        tracing::error!("can't watch for signals");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Each connection is a descriptor, and the usual soft limit is 1,024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "can't raise the limit of open files");
    }
}
