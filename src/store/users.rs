//! Rows of `users` and `authorizations`.

use super::row::{parsed, time, time_option};
use crate::clock::Timestamp;
use crate::error::{Context, Error, Kind, Result};
use crate::model::{User, UserId};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use uuid::Uuid;

const COLUMNS: &str = "id, email, admin, created_at, updated_at";

/// A stored authorization, without its token.
#[derive(Debug, Clone)]
pub struct Authorization {
    pub id: Uuid,
    pub user: User,
    pub description: String,
    pub expires_at: Option<Timestamp>,
    pub created_at: Timestamp,
    /// As far as it is known.
    pub used_at: Option<Timestamp>,
}

pub(super) fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: parsed(row, "id")?,
        email: row.get("email")?,
        admin: row.get("admin")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

pub fn insert(db: &Connection, user: &User, password_hash: &str) -> Result<()> {
    db.execute(
        "INSERT INTO users (id, email, password_hash, admin, created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?)",
        params![
            user.id.to_string(),
            user.email,
            password_hash,
            user.admin,
            user.created_at.0,
            user.updated_at.0
        ],
    )
    .context("store a user")?;
    Ok(())
}

pub fn by_id(db: &Connection, id: UserId) -> Result<Option<User>> {
    db.query_row(&format!("SELECT {COLUMNS} FROM users WHERE id = ?"), [id.to_string()], user)
        .optional()
        .context("read a user")
}

/// A user by e-mail or id, unless the user was removed.
pub fn find(db: &Connection, email_or_id: &str) -> Result<Option<User>> {
    db.query_row(
        &format!(
            "SELECT {COLUMNS} FROM users WHERE (email = ?1 OR id = ?1) AND removed_at IS NULL"
        ),
        [email_or_id],
        user,
    )
    .optional()
    .context("read a user")
}

/// A user as it is now; one who was removed is not found.
pub fn present(db: &Connection, id: UserId) -> Result<User> {
    find(db, &id.to_string())?.ok_or_else(|| Error::not_found("user"))
}

/// Everybody, by e-mail.
pub fn all(db: &Connection) -> Result<Vec<User>> {
    let mut query = db
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM users WHERE removed_at IS NULL ORDER BY email"
        ))
        .context("read users")?;
    let rows = query.query_map([], user).context("read users")?;
    rows.collect::<rusqlite::Result<_>>().context("read users")
}

/// Ends a user's password and tokens. The row stays, for what the user has made.
pub fn remove(db: &Connection, id: UserId, now: Timestamp) -> Result<()> {
    db.execute("DELETE FROM authorizations WHERE user_id = ?", [id.to_string()])
        .context("remove a user's tokens")?;
    db.execute("DELETE FROM console_sessions WHERE user_id = ?", [id.to_string()])
        .context("end a user's sessions")?;
    super::second_factors::delete(db, id)?;
    db.execute(
        "UPDATE users SET removed_at = ?1, updated_at = ?1, password_hash = '', admin = 0
         WHERE id = ?2",
        params![now.0, id.to_string()],
    )
    .context("remove a user")?;
    Ok(())
}

/// Makes a user an admin, unless the user was removed.
pub fn promote(db: &Connection, id: UserId, now: Timestamp) -> Result<Option<User>> {
    db.query_row(
        &format!(
            "UPDATE users SET admin = 1, updated_at = ?
             WHERE id = ? AND removed_at IS NULL RETURNING {COLUMNS}"
        ),
        params![now.0, id.to_string()],
        user,
    )
    .optional()
    .context("make a user an admin")
}

/// Takes back a user who was removed and has this e-mail, with a new password.
pub fn restore(
    db: &Connection,
    email: &str,
    admin: bool,
    password_hash: &str,
    now: Timestamp,
) -> Result<Option<User>> {
    db.query_row(
        &format!(
            "UPDATE users SET removed_at = NULL, password_hash = ?, admin = ?, updated_at = ?,
             must_change_password = 1
             WHERE email = ? AND removed_at IS NOT NULL RETURNING {COLUMNS}"
        ),
        params![password_hash, admin, now.0, email],
        user,
    )
    .optional()
    .context("take a user back")
}

