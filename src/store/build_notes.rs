//! The sealed notes in a build's row. They go when the build ends.

use crate::error::{Context, Result};
use crate::model::BuildId;
use rusqlite::{Connection, OptionalExtension, params};

/// What a later server needs to begin the build again.
pub fn request(db: &Connection, build: BuildId) -> Result<Option<Vec<u8>>> {
    read(db, "SELECT request FROM builds WHERE id = ?", build)
}

pub fn set_request(db: &Connection, build: BuildId, sealed: &[u8]) -> Result<()> {
    let changed = "UPDATE builds SET request = ? WHERE id = ?";
    db.execute(changed, params![sealed, build.to_string()]).context("note a build's request")?;
    Ok(())
}

/// What its buildpack wants the app to have from its first deploy on.
pub fn first_deploy(db: &Connection, build: BuildId) -> Result<Option<Vec<u8>>> {
    read(db, "SELECT first_deploy FROM builds WHERE id = ?", build)
}

pub fn set_first_deploy(db: &Connection, build: BuildId, sealed: &[u8]) -> Result<()> {
    let changed = "UPDATE builds SET first_deploy = ? WHERE id = ?";
    db.execute(changed, params![sealed, build.to_string()]).context("note a first deploy")?;
    Ok(())
}

fn read(db: &Connection, query: &str, build: BuildId) -> Result<Option<Vec<u8>>> {
    let found = db.query_row(query, [build.to_string()], |row| row.get(0)).optional();
    Ok(found.context("read a build's note")?.flatten())
}
