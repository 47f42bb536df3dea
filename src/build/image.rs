//! The slug as an image in the engine: the stack's run image plus the layers of the build. What
//! the engine has already is not sent again; which layers those are is remembered on the volume
//! and checked against the engine.

use super::layers::{Layer, Packed, Scan};
use super::volume::{USER, Volume};
use super::{BuildInput, Builder};
use crate::clock::Timestamp;
use crate::engine::archive::{ImageConfig, ImageLayer, archive};
use crate::engine::{LABEL_APP, LABEL_INSTALLATION, LABEL_KIND, Labels};
use crate::error::{Context, Error, Result};
use crate::{limits, tasks};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the notes are, out of the builds' sight.
const NOTE: &str = "layers.json";
/// Where layers wait to be sent.
const OUTBOX: &str = "layers";

/// A slug's image, loaded.
pub struct Loaded {
    pub image: String,
    pub new_bytes: u64,
}

/// What is remembered of an app's last builds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Memory {
    /// The last build's layers.
    layers: Vec<Known>,
    /// References of the newest images, newest first.
    images: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    fingerprint: String,
    diff_id: String,
    bytes: u64,
}

impl Builder {
    /// Makes the image and has the engine load it.
    pub(super) async fn load(
        &self,
        input: &BuildInput,
        volume: &Volume,
        scan: Scan,
    ) -> Result<Loaded> {
        let base = self.base().await?;
        let memory = Memory::read(volume);
        let present = self.present(&memory, &base).await?;
        let layers = Arc::new(scan.layers);
        match self.try_load(input, volume, &base, &layers, &memory, &present).await {
            // One of the layers went between the look and the load: then all are sent.
            Err(error) if !present.is_empty() => {
                tracing::warn!(error = error.chain(), "the image is sent again, whole");
                let nothing = Memory::default();
                self.try_load(input, volume, &base, &layers, &nothing, &[]).await
            }
            other => other,
        }
    }

    async fn base(&self) -> Result<Vec<String>> {
        let image = &self.settings.run_image;
        let found = self.engine.image_layers(image).await?;
        let missing =
            || Error::unavailable(format!("The stack's image {image} is missing: run scripts/up"));
        Ok(found.ok_or_else(missing)?.1)
    }

    /// Layers over the base that the engine has, from the bottom: a layer counts only with all
    /// that are below it.
    async fn present(&self, memory: &Memory, base: &[String]) -> Result<Vec<String>> {
        for image in &memory.images {
            let Some((_, diff_ids)) = self.engine.image_layers(image).await? else { continue };
            if let Some(own) = diff_ids.strip_prefix(base) {
                return Ok(own.to_vec());
            }
        }
        Ok(Vec::new())
    }

    async fn try_load(
        &self,
        input: &BuildInput,
        volume: &Volume,
        base: &[String],
        layers: &Arc<Vec<Layer>>,
        memory: &Memory,
        present: &[String],
    ) -> Result<Loaded> {
        let known: Vec<Option<Known>> =
            layers.iter().map(|layer| memory.layer(&layer.fingerprint)).collect();
        let packed = pack(volume, layers, known, present).await?;
        let outbox = packed.outbox.clone();
        let loaded = self.send(input, base, &packed.layers).await;
        if let Err(error) = fs::remove_dir_all(&outbox) {
            tracing::warn!(%error, "layers are left on a build volume");
        }
        let image = loaded?;
        let mut images = vec![reference(input)];
        images.extend(memory.images.iter().take(limits::SLUG_IMAGES_REMEMBERED - 1).cloned());
        Memory { layers: packed.known(layers), images }.write(volume)?;
        Ok(Loaded { image, new_bytes: packed.new_bytes() })
    }

