//! The planner's rules, one scenario each.

use super::*;
use crate::clock::Timestamp;

fn target(version: i64, types: &[&str], served: bool) -> Target {
    let commands = types
        .iter()
        .map(|process| (ProcessType::parse(process).unwrap(), format!("run {process}")))
        .collect();
    Target {
        images: Default::default(),
        release: ReleaseId(uuid::Uuid::from_u128(u128::try_from(version).unwrap())),
        version,
        image: format!("sha256:{version}"),
        commands: Procfile::from_map(commands),
        commit: None,
        description: String::new(),
        created_at: Timestamp(0),
        served,
    }
}

fn wanted(process: &str, quantity: u32) -> Wanted {
    Wanted {
        process: ProcessType::parse(process).unwrap(),
        quantity,
        size: "Standard-1X".to_string(),
        epoch: 0,
        dyno_epochs: BTreeMap::new(),
    }
}

struct World {
    desired: Desired,
    seen: Vec<Seen>,
    crashes: Crashes,
    now: Instant,
}

impl World {
    fn new(current: Target, serving: Option<Target>, formation: Vec<Wanted>) -> Self {
        let desired = Desired {
            app: AppId(uuid::Uuid::nil()),
            name: "app".to_string(),
            maintenance: false,
            domains: Vec::new(),
            egress: Egress::Anywhere,
            https: Https::default(),
            current: Some(current),
            serving,
            formation,
        };
        Self { desired, seen: Vec::new(), crashes: Crashes::new(), now: Instant::now() }
    }

    fn dyno(mut self, name: &str, version: i64, epoch: i64, phase: Phase) -> Self {
        let generation = Generation {
            release: target(version, &[], false).release,
            epoch,
            size: "Standard-1X".to_string(),
        };
        self.seen.push(Seen {
            container: format!("{name}@{version}/{epoch}"),
            name: DynoName::parse(name).unwrap(),
            generation,
            phase,
            since: self.now,
        });
        self
    }

    fn crash(mut self, name: &str, version: i64, count: usize) -> Self {
        let generation = Generation {
            release: target(version, &[], false).release,
            epoch: 0,
            size: "Standard-1X".to_string(),
        };
        self.crashes.insert(
            (DynoName::parse(name).unwrap(), generation.release),
            Crash {
                generation,
                count,
                at: self.now,
                wall: Timestamp(0),
                reason: "exited with status 1".to_string(),
            },
        );
        self
    }

    fn plan(&self) -> Plan {
        plan(&self.desired, &self.seen, &self.crashes, Duration::from_secs(60), self.now)
    }

    /// Steps in short: `+web.1@3`, `-web.1@2/0` (retire), `!…` (stop), `*3` (served).
    fn steps(&self) -> Vec<String> {
        let version = |id: ReleaseId| id.0.as_u128();
        self.plan()
            .steps
            .iter()
            .map(|step| match step {
                Step::Start { name, generation } => {
                    format!("+{name}@{}", version(generation.release))
                }
                Step::Retire { container } => format!("-{container}"),
                Step::Stop { container } => format!("!{container}"),
                Step::BootTimeout { container } => format!("R10 {container}"),
                Step::Served { release } => format!("*{}", version(*release)),
            })
            .collect()
    }
}

use Phase::{Starting, Stopping, Up};

#[test]
fn a_first_deploy_starts_and_then_serves() {
    let world = World::new(target(3, &["web"], false), None, vec![wanted("web", 1)]);
    assert_eq!(world.steps(), ["+web.1@3"]);
    assert_eq!(world.plan().web, Web::Starting);
    let world = world.dyno("web.1", 3, 0, Up);
    assert_eq!(world.steps(), ["*3"]);
    assert_eq!(world.plan().routed, ["web.1@3/0"]);
    assert_eq!(world.plan().progress, Progress::Settled);
}

