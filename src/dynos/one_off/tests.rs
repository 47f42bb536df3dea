//! One-offs over an engine in memory, with time that passes as the test says.

use super::*;
use crate::clock::Timestamp;
use crate::dynos::reconciler::tests::World;
use crate::dynos::{Dynos, DynosParts};
use crate::engine::Output;
use crate::engine::fake::Behaviour;
use crate::limits;
use crate::logs::Filter;
use crate::model::{Release, Slug, User, UserId};
use crate::store;
use bytes::Bytes;
use std::time::Duration;

/// Any machine has memory for fifty of these.
const SMALL: &str = "--dyno-sizes=Standard-1X:memory=32,kill=64";

fn request(attach: bool) -> RunRequest {
    RunRequest { command: "sleep 99".to_string(), attach, ..RunRequest::default() }
}

fn user() -> User {
    let (id, at) = (UserId::random(), Timestamp(0));
    let email = "a@example.com".to_string();
    User { id, email, admin: false, created_at: at, updated_at: at }
}

impl World {
    async fn run(&self, request: RunRequest) -> Run {
        self.dynos.run(&self.app, &user(), request).await.unwrap()
    }

    /// What the platform said of one-offs, without times.
    async fn said(&self) -> Vec<String> {
        let logs = &self.dynos.parts.logs;
        let lines = logs.last(self.app.id, &Filter::default(), 1000).await.unwrap();
        let own = lines.into_iter().filter(|line| line.process.starts_with("r"));
        own.map(|line| line.message).collect()
    }

    async fn current(&self) -> (Release, Slug) {
        let app = self.app.id;
        let read = self.store.read(move |db| {
            let release = store::releases::current_release(db, app)?.unwrap();
            let slug = store::slugs::by_id(db, release.slug.unwrap())?.unwrap();
            Ok((release, slug))
        });
        read.await.unwrap()
    }

    async fn gone(&self) {
        let none = |dynos: &Dynos| dynos.one_offs.of_app(self.app.id).is_empty();
        self.until("no one-off", |engine| none(&self.dynos) && engine.containers() == 0).await;
    }

