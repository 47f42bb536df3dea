//! The reconciler over an engine in memory, with time that passes as the test says. Dynos are
//! workers here, since whether a web dyno listens is read from a real process.

use super::handle::{Rollout, rollout_of};
use super::*;
use crate::apps::lifecycle;
use crate::config::ServerSettings;
use crate::dynos::{Progress, Traffic};
use crate::engine::fake::{Behaviour, FakeEngine};
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::model::DynoState;
use crate::model::{
    AppName, Caller, ConfigVars, ProcessType, Procfile, Slug, SlugId, User, UserId,
};
use crate::release::NewRelease;
use crate::release::Releases;
use crate::secrets::Secrets;
use crate::store;
use async_trait::async_trait;
use clap::{Args as _, FromArgMatches as _};

/// A router that takes every table over at once.
struct AtOnce;

#[async_trait]
impl Traffic for AtOnce {
    fn publish(&self, state: &Published) -> u64 {
        state.wakes + 1
    }
    async fn applied(&self, _: u64, _: Duration) -> bool {
        true
    }
    async fn drained(&self, _: Uuid, _: Duration) -> bool {
        true
    }
    fn forget(&self, _: Uuid) {}
}

pub struct World {
    dir: tempfile::TempDir,
    pub store: Store,
    releases: Releases,
    pub engine: Arc<FakeEngine>,
    pub dynos: Dynos,
    pub app: crate::model::App,
    user: User,
}

fn settings(dir: &std::path::Path, more: &[&str]) -> Arc<ServerSettings> {
    let command = ServerSettings::augment_args(clap::Command::new("server"));
    let run_dir = dir.join("run").display().to_string();
    let arguments = ["server", "--run-dir", &run_dir].into_iter().chain(more.iter().copied());
    let matches = command.get_matches_from(arguments);
    Arc::new(ServerSettings::from_arg_matches(&matches).unwrap())
}

impl World {
    /// An app with one release that has `worker: sleep` and `quantity` of it.
    pub async fn new(quantity: u32) -> Self {
        Self::with(quantity, &[]).await
    }

    /// The same with settings of the server.
    pub async fn with(quantity: u32, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state.db")).unwrap();
        let master = Secrets::from_file(&dir.path().join("key")).unwrap();
        let releases = Releases::new(store.clone(), master.new_data_key().unwrap().0);
        let now = Timestamp::now();
        let user = User {
            id: UserId::random(),
            email: "a@example.com".to_string(),
            admin: true,
            created_at: now,
            updated_at: now,
        };
        let row = user.clone();
        store.write(move |db| store::users::insert(db, &row, "-")).await.unwrap();
        let caller = Caller { user: user.clone(), authorization: None };
        let app = lifecycle::new_app(&caller, AppName::parse("app").unwrap(), "heroku-24");
        releases.create_app(&app, &user).await.unwrap();
        let engine = Arc::new(FakeEngine::empty());
        let dynos = Dynos::start(DynosParts {
            store: store.clone(),
            engine: engine.clone(),
            logs: Logs::open(&dir.path().join("logs"), 1 << 20).unwrap(),
            metrics: Metrics::open(&dir.path().join("metrics.db")).unwrap(),
            releases: releases.clone(),
            settings: settings(dir.path(), more),
            traffic: Arc::new(AtOnce),
        });
        let world = Self { dir, store, releases, engine, dynos, app, user };
        world.release("sleep", quantity).await;
        world
    }

    async fn release(&self, command: &str, quantity: u32) {
        self.deploy(&[("worker", command)], Some(quantity)).await;
    }

