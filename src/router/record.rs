//! What is known of one request to an app, and its log line in Heroku's form. A record that is
//! dropped unfinished belongs to a client that went away.

use super::listen::ConnState;
use super::rescue::Code;
use super::shared::Worker;
use super::target::Target;
use crate::clock::Timestamp;
use crate::limits;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Instant;
use uuid::Uuid;

pub struct Record {
    pub worker: Arc<Worker>,
    pub conn: Arc<ConnState>,
    pub app: Uuid,
    pub method: Method,
    pub path: Option<PathAndQuery>,
    pub host: String,
    pub request_id: HeaderValue,
    pub forwarded_for: HeaderValue,
    pub received: Instant,
    /// When the dyno's connection stood.
    pub handed: Option<Instant>,
    /// `connect=` of a request that never got through.
    pub connect_failed: Option<Instant>,
    pub target: Option<Arc<Target>>,
    pub status: u16,
    pub bytes: u64,
    pub written: bool,
    /// It came by HTTP/2.
    pub is_http2: bool,
}

impl Record {
    /// The response went out whole.
    pub fn finish(&mut self, now: Instant) {
        self.write(None, self.status, now);
    }

    pub fn fail(&mut self, code: Code) {
        self.write(Some(code), code.row().status, Instant::now());
    }

    fn write(&mut self, code: Option<Code>, status: u16, now: Instant) {
        if std::mem::replace(&mut self.written, true) {
            return;
        }
        let at = Timestamp::now().0;
        self.worker.ring.push(self.app, at, |text| self.line(text, code, status, now));
    }

    fn line(&self, text: &mut Vec<u8>, code: Option<Code>, status: u16, now: Instant) {
        match code.map(Code::row) {
            None => text.extend_from_slice(b"at=info"),
            Some(row) => {
                if let Some(sock) = row.sock {
                    put(text, b"sock=", sock.as_bytes());
                    text.push(b' ');
                }
                put(text, b"at=", row.at.as_bytes());
                put(text, b" code=", row.code.as_bytes());
                put(text, b" desc=\"", row.desc.as_bytes());
                if let Some(detail) = row.detail {
                    put(text, b": ", detail.as_bytes());
                }
                text.push(b'"');
                if let Some(cause) = row.cause {
                    put(text, b" cause=\"", cause.as_bytes());
                    text.push(b'"');
                }
            }
        }
        put(text, b" method=", self.method.as_str().as_bytes());
        text.extend_from_slice(b" path=\"");
        put_path(text, self.path.as_ref().map_or("/", |path| path.as_str()));
        put(text, b"\" host=", self.host.as_bytes());
        put(text, b" request_id=", self.request_id.as_bytes());
        text.extend_from_slice(b" fwd=\"");
        text.extend(self.forwarded_for.as_bytes().iter().filter(|byte| is_plain(**byte)));
        put(text, b"\" dyno=", self.target.as_ref().map_or(b"", |target| target.dyno.as_bytes()));
        text.extend_from_slice(b" connect=");
        if let Some(until) = self.handed.or(self.connect_failed) {
            put_millis(text, until.duration_since(self.received));
        }
        text.extend_from_slice(b" service=");
        if let Some(handed) = self.handed {
            put_millis(text, now.duration_since(handed));
        }
        // Writing to memory can't fail.
        let _ = write!(text, " status={status} bytes=");
        if self.target.is_some() {
            let _ = write!(text, "{}", self.bytes);
        }
        let protocol: &[u8] = if self.is_http2 { b"http2.0" } else { b"http1.1" };
        put(text, b" protocol=", protocol);
        match &self.conn.secure {
            None => text.extend_from_slice(b" tls=false"),
            Some(secure) => put(text, b" tls=true tls_version=", secure.version.as_bytes()),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.written {
            let stalled = self.conn.stalled.load(Ordering::Relaxed);
            self.fail(if stalled { Code::H28 } else { Code::H27 });
        }
    }
}

fn put(text: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    text.extend_from_slice(key);
    text.extend_from_slice(value);
}

fn put_millis(text: &mut Vec<u8>, span: std::time::Duration) {
    let _ = write!(text, "{}ms", span.as_millis());
}

/// Neither a control character nor one that ends the quotes.
fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != 0x7f && byte != b'"' && byte != b'\\'
}

/// The path percent-decoded, but for what would end the quotes, the line or the encoding.
fn put_path(text: &mut Vec<u8>, path: &str) {
    let path = &path.as_bytes()[..path.len().min(limits::LOG_PATH_BYTES)];
    if !path.contains(&b'%') {
        text.extend(path.iter().filter(|byte| is_plain(**byte)));
        return;
    }
    let decoded: Vec<u8> = percent_encoding::percent_decode(path).collect();
    let keeps_encoding = std::str::from_utf8(&decoded).is_err()
        || !decoded.iter().all(|byte| is_plain(*byte))
        || decoded.len() > limits::LOG_PATH_BYTES;
    let shown = if keeps_encoding { path } else { &decoded };
    text.extend(shown.iter().filter(|byte| is_plain(**byte)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &str) -> String {
        let mut text = Vec::new();
        put_path(&mut text, path);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn paths_are_decoded_unless_that_breaks_the_line() {
        assert_eq!(shown("/posts/1?x=y"), "/posts/1?x=y");
        assert_eq!(shown("/Schlachter%201951/b%C3%BCcher"), "/Schlachter 1951/bücher");
        assert_eq!(shown("/a%22%20status=200"), "/a%22%20status=200");
        assert_eq!(shown("/a%0Aat=info"), "/a%0Aat=info");
        assert_eq!(shown("/%ff"), "/%ff");
    }
}
