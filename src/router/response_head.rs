//! Reads a dyno's response head: status, headers without the hop-by-hop ones, and how the body
//! is framed. What breaks a limit or the grammar becomes H25 or H17.

use crate::limits;
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use httparse::Status;

/// Headers that nearly all responses stay below; more are parsed on the heap.
const USUAL_HEADERS: usize = 64;

#[derive(Debug)]
pub struct ResponseHead {
    pub status: StatusCode,
    /// Only one that differs from the standard words.
    pub reason: Option<Bytes>,
    pub headers: HeaderMap,
    pub framing: Framing,
    pub keep_alive: bool,
}

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadFault {
    Malformed,
    OversizedStatusLine,
    OversizedHeader,
    OversizedCookie,
    InvalidContentLength,
}

#[derive(Clone, Copy, Default)]
struct Span {
    name: (usize, usize),
    value: (usize, usize),
}

/// Takes a complete head off `buffer`, or nothing while it is incomplete.
pub fn parse(
    buffer: &mut BytesMut,
    request_method: &Method,
) -> Result<Option<ResponseHead>, HeadFault> {
    let mut headers = [httparse::EMPTY_HEADER; USUAL_HEADERS];
    let mut spans = [Span::default(); USUAL_HEADERS];
    let located = match locate(buffer, &mut headers, &mut spans) {
        Err(httparse::Error::TooManyHeaders) => {
            let mut headers = vec![httparse::EMPTY_HEADER; limits::HEADER_COUNT];
            let mut spans = vec![Span::default(); limits::HEADER_COUNT];
            let located = locate(buffer, &mut headers, &mut spans);
            drop(headers);
            return finish(buffer, located, &spans, request_method);
        }
        located => located,
    };
    finish(buffer, located, &spans, request_method)
}

struct Located {
    length: usize,
    count: usize,
    version: u8,
    code: u16,
    reason: (usize, usize),
}

/// Finds where everything lies, so that the buffer can be split before it is read.
fn locate<'b>(
    buffer: &'b [u8],
    headers: &mut [httparse::Header<'b>],
    spans: &mut [Span],
) -> Result<Option<Located>, httparse::Error> {
    let mut response = httparse::Response::new(headers);
    let Status::Complete(length) = response.parse(buffer)? else { return Ok(None) };
    let base = buffer.as_ptr() as usize;
    let span = |text: &[u8]| {
        let from = (text.as_ptr() as usize).wrapping_sub(base);
        if from > buffer.len() { (0, 0) } else { (from, from + text.len()) }
    };
    for (header, place) in response.headers.iter().zip(spans.iter_mut()) {
        *place = Span { name: span(header.name.as_bytes()), value: span(header.value) };
    }
    Ok(Some(Located {
        length,
        count: response.headers.len(),
        version: response.version.unwrap_or(1),
        code: response.code.unwrap_or(0),
        reason: span(response.reason.unwrap_or("").as_bytes()),
    }))
}

fn finish(
    buffer: &mut BytesMut,
    located: Result<Option<Located>, httparse::Error>,
    spans: &[Span],
    request_method: &Method,
) -> Result<Option<ResponseHead>, HeadFault> {
    let located = match located {
        Ok(Some(located)) => located,
        Ok(None) => return incomplete(buffer),
        Err(_) => return Err(HeadFault::Malformed),
    };
    let bytes = buffer.split_to(located.length).freeze();
    let status = StatusCode::from_u16(located.code).map_err(|_| HeadFault::Malformed)?;
    let reason = &bytes[located.reason.0..located.reason.1];
    if reason.len() > limits::RESPONSE_LINE_BYTES {
        return Err(HeadFault::OversizedStatusLine);
    }
    let usual = status.canonical_reason().unwrap_or("").as_bytes();
    let reason = (reason != usual && !reason.is_empty()).then(|| bytes.slice_ref(reason));
    let mut reader = Reader::new(located.count, located.version);
    for span in &spans[..located.count] {
        reader.header(&bytes, *span)?;
    }
    let framing = reader.framing(status, request_method);
    let keep_alive = reader.keep_alive;
    Ok(Some(ResponseHead { status, reason, headers: reader.end(status), framing, keep_alive }))
}

fn incomplete(buffer: &BytesMut) -> Result<Option<ResponseHead>, HeadFault> {
    if buffer.len() >= limits::RESPONSE_HEAD_BYTES {
        return Err(HeadFault::OversizedHeader);
    }
    let in_status_line = buffer.len() > limits::RESPONSE_LINE_BYTES
        && !buffer[..limits::RESPONSE_LINE_BYTES].contains(&b'\n');
    if in_status_line { Err(HeadFault::OversizedStatusLine) } else { Ok(None) }
}

/// Collects headers, and apart from them what they say about the connection.
struct Reader {
    headers: HeaderMap,
    keep_alive: bool,
    length: Option<u64>,
    chunked: Option<bool>,
    upgrade: Option<HeaderValue>,
    named_by_connection: Vec<HeaderName>,
}

impl Reader {
    fn new(count: usize, version: u8) -> Self {
        Self {
            headers: HeaderMap::with_capacity(count + 3),
            keep_alive: version == 1,
            length: None,
            chunked: None,
            upgrade: None,
            named_by_connection: Vec::new(),
        }
    }

