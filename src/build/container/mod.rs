//! Apps of the stack `container`: their own Dockerfiles make the images, by Docker's classic
//! builder, and nothing else of the journey knows the difference but the start of a dyno.

mod adds;
mod bases;
mod context;
mod instructions;
mod manifest;
mod run;
mod steps;
mod triggers;
pub(super) mod yaml;

use super::pace::Pace;
use super::volume::Volume;
use super::{
    BuildFailure, BuildInput, Builder, Built, FirstDeploy, OutputSink, Phase, cache, compile, with,
};
use crate::engine::{
    ImageBuild, ImageFacts, LABEL_APP, LABEL_KIND, LABEL_SLUG, Labels, NotBuilt, Output,
};
use crate::error::{Context, Error, Result};
use crate::{limits, tasks};
use context::BuildContext;
use manifest::{ImageSource, Manifest};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use steps::Steps;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What tells the images of one slug from each other.
const LABEL_PROCESS: &str = "senryu.process";

impl Builder {
    pub(super) async fn make_images(
        &self,
        input: &BuildInput,
        volume: &Arc<Volume>,
        out: &OutputSink,
        cancel: &CancellationToken,
    ) -> Result<Built, BuildFailure> {
        let mut phase = Phase::start(input.build);
        self.bring_source(input, volume, out, cancel).await?;
        phase.done("source unpacked");
        let (manifest, procfile) =
            with(volume, "read heroku.yml", |volume| Ok(read(&volume))).await??;
        for note in &manifest.notes {
            out.warning(note);
        }
        let began = Instant::now();
        let deadline = began + Duration::from_secs(self.settings.build_timeout);
        let mut made: Vec<(ImageSource, String, ImageFacts)> = Vec::new();
        let mut steps = Steps::default();
        let mut result = Ok(());
        for source in &manifest.images {
            let reference = format!("{}-{}", input.slug.image(), source.process);
            let work = Work { input, volume, manifest: &manifest, deadline, out, cancel };
            match self.build_image(&work, source, &reference, &mut steps).await {
                Ok(facts) => made.push((source.clone(), reference, facts)),
                Err(failure) => {
                    result = Err(failure);
                    break;
                }
            }
            phase.done("image built");
        }
        let runs = match result {
            Ok(()) => self.runs(input, &manifest, procfile, &made, out).await,
            Err(failure) => Err(failure),
        };
        let (process_types, images) = match runs {
            Ok(runs) if !cancel.is_cancelled() => runs,
            other => {
                let tags = made.into_iter().map(|(_, reference, _)| reference);
                self.forget_images(tags.collect(), Vec::new()).await;
                self.forget_left(&volume.path("")).await;
                return Err(other.err().unwrap_or(BuildFailure::Cancelled));
            }
        };
        let old = with(volume, "note the steps", move |volume| {
            steps.note(&volume).context("note the builder's steps")
        });
        self.drop_steps(old.await?).await;
        Ok(Built {
            image: made.first().map(|(_, reference, _)| reference.clone()).unwrap_or_default(),
            layers: Vec::new(),
            held: self.slugs.files().hold(),
            process_types,
            first: FirstDeploy::default(),
            images,
            buildpacks: Vec::new(),
            detected: false,
            buildpack_description: "Dockerfile".to_string(),
            size: made.iter().map(|(.., facts)| facts.size).sum(),
            new_bytes: 0,
            buildpack_millis: i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX),
        })
    }

    async fn build_image(
        &self,
        work: &Work<'_>,
        source: &ImageSource,
        reference: &str,
        steps: &mut Steps,
    ) -> Result<ImageFacts, BuildFailure> {
        let Work { input, volume, manifest, deadline, out, cancel } = *work;
        out.line(&format!("=== Building {} ({})", source.process, source.dockerfile));
        let (dockerfile, args) = (source.dockerfile.clone(), manifest.args.clone());
        let opened = with(volume, "read a Dockerfile", move |volume| {
            Ok(BuildContext::open(&volume.build(), &dockerfile, &args))
        });
        let context = opened.await??;
        let limits = &self.settings.build_limits;
        let build = ImageBuild {
            reference: reference.to_string(),
            dockerfile: context.dockerfile.clone(),
            target: source.target.clone(),
            args: compile::proxies().chain(manifest.args.iter().cloned()).collect(),
            labels: Labels::from([
                (LABEL_APP.to_string(), input.app.to_string()),
                (LABEL_KIND.to_string(), "slug".to_string()),
                (LABEL_SLUG.to_string(), input.slug.to_string()),
                (LABEL_PROCESS.to_string(), source.process.to_string()),
            ]),
            // All that the builder takes.
            memory_bytes: limits.memory_limit_bytes.min(i32::MAX.into()),
            cpu_shares: limits.cpu_shares,
            pids: limits.pids,
            open_files: limits.open_files,
            disk_bytes: limits.disk_bytes,
            image_bytes: limits::APP_IMAGE_BYTES,
        };
        self.look_at_bases(&context, deadline, out, cancel).await?;
        let mut own = Steps::on(volume);
        let built = self.watched(&build, context, &mut own, deadline, out, cancel).await;
        steps.add(own);
        if let Err(failure) = built {
            // It may have been refused when it was there already.
            self.forget_images(vec![reference.to_string()], Vec::new()).await;
            return Err(failure);
        }
        let facts = self.engine.image_facts(reference).await?;
        let facts = facts.ok_or_else(|| Error::internal("build an image", "it is not there"))?;
        if facts.size > limits::APP_IMAGE_BYTES {
            let bytes = facts.size.unsigned_abs();
            self.forget_images(vec![reference.to_string()], Vec::new()).await;
            return Err(BuildFailure::ImageTooLarge { bytes });
        }
        Ok(facts)
    }

    /// The builder at work: its words, its end, and what ends it early.
    async fn watched(
        &self,
        build: &ImageBuild,
        context: BuildContext,
        steps: &mut Steps,
        deadline: Instant,
        out: &OutputSink,
        cancel: &CancellationToken,
    ) -> Result<(), BuildFailure> {
        let (send, mut receive) = mpsc::channel::<Output>(limits::BUILD_PIECES_TOGETHER);
        let built = self.engine.build_image(build, context.stream(), send);
        tokio::pin!(built);
        let deadline = tokio::time::sleep_until(deadline);
        tokio::pin!(deadline);
        let mut look = tokio::time::interval(limits::DISK_PERIOD);
        let mut pace = Pace::new();
        let mut words = |bytes: &[u8]| {
            out.bytes(bytes);
            steps.hear(&String::from_utf8_lossy(bytes))
        };
        let ended = loop {
            tokio::select! {
                Some(taken) = pace.take(&mut receive, out) => {
                    if let Some(base) = words(&taken) {
                        self.look_at_triggers(&base).await?;
                    }
                }
                ended = &mut built => break ended,
                () = cancel.cancelled() => return Err(BuildFailure::Cancelled),
                () = &mut deadline => {
                    return Err(BuildFailure::TimedOut {
                        language: "Dockerfile".to_string(),
                        minutes: self.settings.build_timeout.div_ceil(60),
                        processes: None,
                    });
                }
                _ = look.tick() => self.look_at_disk()?,
            }
        };
        while let Ok(output) = receive.try_recv() {
            if let Some(base) = words(&output.bytes) {
                self.look_at_triggers(&base).await?;
            }
        }
        ended?.map_err(|not_built| match not_built {
            // The image so far has left the step less room than a step has.
            NotBuilt::DiskFull { bytes } if bytes < build.disk_bytes.unsigned_abs() => {
                BuildFailure::ImageTooLarge { bytes: build.image_bytes.unsigned_abs() }
            }
            NotBuilt::DiskFull { bytes } => BuildFailure::StepDisk { megabytes: bytes >> 20 },
            NotBuilt::Refused(reason) if reason.ends_with("returned a non-zero code: 137") => {
                BuildFailure::StepKilled { reason, megabytes: build.memory_bytes >> 20 }
            }
            NotBuilt::Refused(reason) => BuildFailure::Image { reason: told(&reason) },
        })
    }

    fn look_at_disk(&self) -> Result<()> {
        let (free, reserve) = (self.engine.free_disk()?, self.settings.disk_reserve);
        match free.is_short(reserve) {
            true => Err(Error::unavailable(format!(
                "the host has {}M and {} files of its disk free, and builds leave {reserve}M and \
                 {} files",
                free.bytes >> 20,
                free.files,
                limits::DISK_RESERVE_FILES
            ))),
            false => Ok(()),
        }
    }

    /// Removes what a build that failed had made, the newest first. The engine may be at its last
    /// step for a moment yet.
    async fn forget_images(&self, images: Vec<String>, steps: Vec<String>) -> bool {
        let deadline = Instant::now() + limits::BUILD_CANCEL_WAIT;
        let named = images.iter().map(|image| (true, image));
        for (named, image) in named.chain(steps.iter().rev().map(|step| (false, step))) {
            loop {
                let removed = match named {
                    true => self.engine.remove_image(image).await,
                    false => self.engine.remove_nameless(image).await,
                };
                let Err(error) = removed else { break };
                if Instant::now() > deadline {
                    tracing::warn!(error = error.chain(), "images of a failed build stay behind");
                    return false;
                }
                tokio::time::sleep(limits::BUILD_CANCEL_RETRY).await;
            }
        }
        true
    }

    /// Removes steps of builds, but for those that an image is made of.
    async fn drop_steps(&self, steps: Vec<String>) {
        for step in steps.iter().rev() {
            if let Err(error) = self.engine.remove_nameless(step).await {
                tracing::debug!(error = error.chain(), "a step is still used");
            }
        }
    }

    /// The steps that the app's builds left as a cache, or by being cut short.
    pub(super) async fn forget_steps(&self, volume: &Arc<Volume>) -> Result<()> {
        let noted = with(volume, "read the steps", |volume| Ok(steps::noted(&volume.path(""))));
        self.drop_steps(noted.await?).await;
        self.forget_left(&volume.path("")).await;
        Ok(())
    }

    /// Removes what builds made that came to nothing. `root` is a volume's that nobody builds on.
    async fn forget_left(&self, root: &Path) {
        let read = root.to_path_buf();
        let left = tasks::blocking("read the steps", move || Ok(steps::left(&read))).await;
        let left = left.unwrap_or_default();
        if self.forget_images(Vec::new(), left).await
            && let Err(error) = steps::forget_left(root)
        {
            tracing::warn!(%error, "a note of steps that are gone stays behind");
        }
    }

    /// Of builds that a server which died had begun.
    pub async fn forget_cut_short(&self) {
        for idle in self.volumes.idle() {
            if !steps::left(&idle.root).is_empty() {
                self.forget_left(&idle.root).await;
            }
        }
    }
}

