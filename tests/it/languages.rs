//! Apps in other languages than Node.js: pushed, looked at, and pushed again with a warm cache.

use crate::support::command::run;
use crate::support::platform::repository;
use crate::support::{App, Platform};
use std::process::Command;

/// What the Python buildpack says of dependencies that it takes over.
const NOTHING_NEW: &str = "Nothing has changed since the last build";

/// Pushes the app twice, with nothing new the second time, which the buildpack must say. `look`
/// looks at it after each, given the release's name, which is `first` after the first push. Prints
/// what the pushes said of their times.
fn pushed_twice(app: &App, first: u32, unchanged: &str, look: impl Fn(&App, &str)) {
    let took = |text: &str| {
        let line = text.lines().find(|line| line.contains("Build took")).unwrap_or_default();
        line.trim_start_matches("remote:").trim().to_string()
    };
    let cold = app.push().succeeded().says("Verifying deploy... done.");
    look(app, &format!("v{first}"));
    app.commit("nothing new");
    let warm = app.push().succeeded().says(unchanged);
    look(app, &format!("v{}", first + 1));
    println!("{}: {}; again: {}", app.name, took(&cold.stderr), took(&warm.stderr));
}

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