    /// Makes a release, and in the same moment scales `worker`.
    pub async fn deploy(&self, types: &[(&str, &str)], workers: Option<u32>) {
        let types = types.iter().map(|(process, command)| {
            (ProcessType::parse(process).unwrap(), (*command).to_string())
        });
        let types = types.collect();
        let slug = Slug {
            images: Default::default(),
            id: SlugId::random(),
            app: self.app.id,
            commit: None,
            commit_description: None,
            process_types: Procfile::from_map(types),
            image: "sha256:x".to_string(),
            layers: Vec::new(),
            size: 1,
            stack: "heroku-24".to_string(),
            buildpack_provided_description: None,
            created_at: Timestamp::now(),
            deleted_at: None,
        };
        let new = NewRelease {
            app: self.app.id,
            slug: Some(slug.clone()),
            config: ConfigVars::default(),
            description: "Deploy".to_string(),
            user: self.user.clone(),
        };
        let releases = self.releases.clone();
        self.store
            .write(move |db| {
                store::slugs::insert(db, &slug)?;
                releases.insert(db, &new)?;
                let Some(quantity) = workers else { return Ok(()) };
                let (worker, now) = (ProcessType::parse("worker")?, Timestamp::now());
                store::formations::scale(db, slug.app, &worker, quantity, "Standard-1X", now)
            })
            .await
            .unwrap();
        self.dynos.wake();
    }

    /// What the platform said of the app's dynos.
    async fn log(&self) -> Vec<String> {
        let filter = crate::logs::Filter::default();
        let lines = self.dynos.parts.logs.last(self.app.id, &filter, 1000).await.unwrap();
        lines.into_iter().map(|line| line.message).collect()
    }

    /// What became of what is wanted now. (`Dynos::rollout` gives up in real time, of which
    /// simulated time knows nothing.)
    async fn outcome(&self, dynos: &Dynos) -> Rollout {
        let wake = dynos.wake();
        let seen = || {
            let state = dynos.published();
            (state.wakes >= wake).then(|| rollout_of(&state, self.app.id))
        };
        let ended = |rollout: &Rollout| rollout.progress != Progress::Converging;
        self.until("an outcome", |_| seen().is_some_and(|rollout| ended(&rollout))).await;
        seen().unwrap()
    }

