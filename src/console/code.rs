//! The second step of signing in, where the account has a second factor: the code, on a page of
//! its own. That the password was right is in a cookie, which only we can read.

use super::cookie::{self, Which};
use super::form::Open;
use super::oops::{Oops, refused};
use super::sign_in::{Asked, Step, open, own_page, sent};
use super::{Console, Page, State, assets, frame, signed};
use crate::error::Result;
use crate::model::User;
use askama::Template;
use axum::extract::{self, Query};
use axum::http::HeaderMap;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

#[derive(Template)]
#[template(path = "console/code.html", config = "web/askama.toml")]
struct View {
    css: String,
    icon: String,
    step: Step,
}

/// The page, for somebody who then goes on to another.
pub fn address(to: &str) -> String {
    format!("/console/sign-in/code?to={}", utf8_percent_encode(to, NON_ALPHANUMERIC))
}

/// Whose password was right, a moment ago.
async fn half(console: &Console, headers: &HeaderMap) -> Result<Option<User>> {
    match cookie::value(headers, Which::Half) {
        Some(sealed) => console.platform.access.half(sealed).await,
        None => Ok(None),
    }
}

pub async fn show(
    extract::State(console): State,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Page {
    match half(&console, &headers).await? {
        Some(user) => form(Step::new(None, &user.email, &asked.to)),
        None => Err(Oops::sign_in(own_page(&asked.to))),
    }
}

fn form(step: Step) -> Page {
    let view = View { css: assets::url("console.css"), icon: assets::url("icon.svg"), step };
    frame::render(view.step.status, &view)
}

pub async fn enter(extract::State(console): State, Open { fields, headers }: Open) -> Page {
    let to = own_page(fields.get("to"));
    let Some(user) = half(&console, &headers).await? else { return Err(Oops::sign_in(to)) };
    let from = signed::from(&headers);
    match refused(console.platform.access.check_code(&user, fields.get("code"), &from).await)? {
        Ok(proof) => {
            let session = open(&console, &user, Some(proof), &headers).await?;
            Ok(sent(to, [session, cookie::clear(&headers, Which::Half)]))
        }
        Err(error) => form(Step::new(Some(&error), &user.email, to)),
    }
}
