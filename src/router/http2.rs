//! HTTP/2 on connections that chose it in their handshake: each stream is a request as any other.
//! What HTTP/1 leaves to TCP, a client that takes no data, is watched here for each stream.

use super::client_io::ClientIo;
use super::flow::RouterBody;
use super::forward;
use super::listen::{ConnState, until_stopped};
use super::shared::Worker;
use super::timers::Timers;
use crate::{limits, tasks};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;

/// Serves a connection until it ends.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    worker: Arc<Worker>,
    stream: S,
    state: Arc<ConnState>,
    mut stop: watch::Receiver<bool>,
) {
    let timers = worker.shared.timers.clone();
    let io = ClientIo::new(stream, state.clone(), timers.clone());
    let streams = Streams { conn: state.clone(), timers: timers.clone() };
    let service = service_fn(move |request: Request<Incoming>| {
        let handled = forward::handle(worker.clone(), state.clone(), request);
        async move { Ok::<http::Response<RouterBody>, Infallible>(handled.await) }
    });
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::HTTP2_STREAMS)
        .max_pending_accept_reset_streams(limits::HTTP2_PENDING_RESETS)
        .max_local_error_reset_streams(limits::HTTP2_ERROR_RESETS)
        .max_header_list_size(limits::HTTP2_HEAD_BYTES)
        .initial_stream_window_size(limits::HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(limits::HTTP2_CONNECTION_WINDOW)
        .max_send_buf_size(limits::HTTP2_SEND_BUFFER)
        .enable_connect_protocol();
    let connection = builder.serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection);
    tokio::select! {
        biased;
        _ = connection.as_mut() => {}
        // Its streams are told apart, so that none is lost: what has begun ends.
        () = until_stopped(&mut stop, &timers, || true) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// Runs the streams of a connection, and ends one whose client takes no data.
#[derive(Clone)]
struct Streams {
    conn: Arc<ConnState>,
    timers: Timers,
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let watch = Arc::new(Watch::default());
        let (conn, timers) = (self.conn.clone(), self.timers.clone());
        tasks::spawn("http2 stream", async move {
            let mut stream = Box::pin(WATCH.scope(watch.clone(), stream));
            tokio::select! {
                biased;
                () = &mut stream => {}
                () = watch.stalled(&timers) => {
                    // What is dropped now reads it, for its log line.
                    conn.stalled.store(true, Ordering::Relaxed);
                    drop(stream);
                    conn.stalled.store(false, Ordering::Relaxed);
                }
            }
        });
    }
}

tokio::task_local! {
    static WATCH: Arc<Watch>;
}

/// Since when a stream's client has not asked for the next piece of its answer.
#[derive(Default)]
struct Watch {
    start: OnceLock<Instant>,
    /// Milliseconds after `start`, plus one; 0 while it is the dyno that is waited for.
    since: AtomicU64,
    /// It is a stream of the server's, which may be silent.
    patient: AtomicBool,
}

impl Watch {
    async fn stalled(&self, timers: &Timers) {
        let start = *self.start.get_or_init(Instant::now);
        loop {
            let patient = self.patient.load(Ordering::Relaxed);
            let idle = if patient { timers.control_idle } else { timers.idle };
            let due = match self.since.load(Ordering::Relaxed) {
                0 => Instant::now() + idle,
                since => start + Duration::from_millis(since - 1) + idle,
            };
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }
}

/// Says that the client has a piece to take; it has taken it once it asks for the next.
pub fn gave() {
    let _ = WATCH.try_with(|watch| {
        let passed = watch.start.get_or_init(Instant::now).elapsed().as_millis();
        let since = u64::try_from(passed).unwrap_or(u64::MAX - 1) + 1;
        watch.since.store(since, Ordering::Relaxed);
    });
}

/// Says that the client waits.
pub fn asked() {
    let _ = WATCH.try_with(|watch| watch.since.store(0, Ordering::Relaxed));
}

/// Says that this stream is the server's.
pub fn be_patient() {
    let _ = WATCH.try_with(|watch| watch.patient.store(true, Ordering::Relaxed));
}
