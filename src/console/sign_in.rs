//! Signing in, with e-mail and password, and out; where there is a second factor, `code.rs` comes
//! between. Each sign-in makes a new session, whatever the browser brought along.

use super::cookie::{self, Which};
use super::form::{Act, Open};
use super::oops::{Oops, refused};
use super::signed::{self, Signed};
use super::{Console, Page, State, assets, code, frame};
use crate::apps::second_factor::Proof;
use crate::error::{Error, Kind, Result};
use crate::model::User;
use askama::Template;
use axum::extract::{self, Query, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

#[derive(Template)]
#[template(path = "console/sign_in.html", config = "web/askama.toml")]
struct View {
    css: String,
    icon: String,
    step: Step,
}

/// What the page of a step of signing in shows, and where it leads.
pub struct Step {
    pub refused: Option<String>,
    pub email: String,
    pub to: String,
    pub status: StatusCode,
}

impl Step {
    pub fn new(refused: Option<&Error>, email: &str, to: &str) -> Self {
        Self {
            refused: refused.map(|error| error.public_message().to_string()),
            email: email.to_string(),
            to: to.to_string(),
            status: match refused.map(Error::kind) {
                None => StatusCode::OK,
                Some(Kind::RateLimit) => StatusCode::TOO_MANY_REQUESTS,
                Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
            },
        }
    }
}

#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    pub to: String,
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
    form(Step::new(None, "", &asked.to))
}

fn form(step: Step) -> Page {
    let view = View { css: assets::url("console.css"), icon: assets::url("icon.svg"), step };
    frame::render(view.step.status, &view)
}

pub async fn enter(extract::State(console): State, Open { fields, headers }: Open) -> Page {
    let (email, to) = (fields.get("email").trim(), own_page(fields.get("to")));
    match refused(proved(&console, email, fields.get("password"), &headers).await)? {
        Ok((cookie, true)) => Ok(sent(to, [cookie])),
        Ok((cookie, false)) => Ok(sent(&code::address(to), [cookie])),
        Err(error) => form(Step::new(Some(&error), email, to)),
    }
}

/// The cookie of somebody who knows the password: of a new session, or, where there is a second
/// factor, of half a sign-in.
async fn proved(
    console: &Console,
    email: &str,
    password: &str,
    headers: &HeaderMap,
) -> Result<(HeaderValue, bool)> {
    let access = &console.platform.access;
    let user = access.by_password(email, password, &signed::from(headers)).await;
    let user = user.map_err(|error| match error.kind() {
        Kind::Unauthorized => Error::invalid("E-mail or password is not right."),
        _ => error,
    })?;
    match access.second_factor(&user).await? {
        None => Ok((open(console, &user, None, headers).await?, true)),
        Some(_) => {
            let half = access.half_in(&user).await?;
            Ok((cookie::set(headers, Which::Half, &half), false))
        }
    }
}

/// Begins a session: its cookie.
pub async fn open(
    console: &Console,
    user: &User,
    proof: Option<Proof>,
    headers: &HeaderMap,
) -> Result<HeaderValue> {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let (from, agent) = (signed::from(headers), agent.unwrap_or_default());
    let secret = console.sessions.open(user, proof, &from, agent).await?;
    Ok(cookie::set(headers, Which::Session, &secret))
}

/// To another page, with cookies.
pub fn sent(to: &str, cookies: impl IntoIterator<Item = HeaderValue>) -> Response {
    let mut response = Redirect::to(to).into_response();
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// Only to pages of ours: the address came with the form.
pub fn own_page(to: &str) -> &str {
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
    Ok(sent("/console/sign-in", [cookie::clear(&headers, Which::Session)]))
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
