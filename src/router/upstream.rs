//! One connection to a dyno: the request goes out while the response's head comes in, since a
//! dyno may answer before it has read everything. Knows at any time whether a byte was sent or
//! came back, which decides whether a request may be tried again.

use super::flow::ClientBody;
use super::headers;
use super::response_head::{self, HeadFault, ResponseHead};
use crate::limits;
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use http_body::Body;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

pub struct Conn {
    pub io: TcpStream,
    /// What was read and not yet used.
    pub buffer: BytesMut,
    /// It answered a request before.
    pub reused: bool,
}

impl Conn {
    pub fn new(io: TcpStream) -> Self {
        Self { io, buffer: BytesMut::new(), reused: false }
    }

    /// Nothing came since the last response, neither an end nor bytes that nobody asked for. As
    /// far as the runtime knows, which costs no system call.
    pub fn is_quiet(&self) -> bool {
        let read = self.io.try_read(&mut [0]);
        matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Asks the kernel whether the dyno closed, without waiting for the runtime to hear of it.
    pub fn is_open(&self) -> bool {
        let mut byte = [0_u8; 1];
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        matches!(rustix::net::recv(&self.io, &mut byte, flags), Err(rustix::io::Errno::AGAIN))
    }

    /// Reads more; 0 is the end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, want: usize) -> Poll<io::Result<usize>> {
        self.buffer.reserve(want);
        poll_read_buf(Pin::new(&mut self.io), cx, &mut self.buffer)
    }
}

/// What the client's side of a request body can do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientFault {
    Gone,
    BadChunk,
}

/// A request on its way to the dyno.
pub struct Upload {
    head: Bytes,
    head_sent: usize,
    /// A piece of the body, framed.
    pending: Bytes,
    body: Option<ClientBody>,
    chunked: bool,
    trailers: Option<HeaderMap>,
    /// The dyno takes no more; its answer may still come.
    broken: bool,
    /// Some byte reached the kernel.
    pub sent: bool,
    /// The body waits for the client, not for the dyno.
    pub waits_for_client: bool,
    pub moved_at: Instant,
}

impl Upload {
    pub fn new(head: Bytes, body: Option<ClientBody>, now: Instant) -> Self {
        let chunked = body.as_ref().is_some_and(|body| body.size_hint().exact().is_none());
        Self {
            head,
            head_sent: 0,
            pending: Bytes::new(),
            body,
            chunked,
            trailers: None,
            broken: false,
            sent: false,
            waits_for_client: false,
            moved_at: now,
        }
    }

    /// What it takes to send the request again.
    pub fn into_parts(self) -> (Bytes, Option<ClientBody>) {
        (self.head, self.body)
    }

    /// The whole request is with the kernel, or the dyno takes no more of it.
    pub fn is_over(&self) -> bool {
        self.broken || (self.body.is_none() && self.pending.is_empty() && self.head_is_sent())
    }

    fn head_is_sent(&self) -> bool {
        self.head_sent == self.head.len()
    }

    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut TcpStream,
    ) -> Poll<Result<(), ClientFault>> {
        while !self.head_is_sent() && !self.broken {
            match ready!(Pin::new(&mut *io).poll_write(cx, &self.head[self.head_sent..])) {
                Ok(length) if length > 0 => {
                    self.sent = true;
                    self.head_sent += length;
                }
                _ => self.broken = true,
            }
        }
        loop {
            while !self.pending.is_empty() && !self.broken {
                self.waits_for_client = false;
                match ready!(Pin::new(&mut *io).poll_write(cx, &self.pending)) {
                    Ok(length) if length > 0 => {
                        self.pending.advance(length);
                        self.moved_at = Instant::now();
                    }
                    _ => self.broken = true,
                }
            }
            let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
            if self.broken {
                return Poll::Ready(Ok(()));
            }
            self.waits_for_client = true;
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    self.moved_at = Instant::now();
                    match frame.into_data() {
                        Ok(data) if self.chunked => self.pending = chunk(&data),
                        Ok(data) => self.pending = data,
                        Err(frame) => self.trailers = frame.into_trailers().ok(),
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(client_fault(&error))),
                None => {
                    self.moved_at = Instant::now();
                    self.body = None;
                    if self.chunked {
                        self.pending = last_chunk(self.trailers.take());
                    }
                }
            }
        }
    }
}

