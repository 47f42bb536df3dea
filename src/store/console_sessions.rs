//! Rows of `console_sessions`, and what `users` says of passwords.

use super::row::{parsed, time};
use crate::clock::Timestamp;
use crate::error::{Context, Result};
use crate::limits;
use crate::model::{User, UserId};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

/// Somebody who is signed in to the console.
#[derive(Debug, Clone)]
pub struct Session {
    pub id: Uuid,
    pub user: User,
    /// The password has to be changed before anything else.
    pub must_change_password: bool,
    pub address: String,
    /// What the browser calls itself.
    pub agent: String,
    pub created_at: Timestamp,
    pub seen_at: Timestamp,
}

const SELECT: &str = "SELECT s.id AS session_id, s.address, s.agent, s.created_at AS signed_in_at,
    s.seen_at, u.id, u.email, u.admin, u.created_at, u.updated_at, u.must_change_password
    FROM console_sessions s JOIN users u ON u.id = s.user_id";

fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        id: parsed(row, "session_id")?,
        user: super::users::user(row)?,
        must_change_password: row.get("must_change_password")?,
        address: row.get("address")?,
        agent: row.get("agent")?,
        created_at: time(row, "signed_in_at")?,
        seen_at: time(row, "seen_at")?,
    })
}

/// Stores a session; of a person who has too many, those used longest ago go.
pub fn insert(db: &Connection, session: &Session, secret_hash: &[u8]) -> Result<()> {
    let user = session.user.id.to_string();
    db.execute(
        "DELETE FROM console_sessions WHERE user_id = ?1 AND id NOT IN (
             SELECT id FROM console_sessions WHERE user_id = ?1 ORDER BY seen_at DESC LIMIT ?2)",
        params![user, limits::SESSIONS_PER_USER.saturating_sub(1)],
    )
    .context("make room for a session")?;
    let rows = db
        .execute(
            "INSERT INTO console_sessions (id, user_id, secret_hash, address, agent, created_at,
             seen_at) SELECT ?1, id, ?3, ?4, ?5, ?6, ?7 FROM users
             WHERE id = ?2 AND updated_at = ?8 AND removed_at IS NULL",
            params![
                session.id.to_string(),
                user,
                secret_hash,
                session.address,
                session.agent,
                session.created_at.0,
                session.seen_at.0,
                session.user.updated_at.0
            ],
        )
        .context("store a session")?;
    super::users::still_proved(rows)
}

pub fn by_secret(db: &Connection, secret_hash: &[u8]) -> Result<Option<Session>> {
    db.query_row(
        &format!("{SELECT} WHERE s.secret_hash = ? AND u.removed_at IS NULL"),
        [secret_hash],
        session,
    )
    .optional()
    .context("read a session")
}

pub fn by_id(db: &Connection, id: Uuid) -> Result<Option<Session>> {
    db.query_row(
        &format!("{SELECT} WHERE s.id = ? AND u.removed_at IS NULL"),
        [id.to_string()],
        session,
    )
    .optional()
    .context("read a session")
}

/// The sessions of a person, the one used last first.
pub fn of_user(db: &Connection, user: UserId) -> Result<Vec<Session>> {
    let mut query = db
        .prepare_cached(&format!("{SELECT} WHERE s.user_id = ? ORDER BY s.seen_at DESC"))
        .context("read sessions")?;
    let rows = query.query_map([user.to_string()], session).context("read sessions")?;
    rows.collect::<rusqlite::Result<_>>().context("read sessions")
}

pub fn seen(db: &Connection, id: Uuid, now: Timestamp) -> Result<()> {
    db.execute(
        "UPDATE console_sessions SET seen_at = ? WHERE id = ?",
        params![now.0, id.to_string()],
    )
    .context("store when a session was used")?;
    Ok(())
}

/// Removes one of a person's sessions and says whether there was one.
pub fn delete(db: &Connection, user: UserId, id: Uuid) -> Result<bool> {
    let rows = db
        .execute(
            "DELETE FROM console_sessions WHERE id = ? AND user_id = ?",
            params![id.to_string(), user.to_string()],
        )
        .context("delete a session")?;
    Ok(rows > 0)
}

/// Removes all of a person's sessions, but one if it is named.
pub fn delete_others(db: &Connection, user: UserId, keep: Option<Uuid>) -> Result<()> {
    db.execute(
        "DELETE FROM console_sessions WHERE user_id = ? AND id IS NOT ?",
        params![user.to_string(), keep.map(|id| id.to_string())],
    )
    .context("delete sessions")?;
    Ok(())
}

/// Removes sessions that began, or were used, before these times.
pub fn delete_old(db: &Connection, created: Timestamp, seen: Timestamp) -> Result<()> {
    db.execute(
        "DELETE FROM console_sessions WHERE created_at < ? OR seen_at < ?",
        params![created.0, seen.0],
    )
    .context("delete old sessions")?;
    Ok(())
}

/// Whether somebody else has seen the password of a user.
pub fn must_change_password(db: &Connection, user: UserId) -> Result<bool> {
    let query = "SELECT must_change_password FROM users WHERE id = ?";
    db.query_row(query, [user.to_string()], |row| row.get(0)).context("read about a password")
}

/// A password that its owner chose, or one that others have seen and that is to be changed.
pub fn set_password(
    db: &Connection,
    user: UserId,
    hash: &str,
    must_change: bool,
    now: Timestamp,
) -> Result<()> {
    db.execute(
        "UPDATE users SET password_hash = ?, must_change_password = ?, updated_at = ?
         WHERE id = ?",
        params![hash, must_change, now.0, user.to_string()],
    )
    .context("store a password")?;
    Ok(())
}
