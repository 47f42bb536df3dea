//! Request heads: which ones are refused, which host they name, and the head that goes on to the
//! dyno, with Heroku's headers set and hop-by-hop ones gone.

use super::flow::RouterBody;
use super::listen::ConnState;
use crate::limits;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub const VIA: &str = "1.1 senryu-router";
const VIA_HTTP2: &str = "2.0 senryu-router";
pub const SERVER: &str = "senryu-router";

/// What the request says of itself, read once.
pub struct RequestFacts {
    /// Host in lower case, without its port.
    pub host: String,
    pub request_id: HeaderValue,
    /// The list for `X-Forwarded-For`, the client's address last.
    pub forwarded_for: HeaderValue,
    pub wants_upgrade: bool,
}

/// The status for a request that is refused for its form; the connection closes.
pub fn refusal(request: &Request<Incoming>) -> Option<StatusCode> {
    let headers = request.headers();
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    if request.method().as_str().len() + path + 11 > limits::REQUEST_LINE_BYTES {
        return Some(StatusCode::URI_TOO_LONG);
    }
    if request.method() == Method::CONNECT && !is_websocket_stream(request) {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    if request.method().as_str().len() > 127 {
        return Some(StatusCode::BAD_REQUEST);
    }
    if headers.len() > limits::HEADER_COUNT {
        return Some(StatusCode::BAD_REQUEST);
    }
    let too_long = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() > 1000
            || name.as_str().len() + value.len() + 4 > limits::REQUEST_LINE_BYTES
    };
    if headers.iter().any(too_long) {
        return Some(StatusCode::BAD_REQUEST);
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let authority = request.uri().authority().filter(|_| request.version() == Version::HTTP_2);
    match (hosts.next(), hosts.next(), authority) {
        (Some(host), None, None) if host_name(host.as_bytes()).is_some() => {}
        (None, None, Some(_)) => {}
        (Some(host), None, Some(named)) if host.as_bytes() == named.as_str().as_bytes() => {}
        _ => return Some(StatusCode::BAD_REQUEST),
    }
    let http10_chunked =
        request.version() == Version::HTTP_10 && headers.contains_key(header::TRANSFER_ENCODING);
    http10_chunked.then_some(StatusCode::BAD_REQUEST)
}

/// An `Expect` other than `100-continue`.
pub fn has_unknown_expectation(headers: &HeaderMap) -> bool {
    let known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    headers.get_all(header::EXPECT).iter().any(|value| !known(value))
}

impl RequestFacts {
    pub fn read(request: &Request<Incoming>, peer: SocketAddr) -> Option<Self> {
        let headers = request.headers();
        // A proxy believes the request target before the Host header.
        let named = match request.uri().authority() {
            Some(authority) => authority.as_str().as_bytes(),
            None => headers.get(header::HOST)?.as_bytes(),
        };
        Some(Self {
            host: host_name(named)?,
            request_id: request_id(headers.get(X_REQUEST_ID)),
            forwarded_for: forwarded_for(headers, peer.ip()),
            wants_upgrade: wants_upgrade(request),
        })
    }
}

/// The name without its port, in lower case. `None` for what can't be a host.
fn host_name(host: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(host).ok()?;
    let name = match text.strip_prefix('[') {
        Some(rest) => &text[..rest.find(']')? + 2],
        None => text.split_once(':').map_or(text, |(name, _)| name),
    };
    let port = &text[name.len()..];
    let port_fits = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b);
    if name.is_empty() || name.len() > 255 || !port_fits || !name.bytes().all(fits) {
        return None;
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    Some(name.to_ascii_lowercase())
}

/// The client's id where it has Heroku's form, else a new one.
fn request_id(given: Option<&HeaderValue>) -> HeaderValue {
    let fits = |value: &&HeaderValue| {
        (20..=200).contains(&value.len())
            && value.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"+/=-".contains(b))
    };
    if let Some(given) = given.filter(fits) {
        return given.clone();
    }
    let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let text: &str = id.hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

fn forwarded_for(headers: &HeaderMap, peer: IpAddr) -> HeaderValue {
    let mut list = String::with_capacity(48);
    for value in headers.get_all(X_FORWARDED_FOR) {
        if let Ok(value) = value.to_str()
            && !value.trim().is_empty()
        {
            list.push_str(value);
            list.push_str(", ");
        }
    }
    // Writing to a string can't fail.
    let _ = write!(list, "{}", peer.to_canonical());
    HeaderValue::from_maybe_shared(Bytes::from(list)).unwrap_or(HeaderValue::from_static(""))
}

/// HTTP/2's way to ask for a WebSocket (RFC 8441).
fn is_websocket_stream(request: &Request<Incoming>) -> bool {
    let protocol = request.extensions().get::<hyper::ext::Protocol>();
    request.method() == Method::CONNECT
        && protocol.is_some_and(|protocol| protocol.as_str().eq_ignore_ascii_case("websocket"))
}

fn wants_upgrade(request: &Request<Incoming>) -> bool {
    let headers = request.headers();
    if request.version() == Version::HTTP_2 {
        return is_websocket_stream(request);
    }
    if request.version() != Version::HTTP_11 || !headers.contains_key(header::UPGRADE) {
        return false;
    }
    connection_tokens(headers).any(|token| token.eq_ignore_ascii_case("upgrade"))
}

fn connection_tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::CONNECTION).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(',')).map(str::trim)
}

