//! Rows of `metrics`, in a database of their own: many, small, and nobody's to back up.

use super::row::parsed;
use crate::error::{Context, Result};
use crate::model::AppId;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

/// One dyno's figures over some minutes, as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsRow {
    /// The first of its minutes, of the Unix epoch.
    pub minute: i64,
    pub app: AppId,
    /// Empty for requests that no dyno got.
    pub dyno: String,
    pub statuses: [u32; 4],
    pub times: Vec<u8>,
    pub cpu: (u64, u32),
    pub memory_bytes: i64,
}

fn metrics_row(row: &Row<'_>) -> rusqlite::Result<MetricsRow> {
    Ok(MetricsRow {
        minute: row.get("minute")?,
        app: parsed(row, "app_id")?,
        dyno: row.get("dyno")?,
        statuses: [row.get("s2")?, row.get("s3")?, row.get("s4")?, row.get("s5")?],
        times: row.get("times")?,
        cpu: (u64::try_from(row.get::<_, i64>("cpu_sum")?).unwrap_or(0), row.get("cpu_count")?),
        memory_bytes: row.get("memory_bytes")?,
    })
}

pub fn find(db: &Connection, minute: i64, app: AppId, dyno: &str) -> Result<Option<MetricsRow>> {
    db.prepare_cached("SELECT * FROM metrics WHERE app_id = ? AND minute = ? AND dyno = ?")
        .context("read metrics")?
        .query_row(params![app.to_string(), minute, dyno], metrics_row)
        .optional()
        .context("read metrics")
}

pub fn put(db: &Connection, row: &MetricsRow) -> Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO metrics
         (minute, app_id, dyno, s2, s3, s4, s5, times, cpu_sum, cpu_count, memory_bytes)
         VALUES (:minute, :app, :dyno, :s2, :s3, :s4, :s5, :times, :sum, :count, :memory)",
    )
    .context("store metrics")?
    .execute(named_params! {
        ":minute": row.minute,
        ":app": row.app.to_string(),
        ":dyno": row.dyno,
        ":s2": row.statuses[0],
        ":s3": row.statuses[1],
        ":s4": row.statuses[2],
        ":s5": row.statuses[3],
        ":times": row.times,
        ":sum": i64::try_from(row.cpu.0).unwrap_or(i64::MAX),
        ":count": row.cpu.1,
        ":memory": row.memory_bytes,
    })
    .context("store metrics")?;
    Ok(())
}

/// An app's figures from a minute on, newest first.
pub fn since(db: &Connection, app: AppId, minute: i64, most: usize) -> Result<Vec<MetricsRow>> {
    let mut query = db
        .prepare_cached(
            "SELECT * FROM metrics WHERE app_id = ? AND minute >= ?
             ORDER BY minute DESC, dyno DESC LIMIT ?",
        )
        .context("read metrics")?;
    let values = params![app.to_string(), minute, i64::try_from(most).unwrap_or(i64::MAX)];
    let rows = query.query_map(values, metrics_row).context("read metrics")?;
    rows.collect::<rusqlite::Result<_>>().context("read metrics")
}

/// Forgets all before a minute.
pub fn forget(db: &Connection, before: i64) -> Result<()> {
    db.execute("DELETE FROM metrics WHERE minute < ?", [before]).context("forget metrics")?;
    Ok(())
}
