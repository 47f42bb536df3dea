//! An image that the engine has lost comes back from our files when the next container needs it.

use super::Slugs;
use crate::engine::Restore;
use crate::engine::archive::ImageLayer;
use crate::error::{Context, Error, Result};
use crate::logs::LogLine;
use crate::model::{AppId, Slug, SlugId};
use crate::{store, tasks};
use async_trait::async_trait;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use tokio::time::Instant;

#[async_trait]
impl Restore for Slugs {
    async fn restore(&self, image: &str) -> Result<Option<String>> {
        let _turn = self.0.turn.lock().await;
        let settings = &self.0.parts.settings;
        if image == settings.run_image || image == settings.build_image {
            if self.0.parts.engine.image_layers(image).await?.is_none() {
                self.restore_stack(image).await?;
            }
            return Ok(Some(image.to_string()));
        }
        let Some(id) = SlugId::of_image(image) else { return Ok(None) };
        let found = self.0.parts.store.read(move |db| store::slugs::by_id(db, id)).await?;
        match found.filter(|slug| slug.deleted_at.is_none()) {
            Some(slug) => self.restore_slug(&slug, image).await.map(Some),
            None => Ok(None),
        }
    }
}

/// `sha256:…` of a file.
fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut piece)? {
            0 => break,
            count => hash.update(&piece[..count]),
        }
    }
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("sha256:{hex}"))
}

impl Slugs {
    async fn restore_slug(&self, slug: &Slug, image: &str) -> Result<String> {
        let parts = &self.0.parts;
        // Another dyno of the app may have brought it back while this one waited.
        if let Some((image, _)) = parts.engine.image_layers(image).await? {
            return Ok(image);
        }
        let began = Instant::now();
        let own = slug.images.values().find(|own| own.image == image);
        let (base, layers) = match own {
            Some(own) => (Vec::new(), self.kept_layers(own)?),
            None => (self.run_layers().await?, self.layers_of(slug)?),
        };
        let sent = self.without_present(&base, layers.clone()).await?;
        let config = || self.config_of(slug.app, slug.id, own);
        let mut loaded = self.load_as(config(), &base, &sent, None).await;
        // One of those that were left out may have just gone.
        if let Err(error) = &loaded
            && sent.iter().any(|layer| layer.file.is_none())
        {
            tracing::warn!(error = error.chain(), "a slug is loaded again, whole");
            loaded = self.load_as(config(), &base, &layers, None).await;
        }
        let image = match loaded {
            Ok(image) => image,
            Err(error) if !self.has_damage(slug.app, layers).await? => return Err(error),
            Err(error) => {
                tracing::error!(error = error.chain(), slug = %slug.id, "a slug is damaged");
                return Err(Error::unavailable(
                    "the slug's image is missing from Docker, and one of its files is damaged \
                     (R17): push the app again",
                ));
            }
        };
        let (app, seconds) = (slug.app, began.elapsed().as_secs_f64());
        tracing::warn!(%app, slug = %slug.id, seconds, "a slug's image was missing and is back");
        let said = format!(
            "The slug's image was missing from Docker: loaded again from the slug's files in \
             {seconds:.1}s"
        );
        parts.logs.write(app, vec![LogLine::heroku("slug", said)]).await;
        Ok(image)
    }

    /// Whether a file is not what its name says. Each is named and removed, so that the next build
    /// keeps it anew.
    async fn has_damage(&self, app: AppId, layers: Vec<ImageLayer>) -> Result<bool> {
        let damaged = tasks::blocking("check a slug's files", move || {
            let mut damaged = Vec::new();
            for layer in layers {
                let Some(path) = layer.file else { continue };
                let actual = digest(&path).context("read a slug's layer")?;
                if actual != layer.diff_id {
                    std::fs::remove_file(&path).context("remove a damaged layer")?;
                    damaged.push((layer.diff_id, actual));
                }
            }
            Ok(damaged)
        });
        let damaged = damaged.await?;
        let lines = damaged.iter().map(|(expected, actual)| {
            // Heroku's words, the missing "not" included.
            let words = format!(
                "Error R17 (Checksum error) -> Checksum does match expected value. Expected: \
                 {expected} Actual: {actual}"
            );
            LogLine::heroku("slug", words.replace("sha256:", "SHA256:"))
        });
        self.0.parts.logs.write(app, lines.collect()).await;
        Ok(!damaged.is_empty())
    }

    /// All layers of a slug, with their files.
    fn layers_of(&self, slug: &Slug) -> Result<Vec<ImageLayer>> {
        if slug.layers.is_empty() {
            return Err(Error::unavailable(
                "the slug's image is missing from Docker and was built before slugs were kept as \
                 files: push the app again",
            ));
        }
        let with_file = |diff_id: &String| {
            let bytes = self.files().bytes(diff_id).ok_or_else(|| {
                Error::unavailable(
                    "the slug's image is missing from Docker, and so is one of its files: push \
                     the app again",
                )
            })?;
            let file = Some(self.files().path(diff_id));
            Ok(ImageLayer { diff_id: diff_id.clone(), bytes, file })
        };
        slug.layers.iter().map(with_file).collect()
    }

    /// Leaves out the files of layers that the engine has in another slug, from the bottom: a
    /// layer counts only with all that are below it.
    async fn without_present(
        &self,
        base: &[String],
        mut layers: Vec<ImageLayer>,
    ) -> Result<Vec<ImageLayer>> {
        let mut most = 0;
        for image in self.0.parts.engine.images("slug").await? {
            let Some((_, present)) = self.0.parts.engine.image_layers(&image.id).await? else {
                continue;
            };
            let Some(own) = present.strip_prefix(base) else { continue };
            let same = own.iter().zip(&layers).take_while(|(own, layer)| **own == layer.diff_id);
            most = most.max(same.count());
        }
        for layer in layers.iter_mut().take(most) {
            layer.file = None;
        }
        Ok(layers)
    }
}
