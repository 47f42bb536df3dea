//! The slug as an image in the engine: the stack's run image plus the layers of the build. What
//! the engine has already is not sent again; which layers those are is remembered on the volume
//! and checked against the engine.

use super::delta::Lower;
use super::layers::{Layer, Packed, Part, Scan};
use super::volume::Volume;
use super::{BuildInput, Builder};
use crate::engine::ahead::Ahead;
use crate::engine::archive::ImageLayer;
use crate::error::{Context, Result};
use crate::slugs::{Held, LayerFiles};
use crate::{limits, tasks};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Where the notes are, out of the builds' sight.
const NOTE: &str = "layers.json";

/// A slug's image, loaded, and its layers, which are kept as files too.
pub struct Loaded {
    pub image: String,
    pub layers: Vec<String>,
    pub held: Held,
    pub new_bytes: u64,
}

/// What is remembered of an app's last builds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Memory {
    /// The last build's layers.
    layers: Vec<Known>,
    /// What lies over them: what has changed since they were made, the newest change last.
    #[serde(default)]
    deltas: Vec<Packed>,
    /// References of the newest images, newest first.
    images: Vec<String>,
}

/// What need not be made or sent again.
#[derive(Default)]
pub(super) struct There {
    /// Diff ids of the run image's layers.
    base: Vec<String>,
    memory: Memory,
    /// Diff ids of layers that the engine has, over the base.
    present: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    fingerprint: String,
    #[serde(flatten)]
    packed: Packed,
}

impl Builder {
    /// What need not be made or sent; asked while the buildpacks run.
    pub(super) async fn look_what_is_there(&self, volume: &Volume) -> Result<There> {
        let base = self.slugs.base().await?;
        let memory = Memory::read(volume);
        let present = self.present(&memory, &base).await?;
        Ok(There { base, memory, present })
    }

    /// Makes the image and has the engine load it.
    pub(super) async fn load(
        &self,
        input: &BuildInput,
        volume: &Volume,
        scan: Scan,
        there: There,
        ahead: Option<Ahead>,
    ) -> Result<Loaded> {
        let layers = Arc::new(scan.layers);
        match self.try_load(input, volume, &layers, &there, ahead).await {
            Ok(loaded) => Ok(loaded),
            // One of the layers, or what is below them, went between the look and the load: then
            // all are sent.
            Err(error) => {
                let base = self.slugs.base().await?;
                if there.present.is_empty() && base == there.base {
                    return Err(error);
                }
                tracing::warn!(error = error.chain(), "the image is sent again, whole");
                let nothing = There { base, ..There::default() };
                self.try_load(input, volume, &layers, &nothing, None).await
            }
        }
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
        layers: &Arc<Vec<Layer>>,
        there: &There,
        ahead: Option<Ahead>,
    ) -> Result<Loaded> {
        let There { base, memory, present } = there;
        let packed = pack(self.slugs.files(), volume, layers, memory.clone(), present).await?;
        // Loading takes longer than the disk does.
        let (image, synced) = tokio::join!(
            self.slugs.load(input.app, input.slug, base, &packed.layers, ahead),
            self.slugs.files().sync(packed.written.clone())
        );
        let image = image?;
        synced?;
        let mut images = vec![input.slug.image()];
        images.extend(memory.images.iter().take(limits::SLUG_IMAGES_REMEMBERED - 1).cloned());
        let Outgoing { known, deltas, .. } = &packed;
        let remembered = Memory { layers: known.clone(), deltas: deltas.clone(), images };
        if let Err(error) = remembered.write(volume) {
            // The image is there: only the next build's speed is lost.
            tracing::warn!(error = error.chain(), "layers are not remembered");
        }
        let new_bytes = packed.new_bytes();
        let layers = packed.layers.into_iter().map(|layer| layer.diff_id).collect();
        Ok(Loaded { image, layers, held: packed.held, new_bytes })
    }
}

struct Outgoing {
    layers: Vec<ImageLayer>,
    known: Vec<Known>,
    deltas: Vec<Packed>,
    held: Held,
    /// Those whose files are new.
    written: Vec<String>,
}

impl Outgoing {
    fn new_bytes(&self) -> u64 {
        self.layers.iter().filter(|layer| layer.file.is_some()).map(|layer| layer.bytes).sum()
    }
}

