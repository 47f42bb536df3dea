//! An image that the engine has lost comes back from our files when the next container needs it.

use super::Slugs;
use crate::engine::Restore;
use crate::engine::archive::ImageLayer;
use crate::error::{Error, Result};
use crate::logs::LogLine;
use crate::model::{Slug, SlugId};
use crate::store;
use async_trait::async_trait;
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
            Some(slug) => self.restore_slug(&slug).await.map(Some),
            None => Ok(None),
        }
    }
}

impl Slugs {
    async fn restore_slug(&self, slug: &Slug) -> Result<String> {
        let parts = &self.0.parts;
        // Another dyno of the app may have brought it back while this one waited.
        if let Some((image, _)) = parts.engine.image_layers(&slug.id.image()).await? {
            return Ok(image);
        }
        let began = Instant::now();
        let layers = self.layers_of(slug)?;
        let base = self.run_layers().await?;
        let sent = self.without_present(&base, layers.clone()).await?;
        let image = match self.load(slug.app, slug.id, &base, &sent).await {
            Ok(image) => image,
            // One of those that were left out has just gone.
            Err(error) if sent.iter().any(|layer| layer.file.is_none()) => {
                tracing::warn!(error = error.chain(), "a slug is loaded again, whole");
                self.load(slug.app, slug.id, &base, &layers).await?
            }
            Err(error) => return Err(error),
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
