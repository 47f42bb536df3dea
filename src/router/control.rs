//! The control host: API, git and console go to the server's Unix socket. While the server
//! restarts, requests wait for it; none of the time-outs for apps apply here.

use super::flow::{ClientBody, RequestMark, RouterBody};
use super::headers::{self, RequestFacts};
use super::listen::ConnState;
use super::shared::Worker;
use super::{http2, rescue, tunnel};
use crate::{limits, tasks};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::Instant;

/// Forwards one request to the server.
pub async fn forward(
    worker: &Arc<Worker>,
    conn: &Arc<ConnState>,
    mut request: Request<Incoming>,
    facts: &RequestFacts,
) -> Response<RouterBody> {
    conn.patient.store(true, Ordering::Relaxed);
    http2::be_patient();
    let client = facts.wants_upgrade.then(|| hyper::upgrade::on(&mut request));
    headers::edit_for_server(&mut request, facts, conn);
    let request = request.map(|body| ClientBody::new(body, conn.clone()));
    let Some(mut response) = ask(worker, request).await else { return rescue::server_away() };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        if let Some(client) = client {
            let server = hyper::upgrade::on(&mut response);
            let idle = worker.shared.timers.control_idle;
            let mark = RequestMark::new(conn.clone());
            tasks::spawn("server tunnel", async move {
                let _mark = mark;
                if let (Ok(client), Ok(server)) = tokio::join!(client, server) {
                    tunnel::pipe(TokioIo::new(client), TokioIo::new(server), idle).await;
                }
            });
        }
    } else {
        strip(response.headers_mut());
    }
    headers::mark_response(response.headers_mut());
    response.map(RouterBody::server)
}

/// A connection to the server as it is after an upgrade; `None` if the server is not willing.
pub async fn upgrade(worker: &Worker, path: &str, protocol: &'static str) -> Option<Upgraded> {
    let request = Request::get(path)
        .header(header::HOST, "localhost")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, protocol)
        .body(RouterBody::empty());
    let stream = connect(worker, Instant::now() + worker.shared.timers.control_wait).await?;
    let mut response = send(stream, request.ok()?).await.ok()?;
    match response.status() {
        StatusCode::SWITCHING_PROTOCOLS => hyper::upgrade::on(&mut response).await.ok(),
        _ => None,
    }
}

/// Sends the request, and again where a server that stopped can't have done anything.
async fn ask(worker: &Worker, request: Request<ClientBody>) -> Option<Response<Incoming>> {
    let deadline = Instant::now() + worker.shared.timers.control_wait;
    let (parts, body) = request.into_parts();
    let is_harmless = body.is_end_stream()
        && matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let mut body = Some(RouterBody::client(body));
    loop {
        let stream = connect(worker, deadline).await?;
        let body = body.take().unwrap_or_else(RouterBody::empty);
        let error = match send(stream, Request::from_parts(parts.clone(), body)).await {
            Ok(response) => return Some(response),
            Err(error) => error,
        };
        tracing::info!(%error, "the server left a request without an answer");
        if !is_harmless || Instant::now() >= deadline {
            return None;
        }
        tokio::time::sleep(limits::CONTROL_RETRY).await;
    }
}

async fn send(
    stream: UnixStream,
    request: Request<RouterBody>,
) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(limits::HEADER_COUNT)
        .title_case_headers(true)
        .handshake(TokioIo::new(ServerIo { io: stream, broken: false }))
        .await?;
    tasks::spawn("server connection", async move {
        // An error here is the sender's error too.
        let _ = connection.with_upgrades().await;
    });
    sender.send_request(request).await
}

/// The server's socket, which takes whatever is written once the server takes no more. Else hyper
/// would give up over the write before it has read the answer that says why.
struct ServerIo {
    io: UnixStream,
    broken: bool,
}

impl AsyncRead for ServerIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ServerIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.broken {
            match ready!(Pin::new(&mut self.io).poll_write_vectored(cx, data)) {
                Ok(length) => return Poll::Ready(Ok(length)),
                Err(_) => self.broken = true,
            }
        }
        Poll::Ready(Ok(data.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// The server's socket may be away for as long as a restart takes.
async fn connect(worker: &Worker, deadline: Instant) -> Option<UnixStream> {
    loop {
        match UnixStream::connect(&worker.shared.server_socket).await {
            Ok(stream) => return Some(stream),
            Err(error) if Instant::now() >= deadline => {
                tracing::warn!(%error, "the server's socket does not answer");
                return None;
            }
            Err(_) => tokio::time::sleep(limits::CONTROL_RETRY).await,
        }
    }
}

fn strip(headers: &mut HeaderMap) {
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, header::TRAILER] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
}