#[test]
fn the_old_release_serves_until_every_new_web_dyno_listens() {
    let world = World::new(
        target(4, &["web"], false),
        Some(target(3, &["web"], true)),
        vec![wanted("web", 2)],
    )
    .dyno("web.1", 3, 0, Up)
    .dyno("web.2", 3, 0, Up)
    .dyno("web.1", 4, 0, Up);
    assert_eq!(world.steps(), ["+web.2@4"]);
    assert_eq!(world.plan().routed, ["web.1@3/0", "web.2@3/0"]);
    assert_eq!(world.plan().progress, Progress::Converging);
    let world = world.dyno("web.2", 4, 0, Up);
    assert_eq!(world.steps(), ["*4", "-web.1@3/0", "-web.2@3/0"]);
    assert_eq!(world.plan().routed, ["web.1@4/0", "web.2@4/0"]);
}

#[test]
fn a_release_that_crashes_gets_no_traffic_and_the_old_one_is_kept_whole() {
    let world = World::new(
        target(4, &["web", "worker"], false),
        Some(target(3, &["web", "worker"], true)),
        vec![wanted("web", 2), wanted("worker", 1)],
    )
    .dyno("web.1", 3, 0, Up)
    .dyno("worker.1", 3, 0, Up)
    .dyno("web.2", 4, 0, Up)
    .crash("web.1", 4, 2);
    // web.2 of the old release had crashed: it is started from the release that serves.
    assert_eq!(world.steps(), ["+web.2@3"]);
    assert_eq!(world.plan().routed, ["web.1@3/0"]);
    let failing = "web.1 of v4 exited with status 1".to_string();
    assert_eq!(world.plan().progress, Progress::Failing(failing));
    assert!(world.plan().look_again.unwrap() > world.now);
}

#[test]
fn a_crashed_first_release_shows_as_crashed() {
    let world =
        World::new(target(3, &["web"], false), None, vec![wanted("web", 1)]).crash("web.1", 3, 2);
    assert_eq!(world.plan().web, Web::Crashed);
    assert!(world.steps().is_empty());
    // The first restart is at once.
    let world =
        World::new(target(3, &["web"], false), None, vec![wanted("web", 1)]).crash("web.1", 3, 1);
    assert_eq!(world.steps(), ["+web.1@3"]);
}

#[test]
fn a_new_release_ends_the_old_ones_backoff() {
    let world = World::new(
        target(4, &["web"], false),
        Some(target(3, &["web"], true)),
        vec![wanted("web", 1)],
    )
    .crash("web.1", 3, 7);
    assert_eq!(world.steps(), ["+web.1@4"]);
}

#[test]
fn scaling_down_retires_the_highest_and_up_touches_nothing_running() {
    let current = target(3, &["web"], true);
    let world = World::new(current.clone(), Some(current.clone()), vec![wanted("web", 1)])
        .dyno("web.1", 3, 0, Up)
        .dyno("web.2", 3, 0, Up);
    assert_eq!(world.steps(), ["-web.2@3/0"]);
    assert_eq!(world.plan().routed, ["web.1@3/0"]);
    let world = World::new(current.clone(), Some(current.clone()), vec![wanted("web", 3)])
        .dyno("web.1", 3, 0, Up);
    assert_eq!(world.steps(), ["+web.2@3", "+web.3@3"]);
    let world =
        World::new(current.clone(), Some(current), vec![wanted("web", 0)]).dyno("web.1", 3, 0, Up);
    assert_eq!(world.steps(), ["-web.1@3/0"]);
    assert_eq!(world.plan().web, Web::None);
    assert_eq!(world.plan().progress, Progress::Settled);
}

#[test]
fn a_restart_replaces_each_web_dyno_when_its_successor_listens() {
    let current = target(3, &["web"], true);
    let mut web = wanted("web", 2);
    web.epoch = 1;
    let world = World::new(current.clone(), Some(current), vec![web])
        .dyno("web.1", 3, 0, Up)
        .dyno("web.2", 3, 0, Up)
        .dyno("web.1", 3, 1, Up)
        .dyno("web.2", 3, 1, Starting);
    assert_eq!(world.steps(), ["-web.1@3/0"]);
    assert_eq!(world.plan().routed, ["web.2@3/0", "web.1@3/1"]);
    assert_eq!(world.plan().progress, Progress::Converging);
}