/// What all images of a build have in common.
struct Work<'a> {
    input: &'a BuildInput,
    volume: &'a Arc<Volume>,
    manifest: &'a Manifest,
    /// Of all of them together.
    deadline: Instant,
    out: &'a OutputSink,
    cancel: &'a CancellationToken,
}

/// What shall be built, and the Procfile.
fn read(volume: &Volume) -> Result<(Manifest, Option<Vec<u8>>), BuildFailure> {
    let root = volume.build();
    let small = |name: &str| {
        let there = std::fs::symlink_metadata(root.join(name)).is_ok();
        let wrong = || BuildFailure::Manifest(vec![format!("{name} is no file")]);
        there.then(|| cache::read_small(&root.join(name)).map_err(|_| wrong())).transpose()
    };
    let manifest = match small("heroku.yml")? {
        Some(bytes) => {
            let text = String::from_utf8(bytes)
                .map_err(|_| BuildFailure::Manifest(vec!["heroku.yml is not UTF-8 text".into()]))?;
            Manifest::parse(&text).map_err(BuildFailure::Manifest)?
        }
        None if small("Dockerfile")?.is_some() => Manifest::of_dockerfile(),
        None => return Err(BuildFailure::NoManifest),
    };
    Ok((manifest, small("Procfile")?))
}

/// What runs, and in which image.
type Runs = (crate::model::Procfile, BTreeMap<crate::model::ProcessType, crate::model::AppImage>);

/// The builder's reason, without what an address answered that is no registry: on the host's own
/// network a user is not to read along.
fn told(reason: &str) -> String {
    match reason.split_once(" response body:") {
        Some((before, _)) => format!("{before}: what answers there is no registry"),
        None => reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn what_an_address_of_the_host_answers_is_not_passed_on() {
        let reason =
            "error parsing HTTP 404 response body: invalid character '<': \"<h1>mine</h1>\"";
        assert_eq!(told(reason), "error parsing HTTP 404: what answers there is no registry");
        assert_eq!(told("manifest unknown"), "manifest unknown");
    }
}
