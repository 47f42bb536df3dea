//! Rows of `collaborators`.

use super::row::{parsed, time, wrong};
use crate::clock::Timestamp;
use crate::error::{Context, Result};
use crate::model::{AppId, Collaborator, CollaboratorId, Permissions, UserId};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

const SELECT: &str = "SELECT c.*, u.email FROM collaborators c JOIN users u ON u.id = c.user_id";

fn permissions(row: &Row<'_>) -> rusqlite::Result<Permissions> {
    let text: String = row.get("permissions")?;
    Permissions::parse(&text).map_err(|error| wrong(row, "permissions", error))
}

fn collaborator(row: &Row<'_>) -> rusqlite::Result<Collaborator> {
    Ok(Collaborator {
        id: parsed(row, "id")?,
        app: parsed(row, "app_id")?,
        user: parsed(row, "user_id")?,
        email: row.get("email")?,
        permissions: permissions(row)?,
        is_owner: false,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

/// What a user was given on an app.
pub fn held(db: &Connection, app: AppId, user: UserId) -> Result<Permissions> {
    let held = db
        .query_row(
            "SELECT permissions FROM collaborators WHERE app_id = ? AND user_id = ?",
            params![app.to_string(), user.to_string()],
            permissions,
        )
        .optional()
        .context("read a user's permissions")?;
    Ok(held.unwrap_or(Permissions::NONE))
}

pub fn of_app(db: &Connection, app: AppId) -> Result<Vec<Collaborator>> {
    let mut query = db
        .prepare_cached(&format!("{SELECT} WHERE c.app_id = ? ORDER BY u.email"))
        .context("read collaborators")?;
    let rows = query.query_map([app.to_string()], collaborator).context("read collaborators")?;
    rows.collect::<rusqlite::Result<_>>().context("read collaborators")
}

/// Adds a collaborator, or changes what one may do.
pub fn put(
    db: &Connection,
    app: AppId,
    user: UserId,
    permissions: Permissions,
    now: Timestamp,
) -> Result<()> {
    db.execute(
        "INSERT INTO collaborators (id, app_id, user_id, permissions, created_at, updated_at)
         VALUES (:id, :app, :user, :permissions, :now, :now)
         ON CONFLICT (app_id, user_id) DO UPDATE
         SET permissions = excluded.permissions, updated_at = excluded.updated_at",
        named_params! {
            ":id": CollaboratorId::random().to_string(),
            ":app": app.to_string(),
            ":user": user.to_string(),
            ":permissions": permissions.to_string(),
            ":now": now.0,
        },
    )
    .context("store a collaborator")?;
    Ok(())
}

pub fn delete(db: &Connection, app: AppId, user: UserId) -> Result<()> {
    db.execute(
        "DELETE FROM collaborators WHERE app_id = ? AND user_id = ?",
        params![app.to_string(), user.to_string()],
    )
    .context("remove a collaborator")?;
    Ok(())
}

/// Ends everything that a user was given.
pub fn delete_of_user(db: &Connection, user: UserId) -> Result<()> {
    db.execute("DELETE FROM collaborators WHERE user_id = ?", [user.to_string()])
        .context("remove a user's permissions")?;
    Ok(())
}
