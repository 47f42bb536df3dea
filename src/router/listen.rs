//! Client connections: accepts them on the shared listeners, spreads them evenly over the
//! router's threads, serves HTTP/1 on them (HTTP/2 is [`super::http2`]'s) and closes those that
//! idle or stall.

use super::client_io::ClientIo;
use super::flow::RouterBody;
use super::shared::Worker;
use super::timers::Timers;
use super::tls::{self, Secure};
use super::{forward, http2, rendezvous};
use crate::link::HTTPS;
use crate::{limits, tasks};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// The listeners to accept on, by name. Duplicates: the sockets live on elsewhere too.
pub type Listeners = Arc<Vec<(String, std::net::TcpListener)>>;

/// One of the router's threads as the others see it.
#[derive(Clone)]
pub struct Peer {
    pub worker: Arc<Worker>,
    pub inbox: mpsc::Sender<Accepted<std::net::TcpStream>>,
}

/// A connection that was just accepted, and whether its listener speaks TLS.
pub struct Accepted<S> {
    stream: S,
    is_tls: bool,
}

/// What is known of a client's connection beside its bytes.
pub struct ConnState {
    pub peer: SocketAddr,
    pub local_port: u16,
    /// What its handshake came to, if it speaks TLS.
    pub secure: Option<Secure>,
    /// Requests under way; the connection is idle without any.
    pub requests: AtomicUsize,
    /// Requests that there ever were.
    pub begun: AtomicUsize,
    /// The client took no data for too long.
    pub stalled: AtomicBool,
    /// It talks to the server, whose streams may be silent.
    pub patient: AtomicBool,
    /// The last request's body was not read to its end.
    pub unread: AtomicBool,
    /// Requests that the client left before they were answered.
    pub left: AtomicUsize,
}

impl ConnState {
    /// Does this connection speak HTTP/2?
    pub fn is_http2(&self) -> bool {
        self.secure.as_ref().is_some_and(|secure| secure.is_http2)
    }

    /// For `X-Forwarded-Proto`.
    pub fn scheme(&self) -> &'static str {
        if self.secure.is_some() { "https" } else { "http" }
    }
}

/// Accepts on whatever listeners there are, until `stop`.
pub async fn accept(
    peers: Vec<Peer>,
    own: usize,
    mut listeners: watch::Receiver<Listeners>,
    stop: watch::Receiver<bool>,
) {
    let mut accepting: Vec<tokio::task::JoinHandle<()>> = Vec::new();
    let mut stopped = stop.clone();
    loop {
        accepting.drain(..).for_each(|task| task.abort());
        let current = listeners.borrow_and_update().clone();
        for (name, listener) in current.iter() {
            match listener.try_clone().and_then(TcpListener::from_std) {
                Ok(listener) => accepting.push(tasks::spawn(
                    "accept",
                    accept_on(peers.clone(), own, listener, name == HTTPS, stop.clone()),
                )),
                Err(error) => tracing::error!(name, %error, "can't accept on a listener"),
            }
        }
        tokio::select! {
            changed = listeners.changed() => if changed.is_err() { break },
            _ = stopped.wait_for(|stop| *stop) => break,
        }
    }
    accepting.drain(..).for_each(|task| task.abort());
}

async fn accept_on(
    peers: Vec<Peer>,
    own: usize,
    listener: TcpListener,
    is_tls: bool,
    stop: watch::Receiver<bool>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => hand_on(&peers, own, Accepted { stream, is_tls }, &stop),
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "can't accept");
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The client gave up before it was accepted.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

/// Gives the connection to the thread that has the fewest: whoever wakes first would otherwise
/// take all of a burst.
fn hand_on(
    peers: &[Peer],
    own: usize,
    accepted: Accepted<TcpStream>,
    stop: &watch::Receiver<bool>,
) {
    let load = |peer: &Peer| peer.worker.connections.load(Ordering::Relaxed);
    let here = load(&peers[own]);
    let idlest = peers.iter().min_by_key(|peer| load(peer)).filter(|peer| load(peer) < here);
    if let Some(other) = idlest
        && let Ok(place) = other.inbox.try_reserve()
    {
        if let Ok(stream) = accepted.stream.into_std() {
            other.worker.connections.fetch_add(1, Ordering::Relaxed);
            place.send(Accepted { stream, is_tls: accepted.is_tls });
        }
        return;
    }
    peers[own].worker.connections.fetch_add(1, Ordering::Relaxed);
    start(&peers[own].worker, accepted, stop);
}

