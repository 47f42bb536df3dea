//! An app's name, and its end.

use super::Page;
use super::at::{At, Done, FormAt, Note, back};
use super::frame::{self, Frame, Place};
use super::oops::{Oops, refused};
use super::tab::{Here, Tab};
use crate::actions::AppChange;
use crate::apps::access::Action;
use crate::error::{Error, Kind};
use crate::model::AppName;
use askama::Template;
use axum::extract::Query;

#[derive(Template)]
#[template(path = "console/settings.html", config = "web/askama.toml")]
struct View {
    frame: Frame,
    app: String,
    tab: Here,
    name: String,
    owner: String,
    stack: String,
}

pub async fn show(at: At, Query(done): Query<Done>) -> Page {
    let said = "Renamed. Its git remote and its address have changed as well.";
    page(&at, done.note(&[("renamed", said)]), &at.name())
}

fn page(at: &At, note: Note<'_>, name: &str) -> Page {
    let view = View {
        frame: at.frame(format!("Settings of {}", at.name()), note),
        app: at.name(),
        tab: at.tab(Tab::Settings),
        name: name.to_string(),
        owner: at.app().owner_email.clone(),
        stack: at.app().stack.clone(),
    };
    frame::render(view.frame.status(), &view)
}

pub async fn rename(FormAt { at, fields }: FormAt) -> Page {
    let wanted = fields.get("name").trim();
    let renamed = async {
        let change = AppChange { name: Some(AppName::parse(wanted)?), ..AppChange::default() };
        at.platform().update_app(at.caller(), at.app(), change).await
    };
    match refused(renamed.await)? {
        // It is found by its new name now.
        Ok(app) => back(&app, "/settings?done=renamed"),
        Err(error) => page(&at, Note::Refused(&error), wanted),
    }
}

/// Only with the app's name typed.
pub async fn destroy(FormAt { at, fields }: FormAt) -> Page {
    let destroyed = async {
        if fields.get("confirm").trim() != at.name() {
            return Err(Error::new(
                Kind::ConfirmationRequired,
                format!("Nothing is deleted: type {} to confirm.", at.name()),
            ));
        }
        at.platform().destroy_app(at.app()).await
    };
    match refused(destroyed.await)? {
        Ok(()) => Err(Oops::go("/console/apps?done=destroyed")),
        Err(error) => page(&at, Note::Refused(&error), &at.name()),
    }
}
