//! Rows of `apps`.

use super::row::{parsed, time, time_option};
use crate::clock::Timestamp;
use crate::error::{Context, Error, Result};
use crate::model::{App, AppId, AppName, Egress, Https, UserId};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

pub(super) const SELECT: &str =
    "SELECT a.*, u.email AS owner_email FROM apps a JOIN users u ON u.id = a.owner_id";

pub(super) fn app(row: &Row<'_>) -> rusqlite::Result<App> {
    let name: String = row.get("name")?;
    Ok(App {
        id: parsed(row, "id")?,
        name: AppName::stored(name),
        owner: parsed(row, "owner_id")?,
        owner_email: row.get("owner_email")?,
        stack: row.get("stack")?,
        maintenance: row.get("maintenance")?,
        egress: stored_egress(row)?,
        https: Https { redirect: row.get("https_redirect")?, hsts: row.get("hsts")? },
        acm: row.get("acm")?,
        buildpack_provided_description: row.get("description")?,
        repo_size: row.get("repo_size")?,
        slug_size: row.get("slug_size")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        released_at: time_option(row, "released_at")?,
    })
}

/// Stores a new app. A name that is taken is Heroku's 422.
pub fn insert(db: &Connection, app: &App) -> Result<()> {
    db.execute(
        "INSERT INTO apps (id, name, owner_id, stack, maintenance, created_at, updated_at)
         VALUES (:id, :name, :owner, :stack, 0, :created, :created)",
        named_params! {
            ":id": app.id.to_string(),
            ":name": app.name.as_str(),
            ":owner": app.owner.to_string(),
            ":stack": app.stack,
            ":created": app.created_at.0,
        },
    )
    .map_err(|error| taken(error, &app.name, "store an app"))?;
    Ok(())
}

/// Renames an app. A name that is taken is Heroku's 422.
pub fn rename(db: &Connection, id: AppId, name: &AppName, now: Timestamp) -> Result<()> {
    db.execute(
        "UPDATE apps SET name = ?, updated_at = ? WHERE id = ?",
        params![name.as_str(), now.0, id.to_string()],
    )
    .map_err(|error| taken(error, name, "rename an app"))?;
    Ok(())
}

fn taken(error: rusqlite::Error, name: &AppName, what: &str) -> Error {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => {
            Error::invalid(format!("Name {name} is already taken"))
        }
        _ => Error::internal(what, error),
    }
}

pub fn set_maintenance(db: &Connection, id: AppId, on: bool, now: Timestamp) -> Result<()> {
    db.execute(
        "UPDATE apps SET maintenance = ?, updated_at = ? WHERE id = ?",
        params![on, now.0, id.to_string()],
    )
    .context("set maintenance")?;
    Ok(())
}

pub fn egress(db: &Connection, id: AppId) -> Result<Egress> {
    let query = "SELECT egress FROM apps WHERE id = ?";
    db.query_row(query, [id.to_string()], stored_egress).context("read an app's egress")
}

fn stored_egress(row: &Row<'_>) -> rusqlite::Result<Egress> {
    let text: Option<String> = row.get("egress")?;
    Ok(Egress::from_stored(text.as_deref()))
}

pub fn set_egress(db: &Connection, id: AppId, egress: &Egress, now: Timestamp) -> Result<()> {
    db.execute(
        "UPDATE apps SET egress = ?, updated_at = ? WHERE id = ?",
        params![egress.stored(), now.0, id.to_string()],
    )
    .context("set egress")?;
    Ok(())
}

pub fn set_https(db: &Connection, id: AppId, https: Https, now: Timestamp) -> Result<()> {
    db.execute(
        "UPDATE apps SET https_redirect = ?, hsts = ?, updated_at = ? WHERE id = ?",
        params![https.redirect, https.hsts, now.0, id.to_string()],
    )
    .context("set what an app wants of HTTPS")?;
    Ok(())
}

pub fn set_acm(db: &Connection, id: AppId, on: bool, now: Timestamp) -> Result<()> {
    db.execute(
        "UPDATE apps SET acm = ?, updated_at = ? WHERE id = ?",
        params![on, now.0, id.to_string()],
    )
    .context("set automatic certificates")?;
    Ok(())
}

