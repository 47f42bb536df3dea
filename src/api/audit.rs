//! The audit: ours, Heroku sells it under another name. Admins read all of it, whoever manages an
//! app that app's.

use super::auth::{Auth, State};
use super::error::Result;
use super::guard::OnApp;
use crate::error::Error;
use crate::limits;
use crate::model::{AppId, AuditEntry};
use crate::store;
use axum::extract::Query;
use axum::response::IntoResponse;
use axum::{Json, extract};
use serde_json::{Value, json};
use std::collections::HashMap;

pub async fn list(
    extract::State(api): State,
    Auth(_): Auth,
    Query(query): Query<HashMap<String, String>>,
) -> Result {
    answer(&api, None, &query).await
}

pub async fn of_app(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    Query(query): Query<HashMap<String, String>>,
) -> Result {
    answer(&api, Some(app.id), &query).await
}

/// `?n=50`: so many of the newest entries, newest first.
async fn answer(api: &super::Api, app: Option<AppId>, query: &HashMap<String, String>) -> Result {
    let count = match query.get("n") {
        None => limits::AUDIT_ENTRIES_SHOWN,
        Some(text) => text
            .parse::<usize>()
            .ok()
            .filter(|count| (1..=limits::AUDIT_ENTRIES).contains(count))
            .ok_or_else(|| {
                let most = limits::AUDIT_ENTRIES;
                Error::invalid(format!("n must be a number from 1 to {most}"))
            })?,
    };
    let entries = api.store.read(move |db| store::audit::last(db, app, count)).await?;
    Ok(Json(entries.iter().map(shown).collect::<Vec<_>>()).into_response())
}

/// `?head=SEQ:HASH`: also whether that entry, which somebody has kept, is still the same.
pub async fn verify(
    extract::State(api): State,
    Auth(_): Auth,
    Query(query): Query<HashMap<String, String>>,
) -> Result {
    let known = query.get("head").map(|text| known(text)).transpose()?;
    let verdict = api.store.read(move |db| store::audit::verify(db, known)).await?;
    let broken = verdict.broken.map(|(seq, why)| json!({ "seq": seq, "why": why }));
    Ok(Json(json!({
        "broken": broken,
        "entries": verdict.entries,
        "head": format!("{}:{}", verdict.entries, hex(&verdict.head)),
    }))
    .into_response())
}

fn known(text: &str) -> crate::error::Result<(i64, Vec<u8>)> {
    let wrong = || Error::invalid("head must be as verify printed it: NUMBER:HASH");
    let (seq, hash) = text.split_once(':').ok_or_else(wrong)?;
    let seq = seq.parse::<i64>().ok().filter(|seq| *seq > 0).ok_or_else(wrong)?;
    let digits = hash.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(wrong());
    }
    let pair = |at: usize| u8::from_str_radix(&hash[at..at + 2], 16).map_err(|_| wrong());
    let bytes: crate::error::Result<Vec<u8>> = (0..digits.len()).step_by(2).map(pair).collect();
    Ok((seq, bytes?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn shown(entry: &AuditEntry) -> Value {
    let details: Value = serde_json::from_str(&entry.details).unwrap_or_default();
    let app = entry.app_id.map(|id| json!({ "id": id.0, "name": entry.app }));
    json!({
        "action": entry.action,
        "actor": { "email": entry.actor, "id": entry.actor_id },
        "address": entry.address,
        "app": app,
        "created_at": entry.at.api(),
        "details": details,
        "hash": hex(&entry.hash),
        "request_id": entry.request_id,
        "seq": entry.seq,
        "via": entry.via,
    })
}
