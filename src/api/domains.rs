//! Domains: an app's own name, which is always there, and the custom ones.

use super::auth::{Auth, State};
use super::body::Body;
use super::error::Result;
use super::{Api, json, range};
use crate::apps::domains;
use crate::error::Error;
use crate::limits;
use crate::model::{App, Domain, Hostname};
use crate::store;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::{Json, extract};
use serde_json::Value;

pub async fn list(
    extract::State(api): State,
    Auth(caller): Auth,
    Path(app): Path<String>,
    headers: HeaderMap,
) -> Result {
    let app = api.app(&caller, &app).await?;
    let id = app.id;
    let custom = api.store.read(move |db| store::domains::of_app(db, id)).await?;
    let mut items = vec![json::own_domain(&app, &api.settings)];
    items.extend(custom.iter().map(|domain| json::domain(domain, &app, &api.settings)));
    range::page(&headers, items, &["id", "hostname"])
}

pub async fn create(
    extract::State(api): State,
    Auth(caller): Auth,
    Path(app): Path<String>,
    body: Body,
) -> Result {
    let app = api.app(&caller, &app).await?;
    body.only(&["hostname", "sni_endpoint"])?;
    let hostname = body.text("hostname")?.ok_or_else(|| Error::invalid("hostname is required"))?;
    let hostname = Hostname::parse(hostname)?;
    let endpoint = body.text("sni_endpoint")?;
    if let Some(endpoint) = endpoint {
        api.certs.covering(&app, endpoint, &hostname).await?;
    }
    let domain = domains::add(&api.store, &api.settings, &caller, &app, hostname).await?;
    match endpoint {
        Some(_) => api.certs.attach(&app, &domain, endpoint).await?,
        None => api.certs.attach_covering(&app, &domain).await?,
    }
    let domain = again(&api, &app, &domain).await?;
    // Whoever is told that it is done may ask the router at once.
    api.dynos.routed(limits::TABLE_MARGIN).await;
    let shown = json::domain(&domain, &app, &api.settings);
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

pub async fn show(
    extract::State(api): State,
    Auth(caller): Auth,
    Path((app, domain)): Path<(String, String)>,
) -> Result {
    let app = api.app(&caller, &app).await?;
    Ok(Json(match custom(&api, &app, &domain).await? {
        Some(domain) => json::domain(&domain, &app, &api.settings),
        None => own(&api, &app, &domain)?,
    })
    .into_response())
}

/// Serves a domain with one of the app's certificates, or with none.
pub async fn update(
    extract::State(api): State,
    Auth(caller): Auth,
    Path((app, domain)): Path<(String, String)>,
    body: Body,
) -> Result {
    let app = api.app(&caller, &app).await?;
    body.only(&["sni_endpoint"])?;
    let found = custom(&api, &app, &domain).await?.ok_or_else(|| Error::not_found("domain"))?;
    api.certs.attach(&app, &found, body.text("sni_endpoint")?).await?;
    let found = again(&api, &app, &found).await?;
    Ok(Json(json::domain(&found, &app, &api.settings)).into_response())
}

pub async fn destroy(
    extract::State(api): State,
    Auth(caller): Auth,
    Path((app, domain)): Path<(String, String)>,
) -> Result {
    let app = api.app(&caller, &app).await?;
    let Some(found) = custom(&api, &app, &domain).await? else {
        own(&api, &app, &domain)?;
        let name = api.settings.app_host(app.name.as_str());
        let message = format!("Domain {name} is the app's own and cannot be removed.");
        return Err(Error::invalid(message).into());
    };
    let id = found.id;
    api.store.write(move |db| store::domains::delete(db, id)).await?;
    api.dynos.routed(limits::TABLE_MARGIN).await;
    if found.sni_endpoint.is_some() {
        api.certs.hand_over().await?;
    }
    Ok(Json(json::domain(&found, &app, &api.settings)).into_response())
}

async fn custom(api: &Api, app: &App, wanted: &str) -> crate::error::Result<Option<Domain>> {
    let (id, wanted) = (app.id, wanted.to_string());
    api.store.read(move |db| store::domains::find(db, id, &wanted)).await
}

/// A domain as it is after a change.
async fn again(api: &Api, app: &App, domain: &Domain) -> crate::error::Result<Domain> {
    let found = custom(api, app, &domain.id.to_string()).await?;
    found.ok_or_else(|| Error::not_found("domain"))
}

/// The app's own name, asked for by name or id.
fn own(api: &Api, app: &App, wanted: &str) -> crate::error::Result<Value> {
    let domain = json::own_domain(app, &api.settings);
    let is_it = ["id", "hostname"].iter().any(|field| {
        domain[field].as_str().is_some_and(|known| known.eq_ignore_ascii_case(wanted))
    });
    if is_it { Ok(domain) } else { Err(Error::not_found("domain")) }
}
