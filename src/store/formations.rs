//! Rows of `formations`, and the restarts of single dynos.

use super::row::{parsed, time, wrong};
use crate::clock::Timestamp;
use crate::error::{Context, Result};
use crate::model::{AppId, DynoName, Formation, ProcessType};
use rusqlite::{Connection, Row, named_params, params};
use uuid::Uuid;

fn formation(row: &Row<'_>) -> rusqlite::Result<Formation> {
    let process: String = row.get("process")?;
    Ok(Formation {
        id: parsed(row, "id")?,
        app: parsed(row, "app_id")?,
        process: ProcessType::parse(&process).map_err(|error| wrong(row, "process", error))?,
        quantity: row.get("quantity")?,
        size: row.get("size")?,
        epoch: row.get("epoch")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

pub fn of_app(db: &Connection, app: AppId) -> Result<Vec<Formation>> {
    select(db, "WHERE app_id = ? ORDER BY process", &[&app.to_string()])
}

pub fn all(db: &Connection) -> Result<Vec<Formation>> {
    select(db, "ORDER BY app_id, process", &[])
}

fn select(db: &Connection, rest: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Vec<Formation>> {
    let mut query = db
        .prepare_cached(&format!("SELECT * FROM formations {rest}"))
        .context("read formations")?;
    let rows = query.query_map(values, formation).context("read formations")?;
    rows.collect::<rusqlite::Result<_>>().context("read formations")
}

/// Adds a process type if it is new: later deploys keep quantity and size.
pub fn ensure(
    db: &Connection,
    app: AppId,
    process: &ProcessType,
    quantity: u32,
    size: &str,
    now: Timestamp,
) -> Result<()> {
    db.execute(
        "INSERT INTO formations (id, app_id, process, quantity, size, created_at, updated_at)
         VALUES (:id, :app, :process, :quantity, :size, :now, :now)
         ON CONFLICT (app_id, process) DO NOTHING",
        named_params! {
            ":id": Uuid::new_v4().to_string(),
            ":app": app.to_string(),
            ":process": process.as_str(),
            ":quantity": quantity,
            ":size": size,
            ":now": now.0,
        },
    )
    .context("store a formation")?;
    Ok(())
}

pub fn scale(
    db: &Connection,
    app: AppId,
    process: &ProcessType,
    quantity: u32,
    size: &str,
    now: Timestamp,
) -> Result<()> {
    db.execute(
        "UPDATE formations SET quantity = ?, size = ?, updated_at = ?
         WHERE app_id = ? AND process = ?",
        params![quantity, size, now.0, app.to_string(), process.as_str()],
    )
    .context("scale")?;
    Ok(())
}

pub fn remove(db: &Connection, app: AppId, process: &ProcessType) -> Result<()> {
    for table in ["formations", "dyno_epochs"] {
        db.execute(
            &format!("DELETE FROM {table} WHERE app_id = ? AND process = ?"),
            params![app.to_string(), process.as_str()],
        )
        .context("remove a formation")?;
    }
    Ok(())
}

/// Raises the epoch of one process type, or of all of them.
pub fn restart(db: &Connection, app: AppId, process: Option<&ProcessType>) -> Result<()> {
    db.execute(
        "UPDATE formations SET epoch = epoch + 1
         WHERE app_id = ?1 AND (?2 IS NULL OR process = ?2)",
        params![app.to_string(), process.map(ProcessType::as_str)],
    )
    .context("restart")?;
    Ok(())
}

pub fn restart_one(db: &Connection, app: AppId, dyno: &DynoName) -> Result<()> {
    db.execute(
        "INSERT INTO dyno_epochs (app_id, process, number, epoch) VALUES (?, ?, ?, 1)
         ON CONFLICT (app_id, process, number) DO UPDATE SET epoch = epoch + 1",
        params![app.to_string(), dyno.process.as_str(), dyno.number],
    )
    .context("restart a dyno")?;
    Ok(())
}

/// What single dynos' restarts add to their types' epochs: app, process, number, epoch.
pub fn dyno_epochs(db: &Connection) -> Result<Vec<(AppId, DynoName, i64)>> {
    let mut query =
        db.prepare_cached("SELECT * FROM dyno_epochs").context("read the dynos' epochs")?;
    let rows = query
        .query_map([], |row| {
            let process: String = row.get("process")?;
            let process =
                ProcessType::parse(&process).map_err(|error| wrong(row, "process", error))?;
            let name = DynoName { process, number: row.get("number")? };
            Ok((parsed(row, "app_id")?, name, row.get("epoch")?))
        })
        .context("read the dynos' epochs")?;
    rows.collect::<rusqlite::Result<_>>().context("read the dynos' epochs")
}
