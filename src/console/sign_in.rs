//! Signing in, with e-mail and password, and out. Each sign-in makes a new session, whatever the
//! browser brought along.

use super::form::{Act, Open};
use super::oops::{Oops, belongs_on_the_page};
use super::signed::{Signed, address};
use super::{Console, Page, State, assets, cookie, frame};
use crate::error::{Error, Kind};
use askama::Template;
use axum::extract::{self, Query, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

#[derive(Template)]
#[template(path = "console/sign_in.html", config = "web/askama.toml")]
struct View {
    css: String,
    icon: String,
    refused: Option<String>,
    email: String,
    to: String,
}

#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    to: String,
}

pub async fn show(
    extract::State(console): State,
    Query(asked): Query<Asked>,
    request: Request,
) -> Page {
    let (parts, _) = request.into_parts();
    if Signed::read(&parts, &console).await?.is_some() {
        return Err(Oops::go("/console/apps"));
    }
    form(None, "", &asked.to)
}

fn form(refused: Option<&Error>, email: &str, to: &str) -> Page {
    let status = match refused.map(Error::kind) {
        None => StatusCode::OK,
        Some(Kind::RateLimit) => StatusCode::TOO_MANY_REQUESTS,
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let view = View {
        css: assets::url("console.css"),
        icon: assets::url("icon.svg"),
        refused: refused.map(|error| error.public_message().to_string()),
        email: email.to_string(),
        to: to.to_string(),
    };
    frame::render(status, &view)
}

pub async fn enter(extract::State(console): State, Open { fields, headers }: Open) -> Page {
    let (email, to) = (fields.get("email").trim(), fields.get("to"));
    match proved(&console, email, fields.get("password"), &headers).await {
        Ok(response) => Ok(response_to(response, to)),
        Err(error) if belongs_on_the_page(&error) => form(Some(&error), email, to),
        Err(error) => Err(error.into()),
    }
}

/// The cookie of a new session, for somebody who knows the password.
async fn proved(
    console: &Console,
    email: &str,
    password: &str,
    headers: &HeaderMap,
) -> crate::error::Result<axum::http::HeaderValue> {
    let from = address(headers);
    let caller = console.platform.access.by_password(email, password, &from).await;
    let caller = caller.map_err(|error| match error.kind() {
        Kind::Unauthorized => Error::invalid("E-mail or password is not right."),
        _ => error,
    })?;
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let agent = agent.unwrap_or_default();
    let secret = console.sessions.open(&caller.user, &from, agent).await?;
    Ok(cookie::set(headers, &secret))
}

fn response_to(cookie: axum::http::HeaderValue, to: &str) -> Response {
    let mut response = Redirect::to(own_page(to)).into_response();
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}

/// Only to pages of ours: the address came with the form.
fn own_page(to: &str) -> &str {
    let plain = to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if to.starts_with("/console/") && plain { to } else { "/console/apps" }
}

pub async fn leave(
    extract::State(console): State,
    headers: HeaderMap,
    Act { signed, .. }: Act,
) -> Page {
    // A session that has just ended elsewhere is as good.
    let _ = console.sessions.end(&signed.caller.user, signed.session.id).await;
    let mut response = Redirect::to("/console/sign-in").into_response();
    response.headers_mut().insert(header::SET_COOKIE, cookie::clear(&headers));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::own_page;

    #[test]
    fn nobody_is_led_elsewhere_after_signing_in() {
        assert_eq!(own_page("/console/apps/shop?q=1"), "/console/apps/shop?q=1");
        for strange in ["", "//evil.example", "https://evil.example", "/\\evil", "/console/\r\nx"] {
            assert_eq!(own_page(strange), "/console/apps", "{strange:?}");
        }
    }
}
