//! One request from its head to its answer: refuse what is ambiguous, find the app, find a dyno,
//! send it there, and again elsewhere while nothing was begun.

use super::choose::choose;
use super::decoder::Decoder;
use super::flow::{ClientBody, Flow, RequestMark, RouterBody};
use super::headers::{self, RequestFacts};
use super::listen::ConnState;
use super::record::Record;
use super::rescue::{self, Code};
use super::response_head::{Framing, ResponseHead};
use super::shared::Worker;
use super::table::{App, Route};
use super::target::Busy;
use super::upstream::{ClientFault, Conn, NoAnswer, Patience, Upload, exchange};
use super::{control, tunnel};
use crate::clock::Timestamp;
use crate::{limits, tasks};
use bytes::Bytes;
use http::header::{Entry, HeaderValue, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Answers one request of a client.
pub async fn handle(
    worker: Arc<Worker>,
    conn: Arc<ConnState>,
    request: Request<Incoming>,
) -> Response<RouterBody> {
    let mark = RequestMark::new(conn.clone());
    if conn.is_http2() {
        let mut unanswered = Unanswered(Some(conn.clone()));
        let mut response = answer(&worker, &conn, request).await;
        unanswered.0 = None;
        response.body_mut().mark = Some(mark);
        response.body_mut().watch();
        return response;
    }
    conn.unread.store(!request.body().is_end_stream(), Ordering::Relaxed);
    let mut response = answer(&worker, &conn, request).await;
    response.body_mut().mark = Some(mark);
    response
}

/// Counts a request that its client leaves before it is answered.
struct Unanswered(Option<Arc<ConnState>>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(conn) = &self.0 {
            conn.left.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn answer(
    worker: &Arc<Worker>,
    conn: &Arc<ConnState>,
    request: Request<Incoming>,
) -> Response<RouterBody> {
    let received = Instant::now();
    if let Some(status) = headers::refusal(&request) {
        return rescue::refuse(status);
    }
    let Some(facts) = RequestFacts::read(&request, conn.peer) else {
        return rescue::refuse(StatusCode::BAD_REQUEST);
    };
    if let Some(answer) = proof(worker, &request) {
        return answer;
    }
    let (route, https_port, control_by_https) = {
        let table = worker.shared.table.load();
        (table.route(&facts.host), table.https_port, table.control_by_https)
    };
    let secure = conn.secure.as_ref();
    let is_mismatch = secure.is_some_and(|secure| !worker.shared.tls.is_for(secure, &facts.host));
    let app = match route {
        Route::Control | Route::Unknown if is_mismatch => {
            return rescue::refuse(StatusCode::MISDIRECTED_REQUEST);
        }
        // The client tries it on a connection of its own.
        Route::App(_) if is_mismatch && conn.is_http2() => {
            return rescue::refuse(StatusCode::MISDIRECTED_REQUEST);
        }
        Route::Control if *request.method() == Method::CONNECT => {
            return rescue::refuse(StatusCode::METHOD_NOT_ALLOWED);
        }
        Route::Control if control_by_https && is_overheard(conn) => {
            let port = https_port.unwrap_or(443);
            return match https_address(worker, &request, &facts.host, port) {
                Some(address) => rescue::redirect(redirect_status(request.method()), address),
                None => rescue::https_only(),
            };
        }
        Route::Control => {
            let insists = control_by_https && secure.is_some() && !is_of_this_machine(&facts.host);
            let mut response = control::forward(worker, conn, request, &facts).await;
            if insists {
                insist_on_https(response.headers_mut());
            }
            return response;
        }
        Route::Unknown => return rescue::no_such_app(),
        Route::App(app) => app,
    };
    let hsts = app.hsts && secure.is_some();
    let redirect = match https_port {
        Some(port) if app.https_redirect && secure.is_none() => {
            https_address(worker, &request, &facts.host, port)
        }
        _ => None,
    };
    let job = Job::new(worker, conn, request, facts, app, received);
    let mut response = match redirect {
        Some(address) => job.redirect(address),
        None if is_mismatch => job.fail(Code::H32),
        None => job.run().await,
    };
    if hsts {
        insist_on_https(response.headers_mut());
    }
    response
}

/// Tells browsers to come by HTTPS only, unless the answer says something of that itself.
fn insist_on_https(headers: &mut HeaderMap) {
    if let Entry::Vacant(place) = headers.entry(STRICT_TRANSPORT_SECURITY) {
        place.insert(HeaderValue::from_static(limits::HSTS));
    }
}

/// Browsers hold what they are told of such a name against every port of their own machine.
fn is_of_this_machine(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// It came over a network, where others can read it.
fn is_overheard(conn: &ConnState) -> bool {
    conn.secure.is_none() && !conn.peer.ip().to_canonical().is_loopback()
}

/// Whoever sends more than a question shall send it again as it is.
fn redirect_status(method: &Method) -> StatusCode {
    match *method {
        Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::PERMANENT_REDIRECT,
    }
}

/// What a certificate authority is shown that wants proof of a name. Tokens that are not ours are
/// the app's.
fn proof(worker: &Worker, request: &Request<Incoming>) -> Option<Response<RouterBody>> {
    let token = request.uri().path().strip_prefix(limits::ACME_PATH)?;
    let answer = worker.shared.proofs.load().get(token).cloned()?;
    let mut response = Response::new(RouterBody::full(Bytes::from(answer)));
    let plain = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    headers::mark_response(response.headers_mut());
    Some(response)
}

/// Where a request goes that came without TLS: nowhere if there is no certificate for its host, or
/// if it is about to get one, for which some ask without TLS.
fn https_address(
    worker: &Worker,
    request: &Request<Incoming>,
    host: &str,
    port: u16,
) -> Option<HeaderValue> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    if path.starts_with(limits::ACME_PATH) || !worker.shared.tls.has(host) {
        return None;
    }
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let slash = if path.starts_with('/') { "" } else { "/" };
    HeaderValue::from_maybe_shared(format!("https://{host}{port}{slash}{path}")).ok()
}

/// A request to an app, while it has no answer yet.
struct Job {
    app: Arc<App>,
    head: Bytes,
    body: Option<ClientBody>,
    client: Option<OnUpgrade>,
    record: Record,
    expects_wrongly: bool,
    tries: usize,
}

/// What came of one try.
enum Outcome {
    Answer(Response<RouterBody>),
    Again,
    Failed(Code),
}

impl Job {
    fn new(
        worker: &Arc<Worker>,
        conn: &Arc<ConnState>,
        mut request: Request<Incoming>,
        facts: RequestFacts,
        app: Arc<App>,
        received: Instant,
    ) -> Self {
        let millis = Timestamp::now().0 / 1000;
        let head = headers::dyno_head(&request, &facts, millis, conn);
        let expects_wrongly = headers::has_unknown_expectation(request.headers());
        let client = facts.wants_upgrade.then(|| hyper::upgrade::on(&mut request));
        let is_http2 = request.version() == Version::HTTP_2;
        let (parts, body) = request.into_parts();
        let record = Record {
            worker: worker.clone(),
            conn: conn.clone(),
            app: app.id,
            method: headers::dyno_method(&parts.method).clone(),
            path: parts.uri.into_parts().path_and_query,
            host: facts.host,
            request_id: facts.request_id,
            forwarded_for: facts.forwarded_for,
            received,
            handed: None,
            connect_failed: None,
            target: None,
            status: 0,
            bytes: 0,
            written: false,
            is_http2,
        };
        let body = (!body.is_end_stream()).then(|| ClientBody::new(body, conn.clone()));
        Self { app, head, body, client, record, expects_wrongly, tries: 0 }
    }

    async fn run(mut self) -> Response<RouterBody> {
        if self.expects_wrongly {
            return self.fail(Code::H26(417, "unsupported expect header value"));
        }
        let mut last = Code::H21;
        loop {
            let shared = self.record.worker.shared.clone();
            let place =
                choose(&shared, &self.record.host, &mut self.app, self.record.received).await;
            let (busy, waited) = match place {
                Ok(chosen) => chosen,
                // It was this request that found the last dyno closed.
                Err(Code::H34) if self.tries > 0 => return self.fail(last),
                Err(code) => return self.fail(code),
            };
            self.record.target = Some(busy.target().clone());
            let conn = match self.connect(&busy).await {
                Ok(conn) => conn,
                Err(code) => {
                    self.record.connect_failed = Some(Instant::now());
                    // One that just left the table is not the app's fault.
                    if !busy.target().is_retired() {
                        shared.quarantine(busy.target());
                        self.tries += 1;
                        last = code;
                    }
                    if self.tries >= limits::CONNECT_TRIES {
                        return self.fail(code);
                    }
                    continue;
                }
            };
            // The clock costs something; a kept connection right away took no time.
            let waited = !conn.reused || self.tries > 0 || waited;
            self.record.handed = Some(if waited { Instant::now() } else { self.record.received });
            match self.exchange(busy, conn).await {
                (Outcome::Answer(response), _) => return response,
                (Outcome::Failed(code), Some(job)) => return job.fail(code),
                (_, Some(job)) => self = job,
                (_, None) => return rescue::refuse(StatusCode::BAD_GATEWAY),
            }
        }
    }

    /// To the same address by HTTPS, with the same method.
    fn redirect(mut self, address: HeaderValue) -> Response<RouterBody> {
        let status = redirect_status(&self.record.method);
        self.record.status = status.as_u16();
        self.record.finish(Instant::now());
        rescue::redirect(status, address)
    }

    fn fail(mut self, code: Code) -> Response<RouterBody> {
        if matches!(code, Code::H12 | Code::H13) {
            self.record.bytes = 0;
        }
        self.record.fail(code);
        rescue::respond(code, &self.app)
    }

    /// A connection from the pool, or a new one.
    async fn connect(&self, busy: &Busy) -> Result<Conn, Code> {
        // A request that must not be sent twice takes no connection that may be half closed.
        let safe = self.body.is_none() && is_idempotent(&self.record.method);
        while let Some(conn) = self.record.worker.pool.take(busy.target(), self.record.received) {
            if conn.is_quiet() && (safe || conn.is_open()) {
                return Ok(conn);
            }
        }
        let limit = self.record.worker.shared.timers.connect;
        match tokio::time::timeout(limit, TcpStream::connect(busy.target().addr)).await {
            Ok(Ok(stream)) => {
                // Small answers wait for nothing; where it fails they are only slower.
                let _ = stream.set_nodelay(true);
                Ok(Conn::new(stream))
            }
            Ok(Err(_)) => Err(Code::H21),
            Err(_) => Err(Code::H19),
        }
    }

    /// Sends the request over `conn`. Gives the job back unless it was answered.
    async fn exchange(mut self, busy: Busy, mut conn: Conn) -> (Outcome, Option<Self>) {
        let timers = &self.record.worker.shared.timers;
        let patience = Patience { first_byte: timers.first_byte, idle: timers.idle };
        let handed = self.record.handed.unwrap_or(self.record.received);
        let had_body = self.body.is_some();
        let mut upload = Upload::new(std::mem::take(&mut self.head), self.body.take(), handed);
        let answer = exchange(&mut conn, &mut upload, &self.record.method, patience).await;
        let code = match answer {
            Ok(head) => return (self.respond(head, busy, conn, upload), None),
            Err(NoAnswer::Closed) => {
                let again = !had_body && is_idempotent(&self.record.method);
                if conn.reused && (again || !upload.sent) {
                    (self.head, self.body) = upload.into_parts();
                    return (Outcome::Again, Some(self));
                }
                Code::H13
            }
            Err(NoAnswer::CutShort) => Code::H18,
            Err(NoAnswer::Fault(fault)) => fault.into(),
            Err(NoAnswer::Client(ClientFault::BadChunk)) => Code::H26(400, "bad chunk"),
            Err(NoAnswer::Client(ClientFault::Gone)) => Code::H27,
            Err(NoAnswer::TimedOut { waited_for_client: true }) => Code::H28,
            Err(NoAnswer::TimedOut { waited_for_client: false }) => Code::H12,
        };
        (Outcome::Failed(code), Some(self))
    }

    fn respond(
        mut self,
        head: ResponseHead,
        busy: Busy,
        mut conn: Conn,
        upload: Upload,
    ) -> Outcome {
        let upload = (!upload.is_over()).then_some(upload);
        let mut response = Response::new(RouterBody::empty());
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        headers::mark_response(response.headers_mut());
        if let Some(Ok(reason)) = head.reason.map(hyper::ext::ReasonPhrase::try_from) {
            response.extensions_mut().insert(reason);
        }
        self.record.status = head.status.as_u16();
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let Some(client) = self.client.take() else {
                // Nobody asked for it.
                self.record.fail(Code::H17);
                return Outcome::Answer(rescue::respond(Code::H17, &self.app));
            };
            if self.record.is_http2 {
                headers::switch_http2(&mut response);
            }
            drop(busy);
            let mark = RequestMark::new(self.record.conn.clone());
            tasks::spawn("tunnel", tunnel::dyno(client, conn, self.record, mark));
            return Outcome::Answer(response);
        }
        let reusable = head.keep_alive && upload.is_none();
        match head.framing {
            Framing::None | Framing::Length(0) if upload.is_none() => {
                self.end(busy, conn, reusable);
            }
            Framing::Length(length) if upload.is_none() && conn.buffer.len() as u64 >= length => {
                let length = conn.buffer.len().min(usize::try_from(length).unwrap_or(usize::MAX));
                *response.body_mut() = RouterBody::full(conn.buffer.split_to(length).freeze());
                self.record.bytes = length as u64;
                self.end(busy, conn, reusable);
            }
            framing => {
                let decoder = Decoder::new(framing);
                let flow = Flow::new(conn, upload, decoder, reusable, self.record, busy);
                *response.body_mut() = RouterBody::flow(flow);
            }
        }
        Outcome::Answer(response)
    }

    /// The whole answer is here already.
    fn end(mut self, busy: Busy, conn: Conn, reusable: bool) {
        let now = Instant::now();
        self.record.finish(now);
        if reusable {
            self.record.worker.keep(busy.target(), conn, now);
        }
    }
}

/// Sending it twice does what sending it once does (RFC 9110, 9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE
    )
}
