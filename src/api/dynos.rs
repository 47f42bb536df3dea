//! Dynos: list, show, restart, stop.

use super::auth::State;
use super::error::Result;
use super::guard::OnApp;
use super::{json, range};
use crate::actions::WhichDynos;
use crate::error::Error;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, extract};
use serde_json::json;

pub async fn list(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    headers: HeaderMap,
) -> Result {
    let items = api.dynos.of_app(app.id).iter().map(|dyno| json::dyno(dyno, &app)).collect();
    range::page(&headers, items, &["name", "id"])
}

pub async fn show(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    Path((_, dyno)): Path<(String, String)>,
) -> Result {
    let dynos = api.dynos.of_app(app.id);
    let found = dynos
        .iter()
        .rev()
        .find(|found| found.name.to_string() == dyno || found.id.to_string() == dyno)
        .ok_or_else(|| Error::not_found("dyno"))?;
    Ok(Json(json::dyno(found, &app)).into_response())
}

pub async fn restart_all(extract::State(api): State, OnApp { caller, app, .. }: OnApp) -> Result {
    api.restart(&caller, &app, WhichDynos::All).await?;
    Ok(accepted())
}

pub async fn restart_type(
    extract::State(api): State,
    OnApp { caller, app, .. }: OnApp,
    Path((_, process)): Path<(String, String)>,
) -> Result {
    api.restart(&caller, &app, WhichDynos::Type(&process)).await?;
    Ok(accepted())
}

pub async fn stop_type(
    extract::State(api): State,
    OnApp { caller, app, .. }: OnApp,
    Path((_, process)): Path<(String, String)>,
) -> Result {
    api.stop_type(&caller, &app, &process).await?;
    Ok(accepted())
}

pub async fn restart(
    extract::State(api): State,
    OnApp { caller, app, .. }: OnApp,
    Path((_, dyno)): Path<(String, String)>,
) -> Result {
    api.restart(&caller, &app, WhichDynos::One(&dyno)).await?;
    Ok(accepted())
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, Json(json!({}))).into_response()
}
