//! The names that lead to an app: its own, and the custom ones with what DNS has to say of them.

use super::Page;
use super::at::{At, Done, FormAt, Note};
use super::frame::{self, Frame, Place};
use super::oops::refused;
use super::tab::{Here, Tab};
use super::words::{self, Mark};
use crate::apps::access::Action;
use crate::error::Error;
use askama::Template;
use axum::extract::Query;

struct Row {
    hostname: String,
    certificate: Option<String>,
    /// How far its automatic certificate is, and why it failed.
    auto: Option<(Mark, String)>,
}

#[derive(Template)]
#[template(path = "console/domains.html", config = "web/askama.toml")]
struct View {
    frame: Frame,
    app: String,
    tab: Here,
    own: String,
    /// Certificates come by themselves for this app; whether its reader may say so.
    is_auto: bool,
    may_set_auto: bool,
    rows: Vec<Row>,
    hostname: String,
}

pub async fn list(at: At, Query(done): Query<Done>) -> Page {
    let note = done.note(&[
        ("added", "The domain is there. Now point its DNS record to the target below."),
        ("removed", "The domain is gone."),
        ("auto-on", "Automatic certificates are on: each domain that leads here gets one soon."),
        ("auto-off", "Automatic certificates are off."),
        ("again", "All that have failed are tried again now."),
    ]);
    page(&at, note, "").await
}

async fn page(at: &At, note: Note<'_>, hostname: &str) -> Page {
    let domains = at.platform().custom_domains(at.app()).await?;
    let rows = domains.iter().map(|domain| Row {
        hostname: domain.hostname.to_string(),
        certificate: domain.sni_endpoint.as_ref().map(|(_, name)| name.clone()),
        auto: domain.acm.as_ref().map(|(state, why)| {
            let why = why.as_deref().map(words::visible);
            (words::of_auto(*state), why.unwrap_or_default())
        }),
    });
    let app = at.name();
    let view = View {
        frame: at.frame(format!("Domains of {app}"), note),
        own: at.platform().settings.app_host(&app),
        is_auto: at.app().acm,
        may_set_auto: at.platform().settings.acme_directory.is_some()
            && at.entry.may(Action::SetCerts),
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

/// Automatic certificates of the app: on, off, or what has failed once more.
pub async fn auto(FormAt { at, fields }: FormAt) -> Page {
    let (platform, caller, app) = (at.platform(), at.caller(), at.app());
    let (changed, done) = match fields.get("do") {
        "on" => (platform.enable_acm(caller, app).await, "auto-on"),
        "again" => (platform.refresh_acm(caller, app).await, "again"),
        "off" => (platform.disable_acm(caller, app).await, "auto-off"),
        _ => (Err(Error::invalid("This button is none of this page's.")), ""),
    };
    match refused(changed)? {
        Ok(()) => at.back(&format!("/domains?done={done}")),
        Err(error) => page(&at, Note::Refused(&error), "").await,
    }
}
