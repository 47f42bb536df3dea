//! Dyno sizes: the table of limits, for clients that offer or check sizes.

use super::auth::{Auth, State};
use super::error::Result;
use super::guard::OnApp;
use super::{json, range};
use crate::error::Error;
use axum::extract::Path;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::{Json, extract};

pub async fn list(extract::State(api): State, Auth(_caller): Auth, headers: HeaderMap) -> Result {
    let items = api.settings.dyno_sizes.iter().map(json::dyno_size).collect();
    range::page(&headers, items, &["name", "id"])
}

/// An app may have dynos of every size.
pub async fn of_app(extract::State(api): State, OnApp { .. }: OnApp, headers: HeaderMap) -> Result {
    let items = api.settings.dyno_sizes.iter().map(json::dyno_size).collect();
    range::page(&headers, items, &["name", "id"])
}

pub async fn show(
    extract::State(api): State,
    Auth(_caller): Auth,
    Path(wanted): Path<String>,
) -> Result {
    let mut sizes = api.settings.dyno_sizes.iter().map(|size| (size.name, json::dyno_size(size)));
    let found = sizes.find(|(name, size)| {
        name.eq_ignore_ascii_case(&wanted) || size["id"].as_str() == Some(wanted.as_str())
    });
    let (_, size) = found.ok_or_else(|| Error::not_found("dyno size"))?;
    Ok(Json(size).into_response())
}
