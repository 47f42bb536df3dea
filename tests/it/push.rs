//! `git push`: what deploys, what is refused, and what the user is told.

use crate::support::{Platform, docker, eventually, peak_memory, until};
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

/// Without the second type the buildpack would offer a web process, as Heroku's does.
const WORKERS_ONLY: &str =
    "worker: node -e 'setInterval(() => {}, 1000); console.log(\"at work\")'\nmcp-tool: true\n";

#[test]
fn a_push_deploys_and_the_app_names_its_release() {
    let app = Platform::shared().app_with("tiny");
    assert_eq!(app.get("/").status, 502, "an app without a deploy is blank");
    app.log_says("code=H81");

    let output = app.push().succeeded();
    let text = output.stderr;
    for words in [
        "remote: -----> Building on the Heroku-24 stack",
        "remote: -----> Node.js app detected",
        "Procfile declares types -> web",
        "remote: -----> Compressing...",
        "remote: -----> Launching...",
        "Released v3",
        "deployed to Senryu",
        "Verifying deploy... done.",
        "Build took ",
        ", serving after ",
    ] {
        assert!(text.contains(words), "{words:?} is not in:\n{text}");
    }
    let reply = app.get("/").is(200);
    assert_eq!(reply.header("x-release"), "v3");
    assert_eq!(reply.text(), "v3 web.1\n");
    assert_eq!(app.ps(), [("web.1".to_string(), "up".to_string())]);

    // One line is changed.
    let server = std::fs::read_to_string(app.dir().join("server.js")).unwrap();
    app.write("server.js", &server.replace("`${release} ${dyno}\\n`", "`new ${release}\\n`"));
    app.commit("one line");
    app.push().succeeded().says("Released v4");
    assert_eq!(app.get("/").is(200).text(), "new v4\n");
    let again = app.push().succeeded();
    assert!(again.stderr.contains("Everything up-to-date"), "{}", again.stderr);
    let releases = app.releases();
    assert_eq!(releases.last().unwrap()["version"], 4);
    assert!(releases[3]["description"].as_str().unwrap().starts_with("Deploy "));
}

#[test]
fn a_small_change_is_stored_as_what_changed_and_nothing_that_is_gone_comes_back() {
    // Nobody else's slugs are counted.
    let platform = Arc::new(Platform::start_with(&["--build-standby", "600"]));
    let app = platform.app_with("tiny");
    // With a script of its own in the build, so that each push needs a container.
    let package = r#"{ "engines": { "node": "24.x" },
        "scripts": { "start": "node server.js", "build": "true" } }"#;
    app.write("package.json", package);
    let large = "many words\n".repeat(100_000);
    for name in ["kept", "old/changed", "old/gone", "leaves/a"] {
        app.write(name, &format!("{name}\n"));
    }
    app.write("large", &large);
    app.commit("many files");
    app.push().succeeded();
    let stored = || -> u64 {
        let dir = std::fs::read_dir(app.platform.data_dir().join("slugs")).unwrap().flatten();
        dir.map(|entry| entry.metadata().unwrap().len()).sum()
    };
    let before = stored();
    let standby = until("a container stands by", Duration::from_secs(90), || {
        Some(app.containers("build")).filter(|standby| standby.len() == 1)
    });

    app.write("old/changed", "changed\n");
    app.git(&["rm", "-qr", "old/gone", "leaves"]).succeeded();
    app.commit("a small change");
    app.push().succeeded().says("Released v4");
    let more = stored() - before;
    assert!(more < 20_000, "{more} bytes were stored");
    let output =
        app.cli(&["run", "--no-tty", "cat kept old/changed; ls old; ls -d leaves; wc -c <large"]);
    assert_eq!(output.stdout, format!("kept\nchanged\nchanged\n{}\n", large.len()));
    assert!(output.stderr.contains("leaves"), "{}", output.stderr);

    app.cli(&["rollback", "v3"]).succeeded();
    let output = app.cli(&["run", "--no-tty", "cat old/changed old/gone leaves/a"]).succeeded();
    assert_eq!(output.stdout, "old/changed\nold/gone\nleaves/a\n");

    // The build had the container that stood by; another one does now, and somebody ends it.
    let others = || {
        let now = app.containers("build");
        (now.len() == 1 && now != standby).then_some(now)
    };
    let next = until("the next one stands by", Duration::from_secs(30), others);
    docker::docker(&["rm", "-f", &next[0]]).succeeded();
    app.write("old/changed", "again\n");
    app.commit("with nobody standing by");
    app.push().succeeded().says("Released v6");
    app.cli(&["apps:destroy", "--confirm", &app.name]).succeeded();
    eventually("no container is left", || docker::containers(&[platform.label()]).is_empty());
}

#[test]
fn a_failing_build_refuses_the_ref_and_the_old_release_serves() {
    let app = Platform::shared().app_from("tiny");
    let before = app.pushed_commit("main");
    app.copy_fixture("failing-build");
    app.commit("breaks");
    let output = app.push().failed(1);
    for words in [
        "error TS2304",
        " !     Push rejected, failed to compile Node.js app.",
        " !     Push failed",
        &format!("!\tPush rejected to {}.", app.name),
        "pre-receive hook declined",
    ] {
        assert!(output.stderr.contains(words), "{words:?} is not in:\n{}", output.stderr);
    }
    assert_eq!(app.pushed_commit("main"), before);
    assert_eq!(app.serving(), "v3");
    let builds = app.api("GET", "/builds", None).is(200).json();
    let mut statuses: Vec<&str> =
        builds.as_array().unwrap().iter().map(|b| b["status"].as_str().unwrap()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, ["failed", "succeeded"]);
    assert_eq!(app.releases().len(), 3);
    // The push need not wait for the removal of its build container.
    eventually("the build container is gone", || app.containers("build").is_empty());
}

