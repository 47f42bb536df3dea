//! The release phase in depth: stopped by a user, two apps at once, a server that dies or stops in
//! its middle, and a flood of output.

use crate::support::{App, Platform, docker, eventually, until};
use nix::sys::signal::Signal;
use std::sync::Arc;
use std::time::Duration;

/// `tiny` with a release command that does what the config var `PHASE` says.
fn app_on(platform: Arc<Platform>) -> App {
    let app = platform.app_with("tiny");
    app.write("Procfile", "web: node server.js\nrelease: echo phase begins; eval \"$PHASE\"\n");
    app.commit("with a release command");
    app.push().succeeded();
    app
}

fn release_dyno(app: &App) -> String {
    until("a release command runs", Duration::from_secs(30), || {
        let (name, state) = app.ps().into_iter().find(|(name, _)| name.starts_with("release."))?;
        (state == "up").then_some(name)
    })
}

fn status(app: &App, version: usize) -> String {
    app.releases()[version - 1]["status"].as_str().unwrap().to_string()
}

#[test]
fn a_release_command_can_be_stopped_and_two_apps_run_theirs_at_once() {
    let platform = Platform::shared();
    let (one, two) = (app_on(platform.clone()), app_on(platform));
    let slow = ["config:set", "PHASE=trap 'echo asked to end; exit 0' TERM; sleep 300 & wait"];
    std::thread::scope(|scope| {
        let setting = [scope.spawn(|| one.cli(&slow)), scope.spawn(|| two.cli(&slow))];
        let (first, second) = (release_dyno(&one), release_dyno(&two));
        assert_eq!((status(&one, 4), status(&two, 4)), ("pending".into(), "pending".into()));
        assert_eq!((one.serving(), two.serving()), ("v3".into(), "v3".into()));
        // What ends well because it was told to end has not done its work.
        one.cli(&["ps:stop", &first]).succeeded();
        two.cli(&["ps:stop", &second]).succeeded();
        for output in setting {
            output.join().unwrap().failed(1).says("failed in its release phase");
        }
    });
    for app in [&one, &two] {
        assert_eq!((status(app, 4), app.serving()), ("failed".into(), "v3".into()));
        app.log_says("Release v4 failed: it was stopped");
        app.cli(&["releases:output", "v4"])
            .succeeded()
            .says("phase begins")
            .says("asked to end")
            .says("The release command failed: it was stopped.");
        eventually("nothing of it is left", || app.dynos().len() == 1);
    }
    one.cli(&["config:set", "PHASE=echo migrated"]).succeeded();
    assert_eq!((status(&one, 5), one.serving()), ("succeeded".into(), "v5".into()));
    one.log_says("migrated");
}

/// The dyno of a release command that waits for `let_go`, once it has begun.
fn gated(app: &App, variable: &str, begun: usize) -> String {
    let gate = "PHASE=until [ -e /tmp/go ]; do sleep 0.1; done; echo migrated; rm /tmp/go";
    app.cli(&["config:set", gate, variable, "--no-wait"]).succeeded();
    let name = release_dyno(app);
    eventually("its command has begun", || app.log().matches("]: phase begins").count() == begun);
    let labels = [format!("senryu.app={}", app.id), format!("senryu.dyno={name}")];
    docker::containers(&labels).remove(0)
}

fn let_go(container: &str) {
    docker::docker(&["exec", container, "touch", "/tmp/go"]).succeeded();
}