    /// Waits in simulated time.
    pub async fn until(&self, what: &str, done: impl Fn(&FakeEngine) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(7200);
        while !done(&self.engine) {
            assert!(Instant::now() < deadline, "never: {what}; {:?}", self.engine.running());
            // Lets the store's and the log's threads answer before simulated time moves on.
            let breath = self.store.read(|_| Ok(())).await;
            breath.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_starts_what_is_wanted_and_the_next_one_replaces_it() {
    let world = World::new(2).await;
    world.until("two workers", |engine| engine.running() == ["worker.1", "worker.2"]).await;
    world.release("sleep 2", 1).await;
    world
        .until("one new worker", |engine| {
            engine.running() == ["worker.1"] && engine.made() == 3 && engine.containers() == 1
        })
        .await;
    let rollout = world.outcome(&world.dynos).await;
    assert_eq!(rollout.progress, Progress::Settled);
    assert_eq!((rollout.current, rollout.serving), (Some(4), Some(4)));
    assert!(world.dir.path().join("run/dynos").read_dir().unwrap().count() == 1);
}

#[tokio::test(start_paused = true)]
async fn a_crash_restarts_at_once_and_then_backs_off_up_to_five_minutes() {
    let world = World::new(1).await;
    world.until("a worker", |engine| engine.running() == ["worker.1"]).await;
    world.engine.behave(Behaviour::Exits(1));
    world.engine.end("worker.1", 1);
    let began = Instant::now();
    // 0 + 10 + 20 + 40 + 80 + 160 + 300 + 300 seconds of waiting make nine containers in all.
    world.until("eight tries", |engine| engine.made() == 9).await;
    let waited = began.elapsed().as_secs();
    // Simulated time also passes while the store's thread answers: never less, a little more.
    assert!(waited >= 910, "{waited}");
    // For a moment after each start a worker counts as up.
    let failing = || rollout_of(&world.dynos.published(), world.app.id).progress;
    let reason = Progress::Failing("worker.1 of v3 exited with status 1".to_string());
    world.until("named", |_| failing() == reason).await;
    let state = || world.dynos.of_app(world.app.id).first().map(|dyno| dyno.state);
    world.until("crashed", |_| state() == Some(DynoState::Crashed)).await;
}

#[tokio::test(start_paused = true)]
async fn a_dyno_that_ignores_sigterm_is_killed_after_its_grace() {
    let world = World::new(1).await;
    world.until("a worker", |engine| engine.running() == ["worker.1"]).await;
    world.engine.behave(Behaviour::IgnoresTerm);
    let began = Instant::now();
    world.release("sleep 2", 0).await;
    world.until("nothing runs", |engine| engine.containers() == 0).await;
    assert_eq!(world.engine.signals(), ["SIGTERM", "SIGKILL"]);
    assert!(began.elapsed() >= Duration::from_secs(30));
}

/// No list had it: `ps` knew of no dyno, and who waited until all listed ones were up went on.
#[tokio::test(start_paused = true)]
async fn a_wanted_dyno_without_a_container_is_down_or_starting() {
    let world = World::with(1, &["--memory-reserve=999999999"]).await;
    let only = |world: &World| {
        let mut dynos = world.dynos.of_app(world.app.id);
        (dynos.len() == 1).then(|| dynos.remove(0))
    };
    world.until("it is listed", |_| only(&world).is_some()).await;
    let waits = only(&world).unwrap();
    assert_eq!((waits.name.to_string(), waits.state), ("worker.1".to_string(), DynoState::Down));
    let reason = waits.reason.unwrap();
    assert!(reason.starts_with("it needs 512M of memory") && reason.ends_with("(S17)"), "{reason}");

    let world = World::new(1).await;
    world.until("a worker", |engine| engine.running() == ["worker.1"]).await;
    world.engine.behave(Behaviour::IgnoresTerm);
    world.release("sleep 2", 1).await;
    world.until("the old one stops", |engine| !engine.signals().is_empty()).await;
    world.until("that is published", |_| only(&world).is_some_and(|dyno| dyno.version == 4)).await;
    let starts = only(&world).unwrap();
    assert_eq!((starts.state, starts.command.as_str()), (DynoState::Starting, "sleep 2"));
    assert_eq!(world.engine.made(), 1, "the old one has not ended");
}

/// Its other processes would be no whole app without the one that the kernel killed.
#[tokio::test(start_paused = true)]
async fn a_dyno_of_which_a_process_was_killed_for_memory_starts_anew_as_a_whole() {
    let world = World::new(1).await;
    world.until("a worker", |engine| engine.running() == ["worker.1"]).await;
    world.engine.starve("worker.1");
    world.until("a new one", |engine| engine.made() == 2 && engine.running().len() == 1).await;
    assert_eq!(world.engine.signals(), ["SIGKILL"]);
    let log = world.log().await;
    let quota = "Process running mem=1024M(200.0%)";
    let r15 = "Error R15 (Memory quota vastly exceeded)";
    for line in [quota, r15, "Process exited with status 137"] {
        assert_eq!(log.iter().filter(|said| *said == line).count(), 1, "{line}: {log:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn memory_above_the_quota_is_told_at_every_sample_and_ends_nothing() {
    let world = World::new(1).await;
    world.until("a worker", |engine| engine.running() == ["worker.1"]).await;
    world.engine.use_memory(600 << 20);
    let began = Instant::now();
    let samples = 5 * limits::SAMPLE_PERIOD;
    world.until("some samples", |_| began.elapsed() > samples).await;
    let log = world.log().await;
    let told = log.iter().filter(|line| *line == "Error R14 (Memory quota exceeded)").count();
    assert!((3..=6).contains(&told), "{told} in {log:#?}");
    assert_eq!((world.engine.made(), world.engine.signals().len()), (1, 0));
}

/// The one that had written most was ended, whoever filled the disk, and then the next.
#[tokio::test(start_paused = true)]
async fn a_short_disk_costs_only_who_fills_it() {
    let world = World::new(0).await;
    let disk = tempfile::tempdir().unwrap();
    world.engine.disk_at(disk.path());
    world.release("sleep", 2).await;
    world.until("two workers", |engine| engine.running().len() == 2).await;
    world.engine.write("worker.1", 70 << 20);
    let pass = async |time: Duration| {
        let began = Instant::now();
        world.until("time passes", |_| began.elapsed() > time).await;
    };
    pass(2 * limits::SAMPLE_PERIOD).await;
    world.engine.leave_disk(1 << 30);
    pass(limits::SAMPLE_PERIOD).await;
    assert_eq!(world.engine.signals().len(), 0, "nobody of ours fills it");
    world.engine.write("worker.2", 70 << 20);
    world.until("a new one", |engine| engine.made() == 3 && engine.running().len() == 2).await;
    pass(3 * limits::DISK_CULPRIT_PAUSE).await;
    assert_eq!((world.engine.signals(), world.engine.made()), (vec!["SIGKILL".to_string()], 3));
    let log = world.log().await;
    let told = log.iter().filter(|line| line.contains("Error S13 (Host disk full)"));
    assert!(told.count() == 1 && log.iter().any(|line| line.contains("wrote most of late, 70M")));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_started_is_named_and_leaves_no_container() {
    let world = World::new(0).await;
    world.engine.behave(Behaviour::DoesNotStart);
    world.release("sleep", 1).await;
    world.until("a try", |engine| engine.made() > 0 && engine.containers() == 0).await;
    let rollout = world.outcome(&world.dynos).await;
    let Progress::Failing(reason) = rollout.progress else { panic!("{:?}", rollout.progress) };
    assert!(reason.contains("could not be started: no such image"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_new_server_finds_the_dynos_of_the_old_one() {
    let world = World::new(2).await;
    world.until("two workers", |engine| engine.running().len() == 2).await;
    let again = Dynos::start(DynosParts {
        store: world.store.clone(),
        engine: world.engine.clone(),
        logs: world.dynos.parts.logs.clone(),
        metrics: world.dynos.parts.metrics.clone(),
        releases: world.releases.clone(),
        settings: world.dynos.parts.settings.clone(),
        traffic: Arc::new(AtOnce),
    });
    let rollout = world.outcome(&again).await;
    assert_eq!(rollout.progress, Progress::Settled);
    assert_eq!(world.engine.made(), 2);
    assert_eq!(again.of_app(world.app.id).len(), 2);
}

/// The dynos of an app whose row could not be read were taken for those of a destroyed one.
#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_read_what_is_wanted_stops_nothing() {
    let world = World::new(2).await;
    world.until("two workers", |engine| engine.running().len() == 2).await;
    let types = |text: String| {
        world.store.write(move |db| {
            db.execute("UPDATE slugs SET process_types = ?", [text]).unwrap();
            Ok(())
        })
    };
    types("neither this nor that".to_string()).await.unwrap();
    assert!(world.store.read(desired::read).await.is_err());
    let again = Dynos::start(DynosParts {
        store: world.store.clone(),
        engine: world.engine.clone(),
        logs: world.dynos.parts.logs.clone(),
        releases: world.releases.clone(),
        settings: world.dynos.parts.settings.clone(),
        traffic: Arc::new(AtOnce),
        metrics: world.dynos.parts.metrics.clone(),
    });
    let began = Instant::now();
    world.until("some rounds", |_| began.elapsed() > 3 * limits::RECONCILE_PERIOD).await;
    assert_eq!((world.engine.running().len(), world.engine.signals().len()), (2, 0));
    types("{\"worker\": \"sleep\"}".to_string()).await.unwrap();
    assert_eq!(world.outcome(&again).await.progress, Progress::Settled);
    assert_eq!(world.engine.made(), 2);
}

/// They were stopped as soon as a release was made, also by one that never came up.
#[tokio::test(start_paused = true)]
async fn types_that_a_release_drops_run_on_until_it_has_taken_over() {
    let world = World::new(1).await;
    world.until("a worker", |engine| engine.running() == ["worker.1"]).await;
    world.engine.behave(Behaviour::Exits(1));
    world.deploy(&[("web", "node"), ("jobs", "sleep")], None).await;
    let rollout = world.outcome(&world.dynos).await;
    assert!(matches!(rollout.progress, Progress::Failing(_)), "{:?}", rollout.progress);
    assert_eq!(world.engine.running(), ["worker.1"]);
    let (app, types) = (world.app.id, || {
        let rows = world.store.read(move |db| store::formations::of_app(db, world.app.id));
        async { rows.await.unwrap().into_iter().map(|row| row.process.to_string()) }
    });
    assert_eq!(types().await.collect::<Vec<_>>(), ["jobs", "web", "worker"]);
    let taken_over = world.store.write(move |db| {
        let release = store::releases::current_release(db, app)?.unwrap().id;
        took_over(db, release, Timestamp::now())
    });
    taken_over.await.unwrap();
    assert_eq!(types().await.collect::<Vec<_>>(), ["jobs", "web"]);
}

/// A listing that came while an ended dyno was cleared up adopted it again: its one crash counted
/// twice, and its successor was stopped.
#[tokio::test(start_paused = true)]
async fn a_dyno_that_is_being_cleared_up_is_not_found_again() {
    let world = World::new(1).await;
    world.until("a worker", |engine| engine.running() == ["worker.1"]).await;
    world.engine.hold_removals(true);
    world.engine.end("worker.1", 1);
    world.until("a successor", |engine| engine.made() == 2 && engine.running().len() == 1).await;
    let began = Instant::now();
    let listings = 3 * limits::RECONCILE_PERIOD;
    world.until("some listings", |_| began.elapsed() > listings).await;
    assert_eq!((world.engine.made(), world.engine.running().len()), (2, 1));
    world.engine.hold_removals(false);
    world.until("the old one is gone", |engine| engine.containers() == 1).await;
    assert_eq!(world.outcome(&world.dynos).await.progress, Progress::Settled);
}

/// A Docker that was killed twice in ten minutes let the second restart wait like a crash loop.
#[tokio::test(start_paused = true)]
async fn a_dyno_that_dies_with_the_engine_has_not_crashed() {
    let world = World::new(2).await;
    world.until("two workers", |engine| engine.running().len() == 2).await;
    for round in 1..=3 {
        // Docker that is told to stop ends its containers before itself.
        world.engine.end("worker.1", 137);
        world.engine.go_away(true);
        let began = Instant::now();
        world.until("some tries", |_| began.elapsed() > Duration::from_secs(3)).await;
        let known = world.dynos.of_app(world.app.id);
        let reason = |dyno: &crate::dynos::Dyno| dyno.reason.clone().unwrap_or_default();
        let told = |dyno| reason(dyno).contains("Docker has not answered since");
        assert!(known.len() == 2 && known.iter().all(told), "{known:?}");
        world.engine.go_away(false);
        let back = Instant::now();
        world.until("two workers again", |engine| engine.running().len() == 2).await;
        let waited = back.elapsed();
        assert!(waited < Duration::from_secs(9), "round {round} took {waited:?}");
        let outcome = world.outcome(&world.dynos).await;
        assert_eq!(outcome.progress, Progress::Settled);
        assert!(world.dynos.of_app(world.app.id).iter().all(|dyno| dyno.reason.is_none()));
    }
    let log = world.dynos.parts.logs.last(world.app.id, &Default::default(), 1000).await.unwrap();
    let says = |words: &str| log.iter().filter(|line| line.message.contains(words)).count();
    assert_eq!(says("Docker did not answer for"), 6, "{log:#?}");
    assert_eq!(says("all dynos run again"), 3, "{log:#?}");
    assert!(says("It ended with Docker") >= 3, "{log:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_container_that_somebody_removes_is_replaced_at_once() {
    let world = World::new(1).await;
    for made in 1..=3 {
        world.until("a worker", |engine| engine.running().len() == 1).await;
        assert_eq!(world.engine.made(), made);
        let began = Instant::now();
        world.engine.lose("worker.1");
        world.until("another one", |engine| engine.made() == made + 1).await;
        assert!(began.elapsed() < limits::RECONCILE_PERIOD);
    }
    assert_eq!(world.outcome(&world.dynos).await.progress, Progress::Settled);
}
