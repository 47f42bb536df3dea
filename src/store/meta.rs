//! Single values: `meta`.

use crate::error::{Context, Result};
use rusqlite::{Connection, OptionalExtension, params};

pub fn bytes(db: &Connection, key: &str) -> Result<Option<Vec<u8>>> {
    db.query_row("SELECT value FROM meta WHERE key = ?", [key], |row| row.get(0))
        .optional()
        .context("read a value")
}

pub fn text(db: &Connection, key: &str) -> Result<Option<String>> {
    db.query_row("SELECT value FROM meta WHERE key = ?", [key], |row| row.get(0))
        .optional()
        .context("read a value")
}

pub fn set_bytes(db: &Connection, key: &str, value: &[u8]) -> Result<()> {
    set(db, key, value)
}

pub fn set_text(db: &Connection, key: &str, value: &str) -> Result<()> {
    set(db, key, value)
}

fn set(db: &Connection, key: &str, value: impl rusqlite::ToSql) -> Result<()> {
    db.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        params![key, value],
    )
    .context("store a value")?;
    Ok(())
}
