//! What the engine has, compared with what is known: dynos that an earlier server started are
//! adopted, those that are gone are noticed.

use super::Reconciler;
use crate::clock::Timestamp;
use crate::dynos::execute::spec_gone;
use crate::dynos::lifecycle::Live;
use crate::dynos::listen::{Listening, Table};
use crate::dynos::one_off::is_one_off;
use crate::dynos::plan::Phase;
use crate::engine::{Container, ContainerStatus, LABEL_KIND};
use crate::limits;
use std::collections::BTreeSet;
use uuid::Uuid;

impl Reconciler {
    /// Compares everything that the engine has with what is known.
    pub(super) async fn relist(&mut self) {
        let containers = match self.executor.engine.list().await {
            Ok(containers) => containers,
            Err(error) => {
                if self.recovery.away.is_none() {
                    tracing::warn!(error = error.chain(), "the engine could not be listed");
                    self.engine_away();
                }
                return;
            }
        };
        if self.recovery.away.is_some() {
            self.mend().await;
            self.engine_back().await;
        }
        let mut lost = Vec::new();
        let dynos = containers.into_iter().filter(|container| {
            container.labels.get(LABEL_KIND).is_some_and(|kind| kind == "dyno")
        });
        let (mut there, mut one_offs) = (BTreeSet::new(), Vec::new());
        for container in dynos {
            let Some(listed) = Live::from_container(&container) else { continue };
            there.insert(listed.id);
            if is_one_off(&container) {
                one_offs.push(container.id.clone());
                if self.is_stillborn(listed.id, &container) {
                    self.clear_up(&listed);
                }
                continue;
            }
            if self.clearing.contains(&listed.id) {
                continue;
            }
            match self.live.get_mut(&listed.id) {
                None => self.adopt(listed, &container).await,
                Some(known) if container.status == ContainerStatus::Exited => {
                    if let Some(container) = &known.container {
                        self.executor.look(known.id, container);
                    }
                }
                Some(known) => {
                    known.unwatched = false;
                    let is_lost = known.address.is_some() && container.address.is_none();
                    if is_lost && container.status == ContainerStatus::Running {
                        lost.push(known.id);
                    }
                }
            }
        }
        for dyno in lost {
            self.off_network(dyno).await;
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
            let known = known.chain(one_offs).collect();
            self.executor.logs.keep_only_containers(known).await;
        }
    }

    /// A one-off that the engine made after nobody waited for it any more.
    fn is_stillborn(&self, id: Uuid, container: &Container) -> bool {
        let age = Timestamp::now().seconds_since(container.created_at);
        container.status == ContainerStatus::Created
            && age > 2 * limits::ENGINE_TIMEOUT.as_secs()
            && self.listed
            && !self.one_offs.knows(id)
            && !self.clearing.contains(&id)
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
            self.clear_up(&live);
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
            let listens = Table::of(pid).and_then(|table| table.look(address.port()));
            if !matches!(listens, Ok(Listening::Yes)) {
                live.phase = Phase::Starting;
                self.executor.watch_listening(id, pid, address.port());
            }
        }
        let ended = inspected.status != ContainerStatus::Running;
        if ended {
            // It ended while nobody watched, perhaps with the machine: that is no crash.
            live.phase = Phase::Stopping;
            self.hurt(live.app, "Dynos had ended while the server was away");
        }
        self.live.insert(id, live);
        if ended {
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
                && !self.one_offs.knows(id)
            {
                spec_gone(&self.executor.settings, id);
            }
        }
    }
}
