//! The loop: take events, read what is wanted, plan, execute, publish. It alone writes observed
//! state. Nothing is planned before the engine has been listed once, so that a server that starts
//! finds its dynos instead of starting them again.

use super::events::{Event, spawn_watch};
use super::execute::{Executor, Start, spec_gone};
use super::lifecycle::Live;
use super::plan::{Crashes, Desired, Phase, Plan, Progress, Seen, Step, Target, Wanted};
use super::traffic::Traffic;
use super::{AppDynos, Dyno, Published, Web, listen};
use crate::clock::Timestamp;
use crate::config::ServerSettings;
use crate::engine::{Container, ContainerStatus, Engine, LABEL_KIND};
use crate::error::Result;
use crate::logs::{LogLine, Logs};
use crate::model::{AppId, DynoName, DynoState, ReleaseId};
use crate::release::Releases;
use crate::store::{self, Store};
use crate::wake::Wake;
use crate::{limits, tasks};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use uuid::Uuid;

/// What the dynos are made of.
pub struct DynosParts {
    pub store: Store,
    pub engine: Arc<dyn Engine>,
    pub logs: Logs,
    pub releases: Releases,
    pub settings: Arc<ServerSettings>,
    pub traffic: Arc<dyn Traffic>,
}

/// A handle on the dynos; clones share the reconciler.
#[derive(Clone)]
pub struct Dynos {
    wake: Wake,
    wakes: Arc<AtomicU64>,
    published: watch::Receiver<Arc<Published>>,
    traffic: Arc<dyn Traffic>,
    pub(super) parts: Arc<DynosParts>,
}

/// How far what is wanted has come true.
#[derive(Debug, Clone)]
pub struct Rollout {
    pub progress: Progress,
    pub current: Option<i64>,
    pub serving: Option<i64>,
}

impl Dynos {
    /// Starts the reconciler.
    pub fn start(parts: DynosParts) -> Self {
        let (events_in, events) = mpsc::channel(limits::DYNO_EVENTS);
        let (publish, published) = watch::channel(Arc::new(Published::default()));
        let parts = Arc::new(parts);
        let dynos = Self {
            wake: Wake::new(),
            wakes: Arc::new(AtomicU64::new(0)),
            published,
            traffic: parts.traffic.clone(),
            parts: parts.clone(),
        };
        spawn_watch(parts.engine.clone(), events_in.clone());
        let executor = Executor {
            engine: parts.engine.clone(),
            logs: parts.logs.clone(),
            releases: parts.releases.clone(),
            settings: parts.settings.clone(),
            traffic: parts.traffic.clone(),
            events: events_in,
            starts: Arc::new(Semaphore::new(limits::PARALLEL_STARTS)),
        };
        let reconciler = Reconciler {
            store: parts.store.clone(),
            executor,
            events,
            wake: dynos.wake.clone(),
            wakes: dynos.wakes.clone(),
            publish,
            desired: Vec::new(),
            live: BTreeMap::new(),
            crashes: BTreeMap::new(),
            listed: false,
            seen_wakes: 0,
        };
        tasks::spawn("reconciler", reconciler.run());
        dynos
    }

    /// Desired state has changed.
    pub fn wake(&self) -> u64 {
        let number = self.wakes.fetch_add(1, Ordering::SeqCst) + 1;
        self.wake.wake();
        number
    }

    /// What the reconciler last published.
    pub fn published(&self) -> Arc<Published> {
        self.published.borrow().clone()
    }

    pub fn watch(&self) -> watch::Receiver<Arc<Published>> {
        self.published.clone()
    }

    /// Waits until the app's dynos and its traffic are as wanted, or something failed, at most
    /// for `limit`. What was wanted when this was called is taken into account.
    pub async fn rollout(&self, app: AppId, limit: Duration) -> Rollout {
        let mine = self.wake();
        let mut published = self.published.clone();
        let deadline = Instant::now() + limit;
        loop {
            let state = published.borrow_and_update().clone();
            if state.wakes >= mine {
                let rollout = rollout_of(&state, app);
                if rollout.progress != Progress::Converging {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let left = left.max(limits::TABLE_MARGIN);
                    if self.traffic.applied(state.traffic_version, left).await {
                        return rollout;
                    }
                    return Rollout { progress: Progress::Converging, ..rollout };
                }
            }
            let changed = tokio::time::timeout_at(deadline, published.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                return rollout_of(&state, app);
            }
        }
    }

