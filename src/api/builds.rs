//! Builds and slugs: what became of a push or an uploaded source, and builds of the latter.

use super::Api;
use super::auth::State;
use super::body::Body;
use super::error::Result;
use super::guard::OnApp;
use super::{json, range};
use crate::deploy::NewBuild;
use crate::error::Error;
use crate::model::{App, Build, Buildpack, SlugId};
use crate::{limits, store};
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::{Json, extract};
use serde_json::Value;

/// One that waits says which turn is its: Heroku's have no such field.
fn shown(api: &Api, row: &Build, app: &App) -> Value {
    let mut build = json::build(row, app, &api.settings);
    build["place_in_line"] = api.deploy.place_in_line(row.id).into();
    build
}

pub async fn list(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    headers: HeaderMap,
) -> Result {
    let rows = api.builds_of(&app).await?;
    let items = rows.iter().map(|row| shown(&api, row, &app)).collect();
    range::page(&headers, items, &["created_at", "id"])
}

pub async fn show(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    Path((_, build)): Path<(String, String)>,
) -> Result {
    let row = api.build(&app, &build).await?;
    Ok(Json(shown(&api, &row, &app)).into_response())
}

/// The row is stored and the rest goes on by itself; the output says how.
pub async fn create(
    extract::State(api): State,
    OnApp { caller, app, .. }: OnApp,
    body: Body,
) -> Result {
    body.only(&["source_blob", "buildpacks"])?;
    let buildpacks = match body.value("buildpacks") {
        None => Vec::new(),
        Some(_) => buildpacks(body.list("buildpacks")?)?,
    };
    let blob = body.value("source_blob").cloned().unwrap_or_default();
    let blob = Body::from_value("source_blob", blob)?;
    blob.only(&["url", "checksum", "version", "version_description"])?;
    let text = |field| Ok::<_, Error>(blob.text(field)?.map(str::to_string));
    let new = NewBuild {
        url: text("url")?.ok_or_else(|| Error::invalid("source_blob.url is required"))?,
        checksum: text("checksum")?,
        version: text("version")?,
        version_description: text("version_description")?,
        buildpacks,
        app: app.clone(),
        user: caller.user,
    };
    let row = api.deploy.start_build(new).await?;
    Ok((StatusCode::CREATED, Json(shown(&api, &row, &app))).into_response())
}

/// Of one build only; each is named by `url` or by `name`.
fn buildpacks(list: &[Value]) -> crate::error::Result<Vec<Buildpack>> {
    if list.len() > limits::BUILDPACKS_PER_APP {
        let most = limits::BUILDPACKS_PER_APP;
        return Err(Error::invalid(format!("A build can have {most} buildpacks at most")));
    }
    let parsed = |item: &Value| {
        let item = Body::from_value("buildpacks", item.clone())?;
        item.only(&["url", "name"])?;
        let text = item.text("url")?.or(item.text("name")?);
        Buildpack::parse(text.ok_or_else(|| Error::invalid("each of buildpacks needs a url"))?)
    };
    list.iter().map(parsed).collect()
}

pub async fn cancel(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    Path((_, build)): Path<(String, String)>,
) -> Result {
    let row = api.cancel_build(&app, &build).await?;
    Ok(Json(shown(&api, &row, &app)).into_response())
}

pub async fn purge_cache(extract::State(api): State, OnApp { app, .. }: OnApp) -> Result {
    api.deploy.purge_cache(&app).await?;
    api.record("build-cache:destroy", app.id, ("app", app.name.as_str())).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub async fn slug(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    Path((_, slug)): Path<(String, String)>,
) -> Result {
    let missing = || Error::not_found("slug");
    let id: SlugId = slug.parse().map_err(|_| missing())?;
    let row = api.store.read(move |db| store::slugs::by_id(db, id)).await?;
    let row = row.filter(|row| row.app == app.id).ok_or_else(missing)?;
    Ok(Json(json::slug(&row)).into_response())
}
