//! What others see of the dynos: `ps`, the routing table, those who wait for a rollout.

use super::Reconciler;
use crate::clock::Timestamp;
use crate::dynos::lifecycle::Live;
use crate::dynos::plan::{Desired, Phase, Plan, Target};
use crate::dynos::{AppDynos, Dyno, Published, Web};
use crate::model::{AppId, DynoName, DynoState, ReleaseId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

impl Reconciler {
    pub(super) fn publish(&mut self, plans: &[(usize, Plan)]) -> u64 {
        let mut apps = BTreeMap::new();
        for (index, plan) in plans {
            let desired = &self.desired[*index];
            apps.insert(desired.app, self.view(desired, plan));
        }
        self.crashes.retain(|app, _| apps.contains_key(app));
        let (wakes, promises) = (self.seen_wakes, self.promises());
        let mut state = Published { wakes, apps, promises, traffic_version: 0, away: None };
        state.traffic_version = self.executor.traffic.publish(&state);
        let version = state.traffic_version;
        self.publish.send_replace(Arc::new(state));
        version
    }

    /// Whoever looks from now on is told that nobody can know more than that.
    pub(super) fn publish_away(&mut self) {
        let away = Some(Timestamp::now());
        self.publish
            .send_modify(|state| *state = Arc::new(Published { away, ..(**state).clone() }));
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
                reason: None,
                since: live.wall,
                routed: live.address.filter(|_| routed.contains(live.id.to_string().as_str())),
            })
            .collect();
        self.add_crashed(desired, &mut dynos);
        self.add_missing(desired, &mut dynos);
        dynos.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
        let starting = dynos
            .iter()
            .any(|dyno| dyno.name.process.is_web() && dyno.state == DynoState::Starting);
        let version = |target: &Option<Target>| target.as_ref().map(|target| target.version);
        AppDynos {
            name: desired.name.clone(),
            maintenance: desired.maintenance,
            https: desired.https,
            domains: desired.domains.clone(),
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
                id: missing_id(desired.app, name, *release),
                name: name.clone(),
                release: *release,
                version: target.version,
                size: crash.generation.size.clone(),
                command: target.commands.command(&name.process).unwrap_or_default().to_string(),
                state: DynoState::Crashed,
                reason: None,
                since: crash.wall,
                routed: None,
            });
        }
    }

    /// What is wanted and not there is `starting` while its predecessor ends, and else `down`:
    /// whoever waits until all dynos are up must not take it for none.
    fn add_missing(&self, desired: &Desired, dynos: &mut Vec<Dyno>) {
        let targets = [&desired.current, &desired.serving];
        for wanted in desired.formation.iter().filter(|wanted| !wanted.process.is_release()) {
            let command = |target: &&Target| target.commands.command(&wanted.process).is_some();
            let Some(target) = targets.into_iter().flatten().find(command) else { continue };
            for number in 1..=wanted.quantity {
                let name = DynoName { process: wanted.process.clone(), number };
                if dynos.iter().any(|dyno| dyno.name == name) {
                    continue;
                }
                let predecessor = self.live.values().find(|live| {
                    let ends = matches!(live.phase, Phase::Draining | Phase::Stopping);
                    live.app == desired.app && live.name == name && ends && !live.ended
                });
                let lack = self.waiting.get(&(desired.app, name.clone()));
                let (state, since) = match (predecessor, lack) {
                    (Some(live), _) => (DynoState::Starting, live.wall),
                    (None, Some(lack)) => (DynoState::Down, lack.since),
                    (None, None) => (DynoState::Down, target.created_at),
                };
                let lack = lack.filter(|_| predecessor.is_none());
                dynos.push(Dyno {
                    id: missing_id(desired.app, &name, target.release),
                    release: target.release,
                    version: target.version,
                    size: wanted.size.clone(),
                    command: target.commands.command(&name.process).unwrap_or_default().to_string(),
                    name,
                    state,
                    reason: lack.map(|lack| format!("{} (S17)", lack.reason)),
                    since,
                    routed: None,
                });
            }
        }
    }
}

/// A dyno without a container still needs an id, and the same one at every look.
fn missing_id(app: AppId, name: &DynoName, release: ReleaseId) -> Uuid {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{app} {name} {release}"));
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}
