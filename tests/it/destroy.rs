//! `apps:destroy`: everything is freed, and the name can be used again.

use crate::support::{App, Platform, docker, until};
use std::path::Path;
use std::time::Duration;

/// Entries below a folder whose names begin with an app's id.
fn named(dir: &Path, id: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(id) {
            found.push(entry.path().display().to_string());
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            named(&entry.path(), id, found);
        }
    }
}

fn left_of(app: &App) -> Vec<String> {
    let label = format!("senryu.app={}", app.id);
    let mut left = docker::containers(std::slice::from_ref(&label));
    left.extend(docker::images(&label));
    named(&app.platform.data_dir(), &app.id, &mut left);
    left
}

#[test]
fn everything_goes_and_the_name_is_free() {
    let app = Platform::shared().app_from("tiny");
    app.cli(&["config:set", "A=1"]).succeeded();
    let left = left_of(&app);
    // A container, an image, a repository, a log, a volume and its mount.
    assert!(left.len() >= 5, "{left:?}");

    let confirm = ["apps:destroy", "--confirm", "something-else"];
    app.cli(&confirm).failed(1);
    assert_eq!(app.serving(), "v4");

    app.cli(&["apps:destroy", "--confirm", &app.name]).succeeded();
    app.api("GET", "", None).is(404);
    let page = app.get("/");
    assert_eq!(page.status, 404, "{}", page.text());
    until("nothing of the app is left", Duration::from_secs(60), || {
        left_of(&app).is_empty().then_some(())
    });

    let again = App::create(app.platform.clone(), &app.name);
    assert_ne!(again.id, app.id);
    assert_eq!(again.api("GET", "/config-vars", None).is(200).json(), serde_json::json!({}));
    assert!(!again.log().contains("Release v3"), "the old log is gone");
    assert_eq!(again.pushed_commit("main"), None);
    again.copy_fixture("tiny");
    again.commit("first");
    again.push().succeeded().says("Released v3");
    assert_eq!(again.serving(), "v3");
}