    async fn send(
        &self,
        input: &BuildInput,
        base: &[String],
        layers: &[ImageLayer],
    ) -> Result<String> {
        let below = base.iter().map(|diff_id| ImageLayer {
            diff_id: diff_id.clone(),
            bytes: 0,
            file: None,
        });
        let all: Vec<ImageLayer> = below.chain(layers.iter().cloned()).collect();
        let config = ImageConfig {
            reference: reference(input),
            labels: Labels::from([
                (LABEL_INSTALLATION.to_string(), self.installation.clone()),
                (LABEL_APP.to_string(), input.app.to_string()),
                (LABEL_KIND.to_string(), "slug".to_string()),
                ("senryu.slug".to_string(), input.slug.to_string()),
            ]),
            user: format!("{USER}:{USER}"),
            working_dir: "/app".to_string(),
            created_at: Timestamp::now(),
        };
        self.engine.load(archive(&config, &all)?).await?;
        let (image, diff_ids) = self
            .engine
            .image_layers(&config.reference)
            .await?
            .ok_or_else(|| Error::internal("load the slug's image", "it is not there"))?;
        if diff_ids.iter().ne(all.iter().map(|layer| &layer.diff_id)) {
            return Err(Error::internal("load the slug's image", "it has other layers"));
        }
        Ok(image)
    }
}

/// The image's name in the engine.
fn reference(input: &BuildInput) -> String {
    format!("senryu/slug:{}", input.slug)
}

struct Outgoing {
    layers: Vec<ImageLayer>,
    outbox: PathBuf,
}

impl Outgoing {
    fn new_bytes(&self) -> u64 {
        self.layers.iter().filter(|layer| layer.file.is_some()).map(|layer| layer.bytes).sum()
    }

    fn known(&self, layers: &[Layer]) -> Vec<Known> {
        let known = layers.iter().zip(&self.layers).map(|(layer, sent)| Known {
            fingerprint: layer.fingerprint.clone(),
            diff_id: sent.diff_id.clone(),
            bytes: sent.bytes,
        });
        known.collect()
    }
}

/// Packs what the engine lacks: from the first layer that differs upwards, since a layer is only
/// itself on top of the same layers.
async fn pack(
    volume: &Volume,
    layers: &Arc<Vec<Layer>>,
    known: Vec<Option<Known>>,
    present: &[String],
) -> Result<Outgoing> {
    let (root, outbox) = (volume.build(), volume.path(OUTBOX));
    let (layers, present) = (Arc::clone(layers), present.to_vec());
    tasks::blocking("pack the slug's layers", move || {
        make_outbox(&outbox).context("make room for layers")?;
        let mut same = true;
        let mut images = Vec::new();
        for (index, (layer, known)) in layers.iter().zip(known).enumerate() {
            let there = present.get(index);
            if let Some(known) = known.filter(|known| same && there == Some(&known.diff_id)) {
                images.push(ImageLayer { diff_id: known.diff_id, bytes: known.bytes, file: None });
                continue;
            }
            let file = outbox.join(layer.part.as_str());
            let Packed { diff_id, bytes } = layer.pack(&root, &file)?;
            same &= there == Some(&diff_id);
            // The same bytes from other inodes: read, but not sent.
            images.push(ImageLayer { diff_id, bytes, file: (!same).then_some(file) });
        }
        Ok(Outgoing { layers: images, outbox })
    })
    .await
}

fn make_outbox(outbox: &Path) -> io::Result<()> {
    match fs::remove_dir_all(outbox) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir(outbox)
}

impl Memory {
    /// What can't be read is as good as nothing: everything is sent then.
    fn read(volume: &Volume) -> Self {
        let content = fs::read(volume.path(NOTE)).ok();
        content.and_then(|content| serde_json::from_slice(&content).ok()).unwrap_or_default()
    }

    fn write(&self, volume: &Volume) -> Result<()> {
        let content = serde_json::to_vec(self).context("note the slug's layers")?;
        fs::write(volume.path(NOTE), content).context("note the slug's layers")
    }

    fn layer(&self, fingerprint: &str) -> Option<Known> {
        self.layers.iter().find(|known| known.fingerprint == fingerprint).cloned()
    }
}
