//! The handle through which everyone else wakes the reconciler and sees what it published.

use super::Reconciler;
use crate::clock::{Jumps, Timestamp};
use crate::config::ServerSettings;
use crate::dynos::events::spawn_watch;
use crate::dynos::execute::Executor;
use crate::dynos::one_off::Register;
use crate::dynos::{Dyno, Progress, Published, Traffic, room, usage};
use crate::engine::Engine;
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::model::AppId;
use crate::release::Releases;
use crate::store::Store;
use crate::wake::Wake;
use crate::{limits, tasks};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

/// What the dynos are made of.
pub struct DynosParts {
    pub store: Store,
    pub engine: Arc<dyn Engine>,
    pub logs: Logs,
    pub metrics: Metrics,
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
    pub(in crate::dynos) parts: Arc<DynosParts>,
    pub(in crate::dynos) one_offs: Register,
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
            one_offs: Register::default(),
        };
        spawn_watch(parts.engine.clone(), events_in.clone());
        let executor = Executor {
            engine: parts.engine.clone(),
            logs: parts.logs.clone(),
            metrics: parts.metrics.clone(),
            releases: parts.releases.clone(),
            settings: parts.settings.clone(),
            traffic: parts.traffic.clone(),
            events: events_in,
            starts: Arc::new(Semaphore::new(limits::PARALLEL_STARTS)),
        };
        usage::Watch::spawn(executor.clone());
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
            clearing: BTreeSet::new(),
            waiting: BTreeMap::new(),
            recovery: Default::default(),
            clock: Jumps::new(Timestamp::now(), Instant::now()),
            listed: false,
            loaded: false,
            seen_wakes: 0,
            one_offs: dynos.one_offs.clone(),
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

    /// Waits until the router follows what is wanted now, as far as it needs no dyno to start or
    /// stop: maintenance, names. False when that took longer than `limit`.
    pub async fn routed(&self, limit: Duration) -> bool {
        let mine = self.wake();
        let mut published = self.published.clone();
        let deadline = Instant::now() + limit;
        let seen = published.wait_for(|state| state.wakes >= mine);
        let version = match tokio::time::timeout_at(deadline, seen).await {
            Ok(Ok(state)) => state.traffic_version,
            _ => return false,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        self.traffic.applied(version, left).await
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
                let rollout = rollout_of(&state, app);
                return match state.outage() {
                    Some(outage) => Rollout { progress: Progress::Failing(outage), ..rollout },
                    None => rollout,
                };
            }
        }
    }

    /// Bytes of memory that dynos and one-offs may take and have not taken yet.
    pub fn promised(&self) -> i64 {
        let formation = self.published.borrow().promises.clone();
        room::promised(formation.into_iter().chain(self.one_offs.promises()))
    }

    /// The dynos of an app, as `ps` shows them: the formation's and the one-offs.
    pub fn of_app(&self, app: AppId) -> Vec<Dyno> {
        let published = self.published();
        let formation = published.apps.get(&app).map(|app| app.dynos.clone());
        let mut dynos = formation.unwrap_or_default();
        dynos.extend(self.one_offs.dynos(app));
        if let Some(outage) = published.outage() {
            let reason = format!("{outage}; this is its last known state");
            dynos.iter_mut().for_each(|dyno| {
                dyno.reason.get_or_insert(reason.clone());
            });
        }
        dynos
    }
}

pub(super) fn rollout_of(state: &Published, app: AppId) -> Rollout {
    match state.apps.get(&app) {
        Some(app) => {
            Rollout { progress: app.progress.clone(), current: app.current, serving: app.serving }
        }
        None => Rollout { progress: Progress::Converging, current: None, serving: None },
    }
}
