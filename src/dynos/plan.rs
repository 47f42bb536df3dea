//! What to do next for one app: a pure function from what is wanted, what is seen and the time to
//! a list of steps and to the dynos that get traffic. It never waits; what has to be waited for
//! shows in the next plan.
//!
//! Two releases may take part. `current` is the newest that succeeded; `serving` the one that last
//! took over. While they differ, the old web dynos serve on until every web dyno of the current
//! release listens; then all of them take over at once. A current release that fails to come up
//! gets no traffic, and crashed or added dynos of the old one are still started.

use crate::limits;
use crate::model::{AppId, AppImage, DynoName, Egress, Https, ProcessType, Procfile, ReleaseId};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// What is wanted of one app.
#[derive(Debug, Clone)]
pub struct Desired {
    pub app: AppId,
    pub name: String,
    pub maintenance: bool,
    /// Names of its custom domains, for whoever routes to it.
    pub domains: Vec<String>,
    pub egress: Egress,
    /// Likewise.
    pub https: Https,
    pub current: Option<Target>,
    pub serving: Option<Target>,
    pub formation: Vec<Wanted>,
}

/// A release that dynos can be started from.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub release: ReleaseId,
    pub version: i64,
    pub image: String,
    pub commands: Procfile,
    /// Where the app's own Dockerfiles made them.
    pub images: BTreeMap<ProcessType, AppImage>,
    pub commit: Option<String>,
    pub description: String,
    pub created_at: crate::clock::Timestamp,
    pub served: bool,
}

/// What is wanted of one process type.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub process: ProcessType,
    pub quantity: u32,
    pub size: String,
    pub epoch: i64,
    /// What restarts of single dynos add to the epoch.
    pub dyno_epochs: BTreeMap<u32, i64>,
}

/// What tells a dyno that is as wanted from one that has to be replaced.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation {
    pub release: ReleaseId,
    pub epoch: i64,
    pub size: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its container is being made, or it does not listen yet.
    Starting,
    Up,
    /// It gets no new requests; those that have begun may finish.
    Draining,
    /// SIGTERM has been sent.
    Stopping,
}

/// A dyno that is there, or whose start is under way.
#[derive(Debug, Clone)]
pub struct Seen {
    pub container: String,
    pub name: DynoName,
    pub generation: Generation,
    pub phase: Phase,
    /// When it entered its phase.
    pub since: Instant,
}

impl Seen {
    fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Up)
    }
}

/// How a dyno's last start went wrong.
#[derive(Debug, Clone)]
pub struct Crash {
    pub generation: Generation,
    /// Crashes in a row.
    pub count: usize,
    pub at: Instant,
    pub wall: crate::clock::Timestamp,
    pub reason: String,
}

impl Crash {
    /// When the next start may be tried.
    fn retry_at(&self) -> Instant {
        let ladder = limits::CRASH_BACKOFF_SECONDS;
        let step = self.count.saturating_sub(1).min(ladder.len() - 1);
        self.at + Duration::from_secs(ladder[step])
    }
}

/// By dyno name and release: an old release that serves on has crashes of its own.
pub type Crashes = BTreeMap<(DynoName, ReleaseId), Crash>;

#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Start {
        name: DynoName,
        generation: Generation,
    },
    /// Take it out of the routing table, let begun requests finish, then stop it.
    Retire {
        container: String,
    },
    Stop {
        container: String,
    },
    /// R10.
    BootTimeout {
        container: String,
    },
    /// Remember that the current release has taken over.
    Served {
        release: ReleaseId,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Web {
    /// Nothing was ever deployed.
    Blank,
    /// No web process type, or scaled to 0.
    None,
    Crashed,
    Starting,
    Up,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    Settled,
    Converging,
    /// What went wrong, in a sentence.
    Failing(String),
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// Containers that get traffic.
    pub routed: Vec<String>,
    pub web: Web,
    pub progress: Progress,
    /// Look again then, whatever happens.
    pub look_again: Option<Instant>,
}

/// Everything that one plan looks at.
struct Planner<'a> {
    desired: &'a Desired,
    seen: &'a [Seen],
    crashes: &'a Crashes,
    boot_timeout: Duration,
    now: Instant,
    plan: Plan,
}

pub fn plan(
    desired: &Desired,
    seen: &[Seen],
    crashes: &Crashes,
    boot_timeout: Duration,
    now: Instant,
) -> Plan {
    let plan = Plan {
        steps: Vec::new(),
        routed: Vec::new(),
        web: Web::Blank,
        progress: Progress::Settled,
        look_again: None,
    };
    let mut planner = Planner { desired, seen, crashes, boot_timeout, now, plan };
    planner.time_out_boots();
    match &desired.current {
        Some(current) => planner.converge(current),
        None => planner.keep(|_| false),
    }
    planner.plan
}

