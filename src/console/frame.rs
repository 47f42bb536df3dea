//! What is around every page: title, navigation, who is signed in; and what goes out with each:
//! the headers that keep it from being framed, sniffed or scripted, and packing.

use super::assets;
use super::oops::Oops;
use super::signed::Signed;
use crate::error::{Context, Error};
use crate::limits;
use askama::Template;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

/// Which of the navigation's entries a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Apps,
    Host,
    People,
    Audit,
    Account,
}

/// The frame of one page.
pub struct Frame {
    pub title: String,
    pub place: Place,
    pub css: String,
    pub js: String,
    pub icon: String,
    pub email: String,
    pub is_admin: bool,
    pub token: String,
    /// What was just done, or why it could not be.
    pub said: Option<String>,
    pub refused: Option<String>,
}

impl Frame {
    pub fn new(title: impl Into<String>, place: Place, signed: &Signed) -> Self {
        Self {
            title: title.into(),
            place,
            css: assets::url("console.css"),
            js: assets::url("console.js"),
            icon: assets::url("icon.svg"),
            is_admin: signed.caller.user.admin,
            email: signed.caller.user.email.clone(),
            token: signed.token(),
            said: None,
            refused: None,
        }
    }

    /// The same with the reason why something could not be done.
    pub fn refusing(self, error: Option<&Error>) -> Self {
        Self { refused: error.map(|error| error.public_message().to_string()), ..self }
    }

    pub fn saying(self, said: Option<&str>) -> Self {
        Self { said: said.map(str::to_string), ..self }
    }

    pub fn is_at(&self, place: Place) -> bool {
        self.place == place
    }

    /// 422 where the page says why a form was refused.
    pub fn status(&self) -> StatusCode {
        match self.refused {
            Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
            None => StatusCode::OK,
        }
    }
}

/// A page, rendered.
pub fn render(status: StatusCode, view: &impl Template) -> Result<Response, Oops> {
    let html = view.render().context("render a page")?;
    Ok((status, Html(html)).into_response())
}

/// Nothing but our own files, and nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

pub fn protect(headers: &mut HeaderMap) {
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        // Forms name their origin to us, and other sites learn nothing.
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let private = HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(private);
}

/// Around every page: its headers, and packing where the browser takes that.
pub async fn finish(request: Request, next: Next) -> Response {
    let packs = request
        .headers()
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|list| list.split(',').any(|one| one.trim().starts_with("gzip")));
    let mut response = next.run(request).await;
    protect(response.headers_mut());
    if packs { packed(response).await } else { response }
}

/// Pages and files are in memory whole; streams say no length and are left alone.
async fn packed(response: Response) -> Response {
    use http_body::Body as _;
    let length = response.body().size_hint().exact().unwrap_or(0);
    if length < limits::PACK_BYTES as u64 {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(plain) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut packer = GzEncoder::new(Vec::with_capacity(plain.len() / 3), Compression::fast());
    let Ok(bytes) = packer.write_all(&plain).and_then(|()| packer.finish()) else {
        return Response::from_parts(parts, Body::from(plain));
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    Response::from_parts(parts, Body::from(bytes))
}
