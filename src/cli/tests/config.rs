//! Config vars: set from everywhere, shown in every form, edited, and the release that follows.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

#[tokio::test]
async fn config_set_waits_until_the_release_serves() {
    let polls = AtomicUsize::new(0);
    let stage = Stage::new(move |asked, _| match asked.line().as_str() {
        "PATCH /apps/shop/config-vars" => ok(json!({"FOO": "bar", "OLD": "x"})),
        "GET /apps/shop/releases" => ok(json!([{"version": 12}])),
        _ if rollout_of(asked) => match polls.fetch_add(1, Ordering::SeqCst) {
            // The server is killed, answers that it isn't there yet, and then goes on.
            0 => Reply::Cut,
            1 => Reply::Raw(503, ("retry-after", "1"), json!({"id": "x"}).to_string()),
            2 => ok(json!({"state": "converging", "message": null, "release": {"version": 12},
                "serving": {"version": 11}, "elapsed_ms": 5})),
            _ => ok(settled(12)),
        },
        _ => missing(),
    })
    .await;
    let done = stage.run(&["config:set", "FOO=bar", "EMPTY=", "-a", "shop"]).await;
    assert_eq!(done.err, "Setting FOO, EMPTY and restarting ⬢ shop... done, v12\n");
    assert_eq!((done.status, done.out.as_str()), (0, "FOO:   bar\nEMPTY: \n"));
    let sent = stage.last("PATCH /apps/shop/config-vars").body;
    assert_eq!(sent, json!({"FOO": "bar", "EMPTY": ""}));
    let range = stage.last("GET /apps/shop/releases");
    assert_eq!(range.header("range"), "version ..; order=desc,max=1");
    assert_eq!(stage.lines().iter().filter(|line| line.contains("rollout")).count(), 4);
}

#[tokio::test]
async fn config_comes_from_files_and_standard_input_without_being_shown() {
    let stage = Stage::new(|asked, _| match asked.line().as_str() {
        "PATCH /apps/shop/config-vars" => ok(json!({})),
        "GET /apps/shop/releases" => ok(json!([{"version": 3}])),
        _ => missing(),
    })
    .await;
    let sent = || stage.last("PATCH /apps/shop/config-vars").body;
    std::fs::write(stage.home.path().join(".env"), "A=hunter2\nB='two words'\n").unwrap();
    let done = stage.run(&["config:set", "--file", ".env", "C=3", "-a", "shop"]).await;
    assert_eq!((done.status, done.out.as_str()), (0, "C: 3\n"));
    assert!(done.err.starts_with("Setting A, B, C and restarting"), "{}", done.err);
    assert!(!done.err.contains("hunter2"));
    assert_eq!(sent(), json!({"A": "hunter2", "B": "two words", "C": "3"}));

    let key = "-----BEGIN-----\nx=y\n-----END-----\n";
    stage.run_with(&["config:set", "KEY", "--stdin", "-a", "shop"], key).await;
    assert_eq!(sent(), json!({"KEY": "-----BEGIN-----\nx=y\n-----END-----"}));
    stage.run_with(&["config:set", "-", "-a", "shop"], "{\"D\": \"1\"}").await;
    assert_eq!(sent(), json!({"D": "1"}));
    // A value that is a dash is a value.
    stage.run(&["config:set", "A=-", "-a", "shop"]).await;
    assert_eq!(sent(), json!({"A": "-"}));

    for (line, status) in [
        (["config:set", "FOO", "-a", "shop"], 2),
        (["config:set", "--file", "none", "-ashop"], 1),
        (["config:set", "A", "B", "--file=.env"], 2),
    ] {
        let done = stage.run(&line).await;
        assert_eq!(done.status, status, "{line:?}: {}", done.err);
    }
}

#[tokio::test]
async fn a_release_that_does_not_come_up_fails_the_command() {
    let stage = Stage::new(|asked, _| match asked.line().as_str() {
        "PATCH /apps/shop/config-vars" => ok(json!({})),
        "GET /apps/shop/releases" => ok(json!([{"version": 5}])),
        _ if rollout_of(asked) => ok(json!({"state": "failing", "message": "web.1 crashed (1)",
            "release": {"version": 5}, "serving": {"version": 4}, "elapsed_ms": 9})),
        _ => missing(),
    })
    .await;
    let done = stage.run(&["config:unset", "FOO", "-a", "shop"]).await;
    assert_eq!(done.status, 1);
    assert!(done.err.starts_with("Unsetting FOO and restarting ⬢ shop... !\n ›   Error: web.1"));
    assert!(done.err.contains("v4 serves on"), "{}", done.err);
    assert_eq!(stage.last("PATCH /apps/shop/config-vars").body, json!({"FOO": null}));
    let done = stage.run(&["config:unset", "FOO", "-a", "shop", "--no-wait"]).await;
    assert_eq!(done.err, "Unsetting FOO and restarting ⬢ shop... done, v5\n");
    // A refused release phase leaves the older release current.
    let done = stage.run(&["releases:wait", "-a", "shop"]).await;
    assert_eq!(done.status, 1, "{}", done.err);
}

#[tokio::test]
async fn config_is_shown_in_every_form() {
    let stage = Stage::new(|asked, _| match asked.line().as_str() {
        "GET /apps/shop/config-vars" => ok(json!({"A": "1", "LONGER": "it's $2"})),
        _ => missing(),
    })
    .await;
    let out = async |line: &[&str]| stage.run(line).await.out;
    let list = "=== shop Config Vars\n\nA:      1\nLONGER: it's $2\n";
    assert_eq!(out(&["config", "-a", "shop"]).await, list);
    assert_eq!(out(&["config", "-s", "-a", "shop"]).await, "A=1\nLONGER='it'\\''s $2'\n");
    assert_eq!(out(&["config:get", "LONGER", "NO", "-a", "shop"]).await, "it's $2\n\n");
    assert_eq!(out(&["config", "get", "A", "-s", "-a", "shop"]).await, "A=1\n");
    let one: Value =
        serde_json::from_str(&out(&["config:get", "NO", "-j", "-a", "shop"]).await).unwrap();
    assert_eq!(one, json!({"key": "NO", "value": null}));
}

#[tokio::test]
async fn config_is_edited_in_an_editor() {
    let mut stage = Stage::new(|asked, _| match asked.line().as_str() {
        "GET /apps/shop/config-vars" => ok(json!({"A": "1", "B": "two words", "C": "3"})),
        "PATCH /apps/shop/config-vars" => ok(json!({})),
        "GET /apps/shop/releases" => ok(json!([{"version": 8}])),
        _ => missing(),
    })
    .await;
    let script = stage.home.path().join("editor");
    let text = "sed -i -e '/^A=/d' -e 's/two words/2/' \"$1\"; echo 'D=new' >> \"$1\"\n";
    std::fs::write(&script, text).unwrap();
    stage.vars.push(("EDITOR", format!("sh {}", script.display())));
    let done = stage.run(&["config:edit", "-a", "shop"]).await;
    assert_eq!(done.err, "Updating A, B, D and restarting ⬢ shop... done, v8\n");
    let sent = stage.last("PATCH /apps/shop/config-vars").body;
    assert_eq!(sent, json!({"A": null, "B": "2", "D": "new"}));
    stage.vars.last_mut().unwrap().1 = "true".to_string();
    let done = stage.run(&["config:edit", "-a", "shop"]).await;
    assert_eq!((done.status, stage.lines().len()), (0, 6), "{}", done.err);
    stage.vars.last_mut().unwrap().1 = "false".to_string();
    assert_eq!(stage.run(&["config:edit", "-a", "shop"]).await.status, 1);
}