#[test]
fn a_release_command_outlives_the_server_and_its_release_goes_by_its_end() {
    let platform = Arc::new(Platform::start());
    let app = app_on(platform.clone());
    let migrated = || app.log().matches("]: migrated").count();
    let output = |version: &str| app.cli(&["releases:output", version]).succeeded();

    // The one of the first release has begun before.
    let container = gated(&app, "ROUND=1", 2);
    platform.end_server(Signal::SIGKILL);
    assert_eq!(app.serving(), "v3", "nobody notices");
    platform.start_server();
    assert_eq!(status(&app, 4), "pending");
    release_dyno(&app);
    let_go(&container);
    eventually("the release has succeeded", || status(&app, 4) == "succeeded");
    eventually("it serves", || app.serving() == "v4");
    output("v4").says("phase begins").says("The server was restarted").says("migrated");
    app.log_says("Release v4: its command goes on, the server is back");
    assert_eq!(migrated(), 1, "{}", app.log());
    eventually("its dyno has gone", || app.dynos().len() == 1 && app.ps().len() == 1);

    // It ends while nobody is there: what it said and how it ended is known all the same.
    let container = gated(&app, "ROUND=2", 3);
    platform.end_server(Signal::SIGKILL);
    let_go(&container);
    docker::docker(&["wait", &container]).succeeded();
    platform.start_server();
    eventually("the release has succeeded", || status(&app, 5) == "succeeded");
    eventually("it serves", || app.serving() == "v5");
    eventually("its last words are in the log", || migrated() == 2);

    // A stop waits for it.
    let container = gated(&app, "ROUND=3", 4);
    std::thread::scope(|scope| {
        let end = scope.spawn(|| platform.end_server(Signal::SIGTERM));
        eventually("the server stops", || platform.server_log().contains("stopping: no new work"));
        let_go(&container);
        end.join().unwrap();
    });
    platform.start_server();
    assert_eq!(status(&app, 6), "succeeded");
    eventually("it serves", || app.serving() == "v6");

    // One that somebody removes has not done its work.
    let container = gated(&app, "ROUND=4", 5);
    platform.end_server(Signal::SIGKILL);
    docker::docker(&["rm", "-f", &container]).succeeded();
    platform.start_server();
    eventually("the release has failed", || status(&app, 7) == "failed");
    app.log_says("Release v7 failed: its command was cut off, it ended while the server was away");
    output("v7").says("phase begins").says("The release command was cut off");
    assert_eq!(app.serving(), "v6");
    app.cli(&["config:set", "PHASE=echo again"]).succeeded();
    assert_eq!((status(&app, 8), app.serving()), ("succeeded".into(), "v8".into()));
}

#[test]
fn a_flood_of_output_is_kept_and_held_by_nobody_and_what_takes_too_long_is_ended() {
    let platform = Arc::new(Platform::start());
    let app = app_on(platform.clone());
    let before = platform.server_memory();
    let flood = "PHASE=yes 'a line of the flood, as long as most lines are' | head -c 100000000";
    app.cli(&["config:set", flood]).succeeded();
    let grown = platform.server_memory().saturating_sub(before);
    let output = app.cli(&["releases:output", "v4"]).succeeded().stdout;
    println!("the server grew by {grown} KiB; {} bytes of output are kept", output.len());
    let begin = "phase begins\na line of the flood";
    assert!(output.starts_with(begin), "{:?}", &output[..output.len().min(200)]);
    assert_eq!(output.len(), "phase begins\n".len() + 100_000_000);
    assert!(grown < 60 * 1024, "the server grew by {grown} KiB");
    assert_eq!((status(&app, 4), app.serving()), ("succeeded".into(), "v4".into()));
    app.log_says("a line of the flood");

    platform.end_server(Signal::SIGTERM);
    let limits = ["--release-timeout=6", "--run-timeout=8"];
    platform.more_settings.lock().unwrap().extend(limits.map(str::to_string));
    platform.start_server();
    let words = "it ran for longer than 6 seconds";
    let slow = app.cli(&["config:set", "PHASE=echo slow; sleep 300"]).failed(1);
    slow.says("failed in its release phase");
    app.cli(&["releases:output", "v5"])
        .succeeded()
        .says("slow")
        .says(&format!("The release command failed: {words}"));
    app.log_says(&format!("Release v5 failed: {words}"));
    assert_eq!((status(&app, 5), app.serving()), ("failed".into(), "v4".into()));
    let asked = "trap 'echo asked to end; exit 7' TERM; echo begun; sleep 300 & wait";
    let run = app.cli(&["run", "--exit-code", "--no-tty", asked]);
    run.failed(7).says("begun").says("asked to end");
    app.log_says("Time limit reached");
    app.log_says("Process exited with status 7");
}