pub fn set_stack(db: &Connection, id: AppId, stack: &str, now: Timestamp) -> Result<()> {
    db.execute(
        "UPDATE apps SET stack = ?, updated_at = ? WHERE id = ?",
        params![stack, now.0, id.to_string()],
    )
    .context("change an app's stack")?;
    Ok(())
}

/// What a successful build says of the app.
pub fn set_built(db: &Connection, id: AppId, description: &str, slug_size: i64) -> Result<()> {
    db.execute(
        "UPDATE apps SET description = ?, slug_size = ? WHERE id = ?",
        params![description, slug_size, id.to_string()],
    )
    .context("store a build's result")?;
    Ok(())
}

/// Finds an app by name or id, as every path of the API may have either.
pub fn find(db: &Connection, name_or_id: &str) -> Result<Option<App>> {
    db.query_row(
        &format!("{SELECT} WHERE a.name = ?1 OR a.id = ?1"),
        [name_or_id.to_ascii_lowercase()],
        app,
    )
    .optional()
    .context("read an app")
}

pub fn by_id(db: &Connection, id: AppId) -> Result<Option<App>> {
    find(db, &id.to_string())
}

pub fn all(db: &Connection) -> Result<Vec<App>> {
    let mut query = db.prepare_cached(&format!("{SELECT} ORDER BY a.id")).context("read apps")?;
    let rows = query.query_map([], app).context("read apps")?;
    rows.collect::<rusqlite::Result<_>>().context("read apps")
}

/// The apps that a user owns or was given permissions on, by id.
pub fn of_user(db: &Connection, user: UserId) -> Result<Vec<App>> {
    let mut query = db
        .prepare_cached(&format!(
            "{SELECT} WHERE a.owner_id = ?1
             OR a.id IN (SELECT app_id FROM collaborators WHERE user_id = ?1) ORDER BY a.id"
        ))
        .context("read apps")?;
    let rows = query.query_map([user.to_string()], app).context("read apps")?;
    rows.collect::<rusqlite::Result<_>>().context("read apps")
}

/// Gives all of a user's apps to another.
pub fn transfer_all(db: &Connection, from: UserId, to: UserId, now: Timestamp) -> Result<()> {
    db.execute(
        "DELETE FROM collaborators WHERE user_id = ?1
         AND app_id IN (SELECT id FROM apps WHERE owner_id = ?2)",
        params![to.to_string(), from.to_string()],
    )
    .context("hand apps over")?;
    db.execute(
        "UPDATE apps SET owner_id = ?, updated_at = ? WHERE owner_id = ?",
        params![to.to_string(), now.0, from.to_string()],
    )
    .context("hand apps over")?;
    Ok(())
}

/// Removes an app with all its rows, and remembers that what lies outside has to go as well.
pub fn destroy(db: &Connection, id: AppId, now: Timestamp) -> Result<()> {
    db.execute(
        "INSERT INTO destroyed_apps (id, destroyed_at) VALUES (?, ?)",
        params![id.to_string(), now.0],
    )
    .context("remember a destroyed app")?;
    for table in ["releases", "builds", "slugs"] {
        db.execute(&format!("DELETE FROM {table} WHERE app_id = ?"), [id.to_string()])
            .context("destroy an app")?;
    }
    db.execute("DELETE FROM apps WHERE id = ?", [id.to_string()]).context("destroy an app")?;
    Ok(())
}

pub fn destroyed(db: &Connection) -> Result<Vec<AppId>> {
    let mut query = db.prepare_cached("SELECT id FROM destroyed_apps").context("read apps")?;
    let rows = query.query_map([], |row| parsed(row, "id")).context("read apps")?;
    rows.collect::<rusqlite::Result<_>>().context("read apps")
}

pub fn forget_destroyed(db: &Connection, id: AppId) -> Result<()> {
    db.execute("DELETE FROM destroyed_apps WHERE id = ?", [id.to_string()])
        .context("forget a destroyed app")?;
    Ok(())
}