    async fn until_signals(&self, signals: &[&str]) {
        self.until(&format!("{signals:?}"), |engine| engine.signals() == signals).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_comes_is_an_attach_error() {
    let world = World::new(0).await;
    let run = world.run(request(true)).await;
    world.gone().await;
    let said = world.said().await;
    assert_eq!(
        said,
        [
            "State changed from starting to up",
            "Awaiting client",
            "Error R13 (Attach error) -> Failed to attach to process",
            "State changed from up to complete",
        ]
    );
    assert!(world.dynos.attach(&run.secret.unwrap()).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_lost_client_is_three_hang_ups_and_a_program_that_does_not_mind_lives_to_its_limit() {
    let world = World::new(0).await;
    world.engine.behave(Behaviour::IgnoresTerm);
    let limit = Some(Duration::from_secs(600));
    let run = world.run(RunRequest { time_to_live: limit, ..request(true) }).await;
    let secret = run.secret.unwrap();
    let session = world.dynos.attach(&secret).unwrap();
    assert!(world.dynos.attach(&secret).is_err(), "the secret is good for one client");
    world.until("it runs", |engine| engine.running().len() == 1).await;
    drop(session);
    world.until_signals(&["SIGHUP", "SIGHUP", "SIGHUP"]).await;
    assert_eq!(world.dynos.of_app(world.app.id).len(), 1, "it lives on");
    world.until_signals(&["SIGHUP", "SIGHUP", "SIGHUP", "SIGTERM", "SIGKILL"]).await;
    world.gone().await;
    let said = world.said().await;
    let hang_up = "Client connection closed. Sending SIGHUP to all processes";
    assert_eq!(said.iter().filter(|line| *line == hang_up).count(), 3, "{said:#?}");
    let end: Vec<&str> = said.iter().skip(6).map(|line| line.split(" (").next().unwrap()).collect();
    assert_eq!(
        end,
        [
            "Error R16",
            "Time limit reached",
            "Stopping all processes with SIGTERM",
            "Error R12",
            "Stopping remaining processes with SIGKILL",
            "Process exited with status 137",
            "State changed from up to complete",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_silence_closes_the_connection_and_bytes_of_either_side_do_not() {
    let world = World::new(0).await;
    let run = world.run(request(true)).await;
    let mut session = world.dynos.attach(&run.secret.unwrap()).unwrap();
    world.until("it runs", |engine| engine.running().len() == 1).await;
    for round in 0..4 {
        tokio::time::sleep(Duration::from_secs(3000)).await;
        assert!(!session.closed.is_cancelled());
        if round % 2 == 0 {
            session.input.send(Input::Data(Bytes::from_static(b"x"))).await.unwrap();
        } else {
            world.engine.say(Output { stderr: true, bytes: Bytes::from_static(b"y") }).await;
            assert!(
                matches!(session.output.recv().await, Some(Said::Output(piece)) if piece.stderr)
            );
        }
    }
    tokio::time::timeout(Duration::from_secs(3700), session.closed.cancelled()).await.unwrap();
    assert!(matches!(session.output.recv().await, Some(Said::Closed(_))));
    world.gone().await;
    assert_eq!(world.engine.signals(), ["SIGHUP"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_one_off_and_another_name_ends_nothing() {
    let world = World::new(0).await;
    let run = world.run(request(false)).await;
    assert!(run.secret.is_none());
    assert!(!world.dynos.stop_one_off(world.app.id, "run.1"));
    assert!(world.dynos.stop_one_off(world.app.id, &run.dyno.name.to_string()));
    world.gone().await;
    assert_eq!(world.engine.signals(), ["SIGTERM"]);
    let said = world.said().await;
    assert_eq!(said.last().unwrap(), "State changed from up to complete");
    let waiting = world.run(request(true)).await;
    assert_eq!(world.dynos.stop_one_offs(world.app.id, Some("run")), 1);
    world.gone().await;
    assert!(world.dynos.attach(&waiting.secret.unwrap()).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_release_command_is_ended_at_its_time_limit_or_by_a_user() {
    let world = World::new(0).await;
    let app = world.app.id;
    let (release, slug) = world.current().await;
    let started = tokio::time::Instant::now();
    let run = |release: Release| {
        let (dynos, app, slug) = (world.dynos.clone(), world.app.clone(), slug.clone());
        async move {
            let made = dynos.make_release_command(&app, &release, &slug, "migrate", |_| {}).await;
            let made = made.unwrap();
            let outcome = made.run(|_| {}).await;
            made.clear().await;
            outcome
        }
    };
    let outcome = run(release.clone()).await.unwrap();
    assert_eq!(outcome.ended_by, Some(EndedBy::TimeLimit));
    // Its end is a time of the clock, which is not paused, while simulated time passes whenever
    // everybody waits for a thread.
    assert!((3590..4000).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    let stop = async {
        world.until("it runs", |engine| engine.running().len() == 1).await;
        let name = world.dynos.of_app(app)[0].name.to_string();
        assert!(name.starts_with("release."));
        assert!(world.dynos.stop_one_off(app, &name));
    };
    let (outcome, ()) = tokio::join!(run(release), stop);
    assert_eq!(outcome.unwrap().ended_by, Some(EndedBy::User));
    world.gone().await;
}

#[tokio::test(start_paused = true)]
async fn each_kind_asks_for_memory_first_in_the_same_words() {
    let world = World::with(0, &["--memory-reserve=999999999"]).await;
    for attach in [true, false] {
        let refused = world.dynos.run(&world.app, &user(), request(attach)).await;
        let words = refused.err().unwrap().to_string();
        let expected = "The host has no memory for this: a one-off dyno needs 512M";
        assert!(words.starts_with(expected), "{words}");
    }
    let (release, slug) = world.current().await;
    let told = std::sync::Mutex::new(Vec::new());
    let say = |line: &str| told.lock().unwrap().push(line.to_string());
    let app = &world.app;
    let made = world.dynos.make_release_command(app, &release, &slug, "migrate", say).await;
    let words = made.err().unwrap().to_string();
    assert!(words.contains("no memory for its command: it needs 512M of memory"), "{words}");
    let expected = "Error S17 (No memory on the host) -> The release command waits: it needs 512M";
    let told = told.into_inner().unwrap();
    assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");
    assert_eq!(world.said().await, told);
}

/// A size of which the host has memory for one, and its megabytes.
fn more_than_half() -> (String, i64) {
    let free = crate::meminfo::bytes("MemAvailable").unwrap() >> 20;
    let share = free * 6 / 10;
    (format!("--dyno-sizes=Standard-1X:memory={share},kill={share}"), share)
}

/// What starts takes its memory only after a moment: all that came in it were given the same.
#[tokio::test]
async fn memory_is_promised_once() {
    let (size, share) = more_than_half();
    let world = World::with(0, &["--memory-reserve=0", &size]).await;
    world.run(request(false)).await;
    let refused = world.dynos.run(&world.app, &user(), request(true)).await;
    let words = refused.err().unwrap().to_string();
    assert!(words.starts_with("The host has no memory for this: a one-off dyno"), "{words}");
    assert!(words.contains(&format!(" and {share}M for what has just started")), "{words}");
}

#[tokio::test(start_paused = true)]
async fn memory_that_was_promised_is_waited_for() {
    let (size, _) = more_than_half();
    let world = World::with(0, &["--memory-reserve=0", &size]).await;
    let began = tokio::time::Instant::now();
    world.run(request(false)).await;
    let (release, slug) = world.current().await;
    let make = world.dynos.make_release_command(&world.app, &release, &slug, "migrate", |_| {});
    let made = make.await.unwrap();
    assert!(began.elapsed() >= limits::MEMORY_SETTLES, "{:?}", began.elapsed());
    made.clear().await;
    let began = tokio::time::Instant::now();
    world.deploy(&[("worker", "sleep")], Some(2)).await;
    world.until("two workers", |engine| engine.running().len() == 3).await;
    assert!(began.elapsed() >= limits::MEMORY_SETTLES, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn there_may_be_fifty() {
    let world = World::with(0, &[SMALL]).await;
    for _ in 0..50 {
        world.run(request(false)).await;
    }
    let names: std::collections::BTreeSet<String> =
        world.dynos.of_app(world.app.id).iter().map(|dyno| dyno.name.to_string()).collect();
    assert_eq!(names.len(), 50);
    let error = world.dynos.run(&world.app, &user(), request(false)).await.err().unwrap();
    assert!(error.to_string().contains("more than 50"), "{error}");
}

/// Fifty of users' made a deploy fail, since its release command found no place.
#[tokio::test(start_paused = true)]
async fn a_release_command_runs_beside_fifty_of_users_and_takes_no_place_of_theirs() {
    let world = World::with(0, &[SMALL]).await;
    let (release, slug) = world.current().await;
    let app = &world.app;
    let make = || world.dynos.make_release_command(app, &release, &slug, "migrate", |_| {});
    let first = make().await.unwrap();
    for _ in 0..50 {
        world.run(request(false)).await;
    }
    let second = make().await.unwrap();
    assert_eq!(world.dynos.of_app(app.id).len(), 52);
    first.clear().await;
    second.clear().await;
}

/// Its container was looked at for that only after it had gone, or later than its end was told.
#[tokio::test(start_paused = true)]
async fn what_starves_says_so_once_and_before_it_says_how_it_ended() {
    for (attach, to_death) in [(true, true), (true, false), (false, true), (false, false)] {
        let world = World::new(0).await;
        let run = world.run(request(attach)).await;
        let session = run.secret.map(|secret| world.dynos.attach(&secret).unwrap());
        world.until("it runs", |engine| engine.running().len() == 1).await;
        let name = run.dyno.name.to_string();
        match to_death {
            true => world.engine.starve_to_death(&name),
            false => world.engine.starve(&name),
        }
        world.gone().await;
        let said = world.said().await;
        let r15 = "Error R15 (Memory quota vastly exceeded)";
        let place = |words: &str| said.iter().position(|line| line == words);
        assert!(place(r15).is_some(), "{said:#?}");
        assert!(place(r15) < place("Process exited with status 137"), "{said:#?}");
        assert_eq!(said.iter().filter(|line| *line == r15).count(), 1, "{said:#?}");
        assert_eq!(world.engine.signals().len(), usize::from(!to_death));
        drop(session);
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_could_not_be_removed_is_tried_again() {
    let world = World::new(0).await;
    let run = world.run(request(false)).await;
    world.engine.refuse_removals(true);
    world.engine.end(&run.dyno.name.to_string(), 0);
    let one_offs = || world.dynos.one_offs.of_app(world.app.id).len();
    world.until("it has ended", |_| one_offs() == 0).await;
    assert_eq!(world.engine.containers(), 1);
    world.engine.refuse_removals(false);
    world.gone().await;
}

#[tokio::test(start_paused = true)]
async fn the_next_server_keeps_detached_ones_and_hangs_attached_ones_up() {
    let world = World::new(0).await;
    let detached = world.run(request(false)).await.dyno;
    let attached = world.run(request(true)).await;
    let _session = world.dynos.attach(&attached.secret.unwrap()).unwrap();
    world.run(request(true)).await;
    world.until("two run", |engine| engine.running().len() == 2).await;
    let old = &world.dynos.parts;
    let next = Dynos::start(DynosParts {
        store: old.store.clone(),
        engine: old.engine.clone(),
        logs: old.logs.clone(),
        metrics: old.metrics.clone(),
        releases: old.releases.clone(),
        settings: old.settings.clone(),
        traffic: old.traffic.clone(),
    });
    next.recover_one_offs().await.unwrap();
    let found = next.of_app(world.app.id);
    assert!(found.iter().any(|dyno| dyno.name == detached.name && dyno.command == "sleep 99"));
    let left = || next.of_app(world.app.id).len();
    world.until("the attached one ends", |_| left() == 1).await;
    assert_eq!(world.engine.signals(), ["SIGHUP"]);
    assert!(next.stop_one_off(world.app.id, &detached.id.to_string()));
    world.until("nothing runs", |engine| engine.running().is_empty() && left() == 0).await;
    assert!(old.engine.list().await.unwrap().is_empty());
}
