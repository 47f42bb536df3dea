//! An app's releases, and the way back to one of them.

use super::Page;
use super::at::{At, Done, FormAt, Note};
use super::frame::{self, Frame, Place};
use super::oops::refused;
use super::tab::{Here, Tab};
use super::words::{self, Mark};
use crate::apps::access::Action;
use crate::clock::Timestamp;
use crate::limits;
use crate::model::{Release, ReleaseStatus};
use askama::Template;
use axum::extract::Query;

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

pub async fn list(at: At, Query(done): Query<Done>) -> Page {
    let said = "Rolled back, as a new release. Its dynos start now.";
    page(&at, done.note(&[("rollback", said)])).await
}

async fn page(at: &At, note: Note<'_>) -> Page {
    let mut releases = at.platform().releases_of(at.app()).await?;
    releases.sort_by_key(|release| std::cmp::Reverse(release.version));
    let published = at.platform().dynos.published();
    let seen = published.apps.get(&at.app().id);
    let current = releases
        .iter()
        .find(|release| release.status == ReleaseStatus::Succeeded)
        .map(|release| release.version);
    let serving = seen.and_then(|seen| seen.serving);
    let more = releases.len().saturating_sub(limits::ROWS_PER_PAGE);
    releases.truncate(limits::ROWS_PER_PAGE);
    let rows = releases.iter().map(|release| row(release, current, serving)).collect();
    let frame = at.frame(format!("Releases of {}", at.name()), note);
    let view = View { frame, app: at.name(), tab: at.tab(Tab::Releases), rows, more };
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

pub async fn roll_back(FormAt { at, fields }: FormAt) -> Page {
    let done = at.platform().roll_back(at.caller(), at.app(), fields.get("release")).await;
    match refused(done)? {
        Ok(_) => at.back("/releases?done=rollback"),
        Err(error) => page(&at, Note::Refused(&error)).await,
    }
}
