//! One host's Docker Engine, through bollard.

use super::answers;
use super::body::body;
use super::egress::Closed;
use super::{
    Attached, Container, ContainerSpec, Ended, Engine, Event, EventAction, FreeDisk, Image,
    ImageBuild, ImageFacts, Input, LABEL_EGRESS, LABEL_INSTALLATION, LABEL_KIND, NotBuilt, Output,
    Restore, Usage,
};
use crate::error::{Context, Error, Result};
use crate::model::WindowSize;
use crate::{limits, tasks};
use async_trait::async_trait;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error as DockerError;
use bollard::models::SystemInfoCgroupDriverEnum;
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, EventsOptions, ImportImageOptions,
    InspectContainerOptions, KillContainerOptions, ListContainersOptions, ListImagesOptions,
    RemoveContainerOptions, RemoveImageOptions, ResizeContainerTTYOptions, StatsOptions,
    WaitContainerOptions,
};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

#[derive(Clone)]
pub struct DockerEngine {
    pub(super) docker: Docker,
    /// Removing and killing may take Docker as long as it likes to answer.
    pub(super) patient: Docker,
    /// Its socket, for connections that bollard does not make.
    socket: PathBuf,
    pub(super) installation: String,
    pub(super) network: String,
    /// Brings back images that have gone; set once there is somebody who can.
    restore: Arc<OnceLock<Arc<dyn Restore>>>,
    /// Where Docker keeps images and what containers write.
    root: PathBuf,
    /// Those of its containers that may not connect to anything.
    closed: Arc<Closed>,
    /// Docker names the containers' control groups, and not systemd.
    pub(super) names_groups: bool,
}

impl DockerEngine {
    /// Connects and agrees on an API version; the error says what to do about a missing engine.
    pub async fn connect(socket: &Path, installation: &str) -> Result<Self> {
        let away = |error: DockerError| {
            Error::unavailable(format!(
                "Docker does not answer on {} ({error}); start it with \"systemctl start docker\" \
                 or run scripts/up",
                socket.display()
            ))
        };
        let docker = Docker::connect_with_unix(
            &format!("unix://{}", socket.display()),
            limits::ENGINE_TIMEOUT.as_secs(),
            bollard::API_DEFAULT_VERSION,
        )
        .map_err(away)?
        .negotiate_version()
        .await
        .map_err(away)?;
        let patient = docker.clone().with_timeout(limits::ENGINE_PATIENT_TIMEOUT);
        let network = super::network::ensure(&docker, installation).await?;
        let restore = Arc::default();
        let info = docker.info().await.map_err(away)?;
        let names_groups = info.cgroup_driver == Some(SystemInfoCgroupDriverEnum::CGROUPFS);
        let root = info.docker_root_dir.unwrap_or_else(|| "/var/lib/docker".to_string()).into();
        let installation = installation.to_string();
        let socket = socket.to_path_buf();
        let closed = Arc::new(Closed::find(&docker, &installation).await?);
        Ok(Self {
            docker,
            patient,
            socket,
            installation,
            network,
            restore,
            root,
            closed,
            names_groups,
        })
    }

    /// From now on an image that is missing when a container is made is asked of `restore`.
    pub fn restore_with(&self, restore: Arc<dyn Restore>) {
        let _ = self.restore.set(restore);
    }

    async fn make(&self, spec: &ContainerSpec) -> Result<String> {
        let failed = |error| failed("create a container", error);
        let error = match self.try_to_make(spec).await? {
            // 404: the image has gone.
            Err(error) if status(&error) == Some(404) => error,
            other => return other.map_err(failed),
        };
        let Some(restore) = self.restore.get() else { return Err(failed(error)) };
        match restore.restore(&spec.image).await? {
            Some(image) => {
                let spec = ContainerSpec { image, ..spec.clone() };
                self.try_to_make(&spec).await?.map_err(failed)
            }
            None => Err(failed(error)),
        }
    }

