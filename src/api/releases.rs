//! Releases: list, show, roll back.

use super::auth::State;
use super::body::Body;
use super::error::Result;
use super::guard::OnApp;
use super::{json, range};
use crate::error::Error;
use crate::model::{Release, ReleaseStatus};
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::{Json, extract};

pub async fn list(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    headers: HeaderMap,
) -> Result {
    let rows = api.releases_of(&app).await?;
    let current = current(&rows);
    let items = rows.iter().map(|row| json::release(row, &app, current, &api.settings)).collect();
    range::page(&headers, items, &["version", "id"])
}

pub async fn show(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    Path((_, release)): Path<(String, String)>,
) -> Result {
    let rows = api.releases_of(&app).await?;
    let current = current(&rows);
    let version = release.strip_prefix('v').unwrap_or(&release).parse::<i64>().ok();
    let row = rows
        .iter()
        .find(|row| Some(row.version) == version || row.id.to_string() == release)
        .ok_or_else(|| Error::not_found("release"))?;
    Ok(Json(json::release(row, &app, current, &api.settings)).into_response())
}

/// `{"release": ID}` rolls back to that release, `{"slug": ID}` releases a slug of the app once
/// more with the config vars as they are.
pub async fn create(
    extract::State(api): State,
    OnApp { caller, app, .. }: OnApp,
    body: Body,
) -> Result {
    body.only(&["release", "slug", "description"])?;
    let release = match (body.text("release")?, body.text("slug")?) {
        (Some(to), None) => api.roll_back(&caller, &app, to).await?,
        (None, Some(slug)) => {
            api.release_slug(&caller, &app, slug, body.text("description")?).await?
        }
        _ => {
            return Err(Error::invalid(
                "Give one of release, the id or version to roll back to, and slug, the id of one",
            )
            .into());
        }
    };
    let current = current(&api.releases_of(&app).await?);
    let value = json::release(&release, &app, current, &api.settings);
    Ok((StatusCode::CREATED, Json(value)).into_response())
}

/// The newest that succeeded.
fn current(rows: &[Release]) -> Option<i64> {
    let good = rows.iter().filter(|row| row.status == ReleaseStatus::Succeeded);
    good.map(|row| row.version).max()
}
