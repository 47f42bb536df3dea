//! Rows of `slugs`.

use super::row::{parsed, time, time_option, wrong};
use crate::clock::Timestamp;
use crate::error::{Context, Result};
use crate::model::{AppImage, ProcessType, Procfile, Slug, SlugId};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

fn slug(row: &Row<'_>) -> rusqlite::Result<Slug> {
    let types: String = row.get("process_types")?;
    let types: BTreeMap<String, String> =
        serde_json::from_str(&types).map_err(|error| wrong(row, "process_types", error))?;
    let types = types
        .into_iter()
        .filter_map(|(process, command)| Some((ProcessType::parse(&process).ok()?, command)));
    let layers: String = row.get("layers")?;
    Ok(Slug {
        id: parsed(row, "id")?,
        app: parsed(row, "app_id")?,
        commit: row.get("commit_id")?,
        commit_description: row.get("commit_description")?,
        process_types: Procfile::from_map(types.collect()),
        images: images(row)?,
        image: row.get("image")?,
        layers: layers.split_whitespace().map(str::to_string).collect(),
        size: row.get("size")?,
        stack: row.get("stack")?,
        buildpack_provided_description: row.get("description")?,
        created_at: time(row, "created_at")?,
        deleted_at: time_option(row, "deleted_at")?,
    })
}

/// An image as its column has it.
#[derive(Serialize, Deserialize)]
struct StoredImage {
    image: String,
    user: String,
    working_dir: String,
    argv: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    layers: Vec<String>,
}

fn stored(image: &AppImage) -> StoredImage {
    let AppImage { image, user, working_dir, argv, env, layers } = image.clone();
    StoredImage { image, user, working_dir, argv, env, layers }
}

fn images(row: &Row<'_>) -> rusqlite::Result<BTreeMap<ProcessType, AppImage>> {
    let text: String = row.get("images")?;
    let images: BTreeMap<String, StoredImage> =
        serde_json::from_str(&text).map_err(|error| wrong(row, "images", error))?;
    let known = |(process, stored): (String, StoredImage)| {
        let StoredImage { image, user, working_dir, argv, env, layers } = stored;
        let image = AppImage { image, user, working_dir, argv, env, layers };
        Some((ProcessType::parse(&process).ok()?, image))
    };
    Ok(images.into_iter().filter_map(known).collect())
}

pub fn insert(db: &Connection, slug: &Slug) -> Result<()> {
    let types: BTreeMap<&str, &str> =
        slug.process_types.iter().map(|(process, command)| (process.as_str(), command)).collect();
    db.execute(
        "INSERT INTO slugs (id, app_id, commit_id, commit_description, process_types, images,
             image, layers, size, stack, description, created_at)
         VALUES (:id, :app, :commit, :commit_description, :types, :images, :image, :layers, :size,
             :stack, :description, :created)",
        named_params! {
            ":id": slug.id.to_string(),
            ":app": slug.app.to_string(),
            ":commit": slug.commit,
            ":commit_description": slug.commit_description,
            ":types": serde_json::to_string(&types).context("store a slug")?,
            ":images": column(&slug.images)?,
            ":image": slug.image,
            ":layers": slug.layers.join(" "),
            ":size": slug.size,
            ":stack": slug.stack,
            ":description": slug.buildpack_provided_description,
            ":created": slug.created_at.0,
        },
    )
    .context("store a slug")?;
    Ok(())
}

fn column(images: &BTreeMap<ProcessType, AppImage>) -> Result<String> {
    let images: BTreeMap<&str, StoredImage> =
        images.iter().map(|(process, image)| (process.as_str(), stored(image))).collect();
    serde_json::to_string(&images).context("store a slug")
}

/// What has become known of a slug's images.
pub fn set_images(
    db: &Connection,
    id: SlugId,
    images: &BTreeMap<ProcessType, AppImage>,
) -> Result<()> {
    let column = column(images)?;
    db.execute("UPDATE slugs SET images = ? WHERE id = ?", params![column, id.to_string()])
        .context("store a slug's images")?;
    Ok(())
}

pub fn by_id(db: &Connection, id: SlugId) -> Result<Option<Slug>> {
    db.query_row("SELECT * FROM slugs WHERE id = ?", [id.to_string()], slug)
        .optional()
        .context("read a slug")
}

/// Every slug whose image is still wanted.
pub fn all(db: &Connection) -> Result<Vec<Slug>> {
    let mut query =
        db.prepare_cached("SELECT * FROM slugs WHERE deleted_at IS NULL").context("read slugs")?;
    let rows = query.query_map([], slug).context("read slugs")?;
    rows.collect::<rusqlite::Result<_>>().context("read slugs")
}

/// Marks the slugs that no build waits for and no kept release needs, with those releases
/// `expired`, and returns them. Kept are the newest `keep` releases of an app, those younger than
/// `since`, and the one that serves.
pub fn expire(db: &Connection, keep: u32, since: Timestamp, now: Timestamp) -> Result<Vec<Slug>> {
    let mut query = db
        .prepare_cached(
            "SELECT s.* FROM slugs s WHERE s.deleted_at IS NULL
             AND NOT EXISTS (SELECT 1 FROM builds b WHERE b.slug_id = s.id AND b.status = 'pending')
             AND NOT EXISTS (
                 SELECT 1 FROM releases r WHERE r.slug_id = s.id AND (
                     r.created_at > ?2
                     OR r.status = 'pending'
                     OR r.version > (SELECT max(version) FROM releases n WHERE n.app_id = s.app_id) - ?1
                     OR r.version = (SELECT max(version) FROM releases n WHERE n.app_id = s.app_id
                                     AND n.status = 'succeeded')
                     OR r.version = (SELECT max(version) FROM releases n WHERE n.app_id = s.app_id
                                     AND n.served_at IS NOT NULL)))",
        )
        .context("read old slugs")?;
    let rows = query.query_map(params![keep, since.0], slug).context("read old slugs")?;
    let old: Vec<Slug> = rows.collect::<rusqlite::Result<_>>().context("read old slugs")?;
    for slug in &old {
        db.execute(
            "UPDATE slugs SET deleted_at = ? WHERE id = ?",
            params![now.0, slug.id.to_string()],
        )
        .context("expire a slug")?;
        db.execute(
            "UPDATE releases SET status = 'expired', updated_at = ? WHERE slug_id = ?",
            params![now.0, slug.id.to_string()],
        )
        .context("expire a release")?;
    }
    Ok(old)
}