    /// The dynos of an app, as `ps` shows them.
    pub fn of_app(&self, app: AppId) -> Vec<Dyno> {
        self.published.borrow().apps.get(&app).map(|app| app.dynos.clone()).unwrap_or_default()
    }
}

fn rollout_of(state: &Published, app: AppId) -> Rollout {
    match state.apps.get(&app) {
        Some(app) => {
            Rollout { progress: app.progress.clone(), current: app.current, serving: app.serving }
        }
        None => Rollout { progress: Progress::Converging, current: None, serving: None },
    }
}

struct Reconciler {
    store: Store,
    executor: Executor,
    events: mpsc::Receiver<Event>,
    wake: Wake,
    wakes: Arc<AtomicU64>,
    publish: watch::Sender<Arc<Published>>,
    desired: Vec<Desired>,
    live: BTreeMap<Uuid, Live>,
    crashes: BTreeMap<AppId, Crashes>,
    /// The engine has been listed at least once.
    listed: bool,
    seen_wakes: u64,
}

impl Reconciler {
    async fn run(mut self) {
        let mut look_again = Instant::now() + limits::RECONCILE_PERIOD;
        let mut period = tokio::time::interval(limits::RECONCILE_PERIOD);
        period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut reload = false;
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.take(event).await,
                    None => return,
                },
                () = self.wake.wait() => reload = true,
                _ = period.tick() => {
                    self.relist().await;
                    reload = true;
                }
                () = tokio::time::sleep_until(look_again) => {}
            }
            while let Ok(event) = self.events.try_recv() {
                self.take(event).await;
            }
            reload |= self.wakes.load(Ordering::SeqCst) != self.seen_wakes;
            if reload || self.desired.is_empty() {
                self.reload().await;
            }
            if !self.listed {
                continue;
            }
            look_again = self.pass().await;
        }
    }

    /// Reads what is wanted. On an error the last known state stands.
    async fn reload(&mut self) {
        let wakes = self.wakes.load(Ordering::SeqCst);
        match self.store.read(read_desired).await {
            Ok(desired) => {
                self.desired = desired;
                self.seen_wakes = wakes;
            }
            Err(error) => tracing::error!(error = error.chain(), "desired state is unreadable"),
        }
    }

    async fn pass(&mut self) -> Instant {
        let now = Instant::now();
        let boot_timeout = Duration::from_secs(self.executor.settings.boot_timeout);
        let mut look_again = now + limits::RECONCILE_PERIOD;
        let mut plans: Vec<(usize, Plan)> = Vec::new();
        let mut by_app: BTreeMap<AppId, Vec<Seen>> = BTreeMap::new();
        for live in self.live.values().filter(|live| !live.ended) {
            by_app.entry(live.app).or_default().push(live.seen());
        }
        let none = Crashes::new();
        for (index, desired) in self.desired.iter().enumerate() {
            let seen = by_app.remove(&desired.app).unwrap_or_default();
            let crashes = self.crashes.get(&desired.app).unwrap_or(&none);
            let plan = super::plan::plan(desired, &seen, crashes, boot_timeout, now);
            look_again = plan.look_again.map_or(look_again, |at| at.min(look_again));
            plans.push((index, plan));
        }
        // What is left belongs to apps that were destroyed.
        let orphans: Vec<Uuid> = by_app
            .into_values()
            .flatten()
            .filter(|seen| matches!(seen.phase, Phase::Starting | Phase::Up))
            .filter_map(|seen| seen.container.parse().ok())
            .collect();
        for dyno in orphans {
            self.stop(dyno).await;
        }
        let mut drains = Vec::new();
        for (index, plan) in &plans {
            self.perform(*index, plan, &mut drains).await;
        }
        let table = self.publish(&plans);
        for dyno in drains {
            self.executor.drain(dyno, table);
        }
        self.kill_the_slow().await.map_or(look_again, |at| at.min(look_again))
    }

    async fn perform(&mut self, index: usize, plan: &Plan, drains: &mut Vec<Uuid>) {
        for step in &plan.steps {
            match step {
                Step::Start { name, generation } => {
                    self.start(index, name, generation).await;
                }
                Step::Retire { container } => {
                    let Ok(dyno) = container.parse() else { continue };
                    if let Some(live) = self.live.get_mut(&dyno) {
                        live.enter(Phase::Draining);
                        drains.push(dyno);
                    }
                }
                Step::Stop { container } => {
                    if let Ok(dyno) = container.parse() {
                        self.stop(dyno).await;
                    }
                }
                Step::BootTimeout { container } => {
                    if let Ok(dyno) = container.parse() {
                        self.boot_timeout(dyno).await;
                    }
                }
                Step::Served { release } => self.served(index, *release),
            }
        }
    }

    async fn start(&mut self, index: usize, name: &DynoName, generation: &super::plan::Generation) {
        let desired = &self.desired[index];
        let target = [&desired.current, &desired.serving]
            .into_iter()
            .flatten()
            .find(|target| target.release == generation.release);
        let Some((target, command)) = target.and_then(|target| {
            Some((target.clone(), target.commands.command(&name.process)?.to_string()))
        }) else {
            return;
        };
        let id = Uuid::new_v4();
        let before = if self.live.values().any(|live| live.app == desired.app && live.name == *name)
        {
            "up"
        } else if self
            .crashes
            .get(&desired.app)
            .is_some_and(|crashes| crashes.contains_key(&(name.clone(), generation.release)))
        {
            "crashed"
        } else {
            "down"
        };
        let live = Live {
            id,
            app: desired.app,
            name: name.clone(),
            generation: generation.clone(),
            version: target.version,
            command: command.clone(),
            container: None,
            address: None,
            phase: Phase::Starting,
            since: Instant::now(),
            wall: Timestamp::now(),
            loopback_only: false,
            killed: None,
            ended: false,
        };
        let lines = vec![
            live.line(format!("State changed from {before} to starting")),
            live.line(format!("Starting process with command `{command}`")),
        ];
        self.log(live.app, lines).await;
        self.executor.start(Start {
            id,
            app: desired.app,
            app_name: desired.name.clone(),
            name: name.clone(),
            target,
            generation: generation.clone(),
            command,
        });
        self.live.insert(id, live);
    }

    /// Sends SIGTERM. A dyno whose container is not there yet is stopped when it is.
    async fn stop(&mut self, dyno: Uuid) {
        let Some(live) = self.live.get_mut(&dyno) else { return };
        if live.phase == Phase::Stopping {
            return;
        }
        live.enter(Phase::Stopping);
        if let Some(container) = &live.container {
            self.executor.signal(container, "SIGTERM");
            let (app, line) = (live.app, live.line("Stopping all processes with SIGTERM"));
            self.log(app, vec![line]).await;
        }
    }

    async fn boot_timeout(&mut self, dyno: Uuid) {
        let seconds = self.executor.settings.boot_timeout;
        let Some(live) = self.live.get_mut(&dyno) else { return };
        if live.killed.is_some() {
            return;
        }
        let Some(container) = live.container.clone() else { return };
        let hint =
            if live.loopback_only { " (it listens on 127.0.0.1 only: bind 0.0.0.0)" } else { "" };
        live.killed = Some(if live.loopback_only {
            "listened on 127.0.0.1 only, where no request can reach it (R10): bind 0.0.0.0:$PORT"
        } else {
            "did not listen on $PORT in time (R10)"
        });
        let lines = vec![
            live.line(format!(
                "Error R10 (Boot timeout) -> Web process failed to bind to $PORT within {seconds} \
                 seconds of launch{hint}"
            )),
            live.line("Stopping process with SIGKILL"),
        ];
        let app = live.app;
        self.executor.signal(&container, "SIGKILL");
        self.log(app, lines).await;
    }

    /// R12 for dynos that did not end in their time after SIGTERM; returns when the next is due.
    async fn kill_the_slow(&mut self) -> Option<Instant> {
        let grace = Duration::from_secs(self.executor.settings.stop_grace);
        let mut next = None;
        let mut lines = Vec::new();
        for live in self.live.values_mut() {
            if live.phase != Phase::Stopping || live.killed.is_some() || live.ended {
                continue;
            }
            let Some(container) = live.container.clone() else { continue };
            let due = live.since + grace;
            if due > Instant::now() {
                next = Some(next.map_or(due, |before: Instant| before.min(due)));
                continue;
            }
            live.killed = Some("did not end after SIGTERM (R12)");
            self.executor.signal(&container, "SIGKILL");
            lines.push((
                live.app,
                vec![
                    live.line(format!(
                        "Error R12 (Exit timeout) -> At least one process failed to exit within \
                         {} seconds of SIGTERM",
                        grace.as_secs()
                    )),
                    live.line("Stopping remaining processes with SIGKILL"),
                ],
            ));
        }
        for (app, lines) in lines {
            self.log(app, lines).await;
        }
        next
    }

    /// The current release has taken over. If the server dies before this is stored, the next one
    /// finds its dynos up and comes to the same end.
    fn served(&mut self, index: usize, release: ReleaseId) {
        let desired = &mut self.desired[index];
        if let Some(current) = &mut desired.current {
            current.served = true;
            desired.serving = Some(current.clone());
        }
        tracing::info!(phase = "dynos up", app = desired.name, "the release serves");
        let store = self.store.clone();
        tasks::spawn("store that a release serves", async move {
            let now = Timestamp::now();
            let stored = store.write(move |db| store::releases::set_served(db, release, now)).await;
            if let Err(error) = stored {
                tracing::error!(error = error.chain(), "a release that serves is not stored");
            }
        });
    }

    async fn log(&self, app: AppId, lines: Vec<LogLine>) {
        self.executor.logs.write(app, lines).await;
    }

    // --- events -----------------------------------------------------------------------------

    async fn take(&mut self, event: Event) {
        match event {
            Event::Relist => self.relist().await,
            Event::Changed(container) => {
                let dyno = self
                    .live
                    .values()
                    .find(|live| live.container.as_deref() == Some(&container) && !live.ended)
                    .map(|live| live.id);
                if let Some(dyno) = dyno {
                    self.executor.look(dyno, &container);
                }
            }
            Event::Started { dyno, container, address } => {
                self.started(dyno, &container, address).await;
            }
            Event::StartFailed { dyno, reason } => self.start_failed(dyno, reason).await,
            Event::Listens { dyno } => self.up(dyno).await,
            Event::LoopbackOnly { dyno } => {
                if let Some(live) = self.live.get_mut(&dyno) {
                    live.loopback_only = true;
                }
            }
            Event::Drained { dyno } => self.stop(dyno).await,
            Event::Exited { dyno, code, out_of_memory } => {
                self.exited(dyno, code, out_of_memory).await;
            }
        }
    }

    async fn started(
        &mut self,
        dyno: Uuid,
        container: &Container,
        address: Option<std::net::SocketAddr>,
    ) {
        let Some(live) = self.live.get_mut(&dyno) else { return };
        live.container = Some(container.id.clone());
        live.address = address;
        if live.phase == Phase::Starting {
            // The boot time-out counts from here: before it was the engine's time.
            live.since = Instant::now();
        }
        if live.phase == Phase::Stopping {
            self.executor.signal(&container.id, "SIGTERM");
        } else if !live.name.process.is_web() {
            self.up(dyno).await;
        }
        // It may have ended before anybody knew whose container it was.
        self.executor.look(dyno, &container.id);
    }

    async fn up(&mut self, dyno: Uuid) {
        let Some(live) = self.live.get_mut(&dyno) else { return };
        if live.phase != Phase::Starting || live.ended {
            return;
        }
        live.enter(Phase::Up);
        let (app, line) = (live.app, live.line("State changed from starting to up"));
        self.log(app, vec![line]).await;
    }

    async fn start_failed(&mut self, dyno: Uuid, reason: String) {
        let Some(live) = self.live.remove(&dyno) else { return };
        let crashes = self.crashes.entry(live.app).or_default();
        let key = (live.name.clone(), live.generation.release);
        let mut crash = live.crash(-1, false, crashes.get(&key));
        let line = live.line(format!("State changed from starting to crashed: {reason}"));
        crash.reason = reason;
        crashes.insert(key, crash);
        self.log(live.app, vec![line]).await;
    }

    async fn exited(&mut self, dyno: Uuid, code: i64, out_of_memory: bool) {
        let Some(live) = self.live.get(&dyno).filter(|live| !live.ended).cloned() else { return };
        let mut lines = Vec::new();
        if out_of_memory {
            lines.push(live.line("Error R15 (Memory quota vastly exceeded)"));
            lines.push(live.line("Stopping process with SIGKILL"));
        }
        lines.push(live.line(format!("Process exited with status {code}")));
        let crashed = matches!(live.phase, Phase::Starting | Phase::Up);
        if crashed {
            let state = if live.phase == Phase::Up { "up" } else { "starting" };
            lines.push(live.line(format!("State changed from {state} to crashed")));
            let crashes = self.crashes.entry(live.app).or_default();
            let key = (live.name.clone(), live.generation.release);
            let crash = live.crash(code, out_of_memory, crashes.get(&key));
            crashes.insert(key, crash);
        } else if !self.has_successor(&live) {
            lines.push(live.line("State changed from up to down"));
        }
        self.log(live.app, lines).await;
        self.executor.clear_up(&live);
        self.live.remove(&dyno);
    }

    fn has_successor(&self, live: &Live) -> bool {
        self.live
            .values()
            .any(|other| other.id != live.id && other.app == live.app && other.name == live.name)
    }

    // --- what the engine has ----------------------------------------------------------------

    /// Compares everything that the engine has with what is known.
    async fn relist(&mut self) {
        let containers = match self.executor.engine.list().await {
            Ok(containers) => containers,
            Err(error) => {
                tracing::warn!(error = error.chain(), "the engine could not be listed");
                return;
            }
        };
        let dynos = containers.into_iter().filter(|container| {
            container.labels.get(LABEL_KIND).is_some_and(|kind| kind == "dyno")
        });
        let mut there = BTreeSet::new();
        for container in dynos {
            let Some(listed) = Live::from_container(&container) else { continue };
            there.insert(listed.id);
            if listed.name.process.is_release() {
                continue;
            }
            match self.live.get(&listed.id) {
                None => self.adopt(listed, &container).await,
                Some(known) if container.status == ContainerStatus::Exited => {
                    if let Some(container) = &known.container {
                        self.executor.look(known.id, container);
                    }
                }
                Some(_) => {}
            }
        }
        for live in self.live.values() {
            if let (false, Some(container)) = (there.contains(&live.id), &live.container) {
                self.executor.look(live.id, container);
            }
        }
        if !self.listed {
            self.listed = true;
            self.sweep_directories(&there);
            let known = self.live.values().filter_map(|live| live.container.clone());
            self.executor.logs.keep_only_containers(known.collect()).await;
        }
    }

    /// A dyno that an earlier server started.
    async fn adopt(&mut self, mut live: Live, listed: &Container) {
        let inspected = match self.executor.engine.inspect(&listed.id).await {
            Ok(Some(inspected)) => inspected,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(error = error.chain(), "a dyno could not be looked at");
                return;
            }
        };
        if inspected.status == ContainerStatus::Created {
            // The server died between making and starting it.
            self.executor.clear_up(&live);
            return;
        }
        live.ended = false;
        live.wall = inspected.started_at.unwrap_or(live.wall);
        live.address = Live::from_container(&inspected).and_then(|live| live.address);
        self.executor.follow(live.app, &live.name, &inspected);
        let (id, container) = (live.id, inspected.id.clone());
        live.phase = Phase::Up;
        if let (true, Some(pid), Some(address)) =
            (live.name.process.is_web(), inspected.pid, live.address)
        {
            let listens = listen::look(pid, address.port());
            if !matches!(listens, Ok(listen::Listening::Yes)) {
                live.phase = Phase::Starting;
                self.executor.watch_listening(id, pid, address.port());
            }
        }
        self.live.insert(id, live);
        if inspected.status == ContainerStatus::Exited {
            self.executor.look(id, &container);
        }
    }

    /// Removes the directories of dynos that are no more.
    fn sweep_directories(&self, there: &BTreeSet<Uuid>) {
        let directory = self.executor.settings.run_dir.join("dynos");
        let Ok(entries) = std::fs::read_dir(directory) else { return };
        for entry in entries.flatten() {
            let id = entry.file_name().to_string_lossy().parse::<Uuid>();
            if let Ok(id) = id
                && !there.contains(&id)
                && !self.live.contains_key(&id)
            {
                spec_gone(&self.executor.settings, id);
            }
        }
    }

    // --- what others see --------------------------------------------------------------------

    fn publish(&mut self, plans: &[(usize, Plan)]) -> u64 {
        let mut apps = BTreeMap::new();
        for (index, plan) in plans {
            let desired = &self.desired[*index];
            apps.insert(desired.app, self.view(desired, plan));
        }
        self.crashes.retain(|app, _| apps.contains_key(app));
        let mut state = Published { wakes: self.seen_wakes, apps, traffic_version: 0 };
        state.traffic_version = self.executor.traffic.publish(&state);
        let version = state.traffic_version;
        self.publish.send_replace(Arc::new(state));
        version
    }

    fn view(&self, desired: &Desired, plan: &Plan) -> AppDynos {
        let routed: BTreeSet<&str> = plan.routed.iter().map(String::as_str).collect();
        let command = |live: &Live| -> String {
            [&desired.current, &desired.serving]
                .into_iter()
                .flatten()
                .find(|target| target.release == live.generation.release)
                .and_then(|target| target.commands.command(&live.name.process))
                .unwrap_or(&live.command)
                .to_string()
        };
        let mut dynos: Vec<Dyno> = self
            .live
            .values()
            .filter(|live| live.app == desired.app && !live.ended)
            .filter(|live| matches!(live.phase, Phase::Starting | Phase::Up))
            .map(|live| Dyno {
                id: live.id,
                name: live.name.clone(),
                release: live.generation.release,
                version: live.version,
                size: live.generation.size.clone(),
                command: command(live),
                state: match live.phase {
                    Phase::Up => DynoState::Up,
                    _ => DynoState::Starting,
                },
                since: live.wall,
                routed: live.address.filter(|_| routed.contains(live.id.to_string().as_str())),
            })
            .collect();
        self.add_crashed(desired, &mut dynos);
        dynos.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
        let starting = dynos
            .iter()
            .any(|dyno| dyno.name.process.is_web() && dyno.state == DynoState::Starting);
        let version = |target: &Option<Target>| target.as_ref().map(|target| target.version);
        AppDynos {
            name: desired.name.clone(),
            maintenance: desired.maintenance,
            starting: starting || plan.web == Web::Starting,
            dynos,
            web: plan.web,
            progress: plan.progress.clone(),
            current: version(&desired.current),
            serving: version(&desired.serving),
        }
    }

    /// Dynos that wait for their next try have no container: they show as `crashed`.
    fn add_crashed(&self, desired: &Desired, dynos: &mut Vec<Dyno>) {
        let Some(crashes) = self.crashes.get(&desired.app) else { return };
        let targets = [&desired.current, &desired.serving];
        for ((name, release), crash) in crashes {
            let target = targets.into_iter().flatten().find(|target| target.release == *release);
            let wanted = desired.formation.iter().any(|wanted| {
                wanted.process == name.process && (1..=wanted.quantity).contains(&name.number)
            });
            let there = dynos.iter().any(|dyno| dyno.name == *name && dyno.release == *release);
            // Only the release that is wanted, unless the other one serves on.
            let Some(target) = target.filter(|_| wanted && !there) else { continue };
            dynos.push(Dyno {
                id: crash_id(desired.app, name, *release),
                name: name.clone(),
                release: *release,
                version: target.version,
                size: crash.generation.size.clone(),
                command: target.commands.command(&name.process).unwrap_or_default().to_string(),
                state: DynoState::Crashed,
                since: crash.wall,
                routed: None,
            });
        }
    }
}

