//! One's own account: how somebody signs in, where that was done, the tokens that let programs in,
//! and the end of each.

use super::form::Act;
use super::frame::{self, Frame, Place};
use super::oops::Oops;
use super::signed::Signed;
use super::words;
use super::{Page, State};
use crate::apps::sessions::Session;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::limits;
use crate::store::users::Authorization;
use askama::Template;
use axum::extract::{self, Query};
use serde::Deserialize;
use uuid::Uuid;

struct Row {
    id: Uuid,
    browser: &'static str,
    agent: String,
    address: String,
    began: String,
    seen: String,
    is_this: bool,
}

#[derive(Template)]
#[template(path = "console/account.html", config = "web/askama.toml")]
struct View {
    frame: Frame,
    is_admin: bool,
    has_second_factor: bool,
    rows: Vec<Row>,
    tokens: Vec<Token>,
    /// Tokens that there are besides.
    more: usize,
}

struct Token {
    id: Uuid,
    description: String,
    made: String,
    used: Option<String>,
    ends: Option<String>,
}

#[derive(Deserialize)]
pub struct Asked {
    done: Option<String>,
}

pub async fn show(
    extract::State(console): State,
    signed: Signed,
    Query(asked): Query<Asked>,
) -> Page {
    let sessions = console.sessions.of(&signed.caller.user).await?;
    let said = match asked.done.as_deref() {
        Some("ended") => Some("That session is over."),
        Some("others") => Some("All other sessions are over."),
        Some("revoked") => Some("That token is revoked: whatever came in by it is out."),
        Some("second-factor-off") => Some("Your second factor is off."),
        _ => None,
    };
    let rows = sessions.iter().map(|session| row(session, signed.session.id)).collect();
    let frame = Frame::new("Your account", Place::Account, &signed).saying(said);
    let user = &signed.caller.user;
    let access = &console.platform.access;
    let has_second_factor = access.second_factor(user).await?.is_some();
    let mut tokens = access.authorizations(user).await?;
    // What is in use comes first.
    tokens.sort_by_key(|row| std::cmp::Reverse(row.used_at.unwrap_or(row.created_at)));
    let more = tokens.len().saturating_sub(limits::ROWS_PER_PAGE);
    let tokens = tokens.iter().take(limits::ROWS_PER_PAGE).map(token).collect();
    let view = View { frame, is_admin: user.admin, has_second_factor, rows, tokens, more };
    frame::render(view.frame.status(), &view)
}

fn token(row: &Authorization) -> Token {
    let now = Timestamp::now();
    Token {
        id: row.id,
        description: words::visible(&row.description),
        made: words::ago(row.created_at, now),
        used: row.used_at.map(|at| words::ago(at, now)),
        ends: row.expires_at.map(words::date),
    }
}

/// Ends one of the person's tokens.
pub async fn revoke(extract::State(console): State, Act { signed, fields }: Act) -> Page {
    let id = fields.get("authorization").parse::<Uuid>();
    let id = id.map_err(|_| Error::not_found("authorization"))?;
    console.platform.access.revoke(&signed.caller.user, id).await?;
    Err(Oops::go("/console/account?done=revoked"))
}

fn row(session: &Session, this: Uuid) -> Row {
    let now = Timestamp::now();
    Row {
        id: session.id,
        browser: browser(&session.agent),
        agent: words::visible(&session.agent),
        address: session.address.clone(),
        began: words::ago(session.created_at, now),
        seen: words::ago(session.seen_at, now),
        is_this: session.id == this,
    }
}

/// What people call it; the rest of what it says of itself is noise.
fn browser(agent: &str) -> &'static str {
    let known = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ];
    known.iter().find(|(mark, _)| agent.contains(mark)).map_or("A browser", |(_, name)| name)
}

/// Ends the session that is named, or all but this one.
pub async fn end(extract::State(console): State, Act { signed, fields }: Act) -> Page {
    let user = &signed.caller.user;
    let done = match fields.get("session").parse::<Uuid>() {
        Ok(id) => {
            console.sessions.end(user, id).await?;
            "ended"
        }
        Err(_) => {
            console.sessions.end_others(user, signed.session.id).await?;
            "others"
        }
    };
    Err(Oops::Go(format!("/console/account?done={done}")))
}