    async fn try_to_make(&self, spec: &ContainerSpec) -> Result<Result<String, DockerError>> {
        let address = match spec.labels.contains_key(LABEL_EGRESS) {
            true => Some(self.closed.address().await?),
            false => None,
        };
        let options =
            CreateContainerOptions { name: Some(spec.name.clone()), ..Default::default() };
        let mut body = body(spec, &self.installation, &self.network, address.as_ref());
        if let (true, Some(host)) = (spec.background, &mut body.host_config) {
            host.cgroup_parent = self.background_parent();
        }
        let made = self.docker.create_container(Some(options), body).await.map(|made| made.id);
        if let (Some(_), Ok(id)) = (&address, &made) {
            self.closed.made(id);
        }
        Ok(made)
    }

    fn filters(&self, more: &[(&str, String)]) -> HashMap<String, Vec<String>> {
        let mut filters: HashMap<String, Vec<String>> = HashMap::new();
        let ours = ("label", format!("{LABEL_INSTALLATION}={}", self.installation));
        for (key, value) in std::iter::once(&ours).chain(more) {
            filters.entry((*key).to_string()).or_default().push(value.clone());
        }
        filters
    }

    async fn stream(
        &self,
        container: &str,
        output: mpsc::Sender<Output>,
    ) -> Result<tokio::task::JoinHandle<()>> {
        let options = AttachContainerOptions {
            stream: true,
            stdout: true,
            stderr: true,
            ..Default::default()
        };
        let mut attached = self
            .docker
            .attach_container(container, Some(options))
            .await
            .map_err(|error| failed("attach to a container", error))?;
        Ok(tasks::spawn("container output", async move {
            while let Some(Ok(piece)) = attached.output.next().await {
                let stderr = matches!(piece, LogOutput::StdErr { .. });
                // A reader that has gone must not stop the container: the rest is dropped.
                let _ = output.send(Output { stderr, bytes: piece.into_bytes() }).await;
            }
        }))
    }

    async fn run_to_end(
        &self,
        container: &str,
        output: mpsc::Sender<Output>,
        limit: Duration,
    ) -> Result<Ended> {
        let died = self.died(container);
        let stream = self.stream(container, output).await?;
        self.start(container).await?;
        let waiting = async {
            tokio::select! {
                code = self.wait(container) => code,
                code = died => Ok(code),
            }
        };
        let Ok(code) = tokio::time::timeout(limit, waiting).await else {
            self.signal(container, "SIGKILL").await?;
            return Ok(Ended::TimedOut);
        };
        let code = code?;
        let _ = stream.await;
        let out_of_memory = code != 0
            && self.inspect(container).await?.is_some_and(|container| container.out_of_memory);
        Ok(Ended::Exited { code, out_of_memory })
    }

    /// A container's exit status, as soon as it has one. A wait ends only when its network and its
    /// mounts have been taken down, a twentieth of a second later.
    fn died(&self, container: &str) -> impl Future<Output = i64> + use<> {
        let filters = self.filters(&[
            ("type", "container".to_string()),
            ("event", "die".to_string()),
            ("container", container.to_string()),
        ]);
        let options = EventsOptions { filters: Some(filters), ..Default::default() };
        let mut events = self.docker.events(Some(options));
        async move {
            if let Some(Ok(event)) = events.next().await {
                let attributes = event.actor.and_then(|actor| actor.attributes);
                let code = attributes.and_then(|all| all.get("exitCode")?.parse().ok());
                if let Some(code) = code {
                    return code;
                }
            }
            std::future::pending().await
        }
    }
}

#[async_trait]
impl Engine for DockerEngine {
    async fn create(&self, spec: &ContainerSpec) -> Result<String> {
        self.make(spec).await
    }

    async fn start(&self, container: &str) -> Result<()> {
        if self.closed.has(container) {
            self.closed.guard().await?;
        }
        let failed = |error| failed("start a container", error);
        match self.docker.start_container(container, None).await {
            // 404: the network has gone, and is found by its name once it is back.
            Err(error) if status(&error) == Some(404) => {
                self.mend().await?;
                self.docker.start_container(container, None).await.map_err(failed)
            }
            other => other.map_err(failed),
        }
    }

