//! What a step does to the engine. Each runs in a task of its own and tells the reconciler how it
//! ended; none decides anything.

use super::events::{End, Event};
use super::lifecycle::Live;
use super::listen::{Listening, Table};
use super::plan::{Generation, Target};
use super::spec::{self, DynoSpec};
use super::traffic::Traffic;
use super::usage;
use crate::cgroup::Freezer;
use crate::clock::Timestamp;
use crate::config::ServerSettings;
use crate::engine::docker::is_away;
use crate::engine::{Container, ContainerStatus, Engine};
use crate::error::{Error, Result};
use crate::logs::{Follow, Logs};
use crate::metrics::Metrics;
use crate::model::{AppId, DynoName};
use crate::release::Releases;
use crate::{limits, tasks};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use uuid::Uuid;

/// What every step needs; clones share it.
#[derive(Clone)]
pub struct Executor {
    pub engine: Arc<dyn Engine>,
    pub logs: Logs,
    pub metrics: Metrics,
    pub releases: Releases,
    pub settings: Arc<ServerSettings>,
    pub traffic: Arc<dyn Traffic>,
    pub events: mpsc::Sender<Event>,
    pub starts: Arc<Semaphore>,
}

/// A dyno that shall be started.
pub struct Start {
    pub id: Uuid,
    pub app: AppId,
    pub app_name: String,
    pub name: DynoName,
    pub target: Target,
    pub generation: Generation,
    pub command: String,
}

impl Executor {
    pub fn start(&self, start: Start) {
        let executor = self.clone();
        tasks::spawn("start a dyno", async move {
            let dyno = start.id;
            let event = match executor.started(&start).await {
                Ok((container, address)) => {
                    executor.follow(start.app, &start.name, &container);
                    let pid = container.pid;
                    let started = Event::Started { dyno, container: Box::new(container), address };
                    executor.tell(started).await;
                    if let (true, Some(pid), Some(address)) =
                        (start.name.process.is_web(), pid, address)
                    {
                        executor.await_listening(dyno, pid, address.port()).await;
                    }
                    return;
                }
                Err(error) => {
                    tracing::warn!(
                        dyno = %start.name, app = start.app_name, error = error.chain(),
                        "a dyno could not be started"
                    );
                    spec_gone(&executor.settings, dyno);
                    let reason = format!("could not be started: {error}");
                    let away = is_away(&error);
                    Event::StartFailed { dyno, reason, away }
                }
            };
            executor.tell(event).await;
        });
    }

    async fn started(&self, start: &Start) -> Result<(Container, Option<SocketAddr>)> {
        let _permit = self.starts.acquire().await.map_err(|_| Error::unavailable("stopping"))?;
        let config = self.releases.config_of(start.generation.release).await?;
        let egress = self.releases.egress_of(start.app).await?;
        let port = rand::random_range(limits::DYNO_PORTS);
        let app_host = self.settings.app_host(&start.app_name);
        let spec = DynoSpec {
            id: start.id,
            app: start.app,
            app_name: &start.app_name,
            app_host: &app_host,
            name: &start.name,
            target: &start.target,
            generation: &start.generation,
            command: &start.command,
            port,
            egress: &egress,
            size: self.settings.dyno_sizes.stored(&start.generation.size),
        };
        spec.write_directory(&self.settings.run_dir, &config)?;
        let id = self.engine.create(&spec.container(&self.settings.run_dir, true)).await?;
        let result = self.start_created(&id, port).await;
        if result.is_err()
            && let Err(error) = self.engine.remove(&id).await
        {
            tracing::warn!(error = error.chain(), "a container that did not start stays behind");
        }
        result
    }

    async fn start_created(
        &self,
        container: &str,
        port: u16,
    ) -> Result<(Container, Option<SocketAddr>)> {
        self.engine.start(container).await?;
        let container = self
            .engine
            .inspect(container)
            .await?
            .ok_or_else(|| Error::unavailable("its container has gone"))?;
        let address = container.address.map(|address| SocketAddr::new(address, port));
        Ok((container, address))
    }

    /// Follows a dyno's output from where it was last read.
    pub fn follow(&self, app: AppId, name: &DynoName, container: &Container) {
        if let Some(path) = container.log_path.clone() {
            self.logs.follow(Follow {
                app,
                process: name.to_string(),
                container: container.id.clone(),
                path,
                freezer: Freezer::of(container.pid, &container.id),
            });
        }
    }

    /// For a dyno that was already there when the server started.
    pub fn watch_listening(&self, dyno: Uuid, pid: u32, port: u16) {
        let executor = self.clone();
        tasks::spawn("wait until a dyno listens", async move {
            executor.await_listening(dyno, pid, port).await;
        });
    }

