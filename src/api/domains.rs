//! Domains: an app's own name, which is always there, and the custom ones.

use super::auth::State;
use super::body::Body;
use super::error::Result;
use super::guard::OnApp;
use super::{Api, json, range};
use crate::certs::auto::dns::Leads;
use crate::error::Error;
use crate::model::App;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::{Json, extract};
use serde_json::{Value, json};
use std::collections::HashMap;

pub async fn list(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result {
    let custom = api.custom_domains(&app).await?;
    let mut items: Vec<Value> =
        custom.iter().map(|domain| json::domain(domain, &app, &api.settings)).collect();
    if query.contains_key("dns") {
        add_dns(&api, &app, &mut items).await;
    }
    items.insert(0, json::own_domain(&app, &api.settings));
    range::page(&headers, items, &["id", "hostname"])
}

/// Ours, and only for whoever asks with `?dns`, since name servers may take their time: where a
/// domain leads, in the form of Heroku's states of certificates.
async fn add_dns(api: &Api, app: &App, domains: &mut [Value]) {
    let name = |domain: &Value| domain["hostname"].as_str().unwrap_or_default().to_string();
    let names: Vec<String> = domains.iter().map(name).collect();
    let leads = api.certs.leads(&api.settings.app_host(app.name.as_str()), &names).await;
    // Of very many the last are not looked up.
    let leads = leads.into_iter().chain(std::iter::repeat_with(|| Leads::Unknown));
    for (domain, leads) in domains.iter_mut().zip(leads) {
        let (status, reason) = match leads {
            Leads::Here => (Some("ok"), None),
            Leads::Elsewhere(words) => (Some("failing"), Some(words)),
            Leads::Unknown => (None, None),
        };
        domain["dns_status"] = json!(status);
        domain["dns_status_reason"] = json!(reason);
    }
}

pub async fn create(
    extract::State(api): State,
    OnApp { caller, app, .. }: OnApp,
    body: Body,
) -> Result {
    body.only(&["hostname", "sni_endpoint"])?;
    let hostname = body.text("hostname")?.ok_or_else(|| Error::invalid("hostname is required"))?;
    let endpoint = body.text("sni_endpoint")?;
    let domain = api.add_domain(&caller, &app, hostname, endpoint).await?;
    let shown = json::domain(&domain, &app, &api.settings);
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

pub async fn show(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    Path((_, domain)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
) -> Result {
    let Some(found) = api.custom_domain(&app, &domain).await? else {
        return Ok(Json(own(&api, &app, &domain)?).into_response());
    };
    let mut shown = json::domain(&found, &app, &api.settings);
    if query.contains_key("dns") {
        add_dns(&api, &app, std::slice::from_mut(&mut shown)).await;
    }
    Ok(Json(shown).into_response())
}

/// Serves a domain with one of the app's certificates, or with none.
pub async fn update(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    Path((_, domain)): Path<(String, String)>,
    body: Body,
) -> Result {
    body.only(&["sni_endpoint"])?;
    let found = api.custom_domain(&app, &domain).await?;
    let found = found.ok_or_else(|| Error::not_found("domain"))?;
    api.certs.attach(&app, &found, body.text("sni_endpoint")?).await?;
    let found = api.domain_again(&app, &found).await?;
    Ok(Json(json::domain(&found, &app, &api.settings)).into_response())
}

pub async fn destroy(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    Path((_, domain)): Path<(String, String)>,
) -> Result {
    let removed = api.remove_domain(&app, &domain).await?;
    let Some(found) = removed else {
        own(&api, &app, &domain)?;
        let name = api.settings.app_host(app.name.as_str());
        let message = format!("Domain {name} is the app's own and cannot be removed.");
        return Err(Error::invalid(message).into());
    };
    Ok(Json(json::domain(&found, &app, &api.settings)).into_response())
}

/// The app's own name, asked for by name or id.
fn own(api: &Api, app: &App, wanted: &str) -> crate::error::Result<Value> {
    let domain = json::own_domain(app, &api.settings);
    let is_it = ["id", "hostname"].iter().any(|field| {
        domain[field].as_str().is_some_and(|known| known.eq_ignore_ascii_case(wanted))
    });
    if is_it { Ok(domain) } else { Err(Error::not_found("domain")) }
}