/// Headers that end at the router or that it sets itself.
fn is_replaced(name: &HeaderName) -> bool {
    if *name == header::HOST {
        return false;
    }
    matches!(
        name.as_str(),
        "connection"
            | "content-length"
            | "expect"
            | "keep-alive"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "via"
            | "x-forwarded-for"
            | "x-forwarded-port"
            | "x-forwarded-proto"
            | "x-request-id"
            | "x-request-start"
    )
}

/// Fields that mean nothing, or something dangerous, behind a body (RFC 9110, 6.5.1).
fn is_no_trailer(name: &HeaderName) -> bool {
    is_replaced(name)
        || matches!(
            name.as_str(),
            "authorization"
                | "cache-control"
                | "content-encoding"
                | "content-range"
                | "content-type"
                | "cookie"
                | "host"
                | "max-forwards"
                | "set-cookie"
        )
}

/// Appends a request's trailers to its last chunk.
pub fn put_trailers(last: &mut Vec<u8>, trailers: &HeaderMap) {
    for (name, value) in trailers.iter().filter(|(name, _)| !is_no_trailer(name)) {
        put(last, name.as_str(), value);
    }
}

/// The request's head as it goes to the dyno, names in title case.
pub fn dyno_head(
    request: &Request<Incoming>,
    facts: &RequestFacts,
    received_millis: i64,
    conn: &ConnState,
) -> Bytes {
    let headers = request.headers();
    let mut head = Vec::with_capacity(1024);
    head.extend_from_slice(dyno_method(request.method()).as_str().as_bytes());
    head.push(b' ');
    match request.uri().path_and_query().map(|path| path.as_str()) {
        Some("") | None => head.push(b'/'),
        Some(path) => {
            if path.starts_with('?') {
                head.push(b'/');
            }
            head.extend_from_slice(path.as_bytes());
        }
    }
    head.extend_from_slice(b" HTTP/1.1\r\n");
    let named: Vec<&str> = connection_tokens(headers)
        .filter(|token| !["close", "keep-alive", "upgrade", "host"].contains(token))
        .collect();
    let is_named =
        |name: &HeaderName| named.iter().any(|token| token.eq_ignore_ascii_case(name.as_str()));
    let is_http2 = request.version() == Version::HTTP_2;
    if is_http2 {
        put_of_http2(&mut head, request, facts);
    }
    for (name, value) in headers {
        if is_http2 && is_put_of_http2(name) {
            continue;
        }
        if is_replaced(name) || (!named.is_empty() && is_named(name)) {
            continue;
        }
        match (name, request.uri().authority()) {
            (&header::HOST, Some(authority)) => put(&mut head, "host", authority.as_str()),
            _ => put(&mut head, name.as_str(), value),
        }
    }
    put_body_framing(&mut head, request);
    if facts.wants_upgrade && !is_http2 {
        put(&mut head, "connection", "Upgrade");
        for value in headers.get_all(header::UPGRADE) {
            put(&mut head, "upgrade", value);
        }
    }
    for via in headers.get_all(header::VIA) {
        put(&mut head, "via", via);
    }
    put(&mut head, "via", if is_http2 { VIA_HTTP2 } else { VIA });
    put(&mut head, "x-forwarded-for", &facts.forwarded_for);
    put(&mut head, "x-forwarded-proto", conn.scheme());
    put_number(&mut head, b"X-Forwarded-Port: ", i64::from(conn.local_port));
    put(&mut head, "x-request-id", &facts.request_id);
    put_number(&mut head, b"X-Request-Start: ", received_millis);
    head.extend_from_slice(b"\r\n");
    Bytes::from(head)
}

/// The method as dynos know it: they know no WebSockets of HTTP/2.
pub fn dyno_method(method: &Method) -> &Method {
    if *method == Method::CONNECT { &Method::GET } else { method }
}