#[test]
fn a_folder_that_no_buildpack_fits_is_refused_in_herokus_words() {
    let app = Platform::shared().app_with("no-buildpack");
    app.push()
        .failed(1)
        .says(" !     No default language could be detected for this app.")
        .says("HINT: This occurs when Senryu cannot detect the buildpack")
        .says("pre-receive hook declined");
    assert_eq!(app.pushed_commit("main"), None);
}

#[test]
fn nonsense_in_the_procfile_is_named_by_its_line() {
    let app = Platform::shared().app_with("tiny");
    app.write("Procfile", "web: node server.js\nthis is nonsense\n");
    app.commit("nonsense");
    app.push()
        .failed(1)
        .says("Procfile line 2 is not of the form \"type: command\": this is nonsense")
        .says("pre-receive hook declined");
    assert_eq!(app.pushed_commit("main"), None);
}

#[test]
fn another_branch_is_stored_and_does_not_deploy() {
    let app = Platform::shared().app_with("tiny");
    app.git(&["push", "senryu", "main:feature"])
        .succeeded()
        .says("Pushed to branch other than [main, master], skipping build.");
    assert!(app.pushed_commit("feature").is_some());
    assert_eq!(app.releases().len(), 2);
    assert_eq!(app.get("/").status, 502);

    // `master` deploys as `main` does.
    app.git(&["push", "senryu", "main:master"]).succeeded().says("Released v3");
    assert_eq!(app.serving(), "v3");
    app.git(&["push", "senryu", ":feature"]).succeeded();
    assert_eq!(app.pushed_commit("feature"), None);
    // A folder of that name stands in its way: nothing is stored, and nothing else is said.
    app.git(&["push", "senryu", "main:feature"]).succeeded();
    let refused = app.git(&["push", "senryu", "main:feature/x"]).failed(1);
    assert!(!refused.stderr.contains("skipping build"), "{}", refused.stderr);
    app.git(&["push", "senryu", ":master"]).failed(1).says("cannot delete master branch");
}

/// Sent in chunks, for git knows its length only when it has packed all.
#[test]
fn two_hundred_megabytes_are_received_in_little_memory() {
    let platform = Arc::new(Platform::start());
    let app = platform.app_with("tiny");
    let mut noise = std::fs::File::open("/dev/urandom").unwrap().take(200_000_000);
    let mut file = std::fs::File::create(app.dir().join("noise.bin")).unwrap();
    std::io::copy(&mut noise, &mut file).unwrap();
    app.git(&["config", "core.compression", "0"]).succeeded();
    app.commit("noise");
    let router = platform.router_pids()[0];
    let before = (platform.server_memory(), peak_memory(router));
    app.git(&["push", "senryu", "main:large"]).succeeded().says("skipping build");
    let server = platform.server_memory().saturating_sub(before.0);
    let router = peak_memory(router).saturating_sub(before.1);
    println!("200 MB pushed: the server grew by {server} KiB, the router by {router} KiB");
    assert!(server < 40 * 1024, "the server grew by {server} KiB");
    assert!(router < 40 * 1024, "the router grew by {router} KiB");
    assert_eq!(app.pushed_commit("large"), Some(app.head()));
}

#[test]
fn a_release_whose_web_crashes_gets_no_traffic() {
    let app = Platform::shared().app_from("tiny");
    let server = std::fs::read_to_string(app.dir().join("server.js")).unwrap();
    app.write("server.js", &format!("console.error('no good'); process.exit(7);\n{server}"));
    app.commit("crashes");
    let output = app.push().succeeded();
    for words in ["Released v4", "Verifying deploy... failed.", "v3 goes on serving", "not serving"]
    {
        assert!(output.stderr.contains(words), "{words:?} is not in:\n{}", output.stderr);
    }
    assert_eq!(app.serving(), "v3");
    app.log_says("no good");
    app.log_says("State changed from starting to crashed");
    app.cli(&["releases:wait", "v4"]).failed(1);

    // The next push repairs it.
    app.write("server.js", &server);
    app.commit("works again");
    app.push().succeeded().says("Verifying deploy... done.");
    assert_eq!(app.serving(), "v5");
}

#[test]
fn an_app_that_listens_on_loopback_only_is_told_why_it_gets_no_traffic() {
    let app = Platform::shared().app_from("tiny");
    let output = app.cli(&["config:set", "LOCALHOST_ONLY=1"]).failed(1);
    assert!(output.stderr.contains("127.0.0.1"), "{}", output.stderr);
    let line = app.log_says("Error R10 (Boot timeout)");
    assert!(line.contains("heroku[web.1]"), "{line}");
    assert!(app.log().lines().any(|line| line.contains("R10") && line.contains("127.0.0.1")));
    assert_eq!(app.serving(), "v3");
}

#[test]
fn an_app_of_workers_alone_is_normal() {
    let app = Platform::shared().app_with("tiny");
    app.write("package.json", "{ \"name\": \"jobs\", \"engines\": { \"node\": \"24.x\" } }\n");
    app.write("Procfile", WORKERS_ONLY);
    app.commit("worker only");
    app.push().succeeded().says("Procfile declares types -> mcp-tool, worker");
    assert!(app.ps().is_empty());
    assert_eq!(app.get("/").status, 503);
    app.log_says("code=H14");
    app.cli(&["ps:scale", "worker=1"]).succeeded();
    assert_eq!(app.ps(), [("worker.1".to_string(), "up".to_string())]);
    app.log_says("app[worker.1]: at work");
}
