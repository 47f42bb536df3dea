//! Slugs as images in the engine and as files of our own. The engine's images are what dynos start
//! from and may vanish (`docker system prune -af`); the files bring them back.

mod files;
mod images;
mod restore;
mod stack;

pub use files::{Held, LayerFiles};

use crate::clock::Timestamp;
use crate::config::ServerSettings;
use crate::engine::ahead::Ahead;
use crate::engine::archive::{ImageConfig, ImageLayer, archive, rest};
use crate::engine::{Engine, LABEL_APP, LABEL_INSTALLATION, LABEL_KIND, LABEL_SLUG, Labels};
use crate::error::{Error, Result};
use crate::logs::Logs;
use crate::model::{AppId, AppImage, SlugId};
use crate::store::Store;
use std::sync::Arc;

/// What tells the images of one slug from each other.
const LABEL_PROCESS: &str = "senryu.process";
/// Who owns the files of a slug, and who a dyno runs as.
const USER: u32 = 1000;

/// What slugs are kept with.
pub struct SlugsParts {
    pub store: Store,
    pub engine: Arc<dyn Engine>,
    pub logs: Logs,
    pub settings: Arc<ServerSettings>,
    pub installation: String,
}

/// A handle; clones share it.
#[derive(Clone)]
pub struct Slugs(Arc<Inner>);

struct Inner {
    parts: SlugsParts,
    files: LayerFiles,
    /// One image is brought back at a time: the next one finds the layers that they share.
    turn: tokio::sync::Mutex<()>,
}

impl Slugs {
    /// Opens the files below the data directory. Blocking, for a moment.
    pub fn open(parts: SlugsParts) -> Result<Self> {
        let files = LayerFiles::open(parts.settings.data_dir.join("slugs"))?;
        Ok(Self(Arc::new(Inner { parts, files, turn: tokio::sync::Mutex::default() })))
    }

    pub fn files(&self) -> &LayerFiles {
        &self.0.files
    }

    /// Has the engine load a slug's image: its layers over those of the run image. Layers without
    /// a file are known to be there. `ahead` is a load that has begun. Returns the image's id.
    pub async fn load(
        &self,
        app: AppId,
        slug: SlugId,
        base: &[String],
        layers: &[ImageLayer],
        ahead: Option<Ahead>,
    ) -> Result<String> {
        self.load_as(self.config_of(app, slug, None), base, layers, ahead).await
    }

    /// What a slug's image is, or one that its app's Dockerfile made, besides its layers.
    fn config_of(&self, app: AppId, slug: SlugId, own: Option<&AppImage>) -> ImageConfig {
        let mut labels = Labels::from([
            (LABEL_INSTALLATION.to_string(), self.0.parts.installation.clone()),
            (LABEL_APP.to_string(), app.to_string()),
            (LABEL_KIND.to_string(), "slug".to_string()),
            (LABEL_SLUG.to_string(), slug.to_string()),
        ]);
        let created_at = Timestamp::now();
        if let Some(own) = own {
            let AppImage { image: reference, user, working_dir, env, .. } = own.clone();
            // Two of one slug may be the same otherwise, and one name would take the other's image.
            labels.insert(LABEL_PROCESS.to_string(), reference.clone());
            return ImageConfig { reference, labels, user, working_dir, env, created_at };
        }
        let env = ["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"].map(String::from).to_vec();
        ImageConfig {
            reference: slug.image(),
            labels,
            user: format!("{USER}:{USER}"),
            working_dir: "/app".to_string(),
            env,
            created_at,
        }
    }

    async fn load_as(
        &self,
        config: ImageConfig,
        base: &[String],
        layers: &[ImageLayer],
        ahead: Option<Ahead>,
    ) -> Result<String> {
        let parts = &self.0.parts;
        let below = base.iter().map(|diff_id| ImageLayer {
            diff_id: diff_id.clone(),
            bytes: 0,
            file: None,
        });
        let all: Vec<ImageLayer> = below.chain(layers.iter().cloned()).collect();
        let loaded = match ahead {
            Some(ahead) => ahead.finish(rest(&config, &all)?).await?,
            None => false,
        };
        if !loaded {
            parts.engine.load(archive(&config, &all)?).await?;
        }
        let (image, diff_ids) = parts
            .engine
            .image_layers(&config.reference)
            .await?
            .ok_or_else(|| Error::internal("load the slug's image", "it is not there"))?;
        if diff_ids.iter().ne(all.iter().map(|layer| &layer.diff_id)) {
            return Err(Error::internal("load the slug's image", "it has other layers"));
        }
        Ok(image)
    }

    /// The layers of the stack's run image, over which every slug lies. An image that has gone is
    /// brought back.
    pub async fn base(&self) -> Result<Vec<String>> {
        let _turn = self.0.turn.lock().await;
        self.run_layers().await
    }
}
