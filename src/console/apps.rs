//! The apps that somebody may use: a list with states and a search, and a new one.

use super::form::Act;
use super::frame::{self, Frame, Place};
use super::oops::{Oops, refused};
use super::signed::Signed;
use super::words::{self, Mark};
use super::{Console, Page, State};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::limits;
use crate::model::App;
use crate::store::{self, app_list::AppPage};
use askama::Template;
use axum::extract::{self, Query};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    q: String,
    page: Option<String>,
    done: Option<String>,
}

struct Row {
    name: String,
    mark: Mark,
    /// `web 3, worker 1`
    processes: String,
    /// `v12, 5 minutes ago`
    released: String,
}

#[derive(Template)]
#[template(path = "console/apps.html", config = "web/askama.toml")]
struct View {
    frame: Frame,
    q: String,
    /// For links to other pages of the list.
    q_encoded: String,
    rows: Vec<Row>,
    found: usize,
    all: usize,
    page: usize,
    pages: usize,
}

pub async fn list(
    extract::State(console): State,
    signed: Signed,
    Query(asked): Query<Asked>,
) -> Page {
    let text = asked.q.trim().to_ascii_lowercase();
    let number = asked.page.and_then(|page| page.parse().ok()).unwrap_or(1);
    let AppPage { apps, found, all, page, pages } =
        console.platform.access.page_of_apps(&signed.caller, &text, number).await?;
    let rows = rows(&console, apps).await?;
    let said = match asked.done.as_deref() {
        Some("password") => Some("Your password is changed."),
        Some("destroyed") => Some("The app is gone."),
        _ => None,
    };
    let frame = Frame::new("Apps", Place::Apps, &signed).saying(said);
    let q_encoded = utf8_percent_encode(&asked.q, NON_ALPHANUMERIC).to_string();
    let view = View { frame, q: asked.q, q_encoded, rows, found, all, page, pages };
    frame::render(view.frame.status(), &view)
}

async fn rows(console: &Console, apps: Vec<App>) -> Result<Vec<Row>> {
    let published = console.platform.dynos.published();
    let now = Timestamp::now();
    let read = move |db: &_| {
        let row = |app: App| {
            let wanted = store::formations::of_app(db, app.id)?;
            let dynos = published.apps.get(&app.id);
            let named = wanted.iter().filter(|row| !row.process.is_release());
            let processes: Vec<String> =
                named.map(|row| format!("{} {}", row.process, row.quantity)).collect();
            let released = match (dynos.and_then(|app| app.current), app.released_at) {
                (Some(version), Some(at)) => format!("v{version}, {}", words::ago(at, now)),
                _ => format!("created {}", words::ago(app.created_at, now)),
            };
            Ok(Row {
                mark: words::of_app(app.maintenance, dynos, &wanted),
                name: app.name.to_string(),
                processes: processes.join(", "),
                released,
            })
        };
        apps.into_iter().map(row).collect()
    };
    console.platform.store.read(read).await
}

#[derive(Template)]
#[template(path = "console/new_app.html", config = "web/askama.toml")]
struct NewView {
    frame: Frame,
    name: String,
}

pub async fn new(signed: Signed) -> Page {
    form(&signed, "", None)
}

fn form(signed: &Signed, name: &str, refused: Option<&Error>) -> Page {
    let frame = Frame::new("New app", Place::Apps, signed).refusing(refused);
    let status = frame.status();
    frame::render(status, &NewView { frame, name: name.to_string() })
}

pub async fn create(extract::State(console): State, Act { signed, fields }: Act) -> Page {
    let name = fields.get("name").trim();
    let wanted = (!name.is_empty()).then_some(name);
    match refused(console.platform.create_app(&signed.caller, wanted, limits::STACK).await)? {
        Ok(app) => Err(Oops::Go(format!("/console/apps/{}?done=created", app.name))),
        Err(error) => form(&signed, name, Some(&error)),
    }
}
