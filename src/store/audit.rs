//! The audit: who did what, hash after hash. An entry is added in the transaction of the change
//! that it is about, so that neither is there without the other; triggers refuse anything else.

use super::row::{parsed_option, time};
use crate::clock::Timestamp;
use crate::error::{Context, Result};
use crate::model::{AppId, AuditEntry};
use crate::origin::{Origin, Via};
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

/// Adds an entry about what the transaction at hand does. Details are names and numbers: never
/// the value of a secret.
pub fn note(
    db: &Connection,
    action: &str,
    app: Option<AppId>,
    details: &[(&str, &str)],
) -> Result<()> {
    let origin = Origin::current();
    let name = match app {
        Some(app) => name(db, app)?,
        None => None,
    };
    let (seq, before) = head(db)?;
    let object: serde_json::Map<String, serde_json::Value> =
        details.iter().map(|(key, value)| ((*key).to_string(), (*value).into())).collect();
    let (actor_id, actor) = match origin.actor {
        Some((id, email)) => (Some(id.to_string()), email),
        None => (None, unnamed(origin.via).to_string()),
    };
    let mut entry = AuditEntry {
        seq: seq + 1,
        at: Timestamp::now(),
        actor_id,
        actor,
        via: origin.via.as_str().to_string(),
        address: origin.address,
        request_id: origin.request,
        action: action.to_string(),
        app_id: app,
        app: name,
        details: serde_json::Value::Object(object).to_string(),
        hash: Vec::new(),
    };
    entry.hash = hash(&before, &entry);
    insert(db, &entry)
}

/// Who acts where nobody has proved who they are.
fn unnamed(via: Via) -> &'static str {
    match via {
        Via::Root => "root",
        Via::Server => "server",
        Via::Api | Via::Cli | Via::Git | Via::Console => "nobody",
    }
}

fn name(db: &Connection, app: AppId) -> Result<Option<String>> {
    let query = "SELECT name FROM apps WHERE id = ?";
    let found = db.query_row(query, [app.to_string()], |row| row.get(0)).optional();
    found.context("read an app's name")
}

/// The last entry's number and hash; 0 and nothing before the first.
pub fn head(db: &Connection) -> Result<(i64, Vec<u8>)> {
    let query = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1";
    let found = db.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?))).optional();
    Ok(found.context("read the audit's head")?.unwrap_or_default())
}

/// Each field with its length before it, so that no two entries are written alike.
fn hash(before: &[u8], entry: &AuditEntry) -> Vec<u8> {
    let (seq, at) = (entry.seq.to_string(), entry.at.0.to_string());
    let app_id = entry.app_id.map(|id| id.to_string());
    let fields = [
        Some(seq.as_str()),
        Some(at.as_str()),
        entry.actor_id.as_deref(),
        Some(entry.actor.as_str()),
        Some(entry.via.as_str()),
        entry.address.as_deref(),
        entry.request_id.as_deref(),
        Some(entry.action.as_str()),
        app_id.as_deref(),
        entry.app.as_deref(),
        Some(entry.details.as_str()),
    ];
    let mut digest = Sha256::new();
    digest.update(before);
    for field in fields {
        match field {
            None => digest.update([0]),
            Some(text) => {
                digest.update([1]);
                digest.update((text.len() as u64).to_be_bytes());
                digest.update(text);
            }
        }
    }
    digest.finalize().to_vec()
}

fn insert(db: &Connection, entry: &AuditEntry) -> Result<()> {
    db.prepare_cached("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .context("write the audit")?
        .execute(params![
            entry.seq,
            entry.at.0,
            entry.actor_id,
            entry.actor,
            entry.via,
            entry.address,
            entry.request_id,
            entry.action,
            entry.app_id.map(|id| id.to_string()),
            entry.app,
            entry.details,
            entry.hash,
        ])
        .context("write the audit")?;
    Ok(())
}

fn entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    Ok(AuditEntry {
        seq: row.get("seq")?,
        at: time(row, "at")?,
        actor_id: row.get("actor_id")?,
        actor: row.get("actor")?,
        via: row.get("via")?,
        address: row.get("address")?,
        request_id: row.get("request_id")?,
        action: row.get("action")?,
        app_id: parsed_option(row, "app_id")?,
        app: row.get("app")?,
        details: row.get("details")?,
        hash: row.get("hash")?,
    })
}

/// The newest entries, newest first: all of them, or those of an app.
pub fn last(db: &Connection, app: Option<AppId>, count: usize) -> Result<Vec<AuditEntry>> {
    before(db, app, i64::MAX, count)
}

/// The newest of the entries before the one of that number.
pub fn before(
    db: &Connection,
    app: Option<AppId>,
    seq: i64,
    count: usize,
) -> Result<Vec<AuditEntry>> {
    let which = if app.is_some() { "app_id = ?1" } else { "?1 IS NULL" };
    let mut query = db
        .prepare_cached(&format!(
            "SELECT * FROM audit WHERE {which} AND seq < ?2 ORDER BY seq DESC LIMIT ?3"
        ))
        .context("read the audit")?;
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let rows = query
        .query_map(params![app.map(|id| id.to_string()), seq, count], entry)
        .context("read the audit")?;
    rows.collect::<rusqlite::Result<_>>().context("read the audit")
}

/// What a look at the whole chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub entries: i64,
    /// The last hash.
    pub head: Vec<u8>,
    /// The first entry that is not what was written, and why.
    pub broken: Option<(i64, &'static str)>,
}

/// Computes the chain anew, row by row. With `known`, a number and hash that somebody kept, it
/// also finds a chain whose end was cut off or that was written anew.
pub fn verify(db: &Connection, known: Option<(i64, Vec<u8>)>) -> Result<Verdict> {
    let what = "read the audit";
    let mut query = db.prepare("SELECT * FROM audit ORDER BY seq").context(what)?;
    let mut rows = query.query([]).context(what)?;
    let mut verdict = Verdict { entries: 0, head: Vec::new(), broken: None };
    while let Some(row) = rows.next().context(what)? {
        let expected = verdict.entries + 1;
        let seq: i64 = row.get("seq").context(what)?;
        let Ok(entry) = entry(row) else {
            verdict.broken = Some((seq, "it cannot be read"));
            return Ok(verdict);
        };
        let kept = known.as_ref().filter(|(seq, _)| *seq == entry.seq);
        let why = if entry.seq != expected {
            Some("it is missing")
        } else if entry.hash != hash(&verdict.head, &entry) {
            Some("it is not what was written")
        } else if kept.is_some_and(|(_, hash)| *hash != entry.hash) {
            Some("it is not the one whose hash was kept")
        } else {
            None
        };
        if let Some(why) = why {
            verdict.broken = Some((expected, why));
            return Ok(verdict);
        }
        (verdict.entries, verdict.head) = (entry.seq, entry.hash);
    }
    if known.is_some_and(|(seq, _)| seq > verdict.entries) {
        verdict.broken = Some((verdict.entries + 1, "it is missing, and all after it"));
    }
    Ok(verdict)
}
