//! Apps that take more than they may: each is named in its own log and held, and another app's
//! requests never fail meanwhile.

use crate::support::{App, Platform, eventually, until};
use nix::sys::signal::Signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Longer than the platform needs to measure, find and say it.
const NAMED_WITHIN: Duration = Duration::from_secs(180);

/// Waits for a line of one of the app's dynos; other types fill the log meanwhile.
#[track_caller]
fn says(app: &App, process: &str, words: &str) -> String {
    until(&format!("{words:?} of {process}"), NAMED_WITHIN, || {
        let arguments = ["logs", "-n", "1500", "-s", "heroku", "-p", process];
        let log = app.cli(&arguments).succeeded().stdout;
        log.lines().find(|line| line.contains(words)).map(str::to_string)
    })
}

/// Requests one after the other, all of which must succeed, while `work` runs.
fn while_serving(victim: &App, work: impl FnOnce()) {
    let (done, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut connection = victim.platform.connection();
            while !done.load(Ordering::Relaxed) {
                assert_eq!(victim.get_on(&mut connection, "/").unwrap().status, 200);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Told even when the work fails, or the load would never end.
        let _end = EndsLoad(&done);
        work();
        done.store(true, Ordering::Relaxed);
        load.join().unwrap();
    });
    assert!(count.load(Ordering::Relaxed) > 20, "{count:?} requests");
}

struct EndsLoad<'a>(&'a AtomicBool);

impl Drop for EndsLoad<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn dynos_that_take_too_much_are_named_and_hurt_nobody() {
    let platform = Platform::shared();
    let victim = platform.app_from("tiny");
    let app = platform.app_from("rogue");
    let victims = victim.dynos();
    app.cli(&["ps:type", "eco"]).succeeded();
    while_serving(&victim, || {
        let types = ["crash", "deaf", "bomb", "hog", "child", "filler", "removed", "sockets"];
        let words: Vec<String> = types.iter().map(|name| format!("{name}=1")).collect();
        let mut arguments = vec!["ps:scale", "--no-wait"];
        arguments.extend(words.iter().map(String::as_str));
        app.cli(&arguments).succeeded();
        for (process, words) in [
            ("crash", "Process exited with status 3"),
            ("crash", "State changed from up to crashed"),
            ("hog", "Process running mem="),
            ("hog", "Error R14 (Memory quota exceeded)"),
            ("child", "Process running mem=128M(200.0%)"),
            ("child", "Error R15 (Memory quota vastly exceeded)"),
            ("child", "Process exited with status 137"),
            ("child", "State changed from up to crashed"),
            ("bomb", "Error S10 (Process limit) -> 6"),
            ("sockets", "Error S12 (Open files limit) -> A process has 500 of at most 500"),
            ("filler", "Error S11 (Disk limit) -> "),
            ("removed", "Error S11 (Disk limit) -> "),
            ("filler", "Process exited with status 137"),
        ] {
            says(&app, process, words);
        }
        assert!(app.ps().contains(&("hog.1".to_string(), "up".to_string())), "R14 ends nothing");
        app.cli(&["ps:scale", "deaf=0", "bomb=0", "--no-wait"]).succeeded();
        says(&app, "deaf", "Error R12 (Exit timeout) -> At least one process failed to exit");
        says(&app, "deaf", "Stopping remaining processes with SIGKILL");
    });
    assert_eq!(victim.dynos(), victims, "the victim's dyno was never touched");
    app.cli(&["apps:destroy", "--confirm", &app.name]).succeeded();
    eventually("nothing of it runs", || app.dynos().is_empty());
}

/// A build that misbehaves: what git shows, and what the app's log says.
fn build_fails(app: &App, script: &str, shown: &str, logged: &str) {
    app.write("build.sh", script);
    app.commit(logged);
    app.push().failed(1).says(shown);
    app.log_says(logged);
}

#[test]
fn builds_that_take_too_much_are_named_and_hurt_nobody() {
    let platform = Platform::shared();
    let victim = platform.app_from("tiny");
    let app = platform.app_with("rogue");
    while_serving(&victim, || {
        build_fails(
            &app,
            "perl misbehave.pl memory 4000\n",
            "The build needed more than its 1536 MB of memory.",
            "heroku[build]: Error S15 (Build memory limit)",
        );
        build_fails(
            &app,
            "head -c 4G /dev/zero > filled\n",
            "The build's disk is full",
            "heroku[build]: Error S16 (Build disk limit)",
        );
        build_fails(
            &app,
            "timeout --signal=KILL 8 perl misbehave.pl processes\nexit 1\n",
            "Push rejected, failed to compile Node.js app.",
            "heroku[build]: Error S10 (Process limit)",
        );
    });
    app.write("build.sh", "true\n");
    app.commit("behaves");
    app.push().succeeded().says("Released v3");
}

#[test]
fn what_the_host_has_no_memory_for_is_refused_or_waits_and_nothing_running_is_hurt() {
    let platform = Arc::new(Platform::start());
    let app = platform.app_from("tiny");
    let dynos = app.dynos();
    platform.end_server(Signal::SIGKILL);
    // More than any machine has.
    *platform.more_settings.lock().unwrap() = vec!["--memory-reserve=999999999".to_string()];
    platform.start_server();
    while_serving(&app, || {
        for arguments in [["ps:scale", "web=2"], ["ps:resize", "web=standard-2x"]] {
            let refused = app.cli(&arguments).failed(1);
            assert!(refused.stderr.contains("The host has no memory for this"), "{refused:?}");
        }
        assert_eq!(app.cli(&["ps:scale"]).succeeded().stdout, "web=1:Standard-1X\n");
        let waits = app.cli(&["config:set", "A=1"]).failed(1);
        assert!(waits.stderr.contains("web.1 waits: it needs 512M of memory"), "{waits:?}");
        says(&app, "web", "Error S17 (No memory on the host) -> The dyno waits: it needs 512M");
        app.write("change", "x");
        app.commit("a build takes memory too");
        app.push().failed(1).says("The host has no memory for this: a build needs 512M");
    });
    assert_eq!((app.dynos(), app.serving()), (dynos, "v3".to_string()));

    platform.end_server(Signal::SIGTERM);
    platform.more_settings.lock().unwrap().clear();
    platform.start_server();
    eventually("what waited has started", || app.serving() == "v4");
}
