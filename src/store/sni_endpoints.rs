//! Rows of `sni_endpoints`, and which domains they are for.

use super::row::{parsed, time};
use crate::clock::Timestamp;
use crate::error::{Context, Error, Result};
use crate::model::{AppId, DomainId, SniEndpoint, SniEndpointId};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use std::collections::BTreeMap;

fn endpoint(row: &Row<'_>) -> rusqlite::Result<SniEndpoint> {
    Ok(SniEndpoint {
        id: parsed(row, "id")?,
        app: parsed(row, "app_id")?,
        name: row.get("name")?,
        chain: row.get("chain")?,
        domains: Vec::new(),
        acm: false,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

pub fn of_app(db: &Connection, app: AppId) -> Result<Vec<SniEndpoint>> {
    let mut query = db
        .prepare_cached("SELECT * FROM sni_endpoints WHERE app_id = ? ORDER BY name")
        .context("read certificates")?;
    let rows = query.query_map([app.to_string()], endpoint).context("read certificates")?;
    let rows: Vec<SniEndpoint> = rows.collect::<rusqlite::Result<_>>().context("read them")?;
    rows.into_iter().map(|row| with_domains(db, row)).collect()
}

/// One of an app's by its id or name.
pub fn find(db: &Connection, app: AppId, id_or_name: &str) -> Result<Option<SniEndpoint>> {
    let found = db
        .query_row(
            "SELECT * FROM sni_endpoints WHERE app_id = ?1 AND (id = ?2 OR name = ?2)",
            params![app.to_string(), id_or_name.to_ascii_lowercase()],
            endpoint,
        )
        .optional()
        .context("read a certificate")?;
    found.map(|row| with_domains(db, row)).transpose()
}

/// One as it is after a change.
pub fn again(db: &Connection, row: &SniEndpoint) -> Result<SniEndpoint> {
    find(db, row.app, &row.id.to_string())?.ok_or_else(|| Error::not_found("sni_endpoint"))
}

fn with_domains(db: &Connection, mut row: SniEndpoint) -> Result<SniEndpoint> {
    let mut query = db
        .prepare_cached("SELECT id FROM domains WHERE sni_endpoint_id = ? ORDER BY hostname")
        .context("read a certificate's domains")?;
    let ids = query.query_map([row.id.to_string()], |row| parsed(row, "id"));
    let ids = ids.context("read a certificate's domains")?;
    row.domains = ids.collect::<rusqlite::Result<_>>().context("read a certificate's domains")?;
    Ok(row)
}

pub fn insert(db: &Connection, row: &SniEndpoint, sealed_key: &[u8]) -> Result<()> {
    db.execute(
        "INSERT INTO sni_endpoints (id, app_id, name, chain, key, created_at, updated_at)
         VALUES (:id, :app, :name, :chain, :key, :created, :updated)",
        named_params! {
            ":id": row.id.to_string(),
            ":app": row.app.to_string(),
            ":name": row.name,
            ":chain": row.chain,
            ":key": sealed_key,
            ":created": row.created_at.0,
            ":updated": row.updated_at.0,
        },
    )
    .context("store a certificate")?;
    Ok(())
}

pub fn replace(
    db: &Connection,
    id: SniEndpointId,
    chain: &str,
    sealed_key: &[u8],
    now: Timestamp,
) -> Result<()> {
    db.execute(
        "UPDATE sni_endpoints SET chain = ?, key = ?, updated_at = ? WHERE id = ?",
        params![chain, sealed_key, now.0, id.to_string()],
    )
    .context("store a certificate")?;
    Ok(())
}

pub fn delete(db: &Connection, id: SniEndpointId) -> Result<()> {
    db.execute("DELETE FROM sni_endpoints WHERE id = ?", [id.to_string()])
        .context("remove a certificate")?;
    Ok(())
}

/// Serves a domain with a certificate, or with none.
pub fn attach(
    db: &Connection,
    domain: DomainId,
    endpoint: Option<SniEndpointId>,
    now: Timestamp,
) -> Result<()> {
    db.execute(
        "UPDATE domains SET sni_endpoint_id = ?, updated_at = ? WHERE id = ?",
        params![endpoint.map(|id| id.to_string()), now.0, domain.to_string()],
    )
    .context("set a domain's certificate")?;
    Ok(())
}

/// A certificate that is served: with its sealed key and the names that it is for.
pub struct Served {
    pub id: SniEndpointId,
    pub chain: String,
    pub sealed_key: Vec<u8>,
    pub names: Vec<String>,
}

pub fn served(db: &Connection) -> Result<Vec<Served>> {
    let what = "read the certificates";
    let mut query = db
        .prepare_cached(
            "SELECT e.id, e.chain, e.key, d.hostname FROM sni_endpoints e
             JOIN domains d ON d.sni_endpoint_id = e.id ORDER BY d.hostname",
        )
        .context(what)?;
    let rows = query
        .query_map([], |row| {
            let served = Served {
                id: parsed(row, "id")?,
                chain: row.get("chain")?,
                sealed_key: row.get("key")?,
                names: Vec::new(),
            };
            Ok((served, row.get::<_, String>("hostname")?))
        })
        .context(what)?;
    let mut found: BTreeMap<SniEndpointId, Served> = BTreeMap::new();
    for row in rows {
        let (served, name) = row.context(what)?;
        found.entry(served.id).or_insert(served).names.push(name);
    }
    Ok(found.into_values().collect())
}
