//! Who may use an app, and what each may do there.

use super::app::{Here, Tab, back, refuse_or_fail};
use super::form::{Act, Fields};
use super::frame::{self, Frame, Place};
use super::guard::On;
use super::signed::Signed;
use super::{Console, Page, State};
use crate::apps::access::{Action, Entry};
use crate::error::Error;
use crate::model::{Collaborator, Permission, Permissions};
use askama::Template;
use axum::extract::{self, Query};
use serde::Deserialize;

struct Row {
    email: String,
    is_owner: bool,
    held: Permissions,
}

#[derive(Template)]
#[template(path = "console/sharing.html", config = "web/askama.toml")]
struct View {
    frame: Frame,
    app: String,
    tab: Here,
    rows: Vec<Row>,
    email: String,
}

impl View {
    /// What is ticked; `view` comes with each.
    fn choices(&self) -> [Permission; 3] {
        [Permission::Deploy, Permission::Operate, Permission::Manage]
    }
}

#[derive(Deserialize)]
pub struct Asked {
    done: Option<String>,
}

fn chosen(fields: &Fields) -> crate::error::Result<Permissions> {
    let mut all = vec![Permission::View];
    for text in fields.all("permission") {
        all.push(Permission::parse(text)?);
    }
    Ok(Permissions::of(&all))
}

pub async fn list(
    extract::State(console): State,
    signed: Signed,
    On(entry): On,
    Query(asked): Query<Asked>,
) -> Page {
    let said = match asked.done.as_deref() {
        Some("saved") => Some("Saved."),
        Some("removed") => Some("Removed: the app is gone from that person's list."),
        _ => None,
    };
    page(&console, &signed, &entry, said, None, "").await
}

async fn page(
    console: &Console,
    signed: &Signed,
    entry: &Entry,
    said: Option<&str>,
    refused: Option<&Error>,
    email: &str,
) -> Page {
    let app = &entry.app;
    let row =
        |one: Collaborator| Row { email: one.email, is_owner: one.is_owner, held: one.permissions };
    let rows = console.platform.access.collaborators(app).await?.into_iter().map(row).collect();
    let title = format!("Access to {}", app.name);
    let view = View {
        frame: Frame::new(title, Place::Apps, signed).saying(said).refusing(refused),
        app: app.name.to_string(),
        tab: Here::at(Tab::Access, entry),
        rows,
        email: email.to_string(),
    };
    frame::render(view.frame.status(), &view)
}

/// Somebody new, or other permissions for somebody who is there.
pub async fn save(
    extract::State(console): State,
    On(entry): On,
    Act { signed, fields }: Act,
) -> Page {
    let (access, app, email) = (&console.platform.access, &entry.app, fields.get("email").trim());
    let saved = async {
        let permissions = chosen(&fields)?;
        match fields.get("is_new") {
            "yes" => access.add_collaborator(app, email, permissions).await,
            _ => access.update_collaborator(app, email, permissions).await,
        }
    };
    match saved.await {
        Ok(_) => back(app, "/access?done=saved"),
        Err(error) => {
            let error = refuse_or_fail(error)?;
            page(&console, &signed, &entry, None, Some(&error), email).await
        }
    }
}

pub async fn remove(
    extract::State(console): State,
    On(entry): On,
    Act { signed, fields }: Act,
) -> Page {
    let access = &console.platform.access;
    match access.remove_collaborator(&entry.app, fields.get("email")).await {
        Ok(_) => back(&entry.app, "/access?done=removed"),
        Err(error) => {
            let error = refuse_or_fail(error)?;
            page(&console, &signed, &entry, None, Some(&error), "").await
        }
    }
}