fn chunk(data: &[u8]) -> Bytes {
    if data.is_empty() {
        return Bytes::new();
    }
    let mut framed = Vec::with_capacity(data.len() + 20);
    framed.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
    framed.extend_from_slice(data);
    framed.extend_from_slice(b"\r\n");
    Bytes::from(framed)
}

fn last_chunk(trailers: Option<HeaderMap>) -> Bytes {
    match trailers {
        None => Bytes::from_static(b"0\r\n\r\n"),
        Some(fields) => {
            let mut last = b"0\r\n".to_vec();
            headers::put_trailers(&mut last, &fields);
            last.extend_from_slice(b"\r\n");
            Bytes::from(last)
        }
    }
}

fn client_fault(error: &hyper::Error) -> ClientFault {
    let cause =
        std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    match cause.map(io::Error::kind) {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => ClientFault::BadChunk,
        _ => ClientFault::Gone,
    }
}

/// Why no response came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// The dyno closed without a byte of response.
    Closed,
    /// It closed in the middle of the head.
    CutShort,
    Fault(HeadFault),
    Client(ClientFault),
    /// No byte within the time for it.
    TimedOut {
        waited_for_client: bool,
    },
}

/// How long a dyno and a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub first_byte: Duration,
    pub idle: Duration,
}

/// Sends the request and reads the response's head. What is not sent by then is sent together
/// with reading the body.
pub async fn exchange(
    conn: &mut Conn,
    upload: &mut Upload,
    method: &Method,
    patience: Patience,
) -> Result<ResponseHead, NoAnswer> {
    // Once all is sent the wait for the first byte begins; before, the body has to move.
    let due = |upload: &Upload| {
        let limit = if upload.is_over() { patience.first_byte } else { patience.idle };
        upload.moved_at + limit
    };
    let timer = tokio::time::sleep_until(due(upload));
    tokio::pin!(timer);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(Err(fault)) = upload.poll(cx, &mut conn.io) {
            return Poll::Ready(Err(NoAnswer::Client(fault)));
        }
        if let Poll::Ready(answer) = poll_head(cx, conn, method) {
            return Poll::Ready(answer);
        }
        loop {
            let due = due(upload);
            if due < timer.deadline() {
                timer.as_mut().reset(due);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if due <= Instant::now() {
                let waited_for_client = !upload.is_over() && upload.waits_for_client;
                return Poll::Ready(Err(NoAnswer::TimedOut { waited_for_client }));
            }
            timer.as_mut().reset(due);
        }
    })
    .await
}

fn poll_head(
    cx: &mut Context<'_>,
    conn: &mut Conn,
    method: &Method,
) -> Poll<Result<ResponseHead, NoAnswer>> {
    loop {
        if !conn.buffer.is_empty() {
            match response_head::parse(&mut conn.buffer, method) {
                Err(fault) => return Poll::Ready(Err(NoAnswer::Fault(fault))),
                // 100 and its like are between dyno and router.
                Ok(Some(head))
                    if head.status.is_informational()
                        && head.status != StatusCode::SWITCHING_PROTOCOLS =>
                {
                    continue;
                }
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
            }
        }
        let cut = if conn.buffer.is_empty() { NoAnswer::Closed } else { NoAnswer::CutShort };
        match ready!(conn.poll_read(cx, limits::HEAD_READ_BYTES)) {
            Ok(0) | Err(_) => return Poll::Ready(Err(cut)),
            Ok(_) => {}
        }
    }
}
