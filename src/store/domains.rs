//! Rows of `domains`.

use super::row::{parsed, parsed_option, time, time_option};
use crate::error::{Context, Result};
use crate::model::{AppId, Domain, DomainId, Hostname, SniEndpointId, UserId};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use std::collections::BTreeMap;

const SELECT: &str = "SELECT d.*, e.name AS endpoint, c.id AS auto_id, c.state AS auto_state,
         c.reason AS auto_reason, c.chain IS NOT NULL AS auto_is_there, c.updated_at AS auto_at
     FROM domains d
     LEFT JOIN sni_endpoints e ON e.id = d.sni_endpoint_id
     LEFT JOIN auto_certificates c ON c.domain_id = d.id";

fn domain(row: &Row<'_>) -> rusqlite::Result<Domain> {
    let hostname = parsed::<Hostname>(row, "hostname")?;
    let own = parsed_option(row, "sni_endpoint_id")?.zip(row.get("endpoint")?);
    let auto: Option<SniEndpointId> = parsed_option(row, "auto_id")?;
    let auto = auto.filter(|_| row.get("auto_is_there").unwrap_or(false));
    let reason: Option<String> = row.get("auto_reason")?;
    let changed = time_option(row, "auto_at")?.max(Some(time(row, "updated_at")?));
    Ok(Domain {
        id: parsed(row, "id")?,
        app: parsed(row, "app_id")?,
        sni_endpoint: own.or_else(|| auto.map(|id| (id, auto_name(hostname.as_str())))),
        hostname,
        acm: parsed_option(row, "auto_state")?.map(|state| (state, reason)),
        created_at: time(row, "created_at")?,
        updated_at: changed.unwrap_or_default(),
    })
}

/// What an automatic certificate is called.
pub fn auto_name(hostname: &str) -> String {
    format!("acm-{hostname}")
}

pub fn of_app(db: &Connection, app: AppId) -> Result<Vec<Domain>> {
    let mut query = db
        .prepare_cached(&format!("{SELECT} WHERE d.app_id = ? ORDER BY d.hostname"))
        .context("read domains")?;
    let rows = query.query_map([app.to_string()], domain).context("read domains")?;
    rows.collect::<rusqlite::Result<_>>().context("read domains")
}

/// The names that lead to each app.
pub fn names(db: &Connection) -> Result<BTreeMap<AppId, Vec<String>>> {
    let mut query = db
        .prepare_cached("SELECT app_id, hostname FROM domains ORDER BY hostname")
        .context("read domains")?;
    let rows = query
        .query_map([], |row| Ok((parsed(row, "app_id")?, row.get("hostname")?)))
        .context("read domains")?;
    let mut names: BTreeMap<AppId, Vec<String>> = BTreeMap::new();
    for row in rows {
        let (app, hostname) = row.context("read domains")?;
        names.entry(app).or_default().push(hostname);
    }
    Ok(names)
}

/// One of an app's domains by its id or name.
pub fn find(db: &Connection, app: AppId, id_or_name: &str) -> Result<Option<Domain>> {
    db.query_row(
        &format!("{SELECT} WHERE d.app_id = ?1 AND (d.id = ?2 OR d.hostname = ?2)"),
        params![app.to_string(), id_or_name.to_ascii_lowercase()],
        domain,
    )
    .optional()
    .context("read a domain")
}

pub fn count(db: &Connection, app: AppId) -> Result<u32> {
    db.query_row("SELECT count(*) FROM domains WHERE app_id = ?", [app.to_string()], |row| {
        row.get(0)
    })
    .context("count domains")
}

/// A name that leads somewhere already, and whose app that is.
pub struct Claim {
    pub hostname: String,
    pub app: AppId,
    pub owner: UserId,
}

/// Who has this name, a wildcard above it or, if it is a wildcard, names below it.
pub fn claims(db: &Connection, name: &Hostname) -> Result<Vec<Claim>> {
    let mut names = name.wildcards_above();
    names.push(name.to_string());
    let marks = vec!["?"; names.len()].join(", ");
    let below = name.wildcard_base().map(|base| format!("%.{base}")).unwrap_or_default();
    names.push(below);
    let mut query = db
        .prepare(&format!(
            "SELECT d.hostname, d.app_id, a.owner_id FROM domains d JOIN apps a ON a.id = d.app_id
             WHERE d.hostname IN ({marks}) OR d.hostname LIKE ?"
        ))
        .context("look for a domain")?;
    let rows = query
        .query_map(rusqlite::params_from_iter(names), |row| {
            Ok(Claim {
                hostname: row.get("hostname")?,
                app: parsed(row, "app_id")?,
                owner: parsed(row, "owner_id")?,
            })
        })
        .context("look for a domain")?;
    rows.collect::<rusqlite::Result<_>>().context("look for a domain")
}

pub fn insert(db: &Connection, domain: &Domain) -> Result<()> {
    db.execute(
        "INSERT INTO domains (id, app_id, hostname, created_at, updated_at)
         VALUES (:id, :app, :hostname, :created, :updated)",
        named_params! {
            ":id": domain.id.to_string(),
            ":app": domain.app.to_string(),
            ":hostname": domain.hostname.as_str(),
            ":created": domain.created_at.0,
            ":updated": domain.updated_at.0,
        },
    )
    .context("store a domain")?;
    Ok(())
}

pub fn delete(db: &Connection, id: DomainId) -> Result<()> {
    db.execute("DELETE FROM domains WHERE id = ?", [id.to_string()]).context("remove a domain")?;
    Ok(())
}