/// A dyno without a container still needs an id, and the same one at every look.
fn crash_id(app: AppId, name: &DynoName, release: ReleaseId) -> Uuid {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{app} {name} {release}"));
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

fn read_desired(db: &rusqlite::Connection) -> Result<Vec<Desired>> {
    store::desired::read(db).map(|rows| {
        rows.into_iter()
            .map(|row| Desired {
                app: row.app.id,
                name: row.app.name.to_string(),
                maintenance: row.app.maintenance,
                current: row.current.map(target),
                serving: row.serving.map(target),
                formation: row
                    .formation
                    .into_iter()
                    .map(|formation| Wanted {
                        dyno_epochs: row
                            .dyno_epochs
                            .iter()
                            .filter(|(name, _)| name.process == formation.process)
                            .map(|(name, epoch)| (name.number, *epoch))
                            .collect(),
                        process: formation.process,
                        quantity: formation.quantity,
                        size: formation.size,
                        epoch: formation.epoch,
                    })
                    .collect(),
            })
            .collect()
    })
}

fn target((release, slug): (crate::model::Release, crate::model::Slug)) -> Target {
    Target {
        release: release.id,
        version: release.version,
        image: slug.image,
        commands: slug.process_types,
        commit: slug.commit,
        description: release.description,
        created_at: release.created_at,
        served: release.served_at.is_some(),
    }
}

#[cfg(test)]
#[path = "reconciler_tests.rs"]
mod tests;