/// Packs what has no file yet. The engine is sent what it lacks: from the first layer that
/// differs upwards, since a layer is only itself on top of the same layers.
async fn pack(
    files: &LayerFiles,
    volume: &Volume,
    layers: &Arc<Vec<Layer>>,
    memory: Memory,
    present: &[String],
) -> Result<Outgoing> {
    let (files, root) = (files.clone(), volume.build());
    let (layers, present) = (Arc::clone(layers), present.to_vec());
    tasks::blocking("pack the slug's layers", move || {
        let (held, written) = (files.hold(), Vec::new());
        let mut packing = Packing { files: &files, root: &root, memory: &memory, held, written };
        let (mut known, mut deltas) = (Vec::new(), Vec::new());
        for layer in layers.iter() {
            let packed;
            (packed, deltas) = packing.layer(layer, &known)?;
            known.push(Known { fingerprint: layer.fingerprint.clone(), packed });
        }
        let Packing { held, written, .. } = packing;
        let mut same = true;
        let all = known.iter().map(|known| &known.packed).chain(&deltas).enumerate();
        let all = all.map(|(index, Packed { diff_id, bytes })| {
            // Layers that are there already are named, but not sent.
            same &= present.get(index) == Some(diff_id);
            let file = (!same).then(|| files.path(diff_id));
            ImageLayer { diff_id: diff_id.clone(), bytes: *bytes, file }
        });
        Ok(Outgoing { layers: all.collect(), known, deltas, held, written })
    })
    .await
}

/// The layers of one slug, on their way into files.
struct Packing<'a> {
    files: &'a LayerFiles,
    root: &'a Path,
    memory: &'a Memory,
    held: Held,
    written: Vec<String>,
}

