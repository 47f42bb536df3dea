//! Rows of `second_factors` and `recovery_codes`. What may be used once is taken by one statement,
//! so that two who try it at the same time are not both let in.

use super::row::{parsed, time};
use crate::clock::Timestamp;
use crate::error::{Context, Result};
use crate::model::UserId;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;

/// A person's second factor, its secret still sealed.
#[derive(Debug, Clone)]
pub struct SecondFactor {
    pub sealed: Vec<u8>,
    /// The codes of this step of time and of all before it are used.
    pub last_step: i64,
    pub created_at: Timestamp,
    pub recovery_codes: usize,
}

pub fn of_user(db: &Connection, user: UserId) -> Result<Option<SecondFactor>> {
    db.query_row(
        "SELECT secret, last_step, created_at,
             (SELECT count(*) FROM recovery_codes WHERE user_id = ?1) AS recovery_codes
         FROM second_factors WHERE user_id = ?1",
        [user.to_string()],
        |row| {
            Ok(SecondFactor {
                sealed: row.get("secret")?,
                last_step: row.get("last_step")?,
                created_at: time(row, "created_at")?,
                recovery_codes: row.get::<_, i64>("recovery_codes")?.unsigned_abs() as usize,
            })
        },
    )
    .optional()
    .context("read a second factor")
}

/// All who have one.
pub fn users(db: &Connection) -> Result<BTreeSet<UserId>> {
    let what = "read who has a second factor";
    let mut query = db.prepare_cached("SELECT user_id FROM second_factors").context(what)?;
    let rows = query.query_map([], |row| parsed(row, "user_id")).context(what)?;
    rows.collect::<rusqlite::Result<_>>().context(what)
}

/// Stores one whose code of `step` has just been shown. Whoever proved no more than a password
/// until now has proved nothing any more: see `users::still_proved`.
pub fn insert(
    db: &Connection,
    user: UserId,
    sealed: &[u8],
    step: i64,
    now: Timestamp,
) -> Result<()> {
    db.execute(
        "INSERT INTO second_factors (user_id, secret, last_step, created_at) VALUES (?, ?, ?, ?)",
        params![user.to_string(), sealed, step, now.0],
    )
    .context("store a second factor")?;
    db.execute("UPDATE users SET updated_at = ? WHERE id = ?", params![now.0, user.to_string()])
        .context("store a second factor")?;
    Ok(())
}

/// Removes a person's second factor with its recovery codes, and says whether there was one.
pub fn delete(db: &Connection, user: UserId) -> Result<bool> {
    let rows = db
        .execute("DELETE FROM second_factors WHERE user_id = ?", [user.to_string()])
        .context("remove a second factor")?;
    Ok(rows > 0)
}

/// Uses the code of a step; false if that, or a later one, was used before.
pub fn use_step(db: &Connection, user: UserId, step: i64) -> Result<bool> {
    let rows = db
        .execute(
            "UPDATE second_factors SET last_step = ?1 WHERE user_id = ?2 AND last_step < ?1",
            params![step, user.to_string()],
        )
        .context("use a code")?;
    Ok(rows > 0)
}

/// New recovery codes in place of all old ones.
pub fn set_recovery_codes(db: &Connection, user: UserId, hashes: &[Vec<u8>]) -> Result<()> {
    let what = "store recovery codes";
    db.execute("DELETE FROM recovery_codes WHERE user_id = ?", [user.to_string()]).context(what)?;
    for hash in hashes {
        db.execute(
            "INSERT INTO recovery_codes (user_id, code_hash) VALUES (?, ?)",
            params![user.to_string(), hash],
        )
        .context(what)?;
    }
    Ok(())
}

/// Uses a recovery code; false if there is none like it.
pub fn use_recovery_code(db: &Connection, user: UserId, hash: &[u8]) -> Result<bool> {
    let rows = db
        .execute(
            "DELETE FROM recovery_codes WHERE user_id = ? AND code_hash = ?",
            params![user.to_string(), hash],
        )
        .context("use a recovery code")?;
    Ok(rows > 0)
}
