//! What holds for every API request and reply: the version in `Accept`, `Request-Id`, and `ETag`
//! with its 304.

use super::error::reply;
use crate::limits;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// What the reply's `Request-Id` says, for the audit.
#[derive(Clone)]
pub struct RequestId(pub String);

pub async fn conventions(mut request: Request, next: Next) -> Response {
    if !accepted(request.headers()) {
        return reply(
            StatusCode::NOT_ACCEPTABLE,
            "not_acceptable",
            "Specify a version in the Accept header: application/vnd.heroku+json; version=3",
            None,
        );
    }
    if is_foreign(&request) {
        let message = "A browser sent this from a page of another site. Nothing has changed: use a \
                       command line, or a program that gives its token itself.";
        return reply(StatusCode::FORBIDDEN, "forbidden", message, None);
    }
    let is_get = request.method() == Method::GET;
    let id = request_id(request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
    let matches = request.headers().get(header::IF_NONE_MATCH).cloned();
    let mut response = next.run(request).await;
    if is_get && response.status().is_success() {
        response = tagged(response, matches).await;
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("request-id", id);
    }
    response
}

/// Whether another site has a browser change something. It remembers a password that was typed for
/// this host, and sends it along with that site's forms, but says whose they are.
fn is_foreign(request: &Request) -> bool {
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    !reads && site.is_some_and(|site| site != b"same-origin" && site != b"none")
}

/// Any `3.x` is 3; whoever asks for no version of ours gets it as well (browsers, curl).
fn accepted(headers: &HeaderMap) -> bool {
    let Some(accept) = headers.get(header::ACCEPT) else { return true };
    let Ok(accept) = accept.to_str() else { return false };
    let versions: Vec<&str> = accept
        .split(',')
        .filter(|part| part.trim_start().starts_with("application/vnd.heroku+json"))
        .filter_map(|part| part.split(';').find_map(|piece| piece.trim().strip_prefix("version=")))
        .collect();
    versions.is_empty()
        || versions.iter().any(|version| *version == "3" || version.starts_with("3."))
}

/// The ids that the client sent and one of our own, as Heroku answers.
fn request_id(headers: &HeaderMap) -> String {
    let own = uuid::Uuid::new_v4().to_string();
    match headers.get("request-id").and_then(|value| value.to_str().ok()) {
        Some(sent) if sent.len() <= limits::REQUEST_ID_BYTES && !sent.is_empty() => {
            format!("{sent},{own}")
        }
        _ => own,
    }
}

/// Streams have no tag: they never end up in memory whole.
async fn tagged(response: Response, matches: Option<HeaderValue>) -> Response {
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !is_json {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let digest = Sha256::digest(&bytes);
    let tag =
        digest.iter().take(16).fold(String::from("\""), |text, byte| format!("{text}{byte:02x}"))
            + "\"";
    let Ok(tag) = HeaderValue::from_str(&tag) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    let same = matches.is_some_and(|sent| sent.as_bytes() == tag.as_bytes());
    parts.headers.insert(header::ETAG, tag);
    if same {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}
