//! Who makes the request: a Bearer token, or Basic with the token as password and any user name.

use super::accept::RequestId;
use super::{Api, Shared};
use crate::apps::sign_in::EntryBy;
use crate::error::{Error, Kind};
use crate::model::Caller;
use crate::origin::{Origin, Via};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The caller, as the route's rule wants it proved.
#[derive(Clone)]
pub struct Auth(pub Caller);

pub fn missing() -> Error {
    Error::new(Kind::Unauthorized, "Invalid credentials provided.")
}

/// User name and password of the Authorization header; a Bearer token has no user name.
fn credentials(headers: &HeaderMap) -> Result<(String, String), Error> {
    let value = headers
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

/// The token of a request that was let in by one.
pub fn token(headers: &HeaderMap) -> Option<String> {
    credentials(headers).ok().map(|(_, token)| token)
}

pub async fn by_token(parts: &Parts, api: &Api) -> Result<Caller, Error> {
    let (_, token) = credentials(&parts.headers)?;
    api.access.by_token(&token).await
}

/// Heroku's header for the code of a second factor.
const CODE: &str = "heroku-two-factor-code";

fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whence somebody comes who has not proved who they are.
fn stranger(parts: &Parts) -> Origin {
    let agent = header(parts, header::USER_AGENT.as_str()).unwrap_or_default();
    Origin {
        request: parts.extensions.get::<RequestId>().map(|id| id.0.clone()),
        ..Origin::stranger(Via::of_agent(agent), &parts.headers)
    }
}

/// By a token, or by e-mail and password, and the code of a second factor.
pub async fn by_login(parts: &Parts, api: &Api, entry: EntryBy) -> Result<Caller, Error> {
    let (user, password) = credentials(&parts.headers)?;
    match api.access.by_token(&password).await {
        Err(error) if error.kind() == Kind::Unauthorized && !user.is_empty() => {
            let (code, from) = (header(parts, CODE), stranger(parts));
            api.access.sign_in(&user, &password, code, entry, &from).await
        }
        other => other,
    }
}

/// The state, where a handler is written as a function of it.
pub type State = Shared;
