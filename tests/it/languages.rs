//! Apps in other languages than Node.js: pushed, looked at, and pushed again with a warm cache.

use crate::support::command::run;
use crate::support::docker::docker;
use crate::support::platform::repository;
use crate::support::times::pushed_twice;
use crate::support::{App, Platform};
use std::process::Command;

/// What the Python buildpack says of dependencies that it takes over.
const NOTHING_NEW: &str = "Nothing has changed since the last build";

#[test]
fn flask_with_gunicorn() {
    let app = Platform::shared().app_with("flask");
    pushed_twice(&app, 3, NOTHING_NEW, |app, release| {
        let page = app.get("/").is(200);
        assert_eq!(page.text(), format!("flask {release} web.1 concurrency 2 python 3\n"));
        assert_eq!(app.get("/scheme").is(200).text(), "http\n");
    });
    app.log_says(
        "Python buildpack: Defaulting WEB_CONCURRENCY to 2 based on the available memory.",
    );
    app.log_says("\"GET / HTTP/1.1\" 200");
}

#[test]
fn django_with_its_static_files() {
    let app = Platform::shared().app_with("django");
    let refused = app.push().failed(1);
    for words in ["Unable to generate Django static files", "A setting wants a config var"] {
        assert!(refused.stderr.contains(words), "{words:?} is not in:\n{}", refused.stderr);
    }
    app.cli(&["config:set", "SECRET_KEY=only for tests"]).succeeded();
    // Which is the release before the one of the first push.
    pushed_twice(&app, 4, NOTHING_NEW, |app, release| {
        let page = app.get("/").is(200).text();
        let css = page.split_whitespace().last().unwrap().to_string();
        assert_eq!(page, format!("django {release} {css}\n"));
        assert_eq!(app.get(&css).is(200).text(), "body { color: teal; }\n");
    });
}

#[test]
fn fastapi_by_uv() {
    let app = Platform::shared().app_with("fastapi");
    let lock = run(Command::new(repository().join("tests/lock-with-uv")).arg(app.dir()), b"");
    lock.succeeded();
    app.commit("locked");
    pushed_twice(&app, 3, NOTHING_NEW, |app, release| {
        let page = app.get("/").is(200);
        assert_eq!(page.json()["release"], release);
    });
}

#[test]
fn go_with_modules() {
    let app = Platform::shared().app_with("go-modules");
    pushed_twice(&app, 3, "Using go1.25.0 specified in go.mod", |app, release| {
        let page = app.get("/").is(200).text();
        assert!(page.starts_with(&format!("go {release} web.1 ")), "{page}");
    });
}

#[test]
fn a_static_site() {
    let app = Platform::shared().app_with("static-site");
    app.cli(&["config:set", "SITE_NAME=here"]).succeeded();
    pushed_twice(&app, 4, NOTHING_NEW, |app, _| {
        assert_eq!(app.get("/").is(200).text(), "<h1>static home</h1>\n");
        let about = app.get("/about").is(200);
        assert_eq!(about.text(), "<h1>about</h1>\n");
        assert_eq!(about.header("x-frame-options"), "DENY");
        assert_eq!(app.get("/app/any/where").is(200).text(), "<h1>the app</h1>\n");
        assert_eq!(app.get("/old").is(301).header("location"), "/about");
        let away = app.get("/away/far").is(302);
        assert_eq!(away.header("location"), "https://example.com/?from=here");
        let missing = app.get("/missing").is(404);
        assert_eq!(missing.text(), "<h1>nothing here</h1>\n");
        assert_eq!(missing.header("x-frame-options"), "DENY");
    });
}

/// The image that serves, layer by layer.
fn layers(app: &App) -> String {
    let dyno = app.containers("dyno").into_iter().next().unwrap();
    let image = docker(&["inspect", "--format", "{{.Image}}", &dyno]).succeeded().text();
    docker(&["inspect", "--format", "{{json .RootFS.Layers}}", image.trim()]).succeeded().text()
}

/// What is used again is what the buildpack would make of the same source.
fn used_again(fixture: &str) {
    let app = Platform::shared().app_with(fixture);
    app.push().succeeded();
    let made = layers(&app);
    app.commit("nothing new");
    app.push().succeeded().says(NOTHING_NEW).says("(buildpacks 0.0s)");
    assert_eq!(layers(&app), made);
    app.write("later.txt", "a line\n");
    app.commit("another file");
    app.push().succeeded().says(NOTHING_NEW);
    let file = app.cli(&["run", "--no-tty", "cat later.txt"]).succeeded();
    assert_eq!(file.stdout, "a line\n");
    app.cli(&["config:set", "THE_BUILDPACK=looks at this"]).succeeded();
    app.commit("nothing new");
    let ran = app.push().succeeded();
    assert!(!ran.stderr.contains("what it"), "{}", ran.stderr);
    app.cli(&["builds:cache:purge"]).succeeded();
    app.commit("nothing new");
    let ran = app.push().succeeded();
    assert!(!ran.stderr.contains("what it"), "{}", ran.stderr);
}

#[test]
fn what_a_python_build_made_is_used_again() {
    used_again("flask");
}

#[test]
fn what_a_node_build_made_is_used_again() {
    used_again("sample");
}

#[test]
fn what_a_static_site_needs_is_used_again() {
    used_again("static-site");
}
