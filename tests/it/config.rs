//! Config vars: what the app sees, what is refused, and that a secret stays one.

use crate::support::platform::SENRYU;
use crate::support::{App, Platform, docker, process};
use serde_json::{Value, json};
use std::sync::Arc;

/// Answers `GET /NAME` with that variable.
const TELLS: &str = r#"
require("node:http").createServer((request, response) => {
  response.setHeader("X-Release", process.env.HEROKU_RELEASE_VERSION);
  response.end(process.env[request.url.slice(1)] ?? "(unset)");
}).listen(process.env.PORT);
"#;

fn telling_app() -> App {
    let app = Platform::shared().app_with("tiny");
    app.write("server.js", TELLS);
    app.commit("tells its variables");
    app.push().succeeded();
    app
}

#[test]
fn a_change_is_a_release_that_the_app_sees() {
    let app = telling_app();
    app.cli(&["config:set", "GREETING=hello you", "COLOUR=blue"])
        .succeeded()
        .says("Setting GREETING, COLOUR and restarting")
        .says("done, v4");
    assert_eq!(app.get("/GREETING").is(200).text(), "hello you");
    assert_eq!(app.cli(&["config:get", "COLOUR"]).succeeded().stdout, "blue\n");
    let last = app.releases().pop().unwrap();
    assert_eq!(last["description"], "Set COLOUR, GREETING config vars");

    // The same value again is no change.
    app.cli(&["config:set", "COLOUR=blue"]).succeeded();
    assert_eq!(app.releases().len(), 4);

    app.cli(&["config:unset", "COLOUR"]).succeeded().says("done, v5");
    assert_eq!(app.get("/COLOUR").is(200).text(), "(unset)");
    let vars = app.cli(&["config", "--json"]).succeeded().stdout;
    assert_eq!(serde_json::from_str::<Value>(&vars).unwrap(), json!({"GREETING": "hello you"}));

    // Quotes, line ends and what a shell would expand arrive as they are.
    let odd = "a 'b' \"c\" $HOME `d` \\ é\nsecond line";
    app.api("PATCH", "/config-vars", Some(json!({ "ODD": odd }))).is(200);
    app.cli(&["ps:wait"]).succeeded();
    assert_eq!(app.get("/ODD").is(200).text(), odd);
}

#[test]
fn what_no_environment_can_hold_is_refused_and_changes_nothing() {
    let app = Platform::shared().empty_app();
    let patch = |body: Value| app.api("PATCH", "/config-vars", Some(body));
    for (body, status, id, words) in [
        (json!({"A": "x\0y"}), 422, "invalid_params", "Config var A contains a NUL byte"),
        (json!({"A": {"b": 1}}), 422, "invalid_params", "Config var A must be a string"),
        (json!({"A": ["b"]}), 422, "invalid_params", "Config var A must be a string"),
        (json!(["A"]), 400, "bad_request", "must be a JSON object"),
        (json!("A"), 400, "bad_request", "must be a JSON object"),
        (json!({"1A": "x"}), 422, "invalid_params", "1A"),
        (json!({"A=B": "x"}), 422, "invalid_params", "A=B"),
        (json!({"": "x"}), 422, "invalid_params", "key"),
        (json!({"HEROKU_X": "x"}), 422, "invalid_params", "HEROKU_X is reserved"),
        (json!({"BIG": "x".repeat(70_000)}), 422, "invalid_params", "65536 bytes"),
        (json!({"GOOD": "x", "A": "\0"}), 422, "invalid_params", "Config var A"),
        (json!({"BIG": "x".repeat(10_000_000)}), 413, "payload_too_large", "1 MB"),
    ] {
        let shown: String = body.to_string().chars().take(60).collect();
        let reply = patch(body);
        assert_eq!(reply.status, status, "{shown}: {}", reply.text());
        let error = reply.json();
        assert_eq!(error["id"], id, "{shown}");
        assert!(error["message"].as_str().unwrap().contains(words), "{shown}: {error}");
    }
    let path = format!("/apps/{}/config-vars", app.name);
    app.platform.api_with("PATCH", &path, &[], b"{\"A\": ").is(400);
    assert_eq!(app.api("GET", "/config-vars", None).is(200).json(), json!({}));
    assert_eq!(app.releases().len(), 2);
}

#[test]
fn a_secret_is_nowhere_but_in_the_app() {
    // It is found as it is, and as it would be in a file of a shell.
    const SECRET: &str = "hush-5f3a9c-do-not-tell";
    let app = telling_app();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        let set = scope.spawn(|| {
            let input = format!("TOKEN={SECRET}\n");
            app.cli_with_input(&["config:set", "-"], input.as_bytes())
        });
        while !set.is_finished() {
            seen.lock().unwrap().extend(process::find(&[SECRET]));
        }
        let output = set.join().unwrap().succeeded();
        assert!(!output.text().contains(SECRET), "printed: {}", output.text());
    });
    assert_eq!(app.get("/TOKEN").is(200).text(), SECRET);
    assert!(seen.lock().unwrap().is_empty(), "in the arguments of {:?}", seen.lock().unwrap());
    assert!(std::path::Path::new(SENRYU).exists());

    let in_metadata = |id: &str| {
        let inspected = docker::docker(&["inspect", id]);
        // A dyno that was replaced, or another test's image, may go meanwhile.
        assert!(inspected.status == 0 || inspected.stderr.contains("No such"), "{inspected:?}");
        inspected.stdout.contains(SECRET)
    };
    for container in app.dynos() {
        assert!(!in_metadata(&container), "in Docker's metadata");
    }
    // A build sees it as a file, and nothing of it stays in the image.
    app.commit("again");
    app.push().succeeded();
    for image in docker::images(&app.platform.label()) {
        assert!(!in_metadata(&image), "in an image's metadata");
    }
    assert!(!app.platform.server_log().contains(SECRET), "in the server's log");
    assert!(!app.log().contains(SECRET), "in the app's log");
    assert!(!holding(&app.platform.data_dir(), "SQLite format 3").is_empty(), "nothing is read");
    let files = holding(&app.platform.data_dir(), SECRET);
    assert!(files.is_empty(), "on disk: {files}");
}

/// Files below a folder that hold this text. Build volumes are looked at as they are mounted.
fn holding(dir: &std::path::Path, text: &str) -> String {
    let grep = std::process::Command::new("grep")
        .args(["-rlaF", "--exclude-dir=mounts", "--exclude-dir=volumes", "-e", text])
        .arg(dir)
        .output()
        .unwrap();
    // 1: nothing found. A file that went meanwhile makes it 2 and is no find.
    String::from_utf8(grep.stdout).unwrap()
}
