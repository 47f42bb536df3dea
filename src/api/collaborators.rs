//! Collaborators of an app, with Heroku's permissions. Heroku has those on apps of teams only,
//! under `/teams/apps`; here both paths lead to the same.

use super::auth::{Auth, State};
use super::body::Body;
use super::error::Result;
use super::guard::OnApp;
use super::{json, range};
use crate::error::Error;
use crate::model::{Permission, Permissions};
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::{Json, extract};
use serde_json::Value;

pub async fn list(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    headers: HeaderMap,
) -> Result {
    let rows = api.access.collaborators(&app).await?;
    let items = rows.iter().map(|row| json::collaborator(row, &app)).collect();
    range::page(&headers, items, &["id"])
}

pub async fn create(extract::State(api): State, OnApp { app, .. }: OnApp, body: Body) -> Result {
    body.only(&["user", "silent", "permissions"])?;
    // Nobody is written to, so there is nothing to be silent about.
    body.flag("silent")?;
    let user = body.text("user")?.ok_or_else(|| Error::invalid("user is required"))?;
    let permissions = match body.value("permissions") {
        None => Permissions::USUAL,
        Some(_) => permissions_of(&body)?,
    };
    let row = api.access.add_collaborator(&app, user, permissions).await?;
    Ok((StatusCode::CREATED, Json(json::collaborator(&row, &app))).into_response())
}

pub async fn show(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    Path((_, user)): Path<(String, String)>,
) -> Result {
    let row = api.access.collaborator(&app, &user).await?;
    Ok(Json(json::collaborator(&row, &app)).into_response())
}

pub async fn update(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    Path((_, user)): Path<(String, String)>,
    body: Body,
) -> Result {
    body.only(&["permissions"])?;
    let row = api.access.update_collaborator(&app, &user, permissions_of(&body)?).await?;
    Ok(Json(json::collaborator(&row, &app)).into_response())
}

/// Whoever is named may be the caller: anybody may leave.
pub async fn remove(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    Path((_, user)): Path<(String, String)>,
) -> Result {
    let row = api.access.remove_collaborator(&app, &user).await?;
    Ok(Json(json::collaborator(&row, &app)).into_response())
}

pub async fn permissions(Auth(_): Auth) -> Result {
    let all: Vec<Value> = Permission::ALL.into_iter().map(json::permission).collect();
    Ok(Json(all).into_response())
}

fn permissions_of(body: &Body) -> crate::error::Result<Permissions> {
    let one = |value: &Value| {
        let text = value.as_str();
        Permission::parse(text.ok_or_else(|| Error::invalid("permissions must be strings"))?)
    };
    let list: crate::error::Result<Vec<Permission>> =
        body.list("permissions")?.iter().map(one).collect();
    Ok(Permissions::of(&list?))
}
