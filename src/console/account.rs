//! One's own account: how somebody signs in, where that was done, and the end of that.

use super::form::Act;
use super::frame::{self, Frame, Place};
use super::oops::Oops;
use super::signed::Signed;
use super::words;
use super::{Page, State};
use crate::apps::sessions::Session;
use crate::clock::Timestamp;
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
        Some("second-factor-off") => Some("Your second factor is off."),
        _ => None,
    };
    let rows = sessions.iter().map(|session| row(session, signed.session.id)).collect();
    let frame = Frame::new("Your account", Place::Account, &signed).saying(said);
    let user = &signed.caller.user;
    let has_second_factor = console.platform.access.second_factor(user).await?.is_some();
    let view = View { frame, is_admin: user.admin, has_second_factor, rows };
    frame::render(view.frame.status(), &view)
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