#[test]
fn what_a_restart_replaced_never_serves_again() {
    let up = |world: World| {
        ["web.1", "web.2", "web.3"]
            .iter()
            .fold(world, |world, name| world.dyno(name, 3, 0, Up).dyno(name, 3, 1, Up))
    };
    let mut web = wanted("web", 3);
    web.epoch = 2;
    let current = target(3, &["web"], true);
    let world = up(World::new(current.clone(), Some(current.clone()), vec![web.clone()]));
    assert_eq!(world.plan().routed, ["web.1@3/1", "web.2@3/1", "web.3@3/1"]);
    assert_eq!(
        world.steps(),
        ["+web.1@3", "+web.2@3", "+web.3@3", "-web.1@3/0", "-web.2@3/0", "-web.3@3/0"]
    );
    // Nor does it while a newer release comes up.
    let world = up(World::new(target(4, &["web"], false), Some(current), vec![web]));
    assert_eq!(world.plan().routed, ["web.1@3/1", "web.2@3/1", "web.3@3/1"]);
    assert_eq!(world.steps()[3..], ["-web.1@3/0", "-web.2@3/0", "-web.3@3/0"]);
}

#[test]
fn workers_stop_before_they_start_and_wait_for_web() {
    let formation = vec![wanted("web", 1), wanted("worker", 1)];
    let old = Some(target(3, &["web", "worker"], true));
    let world = World::new(target(4, &["web", "worker"], false), old.clone(), formation.clone())
        .dyno("web.1", 3, 0, Up)
        .dyno("worker.1", 3, 0, Up)
        .dyno("web.1", 4, 0, Starting);
    assert!(world.steps().is_empty());
    let world = World::new(target(4, &["web", "worker"], true), old.clone(), formation.clone())
        .dyno("web.1", 4, 0, Up)
        .dyno("worker.1", 3, 0, Up);
    assert_eq!(world.steps(), ["!worker.1@3/0"]);
    let world = World::new(target(4, &["web", "worker"], true), old.clone(), formation.clone())
        .dyno("web.1", 4, 0, Up)
        .dyno("worker.1", 3, 0, Stopping);
    assert!(world.steps().is_empty());
    let world =
        World::new(target(4, &["web", "worker"], true), old, formation).dyno("web.1", 4, 0, Up);
    assert_eq!(world.steps(), ["+worker.1@4"]);
}

#[test]
fn an_app_with_only_workers_takes_over_when_they_run() {
    let world = World::new(
        target(4, &["worker"], false),
        Some(target(3, &["worker"], true)),
        vec![wanted("worker", 1)],
    );
    assert_eq!(world.steps(), ["+worker.1@4"]);
    assert_eq!(world.plan().web, Web::None);
    let world = world.dyno("worker.1", 4, 0, Up);
    assert_eq!(world.steps(), ["*4"]);
}

#[test]
fn a_candidate_of_a_superseded_release_stops() {
    let world = World::new(
        target(5, &["web"], false),
        Some(target(3, &["web"], true)),
        vec![wanted("web", 1)],
    )
    .dyno("web.1", 3, 0, Up)
    .dyno("web.1", 4, 0, Starting)
    .dyno("web.1", 5, 0, Starting);
    assert_eq!(world.steps(), ["!web.1@4/0"]);
}

#[test]
fn a_dyno_that_never_listens_times_out() {
    let mut world = World::new(target(3, &["web"], false), None, vec![wanted("web", 1)])
        .dyno("web.1", 3, 0, Starting);
    assert_eq!(world.plan().look_again, Some(world.now + Duration::from_secs(60)));
    world.now += Duration::from_secs(60);
    assert_eq!(world.steps(), ["R10 web.1@3/0"]);
}

#[test]
fn an_app_without_a_release_runs_nothing() {
    let mut world =
        World::new(target(3, &["web"], true), None, vec![wanted("web", 1)]).dyno("web.1", 3, 0, Up);
    world.desired.current = None;
    assert_eq!(world.steps(), ["!web.1@3/0"]);
    assert_eq!(world.plan().web, Web::Blank);
}
