//! An engine in memory, for tests: containers do what the test says, in no time.

use super::{
    Attached, Bounds, Container, ContainerSpec, ContainerStatus, Ended, Engine, Event, EventAction,
    FreeDisk, Image, Input, Output, Usage,
};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::model::WindowSize;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, watch};

/// What a container does once it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Runs until SIGTERM.
    Runs,
    /// Ends at once with this status.
    Exits(i64),
    /// Ends at SIGKILL only.
    IgnoresTerm,
    /// Can't be started.
    DoesNotStart,
}

pub struct FakeEngine {
    state: Mutex<State>,
    events: broadcast::Sender<Event>,
    /// Whether removing a container takes until further notice.
    holding: watch::Sender<bool>,
    /// Whether the engine does not answer.
    away: watch::Sender<bool>,
}

struct State {
    containers: BTreeMap<String, Container>,
    behaviour: Behaviour,
    made: usize,
    /// What each running container uses.
    usage: Usage,
    /// Signals in the order in which they came: container name, signal.
    signals: Vec<(String, String)>,
    /// Where the output of attached containers goes, until they end.
    attached: BTreeMap<String, mpsc::Sender<Output>>,
    /// Removing a container fails.
    refuses_removals: bool,
    free_disk: u64,
    /// Where containers that are made from now on write to.
    disk: Option<PathBuf>,
    /// Archives of images.
    loaded: Vec<Vec<u8>>,
}

impl FakeEngine {
    pub fn empty() -> Self {
        let (events, _) = broadcast::channel(1024);
        let state = State {
            containers: BTreeMap::new(),
            behaviour: Behaviour::Runs,
            made: 0,
            usage: Usage { cpu_nanos: 0, memory_bytes: 0, processes: 2 },
            signals: Vec::new(),
            attached: BTreeMap::new(),
            refuses_removals: false,
            free_disk: 1 << 40,
            disk: None,
            loaded: Vec::new(),
        };
        let (holding, away) = (watch::Sender::new(false), watch::Sender::new(false));
        Self { state: Mutex::new(state), events, holding, away }
    }

    pub fn loaded(&self) -> Vec<Vec<u8>> {
        self.lock().loaded.clone()
    }

    /// What containers that are started from now on do.
    pub fn behave(&self, behaviour: Behaviour) {
        self.lock().behaviour = behaviour;
    }

    pub fn use_memory(&self, bytes: i64) {
        self.lock().usage.memory_bytes = bytes;
    }

    /// The kernel kills a process of a running dyno for its memory limit; the dyno lives on.
    pub fn starve(&self, dyno: &str) {
        let id = self.running_id(dyno);
        self.tell(&id, EventAction::OutOfMemory);
    }

    /// The same, for a dyno that ends of it before anybody hears of that.
    pub fn starve_to_death(&self, dyno: &str) {
        let id = self.running_id(dyno);
        if let Some(container) = self.lock().containers.get_mut(&id) {
            container.out_of_memory = true;
        }
        self.exit(&id, 137);
    }

    /// Containers that are made from now on write below this directory.
    pub fn disk_at(&self, disk: &Path) {
        self.lock().disk = Some(disk.to_path_buf());
    }

    pub fn leave_disk(&self, bytes: u64) {
        self.lock().free_disk = bytes;
    }

