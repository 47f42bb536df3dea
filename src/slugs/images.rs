//! Images that an app's own Dockerfiles made are kept as files too, once their release is out: the
//! engine gives an image as a whole only, which takes seconds that no push should wait for.

use super::{Held, Slugs};
use crate::engine::archive::ImageLayer;
use crate::error::{Context, Error, Result};
use crate::model::{AppImage, Slug};
use crate::{limits, store, tasks};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use tokio_util::io::{StreamReader, SyncIoBridge};

impl Slugs {
    /// Keeps what is not kept yet of the images of all slugs. What fails is tried again in the
    /// next round; until then only a build brings such an image back.
    pub async fn keep_images(&self) -> Result<()> {
        let slugs = self.0.parts.store.read(store::slugs::all).await?;
        let is_kept = |slug: &Slug| slug.images.values().all(|image| !image.layers.is_empty());
        for slug in slugs.into_iter().filter(|slug| !is_kept(slug)) {
            if let Err(error) = self.keep(slug).await {
                tracing::warn!(error = error.chain(), "an app's image is not kept as files yet");
            }
        }
        Ok(())
    }

    async fn keep(&self, mut slug: Slug) -> Result<()> {
        let mut held = self.files().hold();
        let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for image in slug.images.values_mut() {
            if !known.contains_key(&image.image) {
                let (layers, back) = self.keep_image(&image.image, held).await?;
                held = back;
                known.insert(image.image.clone(), layers);
            }
            image.layers = known.get(&image.image).cloned().unwrap_or_default();
        }
        let all: BTreeSet<String> = known.into_values().flatten().collect();
        self.files().sync(all.into_iter().collect()).await?;
        let (id, images) = (slug.id, slug.images);
        self.0.parts.store.write(move |db| store::slugs::set_images(db, id, &images)).await?;
        drop(held);
        tracing::info!(app = %slug.app, slug = %id, "an app's images are kept as files");
        Ok(())
    }

    /// The layers of an image from the bottom, each with its file.
    async fn keep_image(&self, image: &str, mut held: Held) -> Result<(Vec<String>, Held)> {
        let engine = &self.0.parts.engine;
        let Some((_, layers)) = engine.image_layers(image).await? else {
            return Err(Error::unavailable("an app's image is missing from Docker"));
        };
        let mut missing: BTreeSet<String> = BTreeSet::new();
        for layer in &layers {
            if !held.take(layer) {
                missing.insert(layer.clone());
            }
        }
        if missing.is_empty() {
            return Ok((layers, held));
        }
        // The engine writes all of it to its disk once before it sends it, and we once more.
        let bytes = engine.image_facts(image).await?.map_or(0, |facts| facts.size.unsigned_abs());
        let reserve = self.0.parts.settings.disk_reserve << 20;
        if engine.free_disk()?.bytes < reserve.saturating_add(bytes.saturating_mul(2)) {
            return Err(Error::unavailable("the disk is too full to keep an app's image"));
        }
        let kept: BTreeSet<u64> = layers.iter().filter_map(|id| self.files().bytes(id)).collect();
        for kept in [kept, BTreeSet::new()] {
            if !missing.is_empty() {
                let archive = engine.save(image).await?;
                (missing, held) = take_layers(archive, missing, kept, held).await?;
            }
        }
        match missing.first() {
            None => Ok((layers, held)),
            Some(layer) => Err(Error::internal("keep an app's image", format!("no {layer}"))),
        }
    }

    /// An image's layers with their files, as `load` wants them.
    pub(super) fn kept_layers(&self, image: &AppImage) -> Result<Vec<ImageLayer>> {
        let lost = || {
            Error::unavailable(
                "an image that the app's Dockerfile made is missing from Docker, and its files \
                 were not kept yet: push the app again",
            )
        };
        if image.layers.is_empty() {
            return Err(lost());
        }
        let with_file = |diff_id: &String| {
            let bytes = self.files().bytes(diff_id).ok_or_else(lost)?;
            let file = Some(self.files().path(diff_id));
            Ok(ImageLayer { diff_id: diff_id.clone(), bytes, file })
        };
        image.layers.iter().map(with_file).collect()
    }
}

/// Reads an image's archive, keeps those of its files that are missing layers, and returns those
/// that it did not have. A large file of a size that is in `kept` is taken for a layer that is
/// there, and not written once more only to be found out.
async fn take_layers(
    archive: BoxStream<'static, io::Result<Bytes>>,
    mut missing: BTreeSet<String>,
    kept: BTreeSet<u64>,
    mut held: Held,
) -> Result<(BTreeSet<String>, Held)> {
    let reader = SyncIoBridge::new(StreamReader::new(archive));
    let work = move || {
        let mut archive = tar::Archive::new(reader);
        for entry in archive.entries().context("read an image's archive")? {
            let mut entry = entry.context("read an image's archive")?;
            let known = entry.size() >= limits::LAYER_LARGE_BYTES && kept.contains(&entry.size());
            if missing.is_empty() || known || !entry.header().entry_type().is_file() {
                continue;
            }
            let mut is_other = false;
            let write = |path: &Path| {
                let mut file = File::create_new(path).context("keep a layer")?;
                let digest = copy(&mut entry, &mut file).context("keep a layer")?;
                is_other = !missing.contains(&digest);
                // What is not kept is removed.
                if is_other { Err(Error::not_found("layer")) } else { Ok(digest) }
            };
            let copied = held.add(write, |digest: &String| digest.as_str());
            match copied {
                Ok(digest) => drop(missing.remove(&digest)),
                Err(error) if !is_other => return Err(error),
                Err(_) => {}
            }
        }
        Ok((missing, held))
    };
    tasks::blocking("keep an app's image", work).await
}

/// Copies, and returns the digest of what was copied.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<String> {
    let (mut hash, mut piece) = (Sha256::new(), vec![0; limits::LAYER_PIECE_BYTES]);
    loop {
        match from.read(&mut piece)? {
            0 => break,
            count => {
                hash.update(&piece[..count]);
                to.write_all(&piece[..count])?;
            }
        }
    }
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("sha256:{hex}"))
}
