//! The platform's people, for admins: who there is, somebody new, somebody gone.

use super::form::Act;
use super::frame::{self, Frame, Place};
use super::oops::{Oops, refused};
use super::signed::Signed;
use super::words;
use super::{Console, Page, State};
use crate::clock::Timestamp;
use crate::error::Error;
use askama::Template;
use axum::extract::{self, Query};
use serde::Deserialize;

struct Row {
    id: String,
    email: String,
    is_admin: bool,
    since: String,
    is_self: bool,
    has_second_factor: bool,
}

#[derive(Template)]
#[template(path = "console/people.html", config = "web/askama.toml")]
struct View {
    frame: Frame,
    rows: Vec<Row>,
    /// Somebody who was just made, and the password, which is shown this once.
    made: Option<(String, String)>,
    email: String,
}

#[derive(Deserialize)]
pub struct Asked {
    done: Option<String>,
}

pub async fn list(
    extract::State(console): State,
    signed: Signed,
    Query(asked): Query<Asked>,
) -> Page {
    let said = match asked.done.as_deref() {
        Some("removed") => Some("Removed, with all sessions and tokens."),
        Some("second-factor") => Some("The second factor is off: the password suffices now."),
        _ => None,
    };
    page(&console, &signed, said, None, None, "").await
}

async fn page(
    console: &Console,
    signed: &Signed,
    said: Option<&str>,
    refused: Option<&Error>,
    made: Option<(String, String)>,
    email: &str,
) -> Page {
    let now = Timestamp::now();
    let users = console.platform.access.users().await?;
    let with = console.platform.access.with_second_factor().await?;
    let rows = users.iter().map(|user| Row {
        id: user.id.to_string(),
        email: user.email.clone(),
        is_admin: user.admin,
        since: words::ago(user.created_at, now),
        is_self: user.id == signed.caller.user.id,
        has_second_factor: with.contains(&user.id),
    });
    let rows = rows.collect();
    let frame = Frame::new("People", Place::People, signed).saying(said).refusing(refused);
    let view = View { frame, rows, made, email: email.to_string() };
    frame::render(view.frame.status(), &view)
}

/// The page itself shows the password: it is kept nowhere, so no other page could.
pub async fn create(extract::State(console): State, Act { signed, fields }: Act) -> Page {
    let (email, admin) = (fields.get("email").trim(), fields.get("admin") == "yes");
    let created = console.platform.access.create_user(email, admin).await;
    let created = created.and_then(|(user, password)| match password {
        Some(password) => Ok((user.email, password)),
        None => Err(Error::invalid(format!("{} is here already.", user.email))),
    });
    match refused(created)? {
        Ok(made) => page(&console, &signed, None, None, Some(made), "").await,
        Err(error) => page(&console, &signed, None, Some(&error), None, email).await,
    }
}

/// Apps of somebody who goes come to the admin who says so.
pub async fn remove(extract::State(console): State, Act { signed, fields }: Act) -> Page {
    let access = &console.platform.access;
    let removed = async {
        let user = access.user(fields.get("user")).await?;
        if user.id == signed.caller.user.id {
            return Err(Error::invalid("You cannot remove yourself: another admin can."));
        }
        access.remove_user(&user, Some(&signed.caller.user)).await
    };
    match refused(removed.await)? {
        Ok(()) => Err(Oops::go("/console/people?done=removed")),
        Err(error) => page(&console, &signed, None, Some(&error), None, "").await,
    }
}

/// For somebody whose phone is gone, and the recovery codes too. One's own is switched off with
/// password and code only.
pub async fn remove_second_factor(
    extract::State(console): State,
    Act { signed, fields }: Act,
) -> Page {
    let access = &console.platform.access;
    let removed = async {
        let user = access.user(fields.get("user")).await?;
        if user.id == signed.caller.user.id {
            return Err(Error::invalid("Your own second factor is on your account's page."));
        }
        access.remove_second_factor(&user).await
    };
    match refused(removed.await)? {
        Ok(()) => Err(Oops::go("/console/people?done=second-factor")),
        Err(error) => page(&console, &signed, None, Some(&error), None, "").await,
    }
}