    /// A running dyno writes a file.
    pub fn write(&self, dyno: &str, bytes: usize) {
        let id = self.running_id(dyno);
        let directory = self.lock().containers[&id].written.clone().unwrap();
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("file"), vec![1; bytes]).unwrap();
    }

    pub fn refuse_removals(&self, refuse: bool) {
        self.lock().refuses_removals = refuse;
    }

    pub fn hold_removals(&self, hold: bool) {
        self.holding.send_replace(hold);
    }

    /// Stops answering, with its containers, as a Docker that is killed; or comes back.
    pub fn go_away(&self, away: bool) {
        self.away.send_replace(away);
        for container in self.lock().containers.values_mut() {
            container.status = ContainerStatus::Exited;
            container.exit_code = Some(137);
            container.finished_at = Some(Timestamp::now());
        }
    }

    /// Removes a dyno's container behind everybody's back.
    pub fn lose(&self, dyno: &str) {
        let mut state = self.lock();
        let found = state.containers.values().find(|one| one.labels[super::LABEL_DYNO] == dyno);
        let id = found.map(|container| container.id.clone()).unwrap();
        state.containers.remove(&id);
        drop(state);
        self.tell(&id, EventAction::Other);
    }

    /// Somebody changes the limits of a running dyno, as `docker update` does.
    pub fn update(&self, dyno: &str, change: impl Fn(&mut Bounds)) {
        let id = self.running_id(dyno);
        let mut state = self.lock();
        change(state.containers.get_mut(&id).and_then(|found| found.bounds.as_mut()).unwrap());
    }

    fn answers(&self) -> Result<()> {
        match *self.away.borrow() {
            true => Err(Error::internal("Docker did not answer: a test", "no such socket")),
            false => Ok(()),
        }
    }

    /// Names of the containers that run, without the installation's prefix and the random end.
    pub fn running(&self) -> Vec<String> {
        let state = self.lock();
        let running = state
            .containers
            .values()
            .filter(|container| container.status == ContainerStatus::Running)
            .map(|container| container.labels[super::LABEL_DYNO].clone());
        let mut names: Vec<String> = running.collect();
        names.sort();
        names
    }

    pub fn containers(&self) -> usize {
        self.lock().containers.len()
    }

    /// How many containers were ever made.
    pub fn made(&self) -> usize {
        self.lock().made
    }

    pub fn signals(&self) -> Vec<String> {
        self.lock().signals.iter().map(|(_, signal)| signal.clone()).collect()
    }

    /// Ends a running dyno as if its process had.
    pub fn end(&self, dyno: &str, code: i64) {
        let id = self.running_id(dyno);
        self.exit(&id, code);
    }

    fn running_id(&self, dyno: &str) -> String {
        self.lock()
            .containers
            .values()
            .find(|container| {
                container.labels[super::LABEL_DYNO] == dyno
                    && container.status == ContainerStatus::Running
            })
            .map(|container| container.id.clone())
            .unwrap()
    }

    /// Output of the containers that somebody is attached to.
    pub async fn say(&self, output: Output) {
        let attached: Vec<_> = self.lock().attached.values().cloned().collect();
        for reader in attached {
            let _ = reader.send(output.clone()).await;
        }
    }

    fn exit(&self, id: &str, code: i64) {
        self.lock().attached.remove(id);
        if let Some(container) = self.lock().containers.get_mut(id) {
            container.status = ContainerStatus::Exited;
            container.exit_code = Some(code);
            container.finished_at = Some(Timestamp::now());
        }
        self.tell(id, EventAction::Died);
    }

    fn tell(&self, id: &str, action: EventAction) {
        let _ = self.events.send(Event { container: id.to_string(), action });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

#[async_trait]
impl Engine for FakeEngine {
    async fn create(&self, spec: &ContainerSpec) -> Result<String> {
        self.answers()?;
        let mut state = self.lock();
        state.made += 1;
        let id = format!("c{}", state.made);
        let written = state.disk.as_ref().map(|disk| disk.join(&id));
        state.containers.insert(
            id.clone(),
            Container {
                id: id.clone(),
                name: spec.name.clone(),
                labels: spec.labels.clone(),
                status: ContainerStatus::Created,
                image: spec.image.clone(),
                created_at: Timestamp::now(),
                started_at: None,
                finished_at: None,
                exit_code: None,
                out_of_memory: false,
                pid: None,
                address: None,
                log_path: None,
                written,
                bounds: Some(Bounds {
                    memory_bytes: spec.memory_bytes,
                    swap_bytes: spec.memory_bytes,
                    cpu_shares: spec.cpu_shares,
                    nano_cpus: 0,
                    pids: spec.pids,
                }),
            },
        );
        Ok(id)
    }

    async fn start(&self, container: &str) -> Result<()> {
        let behaviour = self.lock().behaviour;
        if behaviour == Behaviour::DoesNotStart {
            return Err(Error::unavailable("no such image"));
        }
        if let Some(found) = self.lock().containers.get_mut(container) {
            found.status = ContainerStatus::Running;
            found.started_at = Some(Timestamp::now());
        }
        self.tell(container, EventAction::Started);
        if let Behaviour::Exits(code) = behaviour {
            self.exit(container, code);
        }
        Ok(())
    }

    async fn signal(&self, container: &str, signal: &str) -> Result<()> {
        let behaviour = {
            let mut state = self.lock();
            state.signals.push((container.to_string(), signal.to_string()));
            state.behaviour
        };
        match signal {
            "SIGKILL" => self.exit(container, 137),
            "SIGHUP" if behaviour != Behaviour::IgnoresTerm => self.exit(container, 129),
            _ if behaviour != Behaviour::IgnoresTerm => self.exit(container, 143),
            _ => {}
        }
        Ok(())
    }

    async fn remove(&self, container: &str) -> Result<()> {
        let _ = self.holding.subscribe().wait_for(|hold| !hold).await;
        let mut state = self.lock();
        if state.refuses_removals {
            return Err(Error::unavailable("the device is busy"));
        }
        state.containers.remove(container);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Container>> {
        self.answers()?;
        Ok(self.lock().containers.values().cloned().collect())
    }

    async fn inspect(&self, container: &str) -> Result<Option<Container>> {
        Ok(self.lock().containers.get(container).cloned())
    }

    async fn run(
        &self,
        spec: &ContainerSpec,
        _: mpsc::Sender<Output>,
        _: Duration,
    ) -> Result<Ended> {
        let id = self.create(spec).await?;
        self.remove(&id).await?;
        let code = match self.lock().behaviour {
            Behaviour::Exits(code) => code,
            _ => 0,
        };
        Ok(Ended::Exited { code, out_of_memory: false })
    }

    async fn usage(&self, container: &str) -> Result<Option<Usage>> {
        let state = self.lock();
        let runs = state
            .containers
            .get(container)
            .is_some_and(|found| found.status == ContainerStatus::Running);
        Ok(runs.then_some(state.usage))
    }

    fn free_disk(&self) -> Result<FreeDisk> {
        Ok(FreeDisk { bytes: self.lock().free_disk, files: 1 << 20 })
    }

    async fn attach(&self, container: &str, _: Input) -> Result<Attached> {
        let (output, pieces) = mpsc::channel(16);
        self.lock().attached.insert(container.to_string(), output);
        let output = tokio_stream::wrappers::ReceiverStream::new(pieces).boxed();
        Ok(Attached { input: Box::pin(tokio::io::sink()), output })
    }

    async fn resize(&self, _: &str, _: WindowSize) -> Result<()> {
        Ok(())
    }

    async fn wait(&self, container: &str) -> Result<i64> {
        let mut events = self.events.subscribe();
        loop {
            let code = self.lock().containers.get(container).map(|found| found.exit_code);
            match code {
                Some(Some(code)) => return Ok(code),
                Some(None) => {}
                None => return Err(Error::unavailable("no such container")),
            }
            let _ = events.recv().await;
        }
    }

    async fn events(&self) -> Result<BoxStream<'static, Event>> {
        self.answers()?;
        let events = tokio_stream::wrappers::BroadcastStream::new(self.events.subscribe());
        let mut away = self.away.subscribe();
        let gone = async move {
            let _ = away.wait_for(|away| *away).await;
        };
        let gone = Box::pin(gone);
        Ok(events.filter_map(|event| async { event.ok() }).take_until(gone).boxed())
    }

    async fn load(&self, archive: BoxStream<'static, Bytes>) -> Result<()> {
        let pieces: Vec<Bytes> = archive.collect().await;
        self.lock().loaded.push(pieces.concat());
        Ok(())
    }

    async fn images(&self, _: &str) -> Result<Vec<Image>> {
        Ok(Vec::new())
    }

    async fn image_layers(&self, _: &str) -> Result<Option<(String, Vec<String>)>> {
        Ok(None)
    }

    async fn remove_image(&self, _: &str) -> Result<()> {
        Ok(())
    }
}
