//! The audit: who did what, from where and when. Admins read all of it, whoever manages an app that
//! app's; the newest entries come first, a page of them at a time.

use super::at::{At, Note};
use super::frame::{self, Frame, Place};
use super::signed::Signed;
use super::tab::{Here, Tab};
use super::words;
use super::{Console, Page, State};
use crate::error::Result;
use crate::limits;
use crate::model::{AppId, AuditEntry};
use crate::store;
use askama::Template;
use axum::extract::{self, Query};
use serde::Deserialize;

struct Row {
    action: String,
    app: String,
    details: String,
    who: String,
    from: String,
    at: String,
}

/// One page of entries.
struct Entries {
    rows: Vec<Row>,
    /// Where this page lies, for links.
    path: String,
    /// The number of the last entry here, if there are others before it.
    older: Option<i64>,
    is_newest: bool,
}

#[derive(Template)]
#[template(path = "console/audit.html", config = "web/askama.toml")]
struct View {
    frame: Frame,
    entries: Entries,
}

#[derive(Template)]
#[template(path = "console/app_audit.html", config = "web/askama.toml")]
struct AppView {
    frame: Frame,
    app: String,
    tab: Here,
    entries: Entries,
}

#[derive(Deserialize)]
pub struct Asked {
    /// The number of an entry: those before it are shown.
    before: Option<String>,
}

pub async fn all(
    extract::State(console): State,
    signed: Signed,
    Query(asked): Query<Asked>,
) -> Page {
    let entries = entries(&console, None, &asked, "/console/audit".to_string()).await?;
    let view = View { frame: Frame::new("Audit", Place::Audit, &signed), entries };
    frame::render(view.frame.status(), &view)
}

pub async fn of_app(at: At, Query(asked): Query<Asked>) -> Page {
    let path = format!("/console/apps/{}/audit", at.name());
    let view = AppView {
        entries: entries(&at.console, Some(at.app().id), &asked, path).await?,
        frame: at.frame(format!("Audit of {}", at.name()), Note::Nothing),
        app: at.name(),
        tab: at.tab(Tab::Audit),
    };
    frame::render(view.frame.status(), &view)
}

async fn entries(
    console: &Console,
    app: Option<AppId>,
    asked: &Asked,
    path: String,
) -> Result<Entries> {
    let before = asked.before.as_deref().and_then(|text| text.parse::<i64>().ok());
    let (seq, most) = (before.unwrap_or(i64::MAX), limits::ROWS_PER_PAGE);
    // One more than is shown tells whether there are others.
    let read = move |db: &_| store::audit::before(db, app, seq, most + 1);
    let mut found = console.platform.store.read(read).await?;
    let is_all = found.len() <= most;
    found.truncate(most);
    let older = found.last().filter(|_| !is_all).map(|entry| entry.seq);
    let rows = found.iter().map(row).collect();
    Ok(Entries { rows, path, older, is_newest: before.is_none() })
}

fn row(entry: &AuditEntry) -> Row {
    let details: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&entry.details).unwrap_or_default();
    let details: Vec<String> = details
        .iter()
        .map(|(key, value)| format!("{key} {}", value.as_str().unwrap_or_default()))
        .collect();
    let from = entry.address.as_deref().map(|address| format!(" from {address}"));
    Row {
        action: entry.action.clone(),
        app: entry.app.clone().unwrap_or_default(),
        details: words::visible(&details.join(", ")),
        who: words::visible(&entry.actor),
        from: format!("by {}{}", entry.via, from.unwrap_or_default()),
        at: words::exact(entry.at),
    }
}
