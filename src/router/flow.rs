//! Response bodies on their way to the client. A dyno's body is streamed while the rest of the
//! request goes up; silence on both sides for too long ends it.

use super::decoder::{Decoder, Left};
use super::http2;
use super::listen::ConnState;
use super::record::Record;
use super::rescue::Code;
use super::target::Busy;
use super::upstream::{ClientFault, Conn, Upload};
use crate::limits;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Any body that the router answers with.
pub struct RouterBody {
    kind: Kind,
    /// Held until the client has it, so that the connection does not count as idle before.
    pub mark: Option<RequestMark>,
    /// It is for a stream of HTTP/2, whose client may take nothing while its connection moves.
    is_watched: bool,
}

enum Kind {
    Empty,
    Full(Bytes),
    Flow(Box<Flow>),
    Server(Incoming),
    Client(ClientBody),
}

/// Says that a request is under way on a client's connection.
pub struct RequestMark(Arc<ConnState>);

impl RequestMark {
    pub fn new(conn: Arc<ConnState>) -> Self {
        conn.requests.fetch_add(1, Ordering::Relaxed);
        conn.begun.fetch_add(1, Ordering::Relaxed);
        Self(conn)
    }
}

impl Drop for RequestMark {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request's body. Until it was read to its end more may come, and the connection has to be
/// closed with patience: a client that is still sending would lose the answer.
pub struct ClientBody {
    incoming: Incoming,
    conn: Arc<ConnState>,
}

impl ClientBody {
    pub fn new(incoming: Incoming, conn: Arc<ConnState>) -> Self {
        Self { incoming, conn }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = Pin::new(&mut self.incoming).poll_frame(cx);
        if matches!(frame, Poll::Ready(None)) || self.incoming.is_end_stream() {
            self.conn.unread.store(false, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl RouterBody {
    pub fn empty() -> Self {
        Self::of(Kind::Empty)
    }

    pub fn full(bytes: Bytes) -> Self {
        Self::of(Kind::Full(bytes))
    }

    pub fn flow(flow: Flow) -> Self {
        Self::of(Kind::Flow(Box::new(flow)))
    }

    pub fn server(body: Incoming) -> Self {
        Self::of(Kind::Server(body))
    }

    pub fn client(body: ClientBody) -> Self {
        Self::of(Kind::Client(body))
    }

    fn of(kind: Kind) -> Self {
        Self { kind, mark: None, is_watched: false }
    }

    /// Has it watched whether its client takes it.
    pub fn watch(&mut self) {
        self.is_watched = true;
        if !self.is_end_stream() {
            http2::gave();
        }
    }

    fn poll_kind(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Flow(flow) => flow.poll(cx),
            Kind::Server(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|f| f.map_err(io::Error::other))),
            Kind::Client(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|f| f.map_err(io::Error::other))),
        }
    }
}

impl Body for RouterBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.is_watched {
            return self.poll_kind(cx);
        }
        http2::asked();
        let polled = self.poll_kind(cx);
        if matches!(polled, Poll::Ready(Some(Ok(_)))) {
            http2::gave();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Flow(flow) => flow.is_done(),
            Kind::Server(body) => body.is_end_stream(),
            Kind::Client(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Flow(flow) => match flow.decoder.left {
                Left::Length(left) => SizeHint::with_exact(left),
                _ => SizeHint::default(),
            },
            Kind::Server(body) => body.size_hint(),
            Kind::Client(body) => body.size_hint(),
        }
    }
}

/// A dyno's response body, what is left of the request, and what to do at the end of both.
pub struct Flow {
    /// `None` once it went back to the pool or was closed.
    conn: Option<Conn>,
    upload: Option<Upload>,
    decoder: Decoder,
    reusable: bool,
    record: Record,
    busy: Option<Busy>,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    moved_at: Instant,
    failure: Option<&'static str>,
}

impl Flow {
    pub fn new(
        conn: Conn,
        upload: Option<Upload>,
        decoder: Decoder,
        reusable: bool,
        record: Record,
        busy: Busy,
    ) -> Self {
        let idle = record.worker.shared.timers.idle;
        Self {
            conn: Some(conn),
            upload,
            decoder,
            reusable,
            record,
            busy: Some(busy),
            idle,
            timer: None,
            moved_at: Instant::now(),
            failure: None,
        }
    }

    fn is_done(&self) -> bool {
        self.conn.is_none() && self.failure.is_none() && self.decoder.trailers.is_none()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            if let Some(failure) = self.failure.take() {
                return Poll::Ready(Some(Err(io::Error::other(failure))));
            }
            let Some(conn) = &mut self.conn else {
                let trailers = self.decoder.trailers.take();
                return Poll::Ready(trailers.map(|fields| Ok(Frame::trailers(*fields))));
            };
            if let Some(upload) = &mut self.upload {
                match upload.poll(cx, &mut conn.io) {
                    Poll::Ready(Ok(())) => self.upload = None,
                    Poll::Ready(Err(ClientFault::BadChunk)) => {
                        return self.fail(cx, Code::H26(400, "bad chunk"));
                    }
                    Poll::Ready(Err(ClientFault::Gone)) => return self.fail(cx, Code::H27),
                    Poll::Pending => self.moved_at = self.moved_at.max(upload.moved_at),
                }
            }
            match self.decoder.next(&mut conn.buffer) {
                Err(_) => return self.fail(cx, Code::H18),
                Ok(Some(data)) => {
                    self.moved_at = Instant::now();
                    self.record.bytes += data.len() as u64;
                    if self.decoder.is_done() {
                        self.end();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(None) if self.decoder.is_done() => {
                    self.end();
                    continue;
                }
                Ok(None) => {}
            }
            let want = match self.decoder.left {
                Left::Length(left) => usize::try_from(left).unwrap_or(usize::MAX),
                _ => limits::BODY_READ_BYTES / 4,
            };
            let want = want.clamp(limits::HEAD_READ_BYTES, limits::BODY_READ_BYTES);
            match conn.poll_read(cx, want) {
                Poll::Ready(Ok(length)) if length > 0 => {}
                Poll::Ready(Ok(_)) if matches!(self.decoder.left, Left::UntilClose) => self.end(),
                Poll::Ready(_) => return self.fail(cx, Code::H18),
                Poll::Pending => return self.poll_idle(cx),
            }
        }
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let due = self.moved_at + self.idle;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        while timer.as_mut().poll(cx).is_ready() {
            if due <= Instant::now() {
                let client = self.upload.as_ref().is_some_and(|upload| upload.waits_for_client);
                return self.fail(cx, if client { Code::H28 } else { Code::H15 });
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }

    /// The body is complete: the line is written and the place is free before the client has
    /// read the last of it.
    fn end(&mut self) {
        let now = Instant::now();
        self.record.finish(now);
        if let (Some(conn), Some(busy)) = (self.conn.take(), self.busy.take())
            && self.reusable
            && self.upload.is_none()
        {
            self.record.worker.keep(busy.target(), conn, now);
        }
    }

    /// Cuts the response. An error makes hyper drop what it has not written yet, so it comes
    /// only after the client had the chance to get what was there.
    fn fail(&mut self, cx: &mut Context<'_>, code: Code) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.record.fail(code);
        self.conn = None;
        self.busy = None;
        self.failure = Some(code.row().desc);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
