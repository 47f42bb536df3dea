//! What is declared against what runs: ours, Heroku has no such thing.

use super::auth::{Auth, State};
use super::error::Result;
use crate::dynos::drift::Drift;
use axum::{Json, extract};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Of the apps that the caller may use; what belongs to no app is for admins.
pub async fn show(extract::State(api): State, Auth(caller): Auth) -> Result<Json<Value>> {
    let mine: BTreeSet<_> = api.access.apps(&caller).await?.into_iter().map(|app| app.id).collect();
    let compared = api.dynos.drift().await?;
    let shown = |drift: &&Drift| match &drift.app {
        Some((id, _)) => mine.contains(id),
        None => caller.user.admin,
    };
    let drift = compared.drift.iter().filter(shown).map(|drift| {
        json!({
            "app": drift.app.as_ref().map(|(id, name)| json!({"id": id.to_string(), "name": name})),
            "what": drift.what,
            "declared": drift.declared,
            "running": drift.running,
        })
    });
    Ok(Json(json!({
        "apps": compared.apps.intersection(&mine).count(),
        "drift": drift.collect::<Vec<_>>(),
    })))
}
