//! Rows of `app_buildpacks`, and the list of buildpacks that a build's row holds.

use super::row::wrong;
use crate::error::{Context, Result};
use crate::model::{AppId, Buildpack};
use rusqlite::{Connection, Row, params};

/// An app's buildpacks in their order; none before the first build, unless the user chose some.
pub fn of(db: &Connection, app: AppId) -> Result<Vec<Buildpack>> {
    let mut query = db
        .prepare_cached("SELECT buildpack FROM app_buildpacks WHERE app_id = ? ORDER BY ordinal")
        .context("read an app's buildpacks")?;
    let rows = query
        .query_map([app.to_string()], |row| {
            let text: String = row.get("buildpack")?;
            Buildpack::parse(&text).map_err(|error| wrong(row, "buildpack", error))
        })
        .context("read an app's buildpacks")?;
    rows.collect::<rusqlite::Result<_>>().context("read an app's buildpacks")
}

/// Puts this list in the place of the one that there is.
pub fn replace(db: &Connection, app: AppId, buildpacks: &[Buildpack]) -> Result<()> {
    db.execute("DELETE FROM app_buildpacks WHERE app_id = ?", [app.to_string()])
        .context("clear an app's buildpacks")?;
    for (ordinal, buildpack) in (0i64..).zip(buildpacks) {
        db.execute(
            "INSERT INTO app_buildpacks (app_id, ordinal, buildpack) VALUES (?, ?, ?)",
            params![app.to_string(), ordinal, buildpack.to_string()],
        )
        .context("store an app's buildpacks")?;
    }
    Ok(())
}

/// What a build found is used from now on, unless the user has chosen meanwhile.
pub fn pin(db: &Connection, app: AppId, found: &[Buildpack]) -> Result<()> {
    match of(db, app)?.is_empty() {
        true => replace(db, app, found),
        false => Ok(()),
    }
}

/// One text for a build's row: no name or address has a line break.
pub(super) fn joined(buildpacks: &[Buildpack]) -> String {
    buildpacks.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

pub(super) fn of_build(row: &Row<'_>) -> rusqlite::Result<Vec<Buildpack>> {
    let text: Option<String> = row.get("buildpack")?;
    let text = text.unwrap_or_default();
    let parsed = text.lines().map(Buildpack::parse).collect::<Result<_>>();
    parsed.map_err(|error| wrong(row, "buildpack", error))
}