impl<'a> Planner<'a> {
    fn converge(&mut self, current: &Target) {
        let desired: &'a Desired = self.desired;
        let old = desired.serving.as_ref().filter(|old| old.release != current.release);
        let web = self.wanted_web(current);
        let quantity = web.map_or(0, |web| web.quantity);
        let web_up = (1..=quantity).all(|number| self.fresh(web, current, number).1);
        let others_up = self
            .others(current)
            .all(|(wanted, number)| self.fresh(Some(wanted), current, number).1);
        let came_up = if quantity > 0 { web_up } else { others_up };
        let served = current.served || came_up;
        if served && !current.served {
            self.plan.steps.push(Step::Served { release: current.release });
        }
        let failure = self.failure(current);
        let old = old.filter(|_| !served);
        self.plan_web(current, old, web, failure.is_some());
        // Without web dynos nothing else could show that the release works: it takes over at once.
        let others_from = old.filter(|_| quantity > 0).unwrap_or(current);
        self.plan_others(others_from);
        self.plan.progress = match failure {
            Some(reason) => Progress::Failing(reason),
            None if served && web_up && others_up => Progress::Settled,
            None => Progress::Converging,
        };
    }

    fn plan_web(
        &mut self,
        current: &Target,
        old: Option<&Target>,
        web: Option<&Wanted>,
        failing: bool,
    ) {
        let Some(web) = web else {
            self.keep_web(|_, _| false);
            self.plan.web = Web::None;
            return;
        };
        for number in 1..=web.quantity {
            let generation = generation(web, current, number);
            self.need(web, number, &generation);
            if let Some(old) = old.filter(|_| failing) {
                self.need(web, number, &self::generation(web, old, number));
            }
        }
        let within = |dyno: &Seen| dyno.name.number >= 1 && dyno.name.number <= web.quantity;
        let is_fresh = |dyno: &Seen| dyno.generation == generation(web, current, dyno.name.number);
        let of_old = |dyno: &Seen| old.is_some_and(|old| dyno.generation.release == old.release);
        let replaced =
            |planner: &Self, dyno: &Seen| planner.fresh(Some(web), current, dyno.name.number).1;
        let keeps = |planner: &Self, dyno: &Seen| {
            let waits = dyno.generation.release == current.release && !replaced(planner, dyno);
            let stays = (of_old(dyno) || waits) && !planner.is_superseded(dyno);
            within(dyno) && (is_fresh(dyno) || stays)
        };
        self.keep_web(keeps);
        let up: Vec<&Seen> = self
            .seen
            .iter()
            .filter(|dyno| dyno.name.process.is_web() && dyno.phase == Phase::Up)
            .filter(|dyno| keeps(self, dyno))
            .collect();
        let old_up = up.iter().any(|dyno| of_old(dyno));
        self.plan.routed = up
            .iter()
            .filter(|dyno| if old_up { of_old(dyno) } else { true })
            .map(|dyno| dyno.container.clone())
            .collect();
        self.plan.web = self.web_state(web);
    }

    fn web_state(&self, web: &Wanted) -> Web {
        let starting = self
            .seen
            .iter()
            .any(|dyno| dyno.name.process.is_web() && dyno.phase == Phase::Starting)
            || self
                .plan
                .steps
                .iter()
                .any(|step| matches!(step, Step::Start { name, .. } if name.process.is_web()));
        if web.quantity == 0 {
            Web::None
        } else if !self.plan.routed.is_empty() {
            Web::Up
        } else if starting {
            Web::Starting
        } else {
            Web::Crashed
        }
    }

    /// Process types without traffic: the old dyno is gone before the new one starts, so that
    /// there are never two schedulers.
    fn plan_others(&mut self, target: &Target) {
        let mut wanted: BTreeMap<DynoName, Generation> = BTreeMap::new();
        for (process, number) in self.others(target) {
            let name = DynoName { process: process.process.clone(), number };
            wanted.insert(name, generation(process, target, number));
        }
        for dyno in self.seen.iter().filter(|dyno| !dyno.name.process.is_web()) {
            let is_wanted = wanted.get(&dyno.name) == Some(&dyno.generation);
            if dyno.is_live() && !(is_wanted && self.is_best(dyno)) {
                self.plan.steps.push(Step::Stop { container: dyno.container.clone() });
            }
        }
        for (name, generation) in wanted {
            if !self.seen.iter().any(|dyno| dyno.name == name) {
                self.start(name, generation);
            }
        }
    }

    /// Starts a web dyno unless one of this generation is there.
    fn need(&mut self, web: &Wanted, number: u32, generation: &Generation) {
        let name = DynoName { process: web.process.clone(), number };
        let there = self.seen.iter().any(|dyno| {
            dyno.is_live()
                && dyno.name == name
                && (dyno.generation == *generation
                    // The old release's dynos are not restarted for an epoch or a size.
                    || (Some(dyno.generation.release)
                        != self.desired.current.as_ref().map(|current| current.release)
                        && dyno.generation.release == generation.release))
        });
        if !there {
            self.start(name, generation.clone());
        }
    }

    fn start(&mut self, name: DynoName, generation: Generation) {
        let crash = self.crashes.get(&(name.clone(), generation.release));
        let retry_at =
            crash.filter(|crash| crash.generation == generation).map_or(self.now, Crash::retry_at);
        if retry_at <= self.now {
            self.plan.steps.push(Step::Start { name, generation });
        } else {
            self.look_again(retry_at);
        }
    }

