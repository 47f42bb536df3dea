//! Releases: rollback, the release phase, and waiting for a release in a script.

use crate::support::{App, Platform, eventually};

/// `tiny` with a release command that fails when `FAIL` is 1.
fn with_release_command() -> App {
    let app = Platform::shared().app_with("tiny");
    let command = "echo migrating for $HEROKU_RELEASE_VERSION; test \"$FAIL\" != 1";
    app.write("Procfile", &format!("web: node server.js\nrelease: {command}\n"));
    app.commit("with a release command");
    app
}

fn status(app: &App, version: usize) -> String {
    app.releases()[version - 1]["status"].as_str().unwrap().to_string()
}

#[test]
fn a_rollback_restores_slug_and_config() {
    let app = Platform::shared().app_from("tiny");
    app.cli(&["config:set", "MODE=old"]).succeeded();
    let server = std::fs::read_to_string(app.dir().join("server.js")).unwrap();
    app.write("server.js", &server.replace("`${release} ${dyno}\\n`", "'new code\\n'"));
    app.commit("new code");
    app.push().succeeded().says("Released v5");
    app.cli(&["config:set", "MODE=new"]).succeeded();
    assert_eq!(app.get("/").is(200).text(), "new code\n");

    app.cli(&["rollback", "v4"]).succeeded().says("Rolling back").says("done, v7");
    let reply = app.get("/").is(200);
    assert_eq!((reply.header("x-release"), reply.text().as_str()), ("v7", "v7 web.1\n"));
    assert_eq!(app.cli(&["config:get", "MODE"]).succeeded().stdout, "old\n");
    let releases = app.releases();
    assert_eq!(releases[6]["description"], "Rollback to v4");
    assert_eq!(releases[6]["slug"], releases[3]["slug"]);
    assert_eq!(releases[6]["current"], true);
    app.cli(&["rollback", "v2"]).failed(1);
    app.cli(&["rollback", "v99"]).failed(1).says("Couldn't find that release");
    app.cli(&["releases"]).succeeded().says("Current: v7").says("Rollback to v4");
}

#[test]
fn the_release_command_runs_before_the_switch_and_its_failure_keeps_the_old_release() {
    let app = with_release_command();
    app.push()
        .succeeded()
        .says("Release command declared: this new release will not be available until")
        .says("Running release command...")
        .says("migrating for v3")
        .says("Waiting for release.... done.")
        .says("Verifying deploy... done.");
    assert_eq!(app.serving(), "v3");
    app.cli(&["releases:output", "v3"]).succeeded().says("migrating for v3");
    app.log_says("app[release.");

    app.cli(&["config:set", "FAIL=1"]).failed(1).says("failed in its release phase");
    assert_eq!((status(&app, 4).as_str(), app.serving().as_str()), ("failed", "v3"));

    app.commit("another");
    app.push().succeeded().says("Waiting for release.... failed.").says("not serving");
    assert_eq!((status(&app, 5).as_str(), app.serving().as_str()), ("failed", "v3"));
    app.cli(&["releases:wait", "v5"]).failed(1).says("failed in its release phase");

    app.cli(&["config:unset", "FAIL"]).succeeded();
    assert_eq!((status(&app, 6).as_str(), app.serving().as_str()), ("succeeded", "v6"));
    app.cli(&["releases:wait"]).succeeded().says("v6 is serving");
    eventually("no release dyno is left", || app.dynos().len() == 1);
}

#[test]
fn a_script_can_wait_for_a_release() {
    let app = Platform::shared().app_from("tiny");
    app.cli(&["releases:wait"]).succeeded().says("v3 is serving");
    app.cli(&["config:set", "BOOT_MS=4000", "--no-wait"]).succeeded();
    assert_eq!(app.serving(), "v3", "nothing has switched yet");
    app.cli(&["releases:wait", "--timeout", "1"]).failed(124).says("Not serving after 1 s");
    app.cli(&["releases:wait", "v4"]).succeeded().says("v4 is serving");
    assert_eq!(app.serving(), "v4");
    app.cli(&["config:set", "CRASH_AT_START=1"]).failed(1).says("v4 serves on");
    app.cli(&["releases:wait", "v5"]).failed(1);
    app.cli(&["releases:wait", "v77"]).failed(1).says("Couldn't find that release");
    assert_eq!(app.serving(), "v4");
}
