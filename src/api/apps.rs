//! Apps: create, list, show, rename, maintenance, destroy.

use super::auth::{Auth, State};
use super::body::Body;
use super::error::Result;
use super::{json, range};
use crate::apps::lifecycle;
use crate::error::{Error, Kind};
use crate::limits;
use crate::model::AppName;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::{Json, extract};

pub async fn list(extract::State(api): State, Auth(caller): Auth, headers: HeaderMap) -> Result {
    let apps = api.access.apps(&caller).await?;
    let items = apps.iter().map(|app| json::app(app, &api.settings)).collect();
    range::page(&headers, items, &["id", "name", "updated_at"])
}

pub async fn create(extract::State(api): State, Auth(caller): Auth, body: Body) -> Result {
    body.only(&["name", "region", "stack", "feature_flags"])?;
    let stack = super::stacks::known("stack", body.text("stack")?)?.unwrap_or(limits::STACK);
    body.text("region")?;
    let app = match body.text("name")? {
        Some(name) => {
            let app = lifecycle::new_app(&caller, AppName::parse(name)?, stack);
            api.releases.create_app(&app, &caller.user).await?;
            app
        }
        None => create_with_generated_name(&api, &caller, stack).await?,
    };
    let email = &caller.user.email;
    let lines = ["Initial release", "Release v1 created", "Enable Logplex", "Release v2 created"];
    let lines =
        lines.iter().map(|text| crate::logs::LogLine::api(format!("{text} by user {email}")));
    api.logs.write(app.id, lines.collect()).await;
    api.dynos.routed(limits::TABLE_MARGIN).await;
    let shown = api.app(&caller, app.name.as_str()).await?;
    Ok((StatusCode::CREATED, Json(json::app(&shown, &api.settings))).into_response())
}

async fn create_with_generated_name(
    api: &super::Api,
    caller: &crate::model::Caller,
    stack: &str,
) -> Result<crate::model::App> {
    let mut last = Error::internal("generate an app name", "no try was made");
    for _ in 0..limits::NAME_TRIES {
        let name = AppName::parse(&lifecycle::generated_name())?;
        let app = lifecycle::new_app(caller, name, stack);
        match api.releases.create_app(&app, &caller.user).await {
            Ok(()) => return Ok(app),
            Err(error) if error.kind() == Kind::InvalidParams => last = error,
            Err(error) => return Err(error.into()),
        }
    }
    Err(last.into())
}

pub async fn show(
    extract::State(api): State,
    Auth(caller): Auth,
    Path(app): Path<String>,
) -> Result {
    let app = api.app(&caller, &app).await?;
    Ok(Json(json::app(&app, &api.settings)).into_response())
}

pub async fn update(
    extract::State(api): State,
    Auth(caller): Auth,
    Path(app): Path<String>,
    body: Body,
) -> Result {
    let app = api.app(&caller, &app).await?;
    body.only(&["name", "maintenance", "build_stack"])?;
    let maintenance = body.flag("maintenance")?;
    let name = body.text("name")?.map(AppName::parse).transpose()?;
    let stack = super::stacks::known("build_stack", body.text("build_stack")?)?;
    if let Some(name) = name
        && name != app.name
    {
        lifecycle::rename(&api.store, app.id, name).await?;
    }
    if let Some(stack) = stack
        && stack != app.stack
    {
        lifecycle::set_stack(&api.store, app.id, stack).await?;
        let email = &caller.user.email;
        let line = format!("Stack changed from {} to {stack} by user {email}", app.stack);
        api.logs.write(app.id, vec![crate::logs::LogLine::api(line)]).await;
    }
    if let Some(on) = maintenance {
        lifecycle::set_maintenance(&api.store, app.id, on).await?;
        let word = if on { "enabled" } else { "disabled" };
        let line = format!("Maintenance mode {word} by user {}", caller.user.email);
        api.logs.write(app.id, vec![crate::logs::LogLine::api(line)]).await;
    }
    // Whoever is told that it is done may ask the router at once.
    if !api.dynos.routed(limits::TABLE_MARGIN).await {
        tracing::warn!(app = %app.name, "the router has not taken a change over yet");
    }
    let app = api.app(&caller, &app.id.to_string()).await?;
    Ok(Json(json::app(&app, &api.settings)).into_response())
}

/// Frees the name at once; what lies outside the database is cleared behind it.
pub async fn destroy(
    extract::State(api): State,
    Auth(caller): Auth,
    Path(app): Path<String>,
) -> Result {
    let app = api.app(&caller, &app).await?;
    if app.owner != caller.user.id && !caller.user.admin {
        return Err(Error::new(Kind::Forbidden, "Only its owner can destroy an app").into());
    }
    lifecycle::destroy(&api.store, app.id).await?;
    api.deploy.cancel_builds_of(app.id);
    api.dynos.wake();
    if let Err(error) = api.certs.hand_over().await {
        tracing::error!(error = error.chain(), "can't take a destroyed app's certificates back");
    }
    api.deploy.clean_up_soon();
    Ok(Json(json::app(&app, &api.settings)).into_response())
}
