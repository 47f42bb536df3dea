//! Upgraded connections: after a 101 the router is a pipe between client and dyno, until one side
//! ends it or both are silent for too long. A tunnel does not hold up a drain.

use super::flow::RequestMark;
use super::record::Record;
use super::rescue::Code;
use super::upstream::Conn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

/// How a tunnel ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Closed,
    Idle,
}

/// Pipes a WebSocket until it ends, then writes its log line.
pub async fn dyno(client: OnUpgrade, mut conn: Conn, mut record: Record, mark: RequestMark) {
    let _mark = mark;
    let Ok(client) = client.await else { return };
    let mut client = TokioIo::new(client);
    // What the dyno sent together with its 101.
    let early = conn.buffer.split();
    record.bytes = early.len() as u64;
    if client.write_all(&early).await.is_err() {
        return record.finish(Instant::now());
    }
    let idle = record.worker.shared.timers.idle;
    let (end, from_dyno) = pipe(client, conn.io, idle).await;
    record.bytes += from_dyno;
    match end {
        End::Closed => record.finish(Instant::now()),
        End::Idle => record.fail(Code::H15),
    }
}

/// Copies both ways. The second value counts what came from `right`.
pub async fn pipe<L, R>(left: L, right: R, idle: Duration) -> (End, u64)
where
    L: AsyncRead + AsyncWrite + Unpin,
    R: AsyncRead + AsyncWrite + Unpin,
{
    let start = Instant::now();
    let moved = Arc::new(AtomicU64::new(0));
    let from_right = Arc::new(AtomicU64::new(0));
    let left = Watched { io: left, start, moved: moved.clone(), read: Arc::default() };
    let right = Watched { io: right, start, moved: moved.clone(), read: from_right.clone() };
    let (mut left_reader, mut left_writer) = tokio::io::split(left);
    let (mut right_reader, mut right_writer) = tokio::io::split(right);
    // The left side may end its half and still listen; when the right side ends, all is said.
    let up = async {
        tokio::io::copy(&mut left_reader, &mut right_writer).await?;
        right_writer.shutdown().await?;
        std::future::pending::<io::Result<()>>().await
    };
    let down = async {
        tokio::io::copy(&mut right_reader, &mut left_writer).await?;
        left_writer.shutdown().await
    };
    let silence = async {
        loop {
            let due = start + Duration::from_millis(moved.load(Ordering::Relaxed)) + idle;
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    };
    let end = tokio::select! {
        // Whatever went wrong, it ended.
        _ = down => End::Closed,
        _ = up => End::Closed,
        () = silence => End::Idle,
    };
    (end, from_right.load(Ordering::Relaxed))
}

/// Notes when something was last read.
struct Watched<T> {
    io: T,
    start: Instant,
    moved: Arc<AtomicU64>,
    read: Arc<AtomicU64>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        let length = buffer.filled().len() - before;
        if length > 0 {
            let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.moved.store(millis, Ordering::Relaxed);
            self.read.fetch_add(length as u64, Ordering::Relaxed);
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