    /// Retires every web dyno that `keeps` does not name, and all but one of a kind.
    fn keep_web(&mut self, keeps: impl Fn(&Self, &Seen) -> bool) {
        let mut steps = Vec::new();
        for dyno in self.seen.iter().filter(|dyno| dyno.name.process.is_web() && dyno.is_live()) {
            if keeps(self, dyno) && self.is_best(dyno) {
                continue;
            }
            let container = dyno.container.clone();
            steps.push(match dyno.phase {
                Phase::Up => Step::Retire { container },
                _ => Step::Stop { container },
            });
        }
        self.plan.steps.extend(steps);
    }

    /// Of several dynos of one name and generation one stays: one that is up, and the oldest.
    fn is_best(&self, dyno: &Seen) -> bool {
        let rank = |dyno: &Seen| (dyno.phase != Phase::Up, dyno.since, dyno.container.clone());
        let is_alike = |other: &&Seen| {
            other.is_live() && other.name == dyno.name && other.generation == dyno.generation
        };
        let best = self.seen.iter().filter(is_alike).min_by_key(|other| rank(other));
        best.is_none_or(|best| best.container == dyno.container)
    }

    /// Whether a later restart of its release has replaced it. A server that was killed right
    /// after that restart has left it up, and the next restart makes both of them stale: only the
    /// later one may serve until its successor listens.
    fn is_superseded(&self, dyno: &Seen) -> bool {
        self.seen.iter().any(|other| {
            other.phase == Phase::Up
                && other.name == dyno.name
                && other.generation.release == dyno.generation.release
                && other.generation.epoch > dyno.generation.epoch
        })
    }

    /// For an app without a release to run: everything that `keeps` does not name stops.
    fn keep(&mut self, keeps: impl Fn(&Seen) -> bool) {
        for dyno in self.seen.iter().filter(|dyno| dyno.is_live() && !keeps(dyno)) {
            self.plan.steps.push(Step::Stop { container: dyno.container.clone() });
        }
    }

    fn time_out_boots(&mut self) {
        for dyno in self.seen {
            if dyno.phase != Phase::Starting || !dyno.name.process.is_web() {
                continue;
            }
            let deadline = dyno.since + self.boot_timeout;
            if deadline <= self.now {
                self.plan.steps.push(Step::BootTimeout { container: dyno.container.clone() });
            } else {
                self.look_again(deadline);
            }
        }
    }

    fn look_again(&mut self, at: Instant) {
        self.plan.look_again = Some(self.plan.look_again.map_or(at, |before| before.min(at)));
    }

    fn wanted_web(&self, target: &Target) -> Option<&'a Wanted> {
        self.desired.formation.iter().find(|wanted| {
            wanted.process.is_web() && target.commands.command(&wanted.process).is_some()
        })
    }

    /// Every wanted dyno of the other types that the target has a command for.
    fn others<'t>(
        &self,
        target: &'t Target,
    ) -> impl Iterator<Item = (&'a Wanted, u32)> + use<'a, 't> {
        let desired: &'a Desired = self.desired;
        desired
            .formation
            .iter()
            .filter(|wanted| !wanted.process.is_web() && !wanted.process.is_release())
            .filter(|wanted| target.commands.command(&wanted.process).is_some())
            .flat_map(|wanted| (1..=wanted.quantity).map(move |number| (wanted, number)))
    }

    /// Whether a dyno as wanted is there, and whether it is up.
    fn fresh(&self, wanted: Option<&Wanted>, target: &Target, number: u32) -> (bool, bool) {
        let Some(wanted) = wanted else { return (false, false) };
        let generation = generation(wanted, target, number);
        let mut there = false;
        for dyno in self.seen.iter().filter(|dyno| {
            dyno.name.process == wanted.process
                && dyno.name.number == number
                && dyno.generation == generation
                && dyno.is_live()
        }) {
            there = true;
            if dyno.phase == Phase::Up {
                return (true, true);
            }
        }
        (there, false)
    }

    /// Why the current release does not come up: the crash of a wanted dyno that is not up now.
    fn failure(&self, current: &Target) -> Option<String> {
        let wanted = self.desired.formation.iter().filter(|wanted| !wanted.process.is_release());
        for wanted in wanted {
            for number in 1..=wanted.quantity {
                let name = DynoName { process: wanted.process.clone(), number };
                let crash = self.crashes.get(&(name.clone(), current.release));
                let crash =
                    crash.filter(|crash| crash.generation == generation(wanted, current, number));
                if let Some(crash) = crash
                    && !self.fresh(Some(wanted), current, number).1
                {
                    return Some(format!("{name} of v{} {}", current.version, crash.reason));
                }
            }
        }
        None
    }
}

fn generation(wanted: &Wanted, target: &Target, number: u32) -> Generation {
    Generation {
        release: target.release,
        epoch: wanted.epoch + wanted.dyno_epochs.get(&number).copied().unwrap_or(0),
        size: wanted.size.clone(),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
