//! Builds and slugs: what became of a push.

use super::auth::{Auth, State};
use super::error::Result;
use super::{json, range};
use crate::error::Error;
use crate::model::{BuildId, SlugId};
use crate::store;
use axum::extract::Path;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::{Json, extract};

pub async fn list(
    extract::State(api): State,
    Auth(caller): Auth,
    Path(app): Path<String>,
    headers: HeaderMap,
) -> Result {
    let app = api.app(&caller, &app).await?;
    let id = app.id;
    let rows = api.store.read(move |db| store::releases::builds_of(db, id)).await?;
    let items = rows.iter().map(|row| json::build(row, &app, &api.settings)).collect();
    range::page(&headers, items, &["created_at", "id"])
}

pub async fn show(
    extract::State(api): State,
    Auth(caller): Auth,
    Path((app, build)): Path<(String, String)>,
) -> Result {
    let app = api.app(&caller, &app).await?;
    let missing = || Error::not_found("build");
    let id: BuildId = build.parse().map_err(|_| missing())?;
    let row = api.store.read(move |db| store::releases::build_by_id(db, id)).await?;
    let row = row.filter(|row| row.app == app.id).ok_or_else(missing)?;
    Ok(Json(json::build(&row, &app, &api.settings)).into_response())
}

pub async fn slug(
    extract::State(api): State,
    Auth(caller): Auth,
    Path((app, slug)): Path<(String, String)>,
) -> Result {
    let app = api.app(&caller, &app).await?;
    let missing = || Error::not_found("slug");
    let id: SlugId = slug.parse().map_err(|_| missing())?;
    let row = api.store.read(move |db| store::slugs::by_id(db, id)).await?;
    let row = row.filter(|row| row.app == app.id).ok_or_else(missing)?;
    Ok(Json(json::slug(&row)).into_response())
}
