//! Config vars: read whole, changed by key, one release for each request that changes anything.

use super::auth::State;
use super::body::Body;
use super::error::Result;
use super::guard::OnApp;
use crate::error::Error;
use crate::model::ConfigVars;
use crate::store;
use axum::extract::Path;
use axum::response::IntoResponse;
use axum::{Json, extract};
use serde_json::{Map, Value};

pub async fn list(extract::State(api): State, OnApp { app, .. }: OnApp) -> Result {
    let config = api.releases.config(app.id).await?;
    Ok(Json(object(&config)).into_response())
}

/// The config vars that a release was made with.
pub async fn of_release(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    Path((_, release)): Path<(String, String)>,
) -> Result {
    let id = app.id;
    let found = api.store.read(move |db| store::releases::find_release(db, id, &release)).await?;
    let release = found.ok_or_else(|| Error::not_found("release"))?;
    let config = api.releases.config_of(release.id).await?;
    Ok(Json(object(&config)).into_response())
}

pub async fn update(
    extract::State(api): State,
    OnApp { caller, app, .. }: OnApp,
    body: Body,
) -> Result {
    let mut changes = Vec::new();
    for (key, value) in body.into_map() {
        let value = match value {
            Value::Null => None,
            Value::String(text) => Some(text),
            // Heroku's clients send numbers and booleans as they are.
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Array(_) | Value::Object(_) => {
                let shown: String = key.chars().take(60).collect();
                let message = format!("Config var {shown} must be a string or null");
                return Err(Error::invalid(message).into());
            }
        };
        changes.push((key, value));
    }
    let config = api.change_config(&caller, &app, changes).await?;
    Ok(Json(object(&config)).into_response())
}

fn object(config: &ConfigVars) -> Map<String, Value> {
    config.iter().map(|(key, value)| (key.to_string(), Value::from(value))).collect()
}
