//! The loop: take events, read what is wanted, plan, execute, publish. It alone writes observed
//! state. Nothing is planned before the engine has been listed once, so that a server that starts
//! finds its dynos instead of starting them again.

pub(super) mod desired;
mod handle;
mod listing;
mod recovery;
mod taking;
mod view;

pub(in crate::dynos) use desired::target;
pub use handle::{Dynos, DynosParts};

use super::Published;
use super::events::Event;
use super::execute::{Executor, Start};
use super::lifecycle::Live;
use super::one_off::Register;
use super::plan::{Crashes, Desired, Generation, Phase, Plan, Progress, Seen, Step};
use super::room::{self, Promise};
use crate::clock::{Jumps, Timestamp};
use crate::logs::LogLine;
use crate::model::{AppId, DynoName, ReleaseId};
use crate::release::took_over;
use crate::store::Store;
use crate::wake::Wake;
use crate::{limits, tasks};
use recovery::Recovery;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use uuid::Uuid;

/// What a dyno waits for, and since when.
struct Lack {
    reason: String,
    since: Timestamp,
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
    /// Ended dynos whose containers are being removed: the engine may list them still.
    clearing: BTreeSet<Uuid>,
    /// Dynos that wait for memory of the host.
    waiting: BTreeMap<(AppId, DynoName), Lack>,
    recovery: Recovery,
    clock: Jumps,
    /// The engine has been listed at least once.
    listed: bool,
    /// What is wanted has been read at least once: until then nothing is known to be too much.
    loaded: bool,
    seen_wakes: u64,
    one_offs: Register,
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
                    self.look_at_clock();
                    if self.recovery.away.is_none() {
                        self.mend().await;
                    }
                    self.relist().await;
                    reload = true;
                }
                () = tokio::time::sleep_until(look_again) => {
                    if self.recovery.away.is_some() {
                        self.relist().await;
                    }
                }
            }
            while let Ok(event) = self.events.try_recv() {
                self.take(event).await;
            }
            reload |= self.wakes.load(Ordering::SeqCst) != self.seen_wakes;
            if reload || self.desired.is_empty() {
                self.reload().await;
            }
            if !self.listed || !self.loaded || self.recovery.away.is_some() {
                // Events may come faster than that: they must not put it off.
                let retry = Instant::now() + limits::ENGINE_RETRY;
                look_again =
                    if look_again > Instant::now() { look_again.min(retry) } else { retry };
                continue;
            }
            look_again = self.pass().await;
        }
    }

    /// Reads what is wanted. On an error the last known state stands.
    async fn reload(&mut self) {
        let wakes = self.wakes.load(Ordering::SeqCst);
        match self.store.read(desired::read).await {
            Ok(desired) => {
                self.desired = desired;
                self.loaded = true;
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
        self.tell_waiting(&mut plans);
        if !self.waiting.is_empty() {
            look_again = look_again.min(now + limits::MEMORY_RETRY);
        }
        self.tell_recovered(&plans).await;
        let table = self.publish(&plans);
        for dyno in drains {
            self.executor.drain(dyno, table);
        }
        self.kill_the_slow().await.map_or(look_again, |at| at.min(look_again))
    }

    /// Those who wait for a change are told what it lacks.
    fn tell_waiting(&mut self, plans: &mut [(usize, Plan)]) {
        let wanted = |(app, name): &(AppId, DynoName)| {
            plans.iter().any(|(index, plan)| {
                let starts =
                    |step: &Step| matches!(step, Step::Start { name: one, .. } if one == name);
                self.desired[*index].app == *app && plan.steps.iter().any(starts)
            })
        };
        self.waiting.retain(|key, _| wanted(key));
        for (index, plan) in plans {
            let app = self.desired[*index].app;
            let lacks = self.waiting.iter().find(|((of, _), _)| *of == app);
            if let (Some(((_, name), lack)), Progress::Converging) = (lacks, &plan.progress) {
                plan.progress = Progress::Failing(format!("{name} waits: {} (S17)", lack.reason));
            }
        }
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

    async fn start(&mut self, index: usize, name: &DynoName, generation: &Generation) {
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
        if self.has_no_room(index, name, generation).await {
            return;
        }
        let desired = &self.desired[index];
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
            settles_at: None,
            wall: Timestamp::now(),
            loopback_only: false,
            killed: None,
            unwatched: false,
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

    /// Whether a dyno has to wait for memory; the log says so once.
    async fn has_no_room(
        &mut self,
        index: usize,
        name: &DynoName,
        generation: &Generation,
    ) -> bool {
        let settings = &self.executor.settings;
        let promised = self.promises().into_iter().chain(self.one_offs.promises());
        let size = settings.dyno_sizes.stored(&generation.size);
        let key = (self.desired[index].app, name.clone());
        let Some(reason) = room::shortage(settings, &size, room::promised(promised)) else {
            self.waiting.remove(&key);
            return false;
        };
        let app = key.0;
        let line = LogLine::heroku(name.to_string(), room::waits("The dyno", &reason));
        let since = self.waiting.get(&key).map(|lack| lack.since);
        let lack = Lack { reason, since: since.unwrap_or_else(Timestamp::now) };
        if self.waiting.insert(key, lack).is_none() {
            self.log(app, vec![line]).await;
        }
        true
    }

    /// A web dyno has taken its memory when it listens; others are up from their start on.
    fn promises(&self) -> Vec<Promise> {
        let sizes = &self.executor.settings.dyno_sizes;
        let until = |live: &Live| match live.phase {
            Phase::Starting => Some(None),
            Phase::Up => live.settles_at.map(Some),
            Phase::Draining | Phase::Stopping => None,
        };
        let promises = self.live.values().filter_map(|live| Some((live, until(live)?)));
        let bytes = |live: &Live| sizes.stored(&live.generation.size).memory_bytes;
        promises.map(|(live, until)| Promise { bytes: bytes(live), until }).collect()
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
            let stored = store.write(move |db| took_over(db, release, now)).await;
            if let Err(error) = stored {
                tracing::error!(error = error.chain(), "a release that serves is not stored");
            }
        });
    }

    async fn log(&self, app: AppId, lines: Vec<LogLine>) {
        self.executor.logs.write(app, lines).await;
    }
}

#[cfg(test)]
pub(in crate::dynos) mod tests;
