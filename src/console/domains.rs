//! The names that lead to an app: its own, and the custom ones with what DNS has to say of them.

use super::Page;
use super::app::{Here, Tab};
use super::at::{At, Done, FormAt, Note};
use super::frame::{self, Frame, Place};
use super::oops::refused;
use crate::apps::access::Action;
use askama::Template;
use axum::extract::Query;

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

pub async fn list(at: At, Query(done): Query<Done>) -> Page {
    let note = done.note(&[
        ("added", "The domain is there. Now point its DNS record to the target below."),
        ("removed", "The domain is gone."),
    ]);
    page(&at, note, "").await
}

async fn page(at: &At, note: Note<'_>, hostname: &str) -> Page {
    let domains = at.platform().custom_domains(at.app()).await?;
    let rows = domains.iter().map(|domain| Row {
        hostname: domain.hostname.to_string(),
        certificate: domain.sni_endpoint.as_ref().map(|(_, name)| name.clone()),
    });
    let app = at.name();
    let view = View {
        frame: at.frame(format!("Domains of {app}"), note),
        own: at.platform().settings.app_host(&app),
        app,
        tab: at.tab(Tab::Domains),
        rows: rows.collect(),
        hostname: hostname.to_string(),
    };
    frame::render(view.frame.status(), &view)
}

pub async fn add(FormAt { at, fields }: FormAt) -> Page {
    let hostname = fields.get("hostname").trim();
    let added = at.platform().add_domain(at.caller(), at.app(), hostname, None).await;
    match refused(added)? {
        Ok(_) => at.back("/domains?done=added"),
        Err(error) => page(&at, Note::Refused(&error), hostname).await,
    }
}

pub async fn remove(FormAt { at, fields }: FormAt) -> Page {
    let removed = at.platform().remove_domain(at.app(), fields.get("hostname")).await;
    match refused(removed)? {
        Ok(_) => at.back("/domains?done=removed"),
        Err(error) => page(&at, Note::Refused(&error), "").await,
    }
}