    fn header(&mut self, bytes: &Bytes, span: Span) -> Result<(), HeadFault> {
        let name = HeaderName::from_bytes(&bytes[span.name.0..span.name.1])
            .map_err(|_| HeadFault::Malformed)?;
        let value = bytes.slice(span.value.0..span.value.1);
        if value.len() > limits::RESPONSE_LINE_BYTES {
            if name == header::SET_COOKIE {
                return Err(HeadFault::OversizedCookie);
            }
            if value.len() > limits::RESPONSE_HEADER_BYTES {
                return Err(HeadFault::OversizedHeader);
            }
        }
        if name == header::CONTENT_LENGTH {
            let length = parse_length(&value).ok_or(HeadFault::InvalidContentLength)?;
            return match self.length.replace(length) {
                Some(other) if other != length => Err(HeadFault::InvalidContentLength),
                _ => Ok(()),
            };
        }
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| HeadFault::Malformed)?;
        match name {
            header::CONNECTION => self.connection(&value),
            header::TRANSFER_ENCODING => {
                let last = value.as_bytes().rsplit(|byte| *byte == b',').next().unwrap_or(b"");
                self.chunked = Some(last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
            }
            header::UPGRADE => self.upgrade = Some(value),
            header::TE => {}
            _ if matches!(name.as_str(), "keep-alive" | "proxy-connection") => {}
            _ => {
                self.headers.append(name, value);
            }
        }
        Ok(())
    }

    fn connection(&mut self, value: &HeaderValue) {
        for token in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if token.eq_ignore_ascii_case(b"close") {
                self.keep_alive = false;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if let Ok(name) = HeaderName::from_bytes(token) {
                self.named_by_connection.push(name);
            }
        }
    }

    fn framing(&self, status: StatusCode, request_method: &Method) -> Framing {
        let bodiless = status.is_informational()
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED
            || request_method == Method::HEAD;
        match (self.chunked, self.length) {
            _ if bodiless => Framing::None,
            (Some(true), _) => Framing::Chunked,
            (Some(false), _) => Framing::UntilClose,
            (None, Some(length)) => Framing::Length(length),
            (None, None) => Framing::UntilClose,
        }
    }

    fn end(mut self, status: StatusCode) -> HeaderMap {
        for name in &self.named_by_connection {
            self.headers.remove(name);
        }
        if let (None, Some(length)) = (self.chunked, self.length) {
            self.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        if let (StatusCode::SWITCHING_PROTOCOLS, Some(upgrade)) = (status, self.upgrade) {
            self.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            self.headers.insert(header::UPGRADE, upgrade);
        }
        self.headers
    }
}

fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<ResponseHead, HeadFault> {
        let mut buffer = BytesMut::from(text);
        parse(&mut buffer, &Method::GET).map(|head| head.expect("complete"))
    }

    #[test]
    fn hop_by_hop_headers_go_and_the_rest_stays() {
        let text = "HTTP/1.1 200 OK\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
                    Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 3\r\n\r\nabc";
        let head = head(text).unwrap();
        assert!(!head.keep_alive);
        assert_eq!(head.framing, Framing::Length(3));
        assert_eq!(head.headers.get_all("set-cookie").iter().count(), 2);
        assert_eq!(head.headers.len(), 3);
        assert!(head.reason.is_none());
    }

    #[test]
    fn chunked_beats_a_length_and_unequal_lengths_are_refused() {
        let both = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n";
        let head_both = head(both).unwrap();
        assert_eq!(head_both.framing, Framing::Chunked);
        assert!(head_both.headers.is_empty());
        let unequal = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 8\r\n\r\n";
        assert_eq!(head(unequal).unwrap_err(), HeadFault::InvalidContentLength);
        let signed = "HTTP/1.1 200 OK\r\nContent-Length: +9\r\n\r\n";
        assert_eq!(head(signed).unwrap_err(), HeadFault::InvalidContentLength);
    }

    #[test]
    fn limits_of_h25_hold() {
        let cookie = format!("HTTP/1.1 200 OK\r\nSet-Cookie: {}\r\n\r\n", "x".repeat(8193));
        assert_eq!(head(&cookie).unwrap_err(), HeadFault::OversizedCookie);
        let line = format!("HTTP/1.1 200 {}\r\n\r\n", "x".repeat(8193));
        assert_eq!(head(&line).unwrap_err(), HeadFault::OversizedStatusLine);
        let header = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(512 * 1024 + 1));
        assert_eq!(head(&header).unwrap_err(), HeadFault::OversizedHeader);
        assert_eq!(head("hello\r\n\r\n").unwrap_err(), HeadFault::Malformed);
        let many = "X-A: 1\r\n".repeat(999);
        assert_eq!(head(&format!("HTTP/1.1 200 OK\r\n{many}\r\n")).unwrap().headers.len(), 999);
    }

    #[test]
    fn a_reason_of_its_own_is_kept() {
        assert_eq!(&head("HTTP/1.1 200 Fine\r\n\r\n").unwrap().reason.unwrap()[..], b"Fine");
    }
}
