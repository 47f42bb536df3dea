//! Images from Dockerfiles, by Docker's classic builder: what it is told, what it says, and what
//! an image says of itself.

use super::docker::{DockerEngine, failed, status};
use super::{LABEL_INSTALLATION, Labels, Output, step};
use crate::error::{Error, Result};
use bollard::errors::Error as DockerError;
use bollard::query_parameters::{BuildImageOptions, CreateImageOptions};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use std::collections::HashMap;
use std::future::pending;
use tokio::sync::mpsc;

/// One image to be built.
#[derive(Debug, Clone, Default)]
pub struct ImageBuild {
    /// What it is to be called.
    pub reference: String,
    /// Inside the context.
    pub dockerfile: String,
    /// The stage to stop at.
    pub target: Option<String>,
    pub args: Vec<(String, String)>,
    pub labels: Labels,
    /// 2 GB at most: the API takes no more.
    pub memory_bytes: i64,
    pub cpu_shares: i64,
    /// Processes and threads of one step.
    pub pids: i64,
    /// Open files and sockets of each of its processes.
    pub open_files: i64,
    /// Bytes that one step may write.
    pub disk_bytes: i64,
    /// Bytes that the image and what a step writes on it may take together.
    pub image_bytes: i64,
}

/// Why there is no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotBuilt {
    /// In the builder's words.
    Refused(String),
    /// A step was ended that had written more than these bytes.
    DiskFull { bytes: u64 },
}

/// What an image says of how it is to be run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFacts {
    pub user: String,
    pub working_dir: String,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub env: Vec<String>,
    /// Instructions that run when an image is built from it.
    pub on_build: Vec<String>,
    /// Bytes, all layers.
    pub size: i64,
}

impl DockerEngine {
    /// Builds an image, or says why there is none. A caller that stops waiting ends the build.
    pub(super) async fn build(
        &self,
        build: &ImageBuild,
        context: BoxStream<'static, Bytes>,
        output: mpsc::Sender<Output>,
    ) -> Result<Result<(), NotBuilt>> {
        let mut labels: HashMap<String, String> = build.labels.clone().into_iter().collect();
        labels.insert(LABEL_INSTALLATION.to_string(), self.installation.clone());
        let memory = i32::try_from(build.memory_bytes).unwrap_or(i32::MAX);
        let options = BuildImageOptions {
            dockerfile: build.dockerfile.clone(),
            t: Some(build.reference.clone()),
            rm: true,
            forcerm: true,
            memory: Some(memory),
            memswap: Some(memory),
            cpushares: i32::try_from(build.cpu_shares).ok(),
            buildargs: Some(build.args.iter().cloned().collect()),
            labels: Some(labels),
            networkmode: Some(self.network.clone()),
            target: build.target.clone().unwrap_or_default(),
            ..BuildImageOptions::default()
        };
        let body = bollard::body_stream(context);
        let mut steps = self.patient.build_image(options, None, Some(body));
        let refused = |reason: String| Ok(Err(NotBuilt::Refused(reason)));
        let mut watched: BoxFuture<'static, u64> = pending().boxed();
        loop {
            let step = tokio::select! {
                step = steps.next() => step,
                bytes = &mut watched => return Ok(Err(NotBuilt::DiskFull { bytes })),
            };
            let Some(step) = step else { return Ok(Ok(())) };
            let step = match step {
                Ok(step) => step,
                Err(DockerError::DockerStreamError { error }) => return refused(error),
                // 400: the Dockerfile itself can't be read.
                Err(DockerError::DockerResponseServerError { status_code: 400, message }) => {
                    return refused(message);
                }
                Err(error) => return Err(failed("build an image", error)),
            };
            if let Some(detail) = step.error_detail {
                return refused(detail.message.unwrap_or_default());
            }
            let text = step.stream.or(step.status.map(|status| format!("{status}\n")));
            if let Some(text) = text {
                if let Some(id) = step::begun(&text) {
                    watched = match self.bound_step(id, memory.into(), build).await {
                        Ok(step) => step.map_or(pending().boxed(), |step| step.watch().boxed()),
                        Err(error) => {
                            tracing::warn!(error = error.chain(), "a step is not bounded");
                            pending().boxed()
                        }
                    };
                }
                let bytes = Bytes::from(text.into_bytes());
                let _ = output.send(Output { stderr: false, bytes }).await;
            }
        }
    }

    /// Without a tag Docker would fetch all that there are.
    pub(super) async fn pull(&self, image: &str) -> Result<()> {
        let last = image.rsplit('/').next().unwrap_or_default();
        let options = CreateImageOptions {
            from_image: Some(image.to_string()),
            tag: (!last.contains([':', '@'])).then(|| "latest".to_string()),
            ..CreateImageOptions::default()
        };
        let mut steps = self.patient.create_image(Some(options), None, None);
        while let Some(step) = steps.next().await {
            let step = step.map_err(|error| failed("pull an image", error))?;
            if let Some(detail) = step.error_detail {
                let reason = detail.message.unwrap_or_default();
                return Err(Error::internal("Docker could not pull an image", reason));
            }
        }
        Ok(())
    }

    /// Removes an image that has no name; one that has stays, since what the builder prints may
    /// be a user's words.
    pub(super) async fn remove_step(&self, image: &str) -> Result<()> {
        match self.docker.inspect_image(image).await {
            Ok(found) if found.repo_tags.as_ref().is_none_or(Vec::is_empty) => {
                super::Engine::remove_image(self, image).await
            }
            Ok(_) => Ok(()),
            Err(error) if status(&error) == Some(404) => Ok(()),
            Err(error) => Err(failed("inspect an image", error)),
        }
    }

    pub(super) async fn facts(&self, image: &str) -> Result<Option<ImageFacts>> {
        let inspected = match self.docker.inspect_image(image).await {
            Ok(inspected) => inspected,
            Err(error) if status(&error) == Some(404) => return Ok(None),
            Err(error) => return Err(failed("inspect an image", error)),
        };
        let Some(config) = inspected.config else {
            return Err(Error::internal("Docker could not inspect an image", "no config"));
        };
        Ok(Some(ImageFacts {
            user: config.user.unwrap_or_default(),
            working_dir: config.working_dir.unwrap_or_default(),
            entrypoint: config.entrypoint.unwrap_or_default(),
            command: config.cmd.unwrap_or_default(),
            env: config.env.unwrap_or_default(),
            on_build: config.on_build.unwrap_or_default(),
            size: inspected.size.unwrap_or_default(),
        }))
    }
}
