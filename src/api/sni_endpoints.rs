//! SNI endpoints: an app's certificates.

use super::auth::State;
use super::body::Body;
use super::error::Result;
use super::guard::OnApp;
use super::{json, range};
use crate::apps::lifecycle;
use crate::certs::Pem;
use crate::certs::chain;
use crate::error::Error;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::{Json, extract};

pub async fn list(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    headers: HeaderMap,
) -> Result {
    let rows = api.certs.list(&app).await?;
    let items: crate::error::Result<Vec<_>> = rows
        .iter()
        .map(|row| Ok(json::sni_endpoint(row, &chain::read(&row.chain)?, &app)))
        .collect();
    range::page(&headers, items?, &["name", "id"])
}

pub async fn create(extract::State(api): State, OnApp { app, .. }: OnApp, body: Body) -> Result {
    let row = api.certs.add(&app, lifecycle::generated_name(), pem(&body)?).await?;
    let shown = json::sni_endpoint(&row, &chain::read(&row.chain)?, &app);
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

pub async fn show(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    Path((_, endpoint)): Path<(String, String)>,
) -> Result {
    let row = api.certs.find(&app, &endpoint).await?;
    Ok(Json(json::sni_endpoint(&row, &chain::read(&row.chain)?, &app)).into_response())
}

pub async fn update(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    Path((_, endpoint)): Path<(String, String)>,
    body: Body,
) -> Result {
    let row = api.certs.update(&app, &endpoint, pem(&body)?).await?;
    Ok(Json(json::sni_endpoint(&row, &chain::read(&row.chain)?, &app)).into_response())
}

pub async fn destroy(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    Path((_, endpoint)): Path<(String, String)>,
) -> Result {
    let row = api.certs.remove(&app, &endpoint).await?;
    Ok(Json(json::sni_endpoint(&row, &chain::read(&row.chain)?, &app)).into_response())
}

fn pem(body: &Body) -> crate::error::Result<Pem> {
    body.only(&["certificate_chain", "private_key"])?;
    let field = |name: &str| {
        let text = body.text(name)?.ok_or_else(|| Error::invalid(format!("{name} is required")))?;
        Ok(text.to_string())
    };
    Ok(Pem { chain: field("certificate_chain")?, key: field("private_key")? })
}
