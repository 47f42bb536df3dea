//! `kill -9` at bad moments: no request fails, nothing acknowledged is lost, nothing half is left.

use crate::support::{App, Connection, Platform, eventually, until};
use nix::sys::signal::Signal;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Writes numbered lines, some hundred a second.
const COUNTER: &str =
    "worker: exec node -e 'let n = 0; setInterval(() => console.log(\"n=\" + n++), 5)'\n";

fn numbers(app: &App) -> Vec<u64> {
    let log = app.cli(&["logs", "-n", "1500", "-s", "app", "-p", "worker"]).succeeded().stdout;
    log.lines().filter_map(|line| line.rsplit_once("n=")?.1.parse().ok()).collect()
}

#[test]
fn killing_the_server_fails_no_request_and_loses_no_line() {
    let platform = Arc::new(Platform::start());
    let app = platform.app_with("tiny");
    let web = std::fs::read_to_string(app.dir().join("Procfile")).unwrap();
    app.write("Procfile", &format!("{web}{COUNTER}"));
    app.commit("with a worker");
    app.push().succeeded();
    app.cli(&["config:set", "KEPT=yes"]).succeeded();
    app.cli(&["ps:scale", "worker=1"]).succeeded();
    eventually("what was replaced has gone", || app.dynos().len() == 2);
    let dynos = app.dynos();
    let done = AtomicBool::new(false);
    let count = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut connection = platform.connection();
            while !done.load(Ordering::Relaxed) {
                let reply = app.get_on(&mut connection, "/").unwrap();
                assert_eq!((reply.status, reply.header("x-release")), (200, "v4"));
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Told even when something below fails, or the load would never end.
        let _end = EndsLoad(&done);
        for _ in 0..3 {
            let before = count.load(Ordering::Relaxed);
            platform.end_server(Signal::SIGKILL);
            eventually("requests go on without a server", || {
                load.is_finished() || count.load(Ordering::Relaxed) > before + 50
            });
            platform.start_server();
            assert_eq!(app.cli(&["config:get", "KEPT"]).succeeded().stdout, "yes\n");
        }
        done.store(true, Ordering::Relaxed);
        load.join().unwrap();
    });
    let mut now = app.dynos();
    now.sort();
    let mut dynos = dynos;
    dynos.sort();
    assert_eq!(now, dynos, "the dynos go on");
    until("lines after the last start", Duration::from_secs(20), || {
        (numbers(&app).len() > 300).then_some(())
    });
    let numbers = numbers(&app);
    for pair in numbers.windows(2) {
        assert_eq!(pair[1], pair[0] + 1, "a gap or a line twice after n={}", pair[0]);
    }
    app.cli(&["ps:scale", "web=2"]).succeeded();
}

struct EndsLoad<'a>(&'a AtomicBool);

impl Drop for EndsLoad<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A child of the killed server has its lock until it runs a program of its own.
#[test]
fn a_lock_that_outlives_its_server_for_a_moment_stops_no_start() {
    let platform = Arc::new(Platform::start());
    platform.end_server(Signal::SIGKILL);
    let lock = platform.data_dir().join("lock");
    let mut holder = Command::new("flock").arg(&lock).args(["sleep", "1"]).spawn().unwrap();
    eventually("the lock is taken", || {
        Command::new("flock").arg("-n").arg(&lock).arg("true").status().unwrap().code() == Some(1)
    });
    platform.start_server();
    assert!(holder.wait().unwrap().success());
}

#[test]
fn killing_the_router_refuses_no_connection_and_is_soon_forgotten() {
    let platform = Arc::new(Platform::start());
    let app = platform.app_from("tiny");
    for _ in 0..3 {
        let [router] = platform.router_pids()[..] else {
            panic!("one router, not {:?}", platform.router_pids())
        };
        goes_first(router);
        crate::support::process::signal(router, Signal::SIGKILL);
        let killed = Instant::now();
        let answered = until("the app answers again", Duration::from_secs(5), || {
            let mut connection = Connection::open(platform.address).expect("never refused");
            let reply = app.get_on(&mut connection, "/").ok()?;
            assert_eq!(reply.status, 200, "{}", reply.text());
            Some(killed.elapsed())
        });
        println!("the router answered again after {answered:?}");
        assert!(answered < Duration::from_secs(1), "the router was away for {answered:?}");
        eventually("the old one is gone", || platform.router_pids().len() == 1);
    }
    app.cli(&["ps"]).succeeded().says("web.1: up");
}

/// Every thread of it has the priority that the server gave it.
fn goes_first(router: i32) {
    for task in std::fs::read_dir(format!("/proc/{router}/task")).unwrap().flatten() {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap();
        // The name, which may hold spaces, is in brackets.
        let nice = stat.rsplit(')').next().unwrap().split_ascii_whitespace().nth(16).unwrap();
        assert_eq!(nice, "-10", "{stat}");
    }
}

#[test]
fn a_build_that_was_cut_short_is_failed_and_the_push_can_be_repeated() {
    let platform = Arc::new(Platform::start());
    let app = platform.app_with("tiny");
    let script = "echo compiling-now && (test -n \\\"$QUICK\\\" || sleep 60)";
    app.write(
        "package.json",
        &format!(
            "{{ \"name\": \"slow\", \"engines\": {{ \"node\": \"24.x\" }}, \
             \"scripts\": {{ \"build\": \"{script}\" }} }}\n"
        ),
    );
    app.commit("slow to build");
    let errors = app.dir().join("../push.txt");
    let mut push = app.git_command();
    push.args(["push", "senryu", "main"]).stdout(Stdio::null());
    push.stderr(std::fs::File::create(&errors).unwrap());
    let mut push = push.spawn().unwrap();
    until("the build compiles", Duration::from_secs(90), || {
        let text = std::fs::read_to_string(&errors).unwrap();
        assert!(push.try_wait().unwrap().is_none(), "{text}");
        text.contains("remote:        compiling-now").then_some(())
    });
    assert_eq!(app.containers("build").len(), 1);
    platform.end_server(Signal::SIGKILL);
    platform.start_server();
    assert!(!push.wait().unwrap().success(), "git is told that the push failed");
    let status = || app.api("GET", "/builds", None).is(200).json()[0]["status"].clone();
    until("the build is failed", Duration::from_secs(10), || (status() == "failed").then_some(()));
    assert_eq!(app.pushed_commit("main"), None);
    eventually("no build container is left", || app.containers("build").is_empty());
    assert_eq!(app.releases().len(), 2);

    app.cli(&["config:set", "QUICK=1"]).succeeded();
    app.push().succeeded().says("Released v4");
    assert_eq!(app.serving(), "v4");
    eventually("the image of the release is the only one", || {
        crate::support::docker::images(&platform.label()).len() == 1
    });
}
