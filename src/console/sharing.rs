//! Who may use an app, and what each may do there.

use super::Page;
use super::at::{At, Done, FormAt, Note};
use super::form::Fields;
use super::frame::{self, Frame, Place};
use super::oops::refused;
use super::tab::{Here, Tab};
use crate::apps::access::Action;
use crate::error::Result;
use crate::model::{Collaborator, Permission, Permissions};
use askama::Template;
use axum::extract::Query;

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

fn chosen(fields: &Fields) -> Result<Permissions> {
    let mut all = vec![Permission::View];
    for text in fields.all("permission") {
        all.push(Permission::parse(text)?);
    }
    Ok(Permissions::of(&all))
}

pub async fn list(at: At, Query(done): Query<Done>) -> Page {
    let note = done.note(&[
        ("saved", "Saved."),
        ("removed", "Removed: the app is gone from that person's list."),
    ]);
    page(&at, note, "").await
}

async fn page(at: &At, note: Note<'_>, email: &str) -> Page {
    let row =
        |one: Collaborator| Row { email: one.email, is_owner: one.is_owner, held: one.permissions };
    let rows = at.platform().access.collaborators(at.app()).await?;
    let view = View {
        frame: at.frame(format!("Access to {}", at.name()), note),
        app: at.name(),
        tab: at.tab(Tab::Access),
        rows: rows.into_iter().map(row).collect(),
        email: email.to_string(),
    };
    frame::render(view.frame.status(), &view)
}

/// Somebody new, or other permissions for somebody who is there.
pub async fn save(FormAt { at, fields }: FormAt) -> Page {
    let (access, email) = (&at.platform().access, fields.get("email").trim());
    let saved = async {
        let permissions = chosen(&fields)?;
        match fields.get("is_new") {
            "yes" => access.add_collaborator(at.app(), email, permissions).await,
            _ => access.update_collaborator(at.app(), email, permissions).await,
        }
    };
    match refused(saved.await)? {
        Ok(_) => at.back("/access?done=saved"),
        Err(error) => page(&at, Note::Refused(&error), email).await,
    }
}

pub async fn remove(FormAt { at, fields }: FormAt) -> Page {
    let access = &at.platform().access;
    match refused(access.remove_collaborator(at.app(), fields.get("email")).await)? {
        Ok(_) => at.back("/access?done=removed"),
        Err(error) => page(&at, Note::Refused(&error), "").await,
    }
}