/// A user and the hash of the password, unless the user was removed.
pub fn by_email(db: &Connection, email: &str) -> Result<Option<(User, String)>> {
    db.query_row(
        &format!(
            "SELECT {COLUMNS}, password_hash FROM users
             WHERE email = ? AND removed_at IS NULL"
        ),
        [email],
        |row| Ok((user(row)?, row.get("password_hash")?)),
    )
    .optional()
    .context("read a user")
}

/// Stores an authorization; those of the same user that have expired go.
pub fn insert_authorization(
    db: &Connection,
    authorization: &Authorization,
    token_hash: &[u8],
) -> Result<()> {
    db.execute(
        "DELETE FROM authorizations WHERE user_id = ? AND expires_at <= ?",
        params![authorization.user.id.to_string(), authorization.created_at.0],
    )
    .context("remove expired authorizations")?;
    let rows = db.execute(
        "INSERT INTO authorizations (id, user_id, token_hash, description, expires_at, created_at)
         SELECT :id, id, :hash, :description, :expires, :created FROM users
         WHERE id = :user AND updated_at = :seen AND removed_at IS NULL",
        named_params! {
            ":id": authorization.id.to_string(),
            ":user": authorization.user.id.to_string(),
            ":seen": authorization.user.updated_at.0,
            ":hash": token_hash,
            ":description": authorization.description,
            ":expires": authorization.expires_at.map(|at| at.0),
            ":created": authorization.created_at.0,
        },
    )
    .context("store an authorization")?;
    still_proved(rows)
}

/// Whoever was removed, or got another password, while a proof was checked has proved nothing.
pub fn still_proved(rows: usize) -> Result<()> {
    match rows {
        0 => Err(Error::new(Kind::Unauthorized, "Invalid credentials provided.")),
        _ => Ok(()),
    }
}

const AUTHORIZATION: &str =
    "SELECT a.id AS authorization_id, a.description, a.expires_at, a.used_at,
    a.created_at AS authorized_at, u.id, u.email, u.admin, u.created_at, u.updated_at
    FROM authorizations a JOIN users u ON u.id = a.user_id";

fn authorization(row: &Row<'_>) -> rusqlite::Result<Authorization> {
    Ok(Authorization {
        id: parsed(row, "authorization_id")?,
        user: user(row)?,
        description: row.get("description")?,
        expires_at: time_option(row, "expires_at")?,
        created_at: time(row, "authorized_at")?,
        used_at: time_option(row, "used_at")?,
    })
}

/// The authorization that a token stands for, unless it has expired.
pub fn by_token(
    db: &Connection,
    token_hash: &[u8],
    now: Timestamp,
) -> Result<Option<Authorization>> {
    db.query_row(
        &format!(
            "{AUTHORIZATION} WHERE a.token_hash = ? AND u.removed_at IS NULL
             AND (a.expires_at IS NULL OR a.expires_at > ?)"
        ),
        params![token_hash, now.0],
        authorization,
    )
    .optional()
    .context("read an authorization")
}

/// Those of a user that have not expired, by id.
pub fn authorizations(db: &Connection, user: UserId, now: Timestamp) -> Result<Vec<Authorization>> {
    let live = "a.expires_at IS NULL OR a.expires_at > ?2";
    let mut query = db
        .prepare_cached(&format!("{AUTHORIZATION} WHERE a.user_id = ?1 AND ({live}) ORDER BY a.id"))
        .context("read authorizations")?;
    let rows = query
        .query_map(params![user.to_string(), now.0], authorization)
        .context("read authorizations")?;
    rows.collect::<rusqlite::Result<_>>().context("read authorizations")
}

pub fn token_used(db: &Connection, id: Uuid, now: Timestamp) -> Result<()> {
    db.execute(
        "UPDATE authorizations SET used_at = ? WHERE id = ?",
        params![now.0, id.to_string()],
    )
    .context("note a token's use")?;
    Ok(())
}

/// Removes one of the user's authorizations and says whether there was one.
pub fn delete_authorization(db: &Connection, user: UserId, id: Uuid) -> Result<bool> {
    let rows = db
        .execute(
            "DELETE FROM authorizations WHERE id = ? AND user_id = ?",
            params![id.to_string(), user.to_string()],
        )
        .context("delete an authorization")?;
    Ok(rows > 0)
}
