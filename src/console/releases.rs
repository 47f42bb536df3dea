//! An app's releases, and the way back to one of them.

use super::app::{Here, Tab, back, refuse_or_fail};
use super::form::Act;
use super::frame::{self, Frame, Place};
use super::guard::On;
use super::signed::Signed;
use super::words::{self, Mark};
use super::{Console, Page, State};
use crate::apps::access::{Action, Entry};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::limits;
use crate::model::{Release, ReleaseStatus};
use askama::Template;
use axum::extract::{self, Query};
use serde::Deserialize;

struct Row {
    version: i64,
    description: String,
    email: String,
    when: String,
    mark: Mark,
    is_current: bool,
    is_serving: bool,
    /// A release that failed, or whose slug is gone, is no place to go back to.
    can_return: bool,
}

#[derive(Template)]
#[template(path = "console/releases.html", config = "web/askama.toml")]
struct View {
    frame: Frame,
    app: String,
    tab: Here,
    rows: Vec<Row>,
    /// Older ones that are not shown.
    more: usize,
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
    let said = asked.done.map(|_| "Rolled back, as a new release. Its dynos start now.");
    page(&console, &signed, &entry, said, None).await
}

async fn page(
    console: &Console,
    signed: &Signed,
    entry: &Entry,
    said: Option<&str>,
    refused: Option<&Error>,
) -> Page {
    let app = &entry.app;
    let mut releases = console.platform.releases_of(app).await?;
    releases.sort_by_key(|release| std::cmp::Reverse(release.version));
    let published = console.platform.dynos.published();
    let seen = published.apps.get(&app.id);
    let current = releases
        .iter()
        .find(|release| release.status == ReleaseStatus::Succeeded)
        .map(|release| release.version);
    let serving = seen.and_then(|seen| seen.serving);
    let more = releases.len().saturating_sub(limits::ROWS_PER_PAGE);
    releases.truncate(limits::ROWS_PER_PAGE);
    let rows = releases.iter().map(|release| row(release, current, serving)).collect();
    let title = format!("Releases of {}", app.name);
    let frame = Frame::new(title, Place::Apps, signed).saying(said).refusing(refused);
    let view =
        View { frame, app: app.name.to_string(), tab: Here::at(Tab::Releases, entry), rows, more };
    frame::render(view.frame.status(), &view)
}

fn row(release: &Release, current: Option<i64>, serving: Option<i64>) -> Row {
    let is_current = Some(release.version) == current;
    Row {
        version: release.version,
        description: words::visible(&release.description),
        email: release.user_email.clone(),
        when: words::ago(release.created_at, Timestamp::now()),
        mark: words::of_release(release.status),
        is_current,
        is_serving: Some(release.version) == serving && !is_current,
        can_return: !is_current
            && release.slug.is_some()
            && release.status == ReleaseStatus::Succeeded,
    }
}

pub async fn roll_back(
    extract::State(console): State,
    On(entry): On,
    Act { signed, fields }: Act,
) -> Page {
    let app = &entry.app;
    match console.platform.roll_back(&signed.caller, app, fields.get("release")).await {
        Ok(_) => back(app, "/releases?done=rollback"),
        Err(error) => {
            let error = refuse_or_fail(error)?;
            page(&console, &signed, &entry, None, Some(&error)).await
        }
    }
}