impl Packing<'_> {
    /// A layer over those of `below`, and what lies over it: the last slug's where nothing has
    /// changed, what has changed where that is little, else anew.
    fn layer(&mut self, layer: &Layer, below: &[Known]) -> Result<(Packed, Vec<Packed>)> {
        let top = layer.part == Part::Rest;
        let whole = !top || self.memory.deltas.is_empty();
        if let Some(known) = self.memory.layer(&layer.fingerprint).filter(|_| whole)
            && self.take(&known.packed, &[])
        {
            return Ok((known.packed, Vec::new()));
        }
        if top && let Some(found) = self.over_the_last(layer, below)? {
            return Ok(found);
        }
        let pack = |path: &Path| layer.pack(self.root, path);
        Ok((self.write(pack)?, Vec::new()))
    }

    /// What has changed since the last slug, over its layers; since its undermost ones, if there
    /// are many by now. None where that is not much less than all, and where other layers have
    /// changed too: what lies over a new layer is stored again in any case.
    fn over_the_last(
        &mut self,
        layer: &Layer,
        below: &[Known],
    ) -> Result<Option<(Packed, Vec<Packed>)>> {
        let Some((last, last_below)) = self.memory.layers.split_last() else { return Ok(None) };
        let same = |(one, other): (&Known, &Known)| one.packed.diff_id == other.packed.diff_id;
        if below.len() != last_below.len() || !below.iter().zip(last_below).all(same) {
            return Ok(None);
        }
        let mut deltas = self.memory.deltas.clone();
        if deltas.len() >= limits::SLUG_DELTAS {
            deltas.clear();
        }
        if !self.take(&last.packed, &deltas) {
            return Ok(None);
        }
        let pile = std::iter::once(&last.packed).chain(&deltas);
        let paths: Vec<_> = pile.map(|packed| self.files.path(&packed.diff_id)).collect();
        let lower = Lower::read(&paths)?;
        let Some(delta) = layer.since(self.root, &lower)? else { return Ok(None) };
        if delta.bytes() > layer.bytes() / 2 {
            return Ok(None);
        }
        if !delta.is_empty() {
            deltas.push(self.write(|path| delta.pack(self.root, path))?);
        }
        Ok(Some((last.packed.clone(), deltas)))
    }

    /// Holds layers that have files; false if one has none.
    fn take(&mut self, layer: &Packed, over: &[Packed]) -> bool {
        std::iter::once(layer).chain(over).all(|packed| self.held.take(&packed.diff_id))
    }

    fn write(&mut self, pack: impl FnOnce(&Path) -> Result<Packed>) -> Result<Packed> {
        let packed = self.held.add(pack, |packed| &packed.diff_id)?;
        self.written.push(packed.diff_id.clone());
        Ok(packed)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::layers::{Part, scan};
    use crate::build::{Builder, GitTree, OutputSink, Source};
    use crate::engine::{
        Attached, Container, ContainerSpec, Ended, Engine, Event, FreeDisk, Image, Input, Output,
        Usage,
    };
    use crate::error::Error;
    use crate::logs::Logs;
    use crate::model::{AppId, BuildId, ConfigVars, SlugId, WindowSize};
    use crate::slugs::{Slugs, SlugsParts};
    use crate::store::Store;
    use async_trait::async_trait;
    use bytes::Bytes;
    use futures_util::StreamExt;
    use futures_util::stream::BoxStream;
    use std::collections::BTreeMap;
    use std::io::Read;
    use std::sync::Mutex;
    use std::time::Duration;
    use tokio::sync::mpsc;

    const BASE: &str = "sha256:base";

    /// Keeps images as Docker does: a layer that an archive leaves out must be in another image,
    /// on top of the same layers.
    #[derive(Default)]
    struct Images {
        loaded: Mutex<BTreeMap<String, Vec<String>>>,
        /// How many layers each archive held.
        sent: Mutex<Vec<usize>>,
        /// Whether layers vanish just before the next load.
        forgetful: Mutex<bool>,
    }

    impl Images {
        fn knows(&self, chain: &[String]) -> bool {
            let loaded = self.loaded.lock().unwrap();
            chain == [BASE] || loaded.values().any(|image| image.starts_with(chain))
        }
    }

    #[async_trait]
    impl Engine for Images {
        async fn load(&self, archive: BoxStream<'static, Bytes>) -> Result<()> {
            if std::mem::take(&mut *self.forgetful.lock().unwrap()) {
                self.loaded.lock().unwrap().clear();
            }
            let bytes = archive.collect::<Vec<_>>().await.concat();
            let mut files = BTreeMap::new();
            for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
                let mut entry = entry.unwrap();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                files.insert(entry.path().unwrap().display().to_string(), content);
            }
            let manifest: serde_json::Value =
                serde_json::from_slice(&files["manifest.json"]).unwrap();
            let layers = manifest[0]["Layers"].as_array().unwrap();
            let (mut chain, mut sent) = (Vec::new(), 0);
            for layer in layers {
                let path = layer.as_str().unwrap();
                chain.push(path.replace("blobs/sha256/", "sha256:"));
                sent += usize::from(files.contains_key(path));
                if !files.contains_key(path) && !self.knows(&chain) {
                    return Err(Error::internal("load", format!("{path} is missing")));
                }
            }
            let reference = manifest[0]["RepoTags"][0].as_str().unwrap().to_string();
            self.loaded.lock().unwrap().insert(reference, chain);
            self.sent.lock().unwrap().push(sent);
            Ok(())
        }

        async fn image_layers(&self, image: &str) -> Result<Option<(String, Vec<String>)>> {
            if image == "senryu/stack:run" {
                return Ok(Some((String::new(), vec![BASE.to_string()])));
            }
            let loaded = self.loaded.lock().unwrap();
            Ok(loaded.get(image).map(|layers| (image.to_string(), layers.clone())))
        }

        async fn remove_image(&self, image: &str) -> Result<()> {
            self.loaded.lock().unwrap().remove(image);
            Ok(())
        }

        async fn create(&self, _: &ContainerSpec) -> Result<String> {
            unreachable!()
        }
        async fn start(&self, _: &str) -> Result<()> {
            unreachable!()
        }
        async fn signal(&self, _: &str, _: &str) -> Result<()> {
            unreachable!()
        }
        async fn remove(&self, _: &str) -> Result<()> {
            unreachable!()
        }
        async fn attach(&self, _: &str, _: Input) -> Result<Attached> {
            unreachable!()
        }
        async fn resize(&self, _: &str, _: WindowSize) -> Result<()> {
            unreachable!()
        }
        async fn wait(&self, _: &str) -> Result<i64> {
            unreachable!()
        }
        async fn list(&self) -> Result<Vec<Container>> {
            unreachable!()
        }
        async fn inspect(&self, _: &str) -> Result<Option<Container>> {
            unreachable!()
        }
        async fn run(
            &self,
            _: &ContainerSpec,
            _: mpsc::Sender<Output>,
            _: Duration,
        ) -> Result<Ended> {
            unreachable!()
        }
        async fn usage(&self, _: &str) -> Result<Option<Usage>> {
            unreachable!()
        }
        fn free_disk(&self) -> Result<FreeDisk> {
            unreachable!()
        }
        async fn events(&self) -> Result<BoxStream<'static, Event>> {
            unreachable!()
        }
        async fn images(&self, _: &str) -> Result<Vec<Image>> {
            unreachable!()
        }
    }

    struct Fixture {
        dir: tempfile::TempDir,
        images: Arc<Images>,
        builder: Builder,
        volume: Volume,
        out: OutputSink,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let images = Arc::new(Images::default());
            let settings = crate::build::tests::settings(dir.path());
            let engine: Arc<dyn Engine> = images.clone();
            let settings = Arc::new(settings);
            std::fs::create_dir_all(&settings.data_dir).unwrap();
            let slugs = Slugs::open(SlugsParts {
                store: Store::open(&settings.database()).unwrap(),
                engine: engine.clone(),
                logs: Logs::open(&settings.logs(), 1 << 20).unwrap(),
                settings: settings.clone(),
                installation: "test".to_string(),
            });
            let builder = Builder::new(engine, settings, slugs.unwrap());
            let volume = Volume::unmounted(dir.path().join("volume"));
            let out = OutputSink::create(&dir.path().join("output")).unwrap();
            let fixture = Self { dir, images, builder, volume, out };
            for file in [".heroku/node", "node_modules/a", "index.js"] {
                fixture.write(file, "first");
            }
            fixture
        }

        fn write(&self, path: &str, content: &str) {
            let path = self.volume.build().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        /// Builds; returns how many layers were sent, at the last try.
        async fn load(&self) -> usize {
            let input = BuildInput {
                build: BuildId::random(),
                app: AppId::random(),
                source: Source::GitTree(GitTree::stored(
                    self.dir.path().to_path_buf(),
                    String::new(),
                )),
                config: ConfigVars::default(),
                stack: "heroku-24".to_string(),
                slug: SlugId::random(),
                buildpacks: Vec::new(),
            };
            let scan = scan(&self.volume.build(), &self.out).unwrap();
            assert_eq!(scan.layers.len(), Part::ALL.len());
            let there = self.builder.look_what_is_there(&self.volume).await.unwrap();
            let loaded = self.builder.load(&input, &self.volume, scan, there, None).await.unwrap();
            assert_eq!(loaded.image, input.slug.image());
            assert!(loaded.layers.len() >= Part::ALL.len());
            *self.images.sent.lock().unwrap().last().unwrap()
        }

        /// How many layers the last build's slug has.
        fn layers(&self) -> usize {
            let memory = Memory::read(&self.volume);
            memory.layers.len() + memory.deltas.len()
        }
    }

    #[tokio::test]
    async fn only_what_changed_and_what_lies_over_it_is_sent() {
        let fixture = Fixture::new();
        assert_eq!(fixture.load().await, 3);
        assert_eq!(fixture.load().await, 0);
        fixture.write("index.js", "second");
        assert_eq!(fixture.load().await, 1);
        fixture.write("node_modules/a", "second");
        assert_eq!(fixture.load().await, 2);
        fixture.write(".heroku/node", "second");
        assert_eq!(fixture.load().await, 3);
    }

    #[tokio::test]
    async fn the_image_of_the_last_build_may_be_gone() {
        let fixture = Fixture::new();
        fixture.load().await;
        fixture.write("index.js", "second");
        fixture.load().await;
        let newest = Memory::read(&fixture.volume).images.remove(0);
        fixture.images.remove_image(&newest).await.unwrap();
        fixture.write("index.js", "third");
        assert_eq!(fixture.load().await, 1);
        fixture.images.loaded.lock().unwrap().clear();
        assert_eq!(fixture.load().await, 3);
    }

    /// As many layers as a change of one of many files leaves, and how many are sent for it.
    #[tokio::test]
    async fn a_small_change_lies_over_the_layers_of_the_last_slug() {
        let fixture = Fixture::new();
        for number in 0..20 {
            fixture.write(&format!("lib/{number}"), "first");
        }
        assert_eq!(fixture.load().await, 3);
        let mut layers = vec![3];
        for number in 0..limits::SLUG_DELTAS + 2 {
            fixture.write("index.js", &format!("change {number}"));
            assert_eq!(fixture.load().await, 1);
            layers.push(fixture.layers());
        }
        let most = 3 + limits::SLUG_DELTAS;
        let expected: Vec<_> = (3..=most).chain([4, 5]).collect();
        assert_eq!(layers, expected);
        // Over other dependencies all is stored again, and so in one.
        fixture.write("node_modules/a", "second");
        assert_eq!(fixture.load().await, 2);
        assert_eq!(fixture.layers(), 3);
        // All is new.
        for number in 0..20 {
            fixture.write(&format!("lib/{number}"), "second");
        }
        assert_eq!(fixture.load().await, 1);
        assert_eq!(fixture.layers(), 3);
    }

    #[tokio::test]
    async fn layers_that_vanish_before_the_load_are_sent_again() {
        let fixture = Fixture::new();
        fixture.load().await;
        *fixture.images.forgetful.lock().unwrap() = true;
        fixture.write("index.js", "second");
        assert_eq!(fixture.load().await, 3);
    }
}
