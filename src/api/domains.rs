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
    no_endpoint(&body)?;
    let hostname = Hostname::parse(hostname)?;
    let domain = domains::add(&api.store, &api.settings, &caller, &app, hostname).await?;
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

/// Names a certificate of the app's for a domain. There is none that could be named yet.
pub async fn update(
    extract::State(api): State,
    Auth(caller): Auth,
    Path((app, domain)): Path<(String, String)>,
    body: Body,
) -> Result {
    let app = api.app(&caller, &app).await?;
    body.only(&["sni_endpoint"])?;
    let found = custom(&api, &app, &domain).await?.ok_or_else(|| Error::not_found("domain"))?;
    no_endpoint(&body)?;
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
    Ok(Json(json::domain(&found, &app, &api.settings)).into_response())
}

/// An app's certificates, which Heroku's client asks for before it adds a domain: none yet.
pub async fn endpoints(
    extract::State(api): State,
    Auth(caller): Auth,
    Path(app): Path<String>,
    headers: HeaderMap,
) -> Result {
    api.app(&caller, &app).await?;
    range::page(&headers, Vec::new(), &["id", "name"])
}

async fn custom(api: &Api, app: &App, wanted: &str) -> crate::error::Result<Option<Domain>> {
    let (id, wanted) = (app.id, wanted.to_string());
    api.store.read(move |db| store::domains::find(db, id, &wanted)).await
}

/// The app's own name, asked for by name or id.
fn own(api: &Api, app: &App, wanted: &str) -> crate::error::Result<Value> {
    let domain = json::own_domain(app, &api.settings);
    let is_it = ["id", "hostname"].iter().any(|field| {
        domain[field].as_str().is_some_and(|known| known.eq_ignore_ascii_case(wanted))
    });
    if is_it { Ok(domain) } else { Err(Error::not_found("domain")) }
}

fn no_endpoint(body: &Body) -> crate::error::Result<()> {
    match body.text("sni_endpoint")? {
        None => Ok(()),
        Some(_) => Err(Error::not_found("sni_endpoint")),
    }
}
