//! What is not a page: an error in the console's look, or the way to another page.

use super::assets;
use crate::error::{Error, Kind};
use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// An error on its way out, or a redirection.
pub enum Oops {
    Error(Error),
    Go(String),
}

impl Oops {
    /// To the sign-in, and from there back to where somebody wanted to go.
    pub fn sign_in(back: &str) -> Self {
        if back.is_empty() || back == "/console/apps" {
            return Self::go("/console/sign-in");
        }
        Self::Go(format!("/console/sign-in?to={}", utf8_percent_encode(back, NON_ALPHANUMERIC)))
    }

    pub fn go(to: &str) -> Self {
        Self::Go(to.to_string())
    }
}

impl<E: Into<Error>> From<E> for Oops {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// Whether a page that has a form can show it beside the form: what was asked for cannot be, but
/// the page itself is fine.
fn belongs_on_the_page(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::InvalidParams
            | Kind::Conflict
            | Kind::NotFound
            | Kind::Unavailable
            | Kind::RateLimit
            | Kind::ConfirmationRequired
            | Kind::TwoFactor
    )
}

/// What became of something; an error that does not belong on the page is the page.
pub fn refused<T>(result: Result<T, Error>) -> Result<Result<T, Error>, Oops> {
    match result {
        Err(error) if !belongs_on_the_page(&error) => Err(error.into()),
        result => Ok(result),
    }
}

#[derive(Template)]
#[template(path = "console/oops.html", config = "web/askama.toml")]
struct View<'a> {
    css: String,
    icon: String,
    title: &'a str,
    text: &'a str,
}

fn page(status: StatusCode, title: &str, text: &str) -> Response {
    let view = View { css: assets::url("console.css"), icon: assets::url("icon.svg"), title, text };
    let html = view.render().unwrap_or_else(|_| title.to_string());
    (status, Html(html)).into_response()
}

impl IntoResponse for Oops {
    fn into_response(self) -> Response {
        let error = match self {
            Self::Error(error) => error,
            Self::Go(to) => return Redirect::to(&to).into_response(),
        };
        let (status, title) = match error.kind() {
            Kind::BadRequest | Kind::Range => (StatusCode::BAD_REQUEST, "That was not readable"),
            Kind::Unauthorized | Kind::Forbidden | Kind::PasswordChange => {
                (StatusCode::FORBIDDEN, "Not allowed")
            }
            Kind::NotFound => (StatusCode::NOT_FOUND, "Not found"),
            Kind::Conflict => (StatusCode::CONFLICT, "Not now"),
            Kind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Too large"),
            Kind::InvalidParams | Kind::ConfirmationRequired | Kind::TwoFactor => {
                (StatusCode::UNPROCESSABLE_ENTITY, "That is not possible")
            }
            Kind::RateLimit => (StatusCode::TOO_MANY_REQUESTS, "Too many attempts"),
            Kind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Not now"),
            Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong"),
        };
        if status.is_server_error() {
            tracing::error!(error = error.chain(), "a page failed");
        }
        page(status, title, error.public_message())
    }
}

/// An address that is no page's.
pub async fn no_page() -> Response {
    page(StatusCode::NOT_FOUND, "Not found", "There is no such page in this console.")
}

/// A page that panicked tells no more than any fault of ours.
pub fn panicked(_: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let oops = Oops::from(Error::internal("a page panicked", "see the panic above"));
    let mut response = oops.into_response();
    super::frame::protect(response.headers_mut());
    response
}
