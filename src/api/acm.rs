//! Automated certificate management of an app: on, off, and once more for what failed.

use super::auth::State;
use super::body::Body;
use super::error::Result;
use super::guard::OnApp;
use super::json;
use crate::model::{App, Caller};
use axum::response::IntoResponse;
use axum::{Json, extract};

pub async fn enable(extract::State(api): State, OnApp { caller, app, .. }: OnApp) -> Result {
    api.enable_acm(&caller, &app).await?;
    shown(&api, &caller, &app).await
}

pub async fn refresh(
    extract::State(api): State,
    OnApp { caller, app, .. }: OnApp,
    body: Body,
) -> Result {
    body.only(&["acm_refresh"])?;
    api.refresh_acm(&caller, &app).await?;
    shown(&api, &caller, &app).await
}

pub async fn disable(extract::State(api): State, OnApp { caller, app, .. }: OnApp) -> Result {
    api.disable_acm(&caller, &app).await?;
    shown(&api, &caller, &app).await
}

async fn shown(api: &super::Api, caller: &Caller, app: &App) -> Result {
    let app = api.app(caller, &app.id.to_string()).await?;
    Ok(Json(json::app(&app, &api.settings)).into_response())
}