/// Serves what the other threads hand on.
pub async fn take_in(
    worker: Arc<Worker>,
    mut inbox: mpsc::Receiver<Accepted<std::net::TcpStream>>,
    stop: watch::Receiver<bool>,
) {
    while let Some(Accepted { stream, is_tls }) = inbox.recv().await {
        match TcpStream::from_std(stream) {
            Ok(stream) => start(&worker, Accepted { stream, is_tls }, &stop),
            Err(_) => {
                worker.connections.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

/// Counts a connection until it ends, tunnels and panics included.
struct Counted(Arc<Worker>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn start(worker: &Arc<Worker>, accepted: Accepted<TcpStream>, stop: &watch::Receiver<bool>) {
    let counted = Counted(worker.clone());
    let (worker, stop) = (worker.clone(), stop.clone());
    tasks::spawn("client connection", async move {
        let _counted = counted;
        serve(worker, accepted, stop).await;
    });
}

async fn serve(
    worker: Arc<Worker>,
    Accepted { stream, is_tls }: Accepted<TcpStream>,
    mut stop: watch::Receiver<bool>,
) {
    let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return };
    // Small answers wait for nothing; where it fails they are only slower.
    let _ = stream.set_nodelay(true);
    // Nothing is kept for a client that sends nothing.
    let first_bytes = tokio::time::timeout(worker.shared.timers.client_idle, first_bytes(&stream));
    let first = tokio::select! {
        looked = first_bytes => match looked {
            Ok(Ok(first)) => first,
            _ => return,
        },
        () = until_stopped(&mut stop, &worker.shared.timers, || false) => return,
    };
    let state = |secure| {
        Arc::new(ConnState {
            peer,
            local_port: local.port(),
            secure,
            requests: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            stalled: AtomicBool::new(false),
            patient: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            left: AtomicUsize::new(0),
        })
    };
    if !is_tls {
        return serve_http(worker, stream, state(None), first.is_wide, stop).await;
    }
    if !first.is_handshake {
        return tls::refuse_plain(stream).await;
    }
    let handshake = worker.shared.tls.accept(stream);
    match tokio::time::timeout(limits::TLS_HANDSHAKE, handshake).await {
        // How many headers there will be can't be seen from outside.
        Ok(Ok((stream, secure))) if secure.is_http2 => {
            http2::serve(worker, stream, state(Some(secure)), stop).await;
        }
        Ok(Ok((stream, secure))) if secure.is_bare && worker.is_control(&secure.name) => {
            serve_bare(worker, stream, state(Some(secure)), stop).await;
        }
        Ok(Ok((stream, secure))) => {
            serve_http(worker, stream, state(Some(secure)), true, stop).await;
        }
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS handshake"),
        Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
    }
}

/// A client that did not say what it will speak: HTTP, or what Heroku's own speaks to a dyno.
async fn serve_bare<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    worker: Arc<Worker>,
    stream: S,
    state: Arc<ConnState>,
    mut stop: watch::Receiver<bool>,
) {
    let mut stream = BufReader::new(stream);
    let idle = worker.shared.timers.client_idle;
    let greeting = tokio::select! {
        greeting = tokio::time::timeout(idle, rendezvous::greeting(&mut stream)) => greeting,
        () = until_stopped(&mut stop, &worker.shared.timers, || false) => return,
    };
    match greeting {
        Ok(Ok(Some(secret))) => {
            // A client that leaves has told nobody why.
            let _ = rendezvous::serve(worker, stream, state, &secret).await;
        }
        Ok(Ok(None)) => serve_http(worker, stream, state, true, stop).await,
        Ok(Err(_)) | Err(_) => {}
    }
}

async fn serve_http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    worker: Arc<Worker>,
    stream: S,
    state: Arc<ConnState>,
    is_wide: bool,
    mut stop: watch::Receiver<bool>,
) {
    let timers = worker.shared.timers.clone();
    let io = ClientIo::new(stream, state.clone(), timers.clone());
    let looked_at = state.clone();
    let is_busy = move || looked_at.requests.load(Ordering::Relaxed) > 0;
    let service = service_fn(move |request: Request<Incoming>| {
        let handled = forward::handle(worker.clone(), state.clone(), request);
        async move { Ok::<http::Response<RouterBody>, Infallible>(handled.await) }
    });
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).title_case_headers(true);
    builder.max_buf_size(limits::REQUEST_HEAD_BYTES);
    if is_wide {
        builder.max_headers(limits::HEADER_COUNT);
    }
    let connection = builder.serve_connection(TokioIo::new(io), service).with_upgrades();
    tokio::pin!(connection);
    // What goes wrong with a client's connection is in the request's log line, if it had one.
    tokio::select! {
        biased;
        _ = connection.as_mut() => {}
        () = until_stopped(&mut stop, &timers, is_busy) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// What a connection's first bytes tell.
struct FirstBytes {
    /// The client sends so many headers that hyper's usual room for them may be too small.
    is_wide: bool,
    /// They begin a TLS handshake.
    is_handshake: bool,
}

/// Waits for the first bytes and leaves them where they are.
async fn first_bytes(stream: &TcpStream) -> io::Result<FirstBytes> {
    let peek = || {
        let mut head = [0_u8; limits::HEAD_PEEK_BYTES];
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        let (_, length) = rustix::net::recv(stream, &mut head, flags)?;
        let head = &head[..length];
        let lines = head.iter().filter(|byte| **byte == b'\n').count();
        // One that is not here as a whole may be of any length.
        let is_whole = head.windows(4).any(|bytes| bytes == b"\r\n\r\n");
        let is_wide = lines > limits::USUAL_HEADER_LINES || !is_whole;
        Ok(FirstBytes { is_wide, is_handshake: head.first() == Some(&22) })
    };
    stream.async_io(tokio::io::Interest::READABLE, peek).await
}

/// Resolves once the router stops and this connection may be told: with the answer to a request
/// that is under way, else when nothing has come for a while. It is looked at whenever the task of
/// the connection is woken.
pub async fn until_stopped(
    stop: &mut watch::Receiver<bool>,
    timers: &Timers,
    is_busy: impl Fn() -> bool,
) {
    // An error means that the process ends.
    let _ = stop.wait_for(|stop| *stop).await;
    let busy = std::future::poll_fn(|_| if is_busy() { Poll::Ready(()) } else { Poll::Pending });
    let _ = tokio::time::timeout(timers.stop_idle, busy).await;
}
