//! Who makes the request: a Bearer token, or Basic with the token as password and any user name.

use super::error::ApiError;
use super::{Api, Shared};
use crate::error::{Error, Kind};
use crate::model::Caller;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::sync::Arc;

/// The caller, proved by a token.
pub struct Auth(pub Caller);

/// The caller, proved by a token or by e-mail and password: for making tokens only.
pub struct PasswordAuth(pub Caller);

pub fn missing() -> Error {
    Error::new(Kind::Unauthorized, "Invalid credentials provided.")
}

/// User name and password of the Authorization header; a Bearer token has no user name.
fn credentials(parts: &Parts) -> Result<(String, String), Error> {
    let value = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(missing)?;
    let (scheme, rest) = value.split_once(' ').ok_or_else(missing)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok((String::new(), rest.trim().to_string()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(missing());
    }
    let bytes = BASE64.decode(rest.trim()).map_err(|_| missing())?;
    let text = String::from_utf8(bytes).map_err(|_| missing())?;
    let (user, password) = text.split_once(':').ok_or_else(missing)?;
    Ok((user.to_string(), password.to_string()))
}

impl FromRequestParts<Arc<Api>> for Auth {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        let (_, token) = credentials(parts)?;
        Ok(Self(api.access.by_token(&token).await?))
    }
}

impl FromRequestParts<Arc<Api>> for PasswordAuth {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        let (user, password) = credentials(parts)?;
        let by_token = api.access.by_token(&password).await;
        match by_token {
            Err(error) if error.kind() == Kind::Unauthorized && !user.is_empty() => {
                Ok(Self(api.access.by_password(&user, &password).await?))
            }
            other => Ok(Self(other?)),
        }
    }
}

/// The state, where a handler is written as a function of it.
pub type State = Shared;
