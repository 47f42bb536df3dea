//! `ps:scale`, `ps:restart`, `ps:stop`: the formation as a user changes it.

use crate::support::{App, Platform, eventually};
use serde_json::json;
use std::collections::BTreeSet;

/// The dynos that answer, seen over so many requests that none is missed by chance.
fn answering(app: &App) -> BTreeSet<String> {
    (0..40).map(|_| app.get("/").is(200).header("x-dyno").to_string()).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_string()).collect()
}

#[test]
fn up_down_to_nothing_and_back() {
    let app = Platform::shared().app_from("tiny");
    let first = app.dynos();
    app.cli(&["ps:scale", "web=3"]).succeeded().says("now running web at 3:Standard-1X");
    assert_eq!(answering(&app), names(&["web.1", "web.2", "web.3"]));
    assert!(app.dynos().contains(&first[0]), "scaling up does not touch what runs");

    app.cli(&["ps:scale", "web=1"]).succeeded();
    assert_eq!(answering(&app), names(&["web.1"]));
    eventually("the two dynos are gone", || app.dynos() == first);

    app.cli(&["ps:scale", "web=0"]).succeeded();
    let page = app.get("/").is(503);
    assert!(page.text().contains("Application error"), "{}", page.text());
    app.log_says("code=H14");
    eventually("no container is left", || app.dynos().is_empty());

    app.cli(&["ps:scale", "web+2"]).succeeded().says("now running web at 2");
    assert_eq!(answering(&app), names(&["web.1", "web.2"]));
    assert_eq!(app.releases().len(), 3, "scaling makes no release");
    app.log_says("Scaled to web@3:Standard-1X by user");
}

#[test]
fn a_restart_replaces_the_dynos_and_fails_no_request() {
    let app = Platform::shared().app_from("tiny");
    app.cli(&["ps:scale", "web=2"]).succeeded();
    let before: BTreeSet<String> = app.dynos().into_iter().collect();
    let mut client = app.platform.connection();
    std::thread::scope(|scope| {
        let restart = scope.spawn(|| app.cli(&["ps:restart"]));
        while !restart.is_finished() {
            assert_eq!(app.get_on(&mut client, "/").unwrap().status, 200);
        }
        restart.join().unwrap().succeeded();
    });
    eventually("each dyno is a new one", || {
        let now: BTreeSet<String> = app.dynos().into_iter().collect();
        now.len() == 2 && now.is_disjoint(&before)
    });

    let two = app.dynos();
    app.cli(&["ps:restart", "web.1"]).succeeded();
    eventually("only one of them is replaced", || {
        let now = app.dynos();
        now.len() == 2 && now.iter().filter(|id| two.contains(id)).count() == 1
    });
}

#[test]
fn what_cannot_be_is_refused_by_its_name_and_changes_nothing() {
    let app = Platform::shared().app_from("tiny");
    for (change, words) in [
        ("web=-1", "Quantity must be between 0 and 100 for web"),
        ("web=1000000", "Quantity must be between 0 and 100 for web"),
        ("web-5", "Quantity must be between 0 and 100 for web"),
        ("wep=1", "Couldn't find that process type (wep)"),
        ("web=1:Huge", "Huge"),
    ] {
        let output = app.cli(&["ps:scale", change]).failed(1);
        assert!(output.stderr.contains(words), "{change}: {}", output.stderr);
    }
    for size in [json!(7), json!({ "name": 5 }), json!({ "id": "no id" }), json!([])] {
        let reply = app.api("PATCH", "/formation/web", Some(json!({ "dyno_size": size }))).is(422);
        assert!(reply.text().contains("dyno_size must be"), "{}", reply.text());
    }
    for quantity in ["++1", "+-1", "1.5"] {
        app.api("PATCH", "/formation/web", Some(json!({ "quantity": quantity }))).is(422);
    }
    app.cli(&["ps:scale", "web"]).failed(2).says("TYPE=QUANTITY");
    app.cli(&["ps:restart", "web.9"]).failed(1).says("Couldn't find that dyno");
    assert_eq!(app.cli(&["ps:scale"]).succeeded().stdout, "web=1:Standard-1X\n");
    assert_eq!(app.serving(), "v3");
}

#[test]
fn a_dyno_that_crashes_is_started_again() {
    let app = Platform::shared().app_from("tiny");
    let before = app.dynos();
    app.get("/crash").is(200);
    app.log_says("Process exited with status 1");
    app.log_says("State changed from up to crashed");
    eventually("a new dyno answers", || app.dynos() != before && app.get("/").status == 200);
}