    async fn await_listening(&self, dyno: Uuid, pid: u32, port: u16) {
        let mut told = false;
        let limit = Duration::from_secs(self.settings.boot_timeout) + limits::BOOT_MARGIN;
        let deadline = tokio::time::Instant::now() + limit;
        let Ok(table) = Table::of(pid) else { return };
        while tokio::time::Instant::now() < deadline {
            match table.look(port) {
                Ok(Listening::Yes) => return self.tell(Event::Listens { dyno }).await,
                Ok(Listening::LoopbackOnly) if !told => {
                    told = true;
                    self.tell(Event::LoopbackOnly { dyno }).await;
                }
                Ok(_) => {}
                // Its process has gone: the engine's event says how.
                Err(_) => return,
            }
            tokio::time::sleep(table.period()).await;
        }
    }

    /// Waits until the router has let go of a dyno.
    pub fn drain(&self, dyno: Uuid, table: u64) {
        let executor = self.clone();
        let limit = Duration::from_secs(self.settings.drain_timeout);
        tasks::spawn("drain a dyno", async move {
            let applied = executor.traffic.applied(table, limit).await;
            let drained = applied && executor.traffic.drained(dyno, limit).await;
            tracing::info!(phase = "drained", %dyno, drained, "requests have left the dyno");
            executor.tell(Event::Drained { dyno }).await;
        });
    }

    pub fn signal(&self, container: &str, signal: &'static str) {
        let (engine, container) = (self.engine.clone(), container.to_string());
        tasks::spawn("signal a dyno", async move {
            if signal == "SIGTERM" {
                await_init(engine.as_ref(), &container).await;
            }
            // Docker may be busy for a moment, and nobody sends the signal again.
            for _ in 0..limits::SIGNAL_TRIES {
                let Err(error) = engine.signal(&container, signal).await else { return };
                tracing::warn!(signal, error = error.chain(), "a dyno could not be signalled");
                tokio::time::sleep(limits::ENGINE_RETRY).await;
            }
        });
    }

    /// Asks the engine what became of a container.
    pub fn look(&self, dyno: Uuid, container: &str) {
        let (executor, container) = (self.clone(), container.to_string());
        tasks::spawn("look at a dyno", async move {
            match executor.ended(&container).await {
                Ok(Some(end)) => executor.tell(Event::Exited { dyno, end }).await,
                // It runs.
                Ok(None) => {}
                // The reconciler knows, and looks again when it is back.
                Err(error) if is_away(&error) => {}
                Err(error) => {
                    tracing::warn!(error = error.chain(), "a dyno could not be looked at");
                }
            }
        });
    }

    /// How a container ended, if it has.
    async fn ended(&self, container: &str) -> Result<Option<End>> {
        let gone = End { code: 137, out_of_memory: false, host_short: false, removed: true };
        let Some(found) = self.engine.inspect(container).await? else { return Ok(Some(gone)) };
        let Some(code) = found.exit_code.filter(|_| found.finished_at.is_some()) else {
            return Ok(None);
        };
        // Who removes a container that runs has it killed first.
        let removed = found.status == ContainerStatus::Removing;
        let out_of_memory = found.out_of_memory;
        let host_short = code != 0 && !removed && usage::host_was_short(container).await;
        Ok(Some(End { code, out_of_memory, host_short, removed }))
    }

    /// Reads the rest of an ended dyno's output and removes what is left of it.
    pub fn clear_up(&self, live: &Live) {
        let (executor, live) = (self.clone(), live.clone());
        tasks::spawn("clear up after a dyno", async move {
            if let Some(container) = &live.container {
                executor.logs.finish(container).await;
            }
            spec_gone(&executor.settings, live.id);
            executor.traffic.forget(live.id);
            if let Some(container) = &live.container {
                removed(executor.engine.as_ref(), container).await;
            }
            executor.tell(Event::Cleared { dyno: live.id }).await;
        });
    }

    async fn tell(&self, event: Event) {
        // The reconciler is gone only when the server stops.
        let _ = self.events.send(event).await;
    }
}

/// Until the engine can remove it: what it lists, the reconciler would take for a dyno.
pub(super) async fn removed(engine: &dyn Engine, container: &str) {
    while let Err(error) = engine.remove(container).await {
        tracing::warn!(error = error.chain(), "a container could not be removed");
        tokio::time::sleep(limits::RECONCILE_PERIOD).await;
    }
}

/// PID 1 that has just been started ignores what it does not handle yet: a SIGTERM then would be
/// lost, and the dyno would live until SIGKILL.
pub(super) async fn await_init(engine: &dyn Engine, container: &str) {
    let Ok(Some(found)) = engine.inspect(container).await else { return };
    let Some(started) = found.started_at else { return };
    let age = u64::try_from(Timestamp::now().0 - started.0).unwrap_or(0);
    tokio::time::sleep(limits::INIT_START.saturating_sub(Duration::from_micros(age))).await;
}

/// Removes a dyno's directory with its config vars.
pub fn spec_gone(settings: &ServerSettings, dyno: Uuid) {
    let directory = spec::directory(&settings.run_dir, dyno);
    if let Err(error) = std::fs::remove_dir_all(&directory)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, directory = %directory.display(), "could not be removed");
    }
}
