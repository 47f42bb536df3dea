//! Dynos: list, show, restart, stop.

use super::auth::{Auth, State};
use super::error::Result;
use super::{json, range};
use crate::dynos::formation;
use crate::error::Error;
use crate::logs::LogLine;
use crate::model::{App, DynoName};
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, extract};
use serde_json::json;

pub async fn list(
    extract::State(api): State,
    Auth(caller): Auth,
    Path(app): Path<String>,
    headers: HeaderMap,
) -> Result {
    let app = api.app(&caller, &app).await?;
    let items = api.dynos.of_app(app.id).iter().map(|dyno| json::dyno(dyno, &app)).collect();
    range::page(&headers, items, &["name", "id"])
}

pub async fn show(
    extract::State(api): State,
    Auth(caller): Auth,
    Path((app, dyno)): Path<(String, String)>,
) -> Result {
    let app = api.app(&caller, &app).await?;
    let dynos = api.dynos.of_app(app.id);
    let found = dynos
        .iter()
        .rev()
        .find(|found| found.name.to_string() == dyno || found.id.to_string() == dyno)
        .ok_or_else(|| Error::not_found("dyno"))?;
    Ok(Json(json::dyno(found, &app)).into_response())
}

pub async fn restart_all(
    extract::State(api): State,
    Auth(caller): Auth,
    Path(app): Path<String>,
) -> Result {
    let app = api.app(&caller, &app).await?;
    formation::restart(&api.store, app.id, None).await?;
    restarted(&api, &app, "dynos", &caller.user.email).await
}

pub async fn restart_type(
    extract::State(api): State,
    Auth(caller): Auth,
    Path((app, process)): Path<(String, String)>,
) -> Result {
    let app = api.app(&caller, &app).await?;
    formation::restart(&api.store, app.id, Some(process.clone())).await?;
    restarted(&api, &app, &format!("{process} dynos"), &caller.user.email).await
}

/// Stops the one-offs of a type, or restarts the dynos that the formation has of it.
pub async fn stop_type(
    state: State,
    Auth(caller): Auth,
    Path((app, process)): Path<(String, String)>,
) -> Result {
    let found = state.0.app(&caller, &app).await?;
    if state.0.dynos.stop_one_offs(found.id, Some(&process)) > 0 {
        let line = format!("Stop of {process} dynos by user {}", caller.user.email);
        state.0.logs.write(found.id, vec![LogLine::api(line)]).await;
        return Ok(accepted());
    }
    restart_type(extract::State(state.0), Auth(caller), Path((app, process))).await
}

/// One dyno by name or id; older clients give a process type here as well. To stop a dyno is the
/// same: one of the formation is replaced (Heroku's rule), a one-off ends.
pub async fn restart(
    extract::State(api): State,
    Auth(caller): Auth,
    Path((app, dyno)): Path<(String, String)>,
) -> Result {
    let app = api.app(&caller, &app).await?;
    if api.dynos.stop_one_off(app.id, &dyno) {
        let line = format!("Stop of {dyno} by user {}", caller.user.email);
        api.logs.write(app.id, vec![LogLine::api(line)]).await;
        return Ok(accepted());
    }
    let by_id = api.dynos.of_app(app.id).into_iter().find(|found| found.id.to_string() == dyno);
    let name = by_id.map(|found| found.name).or_else(|| DynoName::parse(&dyno));
    match name {
        Some(name) => formation::restart_one(&api.store, app.id, name).await?,
        None => formation::restart(&api.store, app.id, Some(dyno.clone())).await?,
    }
    restarted(&api, &app, &dyno, &caller.user.email).await
}

async fn restarted(api: &super::Api, app: &App, what: &str, email: &str) -> Result {
    api.dynos.wake();
    let line = format!("Restart of {what} by user {email}");
    api.logs.write(app.id, vec![LogLine::api(line)]).await;
    Ok(accepted())
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, Json(json!({}))).into_response()
}
