//! Rows of `auto_certificates`.

use super::row::{parsed, parsed_option, time, time_option};
use super::sni_endpoints::Served;
use crate::clock::Timestamp;
use crate::error::{Context, Result};
use crate::model::{AppId, AutoCertificate, AutoState, DomainId, SniEndpointId};
use rusqlite::{Connection, Row, named_params, params};

fn certificate(row: &Row<'_>) -> rusqlite::Result<AutoCertificate> {
    Ok(AutoCertificate {
        id: parsed(row, "id")?,
        hostname: row.get("hostname")?,
        app: parsed_option(row, "app_id")?,
        domain: parsed_option(row, "domain_id")?,
        state: parsed(row, "state")?,
        reason: row.get("reason")?,
        attempts: row.get("attempts")?,
        tried_at: time_option(row, "tried_at")?,
        chain: row.get("chain")?,
        renew_at: time_option(row, "renew_at")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

fn stored(state: AutoState) -> &'static str {
    state.word().unwrap_or("waiting")
}

pub fn all(db: &Connection) -> Result<Vec<AutoCertificate>> {
    let what = "read automatic certificates";
    let mut query =
        db.prepare_cached("SELECT * FROM auto_certificates ORDER BY hostname").context(what)?;
    let rows = query.query_map([], certificate).context(what)?;
    rows.collect::<rusqlite::Result<_>>().context(what)
}

/// Those of an app's custom domains that are there.
pub fn of_app(db: &Connection, app: AppId) -> Result<Vec<AutoCertificate>> {
    let what = "read automatic certificates";
    let mut query = db
        .prepare_cached(
            "SELECT * FROM auto_certificates
             WHERE app_id = ? AND domain_id IS NOT NULL AND chain IS NOT NULL ORDER BY hostname",
        )
        .context(what)?;
    let rows = query.query_map([app.to_string()], certificate).context(what)?;
    rows.collect::<rusqlite::Result<_>>().context(what)
}

/// A name that shall have a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub hostname: String,
    pub app: Option<AppId>,
    pub domain: Option<DomainId>,
}

/// Custom domains of apps that want it, but for those with certificates of their own.
pub fn wanted_domains(db: &Connection) -> Result<Vec<Wanted>> {
    let what = "read domains";
    let mut query = db
        .prepare_cached(
            "SELECT d.hostname, d.id, d.app_id FROM domains d JOIN apps a ON a.id = d.app_id
             WHERE a.acm AND d.sni_endpoint_id IS NULL",
        )
        .context(what)?;
    let rows = query.query_map([], |row| {
        Ok(Wanted {
            hostname: row.get("hostname")?,
            app: Some(parsed(row, "app_id")?),
            domain: Some(parsed(row, "id")?),
        })
    });
    rows.context(what)?.collect::<rusqlite::Result<_>>().context(what)
}

pub fn insert(db: &Connection, wanted: &Wanted, now: Timestamp) -> Result<()> {
    db.execute(
        "INSERT INTO auto_certificates
             (hostname, id, app_id, domain_id, state, created_at, updated_at)
         VALUES (:hostname, :id, :app, :domain, 'waiting', :now, :now)",
        named_params! {
            ":hostname": wanted.hostname,
            ":id": SniEndpointId::random().to_string(),
            ":app": wanted.app.map(|id| id.to_string()),
            ":domain": wanted.domain.map(|id| id.to_string()),
            ":now": now.0,
        },
    )
    .context("store an automatic certificate")?;
    Ok(())
}

pub fn delete(db: &Connection, id: SniEndpointId) -> Result<()> {
    db.execute("DELETE FROM auto_certificates WHERE id = ?", [id.to_string()])
        .context("remove an automatic certificate")?;
    Ok(())
}

/// How far it is now.
pub fn set_state(db: &Connection, row: &AutoCertificate) -> Result<()> {
    db.execute(
        "UPDATE auto_certificates
         SET state = ?, reason = ?, attempts = ?, tried_at = ?, updated_at = ? WHERE id = ?",
        params![
            stored(row.state),
            row.reason,
            row.attempts,
            row.tried_at.map(|at| at.0),
            row.updated_at.0,
            row.id.to_string()
        ],
    )
    .context("store the state of an automatic certificate")?;
    Ok(())
}

/// It is there. False if nobody wants it any more.
pub fn set_issued(
    db: &Connection,
    id: SniEndpointId,
    chain: &str,
    sealed_key: &[u8],
    renew_at: Timestamp,
    now: Timestamp,
) -> Result<bool> {
    let changed = db
        .execute(
            "UPDATE auto_certificates
             SET state = ?, reason = NULL, attempts = 0, chain = ?, key = ?, renew_at = ?,
                 updated_at = ?
             WHERE id = ?",
            params![
                stored(AutoState::Issued),
                chain,
                sealed_key,
                renew_at.0,
                now.0,
                id.to_string()
            ],
        )
        .context("store an automatic certificate")?;
    Ok(changed > 0)
}

/// An app's domains want none any more.
pub fn forget(db: &Connection, app: AppId) -> Result<()> {
    db.execute(
        "DELETE FROM auto_certificates WHERE app_id = ? AND domain_id IS NOT NULL",
        [app.to_string()],
    )
    .context("remove automatic certificates")?;
    Ok(())
}

/// Those of an app that failed, or have not been tried, are tried again at once.
pub fn refresh(db: &Connection, app: AppId, now: Timestamp) -> Result<()> {
    db.execute(
        "UPDATE auto_certificates
         SET state = 'waiting', reason = NULL, attempts = 0, updated_at = ?
         WHERE app_id = ? AND state IN ('failing', 'failed')",
        params![now.0, app.to_string()],
    )
    .context("try automatic certificates again")?;
    Ok(())
}

/// Those that are served, with their sealed keys.
pub fn served(db: &Connection) -> Result<Vec<Served>> {
    let what = "read automatic certificates";
    let mut query = db
        .prepare_cached(
            "SELECT id, hostname, chain, key FROM auto_certificates WHERE chain IS NOT NULL
             ORDER BY hostname",
        )
        .context(what)?;
    let rows = query.query_map([], |row| {
        Ok(Served {
            id: parsed(row, "id")?,
            chain: row.get("chain")?,
            sealed_key: row.get("key")?,
            names: vec![row.get("hostname")?],
        })
    });
    rows.context(what)?.collect::<rusqlite::Result<_>>().context(what)
}