    async fn signal(&self, container: &str, signal: &str) -> Result<()> {
        let options = KillContainerOptions { signal: signal.to_string() };
        match self.patient.kill_container(container, Some(options)).await {
            // 409: it has exited already; 404: it has been removed.
            Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
            other => other.map_err(|error| failed("signal a container", error)),
        }
    }

    async fn remove(&self, container: &str) -> Result<()> {
        let options = RemoveContainerOptions { v: true, force: true, link: false };
        match self.patient.remove_container(container, Some(options)).await {
            // 409: somebody else removes it right now.
            Err(error) if matches!(status(&error), Some(404 | 409)) => {}
            other => other.map_err(|error| failed("remove a container", error))?,
        }
        if let Err(error) = self.closed.removed(container).await {
            // They are mended later; nobody else has the address.
            tracing::warn!(error = error.chain(), "a removed dyno's firewall rules stay behind");
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Container>> {
        let options = ListContainersOptions {
            all: true,
            filters: Some(self.filters(&[])),
            ..Default::default()
        };
        let listed = self
            .docker
            .list_containers(Some(options))
            .await
            .map_err(|error| failed("list containers", error))?;
        Ok(listed.into_iter().map(answers::listed).collect())
    }

    async fn inspect(&self, container: &str) -> Result<Option<Container>> {
        let inspected =
            match self.docker.inspect_container(container, None::<InspectContainerOptions>).await {
                Ok(inspected) => inspected,
                Err(error) if status(&error) == Some(404) => return Ok(None),
                Err(error) => return Err(failed("inspect a container", error)),
            };
        Ok(Some(answers::inspected(inspected)))
    }

    async fn run(
        &self,
        spec: &ContainerSpec,
        output: mpsc::Sender<Output>,
        limit: Duration,
    ) -> Result<Ended> {
        let (done, ended) = oneshot::channel();
        let (engine, spec) = (self.clone(), spec.clone());
        // In a task of its own, so that the container is removed even if nobody waits any more.
        tasks::spawn("container run", async move {
            let result = match engine.create(&spec).await {
                Ok(container) => {
                    let result = engine.run_to_end(&container, output, limit).await;
                    let _ = done.send(result);
                    if let Err(error) = engine.remove(&container).await {
                        tracing::warn!(container, error = error.chain(), "could not remove");
                    }
                    return;
                }
                Err(error) => Err(error),
            };
            let _ = done.send(result);
        });
        ended.await.context("run a container")?
    }

    async fn usage(&self, container: &str) -> Result<Option<Usage>> {
        let options = StatsOptions { stream: false, one_shot: true };
        match self.docker.stats(container, Some(options)).next().await {
            Some(Ok(stats)) => Ok(super::stats::usage(stats)),
            Some(Err(error)) if matches!(status(&error), Some(404 | 409)) => Ok(None),
            Some(Err(error)) => Err(failed("measure a container", error)),
            None => Ok(None),
        }
    }

    fn free_disk(&self) -> Result<FreeDisk> {
        FreeDisk::at(&self.root)
    }

    async fn keep_in_background(&self, container: &str) {
        self.lowered(container).await;
    }

    async fn emptied(&self, container: &str) {
        if self.all_ended(container).await.is_none() {
            std::future::pending().await
        }
    }

    async fn attach(&self, container: &str, input: Input) -> Result<Attached> {
        super::attach::attach(&self.socket, container, input == Input::Terminal).await
    }

    async fn resize(&self, container: &str, size: WindowSize) -> Result<()> {
        let options =
            ResizeContainerTTYOptions { w: i32::from(size.columns), h: i32::from(size.rows) };
        match self.docker.resize_container_tty(container, options).await {
            // 409: it does not run any more.
            Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
            other => other.map_err(|error| failed("resize a terminal", error)),
        }
    }

    async fn wait(&self, container: &str) -> Result<i64> {
        let mut wait = self.docker.wait_container(container, None::<WaitContainerOptions>);
        match wait.next().await {
            Some(Ok(answer)) => Ok(answer.status_code),
            // bollard reports every non-zero exit as an error: here it is the result.
            Some(Err(DockerError::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) => Err(failed("wait for a container", error)),
            None => Err(Error::unavailable("Docker ended the wait for a container")),
        }
    }

    async fn events(&self) -> Result<BoxStream<'static, Event>> {
        let options = EventsOptions {
            filters: Some(self.filters(&[("type", "container".to_string())])),
            ..Default::default()
        };
        let events = self.docker.events(Some(options)).take_while(|event| {
            // An error means that the engine went away: the caller connects anew.
            std::future::ready(event.is_ok())
        });
        Ok(events
            .filter_map(|event| async move {
                let event = event.ok()?;
                let action = match event.action.as_deref()? {
                    "start" => EventAction::Started,
                    "die" => EventAction::Died,
                    "oom" => EventAction::OutOfMemory,
                    _ => EventAction::Other,
                };
                Some(Event { container: event.actor?.id?, action })
            })
            .boxed())
    }

    async fn mend(&self) -> Result<Vec<String>> {
        let mut mended = super::network::mend(&self.docker, &self.installation).await?;
        mended.extend(self.closed.mend().await?);
        Ok(mended)
    }

    async fn load(&self, archive: BoxStream<'static, Bytes>) -> Result<()> {
        let options = ImportImageOptions { quiet: true, ..Default::default() };
        let mut progress =
            self.patient.import_image_stream(options, archive.map(Ok::<_, std::io::Error>), None);
        while let Some(step) = progress.next().await {
            let step = step.map_err(|error| failed("load an image", error))?;
            if let Some(detail) = step.error_detail.and_then(|detail| detail.message) {
                return Err(Error::internal("Docker could not load the slug's image", detail));
            }
        }
        Ok(())
    }

    async fn save(&self, image: &str) -> Result<BoxStream<'static, std::io::Result<Bytes>>> {
        Ok(self.patient.export_image(image).map_err(std::io::Error::other).boxed())
    }

    async fn images(&self, kind: &str) -> Result<Vec<Image>> {
        let options = ListImagesOptions {
            filters: Some(self.filters(&[("label", format!("{LABEL_KIND}={kind}"))])),
            ..Default::default()
        };
        let images = self
            .docker
            .list_images(Some(options))
            .await
            .map_err(|error| failed("list images", error))?;
        Ok(images.into_iter().map(answers::image).collect())
    }

    async fn image_layers(&self, image: &str) -> Result<Option<(String, Vec<String>)>> {
        match self.docker.inspect_image(image).await {
            Ok(inspected) => Ok(Some((
                inspected.id.unwrap_or_default(),
                inspected.root_fs.and_then(|root| root.layers).unwrap_or_default(),
            ))),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(failed("inspect an image", error)),
        }
    }

    async fn build_image(
        &self,
        build: &ImageBuild,
        context: BoxStream<'static, Bytes>,
        output: mpsc::Sender<Output>,
    ) -> Result<Result<(), NotBuilt>> {
        self.build(build, context, output).await
    }

    async fn pull_image(&self, image: &str) -> Result<()> {
        self.pull(image).await
    }

    async fn remove_nameless(&self, image: &str) -> Result<()> {
        self.remove_step(image).await
    }

    async fn image_facts(&self, image: &str) -> Result<Option<ImageFacts>> {
        self.facts(image).await
    }

    async fn remove_image(&self, image: &str) -> Result<()> {
        let options = RemoveImageOptions { force: false, noprune: false, ..Default::default() };
        match self.patient.remove_image(image, Some(options), None).await {
            Ok(_) => Ok(()),
            Err(error) if status(&error) == Some(404) => Ok(()),
            Err(error) => Err(failed("remove an image", error)),
        }
    }
}

pub(super) fn status(error: &DockerError) -> Option<u16> {
    match error {
        DockerError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

pub(super) fn failed(what: &str, error: DockerError) -> Error {
    match status(&error) {
        Some(_) => Error::internal(format!("Docker could not {what}"), error),
        None => Error::internal(format!("Docker did not answer: {what}"), error),
    }
}

/// Whether trying again may help: Docker itself was away.
pub fn is_away(error: &Error) -> bool {
    let text = error.to_string();
    text.starts_with("Docker did not answer") || text.starts_with("Docker ended")
}
