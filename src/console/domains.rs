//! The names that lead to an app: its own, and the custom ones with what DNS has to say of them.

use super::app::{Here, Tab, back, refuse_or_fail};
use super::form::Act;
use super::frame::{self, Frame, Place};
use super::guard::On;
use super::signed::Signed;
use super::{Console, Page, State};
use crate::apps::access::{Action, Entry};
use crate::error::{Error, Result};
use askama::Template;
use axum::extract::{self, Query};
use serde::Deserialize;

struct Row {
    hostname: String,
    certificate: Option<String>,
}

#[derive(Template)]
#[template(path = "console/domains.html", config = "web/askama.toml")]
struct View {
    frame: Frame,
    app: String,
    tab: Here,
    own: String,
    rows: Vec<Row>,
    hostname: String,
}

#[derive(Deserialize)]
pub struct Asked {
    done: Option<String>,
}

pub async fn list(
    extract::State(console): State,
    signed: Signed,
    On(entry): On,
    Query(asked): Query<Asked>,
) -> Page {
    let said = match asked.done.as_deref() {
        Some("added") => Some("The domain is there. Now point its DNS record to the target below."),
        Some("removed") => Some("The domain is gone."),
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
    hostname: &str,
) -> Page {
    let app = &entry.app;
    let domains = console.platform.custom_domains(app).await?;
    let rows = domains.iter().map(|domain| Row {
        hostname: domain.hostname.to_string(),
        certificate: domain.sni_endpoint.as_ref().map(|(_, name)| name.clone()),
    });
    let title = format!("Domains of {}", app.name);
    let view = View {
        frame: Frame::new(title, Place::Apps, signed).saying(said).refusing(refused),
        app: app.name.to_string(),
        tab: Here::at(Tab::Domains, entry),
        own: console.platform.settings.app_host(app.name.as_str()),
        rows: rows.collect(),
        hostname: hostname.to_string(),
    };
    frame::render(view.frame.status(), &view)
}

pub async fn add(
    extract::State(console): State,
    On(entry): On,
    Act { signed, fields }: Act,
) -> Page {
    let hostname = fields.get("hostname").trim();
    let added = console.platform.add_domain(&signed.caller, &entry.app, hostname, None).await;
    done(&console, &signed, &entry, added.map(|_| ()), "added", hostname).await
}

pub async fn remove(
    extract::State(console): State,
    On(entry): On,
    Act { signed, fields }: Act,
) -> Page {
    let removed = console.platform.remove_domain(&entry.app, fields.get("hostname")).await;
    done(&console, &signed, &entry, removed.map(|_| ()), "removed", "").await
}

async fn done(
    console: &Console,
    signed: &Signed,
    entry: &Entry,
    result: Result<()>,
    what: &str,
    hostname: &str,
) -> Page {
    match result {
        Ok(()) => back(&entry.app, &format!("/domains?done={what}")),
        Err(error) => {
            let error = refuse_or_fail(error)?;
            page(console, signed, entry, None, Some(&error), hostname).await
        }
    }
}