/// What HTTP/2 says otherwise than HTTP/1: the host, cookies one by one, and a WebSocket.
fn put_of_http2(head: &mut Vec<u8>, request: &Request<Incoming>, facts: &RequestFacts) {
    if let Some(authority) = request.uri().authority() {
        put(head, "host", authority.as_str());
    }
    let cookies: Vec<&[u8]> =
        request.headers().get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if !cookies.is_empty() {
        put(head, "cookie", cookies.join(&b"; "[..]));
    }
    if facts.wants_upgrade {
        use base64::Engine as _;
        put(head, "connection", "Upgrade");
        put(head, "upgrade", "websocket");
        let key = base64::prelude::BASE64_STANDARD.encode(rand::random::<[u8; 16]>());
        put(head, "sec-websocket-key", key);
    }
}

fn is_put_of_http2(name: &HeaderName) -> bool {
    [header::HOST, header::COOKIE, header::SEC_WEBSOCKET_KEY].contains(name)
}

/// A dyno's 101 as HTTP/2 has it.
pub fn switch_http2(response: &mut Response<RouterBody>) {
    *response.status_mut() = StatusCode::OK;
    for name in [header::CONNECTION, header::UPGRADE, header::SEC_WEBSOCKET_ACCEPT] {
        response.headers_mut().remove(name);
    }
}

/// Exactly one of length and chunks, whatever the client sent: nothing can be smuggled.
fn put_body_framing(head: &mut Vec<u8>, request: &Request<Incoming>) {
    match request.body().size_hint().exact() {
        Some(0) if !request.headers().contains_key(header::CONTENT_LENGTH) => {}
        Some(length) => {
            put_number(head, b"Content-Length: ", i64::try_from(length).unwrap_or(i64::MAX));
        }
        None => {
            put(head, "transfer-encoding", "chunked");
            for names in request.headers().get_all(header::TRAILER) {
                put(head, "trailer", names);
            }
        }
    }
}

fn put(head: &mut Vec<u8>, name: &str, value: impl AsRef<[u8]>) {
    let from = head.len();
    head.extend_from_slice(name.as_bytes());
    let mut upper = true;
    for byte in &mut head[from..] {
        if upper {
            byte.make_ascii_uppercase();
        }
        upper = *byte == b'-';
    }
    head.extend_from_slice(b": ");
    head.extend_from_slice(value.as_ref());
    head.extend_from_slice(b"\r\n");
}

fn put_number(head: &mut Vec<u8>, name: &[u8], number: i64) {
    head.extend_from_slice(name);
    // Writing to memory can't fail.
    let _ = std::io::Write::write_fmt(head, format_args!("{number}"));
    head.extend_from_slice(b"\r\n");
}

/// Adds what Heroku's router adds to every response.
pub fn mark_response(headers: &mut HeaderMap) {
    headers.append(header::VIA, HeaderValue::from_static(VIA));
    if !headers.contains_key(header::SERVER) {
        headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
    }
}

/// Edits a request's headers in place for the server: what clients say of their address is not
/// passed on.
pub fn edit_for_server(request: &mut Request<Incoming>, facts: &RequestFacts, conn: &ConnState) {
    let named: Vec<HeaderName> = connection_tokens(request.headers())
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| name != header::HOST)
        .collect();
    let upgrade = request.headers().get(header::UPGRADE).cloned();
    let headers = request.headers_mut();
    for name in named {
        headers.remove(name);
    }
    for name in ["connection", "keep-alive", "proxy-connection", "te", "trailer", "expect"] {
        headers.remove(name);
    }
    for name in ["forwarded", "x-real-ip", "upgrade", "x-forwarded-host"] {
        headers.remove(name);
    }
    if let (true, Some(upgrade)) = (facts.wants_upgrade, upgrade) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, upgrade);
    }
    if let Ok(peer) = HeaderValue::from_str(&conn.peer.ip().to_canonical().to_string()) {
        headers.insert(X_FORWARDED_FOR, peer);
    }
    headers.insert("x-forwarded-proto", HeaderValue::from_static(conn.scheme()));
    headers.insert(X_REQUEST_ID, facts.request_id.clone());
    headers.append(header::VIA, HeaderValue::from_static(VIA));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_case_of_a_host_do_not_matter() {
        assert_eq!(host_name(b"Sample.LocalHost:5757").as_deref(), Some("sample.localhost"));
        assert_eq!(host_name(b"[::1]:80").as_deref(), Some("[::1]"));
        assert_eq!(host_name(b"example.com.").as_deref(), Some("example.com"));
        for wrong in ["", "a b", "a/b", "a:b", "[::1", "user@host", "a\"b"] {
            assert_eq!(host_name(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_request_id_of_herokus_form_is_kept() {
        let kept = HeaderValue::from_static("0123456789abcdefghij");
        assert_eq!(request_id(Some(&kept)), kept);
        let short = HeaderValue::from_static("0123");
        assert_eq!(request_id(Some(&short)).len(), 36);
        assert_eq!(request_id(None).len(), 36);
    }
}
