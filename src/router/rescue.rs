//! The one table of what can go wrong with a request: Heroku's code, its words, the status and
//! the page that the client sees.

use super::flow::RouterBody;
use super::headers::mark_response;
use super::response_head::HeadFault;
use super::table::App;
use askama::Template;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    H10,
    H11,
    H12,
    H13,
    H14,
    H15,
    H17,
    H18,
    H19,
    H20,
    H21,
    H25(&'static str),
    /// Status and cause.
    H26(u16, &'static str),
    H27,
    H28,
    H32,
    H34,
    H80,
    H81,
}

/// A code's row.
pub struct Row {
    pub sock: Option<&'static str>,
    pub at: &'static str,
    pub code: &'static str,
    pub desc: &'static str,
    /// After the description: `H25`'s is part of it, `H26`'s a key of its own.
    pub detail: Option<&'static str>,
    pub cause: Option<&'static str>,
    pub status: u16,
}

impl Code {
    pub fn row(self) -> Row {
        let row = |at, code, desc, status| Row {
            sock: None,
            at,
            code,
            desc,
            detail: None,
            cause: None,
            status,
        };
        let error = |code, desc| row("error", code, desc, 503);
        match self {
            Self::H10 => error("H10", "App crashed"),
            Self::H11 => error("H11", "Backlog too deep"),
            Self::H12 => error("H12", "Request timeout"),
            Self::H13 => error("H13", "Connection closed without response"),
            Self::H14 => error("H14", "No web processes running"),
            Self::H15 => error("H15", "Idle connection"),
            Self::H17 => error("H17", "Poorly formatted HTTP response"),
            Self::H18 => {
                Row { sock: Some("backend"), ..error("H18", "Server Request Interrupted") }
            }
            Self::H19 => error("H19", "Backend connection timeout"),
            Self::H20 => error("H20", "App boot timeout"),
            Self::H21 => error("H21", "Backend connection refused"),
            Self::H25(detail) => {
                Row { detail: Some(detail), status: 502, ..error("H25", "HTTP restriction") }
            }
            Self::H26(status, cause) => {
                Row { cause: Some(cause), status, ..error("H26", "Request Error") }
            }
            Self::H27 => Row {
                sock: Some("client"),
                ..row("warning", "H27", "Client Request Interrupted", 499)
            },
            Self::H28 => row("warning", "H28", "Client Connection Idle", 499),
            Self::H32 => row("error", "H32", "TLS Certificate Mismatch", 495),
            Self::H34 => error("H34", "All up dynos are quarantined"),
            Self::H80 => row("info", "H80", "Maintenance mode", 503),
            Self::H81 => row("info", "H81", "Blank app", 502),
        }
    }
}

impl From<HeadFault> for Code {
    fn from(fault: HeadFault) -> Self {
        match fault {
            HeadFault::Malformed => Self::H17,
            HeadFault::OversizedStatusLine => Self::H25("oversized status line"),
            HeadFault::OversizedHeader => Self::H25("oversized header"),
            HeadFault::OversizedCookie => Self::H25("oversized cookie"),
            HeadFault::InvalidContentLength => Self::H25("invalid content length"),
        }
    }
}

#[derive(Template)]
#[template(path = "errors/page.html", config = "web/askama.toml")]
struct Page<'a> {
    title: &'a str,
    text: &'a str,
    hint: &'a str,
    command: &'a str,
    frame: Option<&'a str>,
}

/// The page of a failed request.
pub fn respond(code: Code, app: &App) -> Response<RouterBody> {
    let page = match code {
        Code::H80 => Page {
            title: "Offline for Maintenance",
            text: "This application is undergoing maintenance right now. Please check back later.",
            hint: "",
            command: "",
            frame: app.maintenance_page_url.as_deref(),
        },
        Code::H81 => Page {
            title: "Nothing here yet",
            text: "This application has no code yet.",
            hint: "If you are its owner, deploy it with",
            command: "git push senryu main",
            frame: app.error_page_url.as_deref(),
        },
        _ => Page {
            title: "Application error",
            text: "An error occurred in the application and your page could not be served. If \
                   you are the application owner, check your logs for details.",
            hint: "You can do this from the CLI with the command",
            command: "senryu logs --tail",
            frame: app.error_page_url.as_deref(),
        },
    };
    html(code.row().status, &page)
}

/// The page for a host that no app has.
pub fn no_such_app() -> Response<RouterBody> {
    let page = Page {
        title: "No such app",
        text: "There is no app at this address. If you expected one, check the domain's spelling \
               and that the app was not renamed or removed.",
        hint: "",
        command: "",
        frame: None,
    };
    html(404, &page)
}

/// A bare status for requests that are no proper HTTP; the connection closes.
pub fn refuse(status: StatusCode) -> Response<RouterBody> {
    let mut response = Response::new(RouterBody::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    mark_response(response.headers_mut());
    response
}

/// The same address by HTTPS.
pub fn redirect(status: StatusCode, address: HeaderValue) -> Response<RouterBody> {
    let mut response = Response::new(RouterBody::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(header::LOCATION, address);
    mark_response(response.headers_mut());
    response
}

/// What the control host says while the server is away, in the API's form.
pub fn server_away() -> Response<RouterBody> {
    let body = "{\"id\":\"service_unavailable\",\"message\":\"The Senryu server does not answer. \
                It may be restarting: please try again shortly.\"}";
    let mut response = json(StatusCode::SERVICE_UNAVAILABLE, body);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// What it says to whoever comes without TLS over a network, while it has no certificate.
pub fn https_only() -> Response<RouterBody> {
    let body = "{\"id\":\"forbidden\",\"message\":\"From another machine this is reached by HTTPS \
                only, since passwords come this way. There is no certificate for this name yet: \
                senryu doctor, on the server's machine, says why.\"}";
    json(StatusCode::FORBIDDEN, body)
}

fn json(status: StatusCode, body: &'static str) -> Response<RouterBody> {
    let mut response = Response::new(RouterBody::full(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    mark_response(response.headers_mut());
    response
}

fn html(status: u16, page: &Page<'_>) -> Response<RouterBody> {
    let text = page.render().unwrap_or_else(|_| page.title.to_string());
    let mut response = Response::new(RouterBody::full(Bytes::from(text)));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let headers = response.headers_mut();
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, html);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store"));
    mark_response(headers);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_page_url_is_framed_and_escaped() {
        let page = Page {
            title: "Application error",
            text: "",
            hint: "",
            command: "",
            frame: Some("https://example.com/?a=1&b=\"2\""),
        };
        let html = page.render().unwrap();
        assert!(html.contains("<iframe src=\"https://example.com/?a=1&#38;b=&#34;2&#34;\""));
    }
}
