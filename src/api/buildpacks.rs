//! The buildpacks of an app: the list that the next build runs, read and replaced as a whole.

use super::auth::State;
use super::body::Body;
use super::error::Result;
use super::guard::OnApp;
use super::json;
use crate::error::Error;
use crate::limits;
use crate::model::Buildpack;
use crate::store;
use axum::response::IntoResponse;
use axum::{Json, extract};

pub async fn list(extract::State(api): State, OnApp { app, .. }: OnApp) -> Result {
    let installed = api.store.read(move |db| store::buildpacks::of(db, app.id)).await?;
    Ok(Json(json::buildpack_installations(&installed)).into_response())
}

/// No release comes of it: only the next build does otherwise.
pub async fn replace(extract::State(api): State, OnApp { app, .. }: OnApp, body: Body) -> Result {
    body.only(&["updates"])?;
    let updates = body.list("updates")?;
    if updates.len() > limits::BUILDPACKS_PER_APP {
        let most = limits::BUILDPACKS_PER_APP;
        return Err(Error::invalid(format!("An app can have {most} buildpacks at most")).into());
    }
    let mut installed: Vec<Buildpack> = Vec::new();
    for update in updates {
        let update = Body::from_value("updates", update.clone())?;
        let text = update.text("buildpack")?;
        let text = text.ok_or_else(|| Error::invalid("buildpack is required in each update"))?;
        installed.push(Buildpack::parse(text)?);
    }
    let (id, rows) = (app.id, installed.clone());
    api.store
        .write(move |db| {
            let names: Vec<String> = rows.iter().map(ToString::to_string).collect();
            let details = [("buildpacks", &names.join(" ")[..])];
            store::audit::note(db, "buildpack-installation:update", Some(id), &details)?;
            store::buildpacks::replace(db, id, &rows)
        })
        .await?;
    Ok(Json(json::buildpack_installations(&installed)).into_response())
}
