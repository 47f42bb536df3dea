//! The one place where an error becomes a reply: Heroku's `id` and `message`, and the status.

use crate::error::{Error, Kind};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

pub type Result<T = Response> = std::result::Result<T, ApiError>;

/// An error on its way out.
pub struct ApiError(pub Error);

impl<E: Into<Error>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// The whole table of what a client may see.
fn status_and_id(kind: Kind) -> (StatusCode, &'static str) {
    match kind {
        Kind::BadRequest => (StatusCode::BAD_REQUEST, "bad_request"),
        Kind::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
        Kind::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
        Kind::TwoFactor => (StatusCode::FORBIDDEN, "two_factor"),
        Kind::PasswordChange => (StatusCode::FORBIDDEN, "password_change_required"),
        Kind::NotFound => (StatusCode::NOT_FOUND, "not_found"),
        Kind::Conflict => (StatusCode::CONFLICT, "conflict"),
        Kind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large"),
        Kind::Range => (StatusCode::RANGE_NOT_SATISFIABLE, "requested_range_not_satisfiable"),
        Kind::InvalidParams => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_params"),
        Kind::ConfirmationRequired => (StatusCode::LOCKED, "confirmation_required"),
        Kind::RateLimit => (StatusCode::TOO_MANY_REQUESTS, "rate_limit"),
        Kind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable"),
        Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal_server_error"),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, id) = status_and_id(self.0.kind());
        if status.is_server_error() {
            tracing::error!(error = self.0.chain(), "a request failed");
        }
        let mut response = reply(status, id, self.0.public_message(), self.0.resource());
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"Senryu\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

pub fn reply(
    status: StatusCode,
    id: &str,
    message: &str,
    resource: Option<&'static str>,
) -> Response {
    let mut body = json!({ "id": id, "message": message });
    if let Some(resource) = resource {
        body["resource"] = json!(resource);
    }
    (status, axum::Json(body)).into_response()
}

/// A path or method that is not in the table.
pub async fn no_route() -> Response {
    reply(
        StatusCode::NOT_FOUND,
        "not_found",
        "The requested API endpoint was not found. Check the path and the HTTP method.",
        None,
    )
}

/// A handler that panicked: the client learns no more than from any fault of ours.
pub fn panicked(_: Box<dyn std::any::Any + Send + 'static>) -> Response {
    ApiError(Error::internal("a handler panicked", "see the panic above")).into_response()
}
