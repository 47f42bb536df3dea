//! A client's socket with what hyper doesn't have: time-outs between requests, for a head that
//! does not end and for a client that takes no data, and a patient end.

use super::listen::ConnState;
use super::timers::Timers;
use crate::limits;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A client's socket with the time-outs that hyper doesn't have: idle between requests, a head
/// that does not end, and a client that takes no data.
pub struct ClientIo<S> {
    io: S,
    state: Arc<ConnState>,
    timers: Timers,
    timer: Option<Pin<Box<Sleep>>>,
    moved_at: Instant,
    /// Requests begun when this was last looked at.
    begun: usize,
    /// A head began at this time.
    head_since: Option<Instant>,
    stall: Option<Pin<Box<Sleep>>>,
    linger: Option<Linger>,
}

/// The answer is out, and what the client still sends is read and dropped: closing now would
/// make its kernel drop the answer, too.
struct Linger {
    timer: Pin<Box<Sleep>>,
    until: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientIo<S> {
    pub fn new(io: S, state: Arc<ConnState>, timers: Timers) -> Self {
        let moved_at = Instant::now();
        let (timer, head_since, stall) = (None, None, None);
        Self { io, state, timers, timer, moved_at, begun: 0, head_since, stall, linger: None }
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let busy = self.state.requests.load(Ordering::Relaxed) > 0;
        let begun = self.state.begun.load(Ordering::Relaxed);
        if self.state.is_http2() {
            return self.poll_idle_http2(cx, busy, begun);
        }
        if std::mem::replace(&mut self.begun, begun) != begun {
            self.head_since = None;
        }
        let due = match self.head_since {
            Some(since) => since + self.timers.client_head,
            None => self.moved_at + self.timers.client_idle,
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if due < timer.deadline() {
            timer.as_mut().reset(due);
        }
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if !busy && due <= now {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            timer.as_mut().reset(if busy { now + self.timers.client_idle } else { due });
        }
        Poll::Pending
    }

    /// Bytes alone count for nothing here: pings, windows and the pieces of a head that does not
    /// end come without a request. Requests that clients leave count against them.
    fn poll_idle_http2(
        &mut self,
        cx: &mut Context<'_>,
        busy: bool,
        begun: usize,
    ) -> Poll<io::Result<()>> {
        let left = self.state.left.load(Ordering::Relaxed);
        if left > limits::HTTP2_LEFT && left > begun / 2 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let idle = self.timers.client_idle;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        while timer.as_mut().poll(cx).is_ready() {
            if !busy && std::mem::replace(&mut self.begun, begun) == begun {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            timer.as_mut().reset(Instant::now() + idle);
        }
        Poll::Pending
    }

    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let patient = self.state.patient.load(Ordering::Relaxed);
        let limit = if patient { self.timers.control_idle } else { self.timers.idle };
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if stall.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.state.stalled.store(true, Ordering::Relaxed);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| Linger {
            timer: Box::pin(tokio::time::sleep(limits::LINGER_IDLE)),
            until: Instant::now() + self.timers.linger,
        });
        let mut dropped = [0; limits::LINGER_READ_BYTES];
        loop {
            let mut buffer = ReadBuf::new(&mut dropped);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Pending => return linger.timer.as_mut().poll(cx),
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    let now = Instant::now();
                    if now >= linger.until {
                        return Poll::Ready(());
                    }
                    linger.timer.as_mut().reset(linger.until.min(now + limits::LINGER_IDLE));
                }
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
    }

    fn wrote(
        &mut self,
        polled: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if polled.is_pending() {
            return self.poll_stall(cx);
        }
        self.stall = None;
        self.moved_at = Instant::now();
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ClientIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buffer) {
            Poll::Pending => self.poll_idle(cx),
            Poll::Ready(polled) => {
                if buffer.filled().len() > before {
                    let now = Instant::now();
                    self.moved_at = now;
                    self.head_since.get_or_insert(now);
                }
                Poll::Ready(polled)
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, data);
        self.wrote(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, data);
        self.wrote(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TLS has data of its own on the way, which a client may not take either.
        match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Pending => self.poll_stall(cx).map_ok(|_| ()),
            ready => ready,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() && Pin::new(&mut self.io).poll_shutdown(cx)?.is_pending() {
            return self.poll_stall(cx).map_ok(|_| ());
        }
        if self.state.unread.load(Ordering::Relaxed) {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
