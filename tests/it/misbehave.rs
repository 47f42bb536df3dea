//! What the host has no room for is refused or waits, and what runs is not hurt. Apps and builds
//! that take all they can get are in `scripts/soak --misbehave`: beside them nothing else can be
//! tested.

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
