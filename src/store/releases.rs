//! Rows of `builds` and `releases`.

use super::buildpacks::{joined, of_build};
use super::row::{build_status, parsed, parsed_option, release_status, time, time_option};
use crate::clock::Timestamp;
use crate::error::{Context, Error, Result};
use crate::model::{
    AppId, Build, BuildId, BuildStatus, Buildpack, Release, ReleaseId, ReleaseStatus, SlugId,
    SourceBlob,
};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

// --- builds ---------------------------------------------------------------------------------

const BUILD: &str =
    "SELECT b.*, u.email AS user_email FROM builds b JOIN users u ON u.id = b.user_id";

fn build(row: &Row<'_>) -> rusqlite::Result<Build> {
    let status: String = row.get("status")?;
    Ok(Build {
        id: parsed(row, "id")?,
        app: parsed(row, "app_id")?,
        user: parsed(row, "user_id")?,
        user_email: row.get("user_email")?,
        status: build_status(&status),
        commit: row.get("commit_id")?,
        git_ref: row.get("git_ref")?,
        blob: SourceBlob {
            url: row.get("source_url")?,
            checksum: row.get("source_checksum")?,
            version_description: row.get("version_description")?,
        },
        slug: parsed_option(row, "slug_id")?,
        release: parsed_option(row, "release_id")?,
        stack: row.get("stack")?,
        buildpacks: of_build(row)?,
        buildpack_millis: row.get("buildpack_millis")?,
        total_millis: row.get("total_millis")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

pub fn insert_build(db: &Connection, build: &Build) -> Result<()> {
    db.execute(
        "INSERT INTO builds (id, app_id, user_id, status, commit_id, git_ref, source_url,
             source_checksum, version_description, stack, created_at, updated_at)
         VALUES (:id, :app, :user, :status, :commit, :ref, :url, :checksum, :description, :stack,
             :created, :created)",
        named_params! {
            ":id": build.id.to_string(),
            ":app": build.app.to_string(),
            ":user": build.user.to_string(),
            ":status": build.status.as_str(),
            ":commit": build.commit,
            ":ref": build.git_ref,
            ":url": build.blob.url,
            ":checksum": build.blob.checksum,
            ":description": build.blob.version_description,
            ":stack": build.stack,
            ":created": build.created_at.0,
        },
    )
    .context("store a build")?;
    Ok(())
}

/// The build has its slug; it stays `pending` until the ref has moved and the release is made.
pub fn set_build_slug(
    db: &Connection,
    build: BuildId,
    slug: SlugId,
    buildpacks: &[Buildpack],
    buildpack_millis: i64,
    now: Timestamp,
) -> Result<()> {
    db.execute(
        "UPDATE builds SET slug_id = ?, buildpack = ?, buildpack_millis = ?, updated_at = ?
         WHERE id = ?",
        params![slug.to_string(), joined(buildpacks), buildpack_millis, now.0, build.to_string()],
    )
    .context("store a build's slug")?;
    Ok(())
}

/// What a build is made for, which its app may have changed while it waited.
pub fn set_build_stack(db: &Connection, build: BuildId, stack: &str, now: Timestamp) -> Result<()> {
    db.execute(
        "UPDATE builds SET stack = ?, updated_at = ? WHERE id = ?",
        params![stack, now.0, build.to_string()],
    )
    .context("store a build's stack")?;
    Ok(())
}

/// Ends a build, once: whoever comes second changes nothing.
pub fn finish_build(
    db: &Connection,
    build: BuildId,
    status: BuildStatus,
    release: Option<ReleaseId>,
    now: Timestamp,
) -> Result<()> {
    let rows = db
        .execute(
            "UPDATE builds SET status = ?2, release_id = ?3, updated_at = ?4,
             slug_id = CASE ?2 WHEN 'failed' THEN NULL ELSE slug_id END,
             request = NULL, first_deploy = NULL,
             total_millis = (?4 - created_at) / 1000
         WHERE id = ?1 AND status = 'pending'",
            params![build.to_string(), status.as_str(), release.map(|id| id.to_string()), now.0],
        )
        .context("finish a build")?;
    match rows {
        0 => Err(Error::conflict("The build has ended already")),
        _ => Ok(()),
    }
}

pub fn pending_builds(db: &Connection) -> Result<Vec<Build>> {
    let mut query = db
        .prepare_cached(&format!("{BUILD} WHERE b.status = 'pending' ORDER BY b.created_at"))
        .context("read builds")?;
    let rows = query.query_map([], build).context("read builds")?;
    rows.collect::<rusqlite::Result<_>>().context("read builds")
}

pub fn builds_of(db: &Connection, app: AppId) -> Result<Vec<Build>> {
    let mut query = db
        .prepare_cached(&format!("{BUILD} WHERE b.app_id = ? ORDER BY b.created_at"))
        .context("read builds")?;
    let rows = query.query_map([app.to_string()], build).context("read builds")?;
    rows.collect::<rusqlite::Result<_>>().context("read builds")
}

pub fn build_by_id(db: &Connection, id: BuildId) -> Result<Option<Build>> {
    db.query_row(&format!("{BUILD} WHERE b.id = ?"), [id.to_string()], build)
        .optional()
        .context("read a build")
}

// --- releases -------------------------------------------------------------------------------

const RELEASE: &str =
    "SELECT r.*, u.email AS user_email FROM releases r JOIN users u ON u.id = r.user_id";

fn release(row: &Row<'_>) -> rusqlite::Result<Release> {
    let status: String = row.get("status")?;
    Ok(Release {
        id: parsed(row, "id")?,
        app: parsed(row, "app_id")?,
        version: row.get("version")?,
        slug: parsed_option(row, "slug_id")?,
        description: row.get("description")?,
        user: parsed(row, "user_id")?,
        user_email: row.get("user_email")?,
        status: release_status(&status),
        has_output: row.get("has_output")?,
        served_at: time_option(row, "served_at")?,
        serving_millis: row.get("serving_millis")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

/// Stores a release under the app's next version and returns that.
pub fn insert_release(db: &Connection, release: &Release, sealed_config: &[u8]) -> Result<i64> {
    let version: i64 = db
        .query_row(
            "SELECT coalesce(max(version), 0) + 1 FROM releases WHERE app_id = ?",
            [release.app.to_string()],
            |row| row.get(0),
        )
        .context("number a release")?;
    db.execute(
        "INSERT INTO releases (id, app_id, version, slug_id, config, description, user_id, status,
             has_output, created_at, updated_at)
         VALUES (:id, :app, :version, :slug, :config, :description, :user, :status, :output,
             :created, :created)",
        named_params! {
            ":id": release.id.to_string(),
            ":app": release.app.to_string(),
            ":version": version,
            ":slug": release.slug.map(|id| id.to_string()),
            ":config": sealed_config,
            ":description": release.description,
            ":user": release.user.to_string(),
            ":status": release.status.as_str(),
            ":output": release.has_output,
            ":created": release.created_at.0,
        },
    )
    .context("store a release")?;
    db.execute(
        "UPDATE apps SET released_at = ?, updated_at = ? WHERE id = ?",
        params![release.created_at.0, release.created_at.0, release.app.to_string()],
    )
    .context("store a release")?;
    Ok(version)
}

pub fn set_release_status(
    db: &Connection,
    id: ReleaseId,
    status: ReleaseStatus,
    now: Timestamp,
) -> Result<()> {
    db.execute(
        "UPDATE releases SET status = ?, updated_at = ? WHERE id = ?",
        params![status.as_str(), now.0, id.to_string()],
    )
    .context("store a release's status")?;
    Ok(())
}

/// Remembers that the release took over, once.
pub fn set_served(db: &Connection, id: ReleaseId, now: Timestamp) -> Result<()> {
    db.execute(
        "UPDATE releases SET served_at = ?1, serving_millis = (?1 - updated_at) / 1000
         WHERE id = ?2 AND served_at IS NULL",
        params![now.0, id.to_string()],
    )
    .context("store that a release serves")?;
    Ok(())
}

pub fn releases_of(db: &Connection, app: AppId) -> Result<Vec<Release>> {
    select_releases(db, "WHERE r.app_id = ? ORDER BY r.version", &[&app.to_string()])
}

/// The newest releases of an app since a time, newest first.
pub fn releases_since(
    db: &Connection,
    app: AppId,
    at: Timestamp,
    most: usize,
) -> Result<Vec<Release>> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rest = "WHERE r.app_id = ? AND r.created_at >= ? ORDER BY r.version DESC LIMIT ?";
    select_releases(db, rest, &[&app.to_string(), &at.0, &most])
}

pub fn pending_releases(db: &Connection) -> Result<Vec<Release>> {
    select_releases(db, "WHERE r.status = 'pending' ORDER BY r.created_at", &[])
}

fn select_releases(
    db: &Connection,
    rest: &str,
    values: &[&dyn rusqlite::ToSql],
) -> Result<Vec<Release>> {
    let mut query = db.prepare_cached(&format!("{RELEASE} {rest}")).context("read releases")?;
    let rows = query.query_map(values, release).context("read releases")?;
    rows.collect::<rusqlite::Result<_>>().context("read releases")
}

/// The release that is current: the newest that succeeded.
pub fn current_release(db: &Connection, app: AppId) -> Result<Option<Release>> {
    db.query_row(
        &format!(
            "{RELEASE} WHERE r.app_id = ? AND r.status = 'succeeded'
             ORDER BY r.version DESC LIMIT 1"
        ),
        [app.to_string()],
        release,
    )
    .optional()
    .context("read the current release")
}

/// The newest release of an app whatever became of it: its config vars are the app's, since a
/// failed release phase doesn't undo a change of config (Heroku's rule).
pub fn newest_release(db: &Connection, app: AppId) -> Result<Option<Release>> {
    db.query_row(
        &format!("{RELEASE} WHERE r.app_id = ? ORDER BY r.version DESC LIMIT 1"),
        [app.to_string()],
        release,
    )
    .optional()
    .context("read the newest release")
}

/// The release that last took over, not newer than the current one.
pub fn serving_release(db: &Connection, app: AppId) -> Result<Option<Release>> {
    db.query_row(
        &format!(
            "{RELEASE} WHERE r.app_id = ? AND r.status = 'succeeded' AND r.served_at IS NOT NULL
             ORDER BY r.version DESC LIMIT 1"
        ),
        [app.to_string()],
        release,
    )
    .optional()
    .context("read the serving release")
}

pub fn release_by_id(db: &Connection, id: ReleaseId) -> Result<Option<Release>> {
    Ok(select_releases(db, "WHERE r.id = ?", &[&id.to_string()])?.pop())
}

/// Finds a release by id or by its version, `12` or `v12`.
pub fn find_release(db: &Connection, app: AppId, which: &str) -> Result<Option<Release>> {
    let version: i64 = which.strip_prefix('v').unwrap_or(which).parse().unwrap_or(-1);
    db.query_row(
        &format!("{RELEASE} WHERE r.app_id = ? AND (r.id = ? OR r.version = ?)"),
        params![app.to_string(), which, version],
        release,
    )
    .optional()
    .context("read a release")
}

/// The release's config vars, sealed.
pub fn sealed_config(db: &Connection, id: ReleaseId) -> Result<Option<Vec<u8>>> {
    db.query_row("SELECT config FROM releases WHERE id = ?", [id.to_string()], |row| row.get(0))
        .optional()
        .context("read a release's config")
}

/// The builds and releases that may have an output, each with its app, the newest first.
pub fn outputs(db: &Connection) -> Result<Vec<(AppId, uuid::Uuid)>> {
    let mut query = db
        .prepare_cached(
            "SELECT app_id, id, created_at FROM builds
             UNION ALL SELECT app_id, id, created_at FROM releases WHERE has_output
             ORDER BY created_at DESC",
        )
        .context("read outputs")?;
    let rows = query
        .query_map([], |row| Ok((parsed(row, "app_id")?, parsed(row, "id")?)))
        .context("read outputs")?;
    rows.collect::<rusqlite::Result<_>>().context("read outputs")
}
