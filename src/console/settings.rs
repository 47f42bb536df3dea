//! An app's name, and its end.

use super::app::{Here, Tab, back, refuse_or_fail};
use super::form::Act;
use super::frame::{self, Frame, Place};
use super::guard::On;
use super::oops::Oops;
use super::signed::Signed;
use super::{Page, State};
use crate::actions::AppChange;
use crate::apps::access::{Action, Entry};
use crate::error::{Error, Kind};
use crate::model::AppName;
use askama::Template;
use axum::extract::{self, Query};
use serde::Deserialize;

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

#[derive(Deserialize)]
pub struct Asked {
    done: Option<String>,
}

pub async fn show(signed: Signed, On(entry): On, Query(asked): Query<Asked>) -> Page {
    let said = asked.done.map(|_| "Renamed. Its git remote and its address have changed as well.");
    page(&signed, &entry, entry.app.name.as_str(), said, None)
}

fn page(
    signed: &Signed,
    entry: &Entry,
    name: &str,
    said: Option<&str>,
    refused: Option<&Error>,
) -> Page {
    let app = &entry.app;
    let title = format!("Settings of {}", app.name);
    let view = View {
        frame: Frame::new(title, Place::Apps, signed).saying(said).refusing(refused),
        app: app.name.to_string(),
        tab: Here::at(Tab::Settings, entry),
        name: name.to_string(),
        owner: app.owner_email.clone(),
        stack: app.stack.clone(),
    };
    frame::render(view.frame.status(), &view)
}

pub async fn rename(
    extract::State(console): State,
    On(entry): On,
    Act { signed, fields }: Act,
) -> Page {
    let wanted = fields.get("name").trim();
    let renamed = async {
        let change = AppChange { name: Some(AppName::parse(wanted)?), ..AppChange::default() };
        console.platform.update_app(&signed.caller, &entry.app, change).await
    };
    match renamed.await {
        Ok(app) => back(&app, "/settings?done=renamed"),
        Err(error) => page(&signed, &entry, wanted, None, Some(&refuse_or_fail(error)?)),
    }
}

/// Only with the app's name typed.
pub async fn destroy(
    extract::State(console): State,
    On(entry): On,
    Act { signed, fields }: Act,
) -> Page {
    let app = &entry.app;
    let destroyed = async {
        if fields.get("confirm").trim() != app.name.as_str() {
            return Err(Error::new(
                Kind::ConfirmationRequired,
                format!("Nothing is deleted: type {} to confirm.", app.name),
            ));
        }
        console.platform.destroy_app(app).await
    };
    match destroyed.await {
        Ok(()) => Err(Oops::go("/console/apps?done=destroyed")),
        Err(error) => page(&signed, &entry, app.name.as_str(), None, Some(&refuse_or_fail(error)?)),
    }
}
