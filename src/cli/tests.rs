//! Whole commands against a server on a real socket: their words and their exit status.

mod access;
mod builds;
mod releases;

use super::testing::{Asked, Reply, Stage};
use super::*;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

fn missing() -> Reply {
    let message = "Couldn't find that app.";
    Reply::Json(404, json!({"resource": "app", "id": "not_found", "message": message}))
}

fn ok(value: Value) -> Reply {
    Reply::Json(200, value)
}

fn settled(version: i64) -> Value {
    json!({"state": "settled", "message": null, "release": {"version": version},
        "serving": {"version": version}, "elapsed_ms": 1})
}

fn rollout_of(asked: &Asked) -> bool {
    asked.path.starts_with("/apps/shop/rollout?wait=")
}

#[test]
fn the_command_tree_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let error = parse(Cli::command(), vec!["ps:scalle".into()]).unwrap_err();
    assert!(error.to_string().contains("ps:scale"), "{error}");
    assert_eq!(error.exit_code(), 2);
    let error = parse(Cli::command(), vec!["server".into(), "--listen=here".into()]).unwrap_err();
    assert!(error.to_string().contains("--listen"), "{error}");
}

#[tokio::test]
async fn apps_are_listed_page_by_page() {
    let stage = Stage::new(|asked, _| match (asked.line().as_str(), asked.header("range")) {
        ("GET /account", _) => ok(json!({"email": "me@example.com"})),
        ("GET /apps", "") => Reply::Raw(
            206,
            ("next-range", "id b..; max=1"),
            json!([{"name": "shop", "owner": {"email": "me@example.com"}}]).to_string(),
        ),
        ("GET /apps", "id b..; max=1") => ok(json!([
            {"name": "blog", "owner": {"email": "me@example.com"}, "region": {"name": "eu"}},
            {"name": "theirs", "owner": {"email": "you@example.com"}}
        ])),
        _ => missing(),
    })
    .await;
    let done = stage.run(&["apps"]).await;
    assert_eq!(done.status, 0, "{}", done.err);
    assert_eq!(
        done.out,
        "=== me@example.com Apps\n\nblog (eu)\nshop\n\n=== Collaborated Apps\n\n\
         Name    Email\n──────  ───────────────\ntheirs  you@example.com\n"
    );
    assert_eq!(stage.last("GET /account").header("authorization"), "Bearer key");
    let accept = "application/vnd.heroku+json; version=3";
    assert_eq!(stage.last("GET /account").header("accept"), accept);
    let done = stage.run(&["apps", "--json"]).await;
    let apps: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(apps.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn an_app_is_created_and_gets_its_remote() {
    let stage = Stage::new(|asked, _| match asked.line().as_str() {
        "POST /apps" => {
            let name = asked.body.get("name").and_then(Value::as_str).unwrap_or("calm-pond-1");
            Reply::Json(201, json!({"name": name, "web_url": format!("http://{name}.localhost/")}))
        }
        _ => missing(),
    })
    .await;
    let done = stage.run(&["create"]).await;
    assert_eq!(done.err, "Creating app... done, ⬢ calm-pond-1\n");
    let git = |args: &[&str]| {
        let output = std::process::Command::new("git")
            .args(args)
            .current_dir(stage.home.path())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    git(&["init", "-q"]);
    let done = stage.run(&["apps:create", "shop"]).await;
    assert_eq!(done.err, "Creating ⬢ shop... done\n");
    let url = format!("{}/shop.git", stage.url);
    assert_eq!(done.out, format!("http://shop.localhost/ | {url}\n"));
    assert_eq!(git(&["remote", "get-url", "senryu"]).trim(), url);
    // A second app does not take the first one's remote away.
    let done = stage.run(&["apps:create", "other"]).await;
    assert!(done.err.contains("stays so"), "{}", done.err);
    assert_eq!(git(&["remote", "get-url", "senryu"]).trim(), url);
}

#[tokio::test]
async fn an_app_is_destroyed_only_by_its_name() {
    let stage = Stage::new(|asked, _| match asked.line().as_str() {
        "GET /apps/shop" | "DELETE /apps/shop" => ok(json!({"name": "shop"})),
        _ => missing(),
    })
    .await;
    let destroyed = || stage.lines().contains(&"DELETE /apps/shop".to_string());
    let done = stage.run(&["apps:destroy", "-a", "shop", "--confirm", "chop"]).await;
    assert_eq!((done.status, destroyed()), (1, false));
    assert_eq!(done.err, " ›   Error: Confirmation chop did not match ⬢ shop. Aborted.\n");
    let done = stage.run_with(&["apps:destroy", "-a", "shop"], "no\n").await;
    assert_eq!((done.status, destroyed()), (1, false));
    let done = stage.run(&["apps:destroy", "-a", "shop"]).await;
    assert_eq!((done.status, destroyed()), (1, false));
    let done = stage.run_with(&["apps", "destroy", "shop"], "shop\n").await;
    assert_eq!((done.status, destroyed()), (0, true));
    assert!(done.err.ends_with("Destroying ⬢ shop (including all add-ons)... done\n"));
    let done = stage.run(&["destroy", "-a", "gone", "--confirm", "gone"]).await;
    assert_eq!(done.status, 1);
    assert_eq!(done.err, " ›   Error: Couldn't find that app.\n ›\n ›   Error ID: not_found\n");
}

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
async fn dynos_are_grouped_by_process_type() {
    let at = "2020-01-01T00:00:00Z";
    let dyno = move |name: &str, state: &str, version: i64| {
        let process = name.split('.').next().unwrap();
        json!({"name": name, "type": process, "state": state, "size": "Standard-1X",
            "command": format!("npm run {process}"), "updated_at": at, "id": "an-id",
            "release": {"version": version}})
    };
    let stage = Stage::new(move |asked, _| match asked.line().as_str() {
        "GET /apps/shop/dynos" => ok(json!([
            dyno("worker.1", "up", 3),
            dyno("web.10", "up", 3),
            dyno("web.2", "starting", 4),
        ])),
        "GET /apps/quiet/dynos" => ok(json!([])),
        _ => missing(),
    })
    .await;
    let done = stage.run(&["ps", "-a", "shop"]).await;
    let lines: Vec<&str> = done.out.lines().collect();
    assert_eq!(lines[0], "=== web (Standard-1X): npm run web (2)");
    assert!(lines[2].starts_with("web.2: starting 20") && lines[2].ends_with(" v4"));
    assert!(lines[3].starts_with("web.10: up 20") && lines[3].ends_with(" v3"));
    assert_eq!(lines[5], "=== worker (Standard-1X): npm run worker (1)");
    let done = stage.run(&["ps", "-x", "--no-wrap", "-a", "shop"]).await;
    let rows: Vec<&str> = done.out.lines().collect();
    assert!(rows[0].starts_with("ID     Process   State"), "{}", done.out);
    assert!(rows[2].starts_with("an-id  web.2     starting 20"), "{}", done.out);
    assert!(rows[2].ends_with("4        npm run web     Standard-1X"), "{}", done.out);
    let done = stage.run(&["ps", "-a", "quiet"]).await;
    assert_eq!(done.out, "No dynos on ⬢ quiet\n");
    let done = stage.run(&["ps", "clock", "-a", "shop"]).await;
    assert_eq!((done.status, done.err.as_str()), (1, " ›   Error: No clock dynos on ⬢ shop\n"));
}

#[tokio::test]
async fn dynos_are_scaled_restarted_and_stopped() {
    let stage = Stage::new(|asked, _| match asked.line().as_str() {
        "PATCH /apps/shop/formation" if asked.body["updates"][0]["quantity"] == json!(-1) => {
            let message = "Quantity must be 0 or more";
            Reply::Json(422, json!({"id": "invalid_params", "message": message}))
        }
        "PATCH /apps/shop/formation" | "GET /apps/shop/formation" => ok(json!([
            {"type": "worker", "quantity": 0, "size": "Standard-1X"},
            {"type": "web", "quantity": 2, "size": "Standard-1X"},
        ])),
        _ if rollout_of(asked) => ok(settled(3)),
        "DELETE /apps/shop/dynos"
        | "DELETE /apps/shop/dynos/web.1"
        | "DELETE /apps/shop/formations/web"
        | "POST /apps/shop/dynos/web.1/actions/stop" => Reply::Json(202, json!({})),
        _ => missing(),
    })
    .await;
    let err = async |line: &[&str]| stage.run(line).await.err;
    let done = stage.run(&["ps:scale", "-a", "shop"]).await;
    assert_eq!(done.out, "web=2:Standard-1X worker=0:Standard-1X\n");
    assert_eq!(
        err(&["ps", "scale", "web=2", "-a", "shop"]).await,
        "Scaling dynos... done, now running web at 2:Standard-1X\n"
    );
    let sent = stage.last("PATCH /apps/shop/formation").body;
    assert_eq!(sent, json!({"updates": [{"type": "web", "quantity": 2}]}));
    let resized = stage.run(&["ps:resize", "web=standard-1x", "-a", "shop"]).await;
    assert_eq!(resized.err, "Scaling dynos on ⬢ shop... done\n");
    assert!(resized.out.contains("web     Standard-1X  2"), "{}", resized.out);
    let sent = stage.last("PATCH /apps/shop/formation").body;
    assert_eq!(sent, json!({"updates": [{"type": "web", "size": "standard-1x"}]}));
    let refused = stage.run(&["scale", "web=-1", "-a", "shop"]).await;
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("Quantity must be") && refused.err.contains("invalid_params"));
    assert_eq!(err(&["restart", "-a", "shop"]).await, "Restarting all dynos on ⬢ shop... done\n");
    assert_eq!(
        err(&["ps:restart", "-d", "web.1", "-a", "shop"]).await,
        "Restarting dyno web.1 on ⬢ shop... done\n"
    );
    assert_eq!(
        err(&["ps:restart", "-p", "web", "-a", "shop"]).await,
        "Restarting all web dynos on ⬢ shop... done\n"
    );
    assert_eq!(
        err(&["ps:stop", "web.1", "-a", "shop"]).await,
        "Stopping dyno web.1 on ⬢ shop... done\n"
    );
    assert_eq!(stage.run(&["ps:stop", "-a", "shop"]).await.status, 2);
}

#[tokio::test]
async fn logs_go_on_where_they_broke_off() {
    let url = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let known = url.clone();
    let reads = AtomicUsize::new(0);
    let sse = ("content-type", "text/event-stream");
    let stage = Stage::new(move |asked, _| match asked.line().as_str() {
        "POST /apps/shop/log-sessions" if reads.load(Ordering::SeqCst) < 3 => {
            Reply::Json(201, json!({"logplex_url": format!("{}/l", known.get().unwrap())}))
        }
        "GET /l" => match reads.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::Raw(200, sse, ": hi\n\nid: 1\ndata: 2026 app[web.1]: one\n\n".into()),
            1 => Reply::Raw(200, sse, "id: 2\ndata: 2026 app[web.1]: two\n\n".into()),
            _ => Reply::Raw(404, sse, String::new()),
        },
        _ => missing(),
    })
    .await;
    url.set(stage.url.clone()).unwrap();
    let done = stage.run(&["logs", "-n", "5", "-s", "app", "-d", "web.1", "-a", "shop"]).await;
    assert_eq!((done.status, done.out.as_str()), (0, "2026 app[web.1]: one\n"));
    assert_eq!(
        stage.last("POST /apps/shop/log-sessions").body,
        json!({"lines": 5, "tail": false, "source": "app", "dyno": "web.1"})
    );
    // Read on with the id, then find the session gone and the app, too.
    let done = stage.run(&["logs", "--tail", "--ps", "web", "-a", "shop"]).await;
    assert_eq!(done.out, "2026 app[web.1]: two\n");
    assert_eq!(done.status, 1);
    assert_eq!(stage.last("GET /l").header("last-event-id"), "2");
}

#[tokio::test]
async fn a_token_is_saved_given_to_git_and_forgotten() {
    let mut stage = Stage::new(|asked, _| match asked.header("authorization") {
        "Bearer secret" => match asked.line().as_str() {
            "GET /account" => ok(json!({"email": "me@example.com"})),
            "DELETE /oauth/authorizations/~" => ok(json!({})),
            _ => missing(),
        },
        _ => Reply::Json(401, json!({"id": "unauthorized", "message": "Invalid credentials."})),
    })
    .await;
    let done = stage.run_with(&["login", "--token-stdin"], "secret\n").await;
    assert!(done.status == 1 && done.err.contains("SENRYU_API_KEY"), "{}", done.err);
    stage.vars.retain(|(name, _)| *name != "SENRYU_API_KEY");
    let done = stage.run(&["whoami"]).await;
    assert_eq!(done.status, 1);
    assert!(done.err.starts_with(" ›   Error: not logged in\n"), "{}", done.err);
    let done = stage.run_with(&["login", "--token-stdin"], "wrong\n").await;
    assert_eq!(done.status, 1, "{}", done.err);
    let done = stage.run(&["login"]).await;
    assert!(done.status == 1 && done.err.contains("--token-stdin"), "{}", done.err);

    let done = stage.run_with(&["login", "--token-stdin"], "secret\n").await;
    assert_eq!((done.status, done.out.as_str()), (0, "Logged in as me@example.com\n"));
    assert_eq!(stage.run(&["auth:whoami"]).await.out, "me@example.com\n");
    assert_eq!(stage.run(&["auth", "token"]).await.out, "secret\n");
    let helper = std::fs::read_to_string(stage.home.path().join(".gitconfig")).unwrap();
    assert!(helper.contains(&stage.url) && helper.contains("git:credentials"), "{helper}");

    let host = stage.url.strip_prefix("http://").unwrap().to_string();
    let question: &'static str = format!("protocol=http\nhost={host}\n\n").leak();
    let done = stage.run_with(&["git:credentials", "get"], question).await;
    let answer = format!("protocol=http\nhost={host}\nusername=senryu\npassword=secret\n");
    assert_eq!(done.out, answer);
    let other = "protocol=https\nhost=example.com\n\n";
    assert_eq!(stage.run_with(&["git:credentials", "get"], other).await.out, "");
    assert_eq!(stage.run_with(&["git:credentials", "erase"], question).await.status, 0);

    let done = stage.run(&["logout"]).await;
    assert_eq!((done.status, done.err.as_str()), (0, "Logging out... done\n"));
    assert!(stage.lines().contains(&"DELETE /oauth/authorizations/~".to_string()));
    assert_eq!(stage.run(&["auth:token"]).await.status, 1);
    let helper = std::fs::read_to_string(stage.home.path().join(".gitconfig")).unwrap();
    assert!(!helper.contains("git:credentials"), "{helper}");
}

#[tokio::test]
async fn a_password_is_changed_from_two_lines_of_input() {
    let stage = Stage::new(|asked, _| match asked.line().as_str() {
        "PATCH /account" => ok(json!({"email": "me@example.com"})),
        _ => missing(),
    })
    .await;
    let done = stage.run_with(&["auth:password", "--stdin"], "the old\nthe new one\n").await;
    assert_eq!((done.status, done.err.as_str()), (0, "Changing your password... done\n"));
    let body = stage.last("PATCH /account").body;
    assert_eq!(body, json!({"password": "the old", "new_password": "the new one"}));
    for input in ["one line\n", "a\nb\nc\n"] {
        let done = stage.run_with(&["auth:password", "--stdin"], input).await;
        assert!(done.status == 1 && done.err.contains("two lines"), "{}", done.err);
    }
    let done = stage.run(&["auth:password"]).await;
    assert!(done.status == 1 && done.err.contains("auth:password --stdin"), "{}", done.err);
}

#[tokio::test]
async fn a_login_is_found_again_however_the_url_is_written() {
    let mut stage = Stage::new(|asked, _| match asked.header("authorization") {
        "Bearer secret" => ok(json!({"email": "me@example.com"})),
        _ => Reply::Json(401, json!({"id": "unauthorized", "message": "Invalid credentials."})),
    })
    .await;
    let written = stage.url.replace("http", "HTTP") + "/";
    stage.vars = vec![("SENRYU_URL", written)];
    let done = stage.run_with(&["login", "--token-stdin"], "secret\n").await;
    assert_eq!(done.status, 0, "{}", done.err);
    let done = stage.run(&["whoami"]).await;
    assert_eq!((done.status, done.out.as_str()), (0, "me@example.com\n"), "{}", done.err);
}

#[tokio::test]
async fn no_secret_crosses_a_network_in_the_clear() {
    let mut stage = Stage::new(|_, _| missing()).await;
    let url = "http://192.0.2.7:5757";
    stage.vars[0].1 = url.to_string();
    let done = stage.run(&["apps"]).await;
    assert_eq!(done.status, 1);
    for part in ["in the clear to http://192.0.2.7:5757", "https://", "SENRYU_INSECURE=1"] {
        assert!(done.err.contains(part), "{}", done.err);
    }
    // Git would ask for the password in its place and send that.
    let question = "protocol=http\nhost=192.0.2.7:5757\n\n";
    let done = stage.run_with(&["git:credentials", "get"], question).await;
    assert_eq!(done.out, "quit=1\n");
    assert!(done.err.contains("in the clear"), "{}", done.err);

    stage.vars.retain(|(name, _)| *name == "SENRYU_URL");
    let done = stage.run_with(&["login", "--token-stdin"], "secret\n").await;
    assert!(done.status == 1 && done.err.contains("in the clear"), "{}", done.err);
    let client = Client::new(url).unwrap();
    assert!(client.may_log_in().is_err() && client.in_clear(true).may_log_in().is_ok());
    assert!(Client::new("https://192.0.2.7").unwrap().may_log_in().is_ok());
}

#[tokio::test]
async fn a_logout_that_revokes_nothing_says_that_the_token_lives() {
    let mut stage = Stage::new(|_, _| missing()).await;
    stage.vars = vec![("SENRYU_URL", "http://192.0.2.7:5757".to_string())];
    let env = Env::for_tests(stage.home.path(), &[]);
    let mut saved = credentials::Credentials::default();
    let (email, token) = ("me@example.com".to_string(), "secret".to_string());
    let login = credentials::Saved { email, token, authorization: None };
    saved.set("http://192.0.2.7:5757", login);
    saved.save(&env).unwrap();
    let done = stage.run(&["logout"]).await;
    assert!(done.err.contains("The server still knows the token"), "{}", done.err);
}

#[tokio::test]
async fn a_redirection_names_the_address_to_use() {
    let stage = Stage::new(|_, _| {
        let place = ("location", "https://api.example.com/apps");
        Reply::Raw(308, place, String::new())
    })
    .await;
    let done = stage.run(&["apps"]).await;
    assert_eq!(done.status, 1);
    assert!(done.err.contains("Set SENRYU_URL to the server: https://api.example.com\n"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_be_so() {
    let mut stage = Stage::new(|_, _| missing()).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    stage.vars[0].1 = format!("http://127.0.0.1:{port}");
    let done = stage.run(&["apps"]).await;
    assert_eq!(done.status, 1);
    assert!(done.err.contains("Can't reach http://127.0.0.1"), "{}", done.err);
    assert!(done.err.contains("senryu doctor"), "{}", done.err);
    stage.vars[0].1 = "ftp://x".to_string();
    let done = stage.run(&["apps"]).await;
    assert!(done.status == 2 && done.err.contains("SENRYU_URL"), "{}", done.err);
}

#[tokio::test]
async fn maintenance_is_shown_and_switched() {
    let stage = Stage::new(|asked, _| match asked.line().as_str() {
        "GET /apps/shop" => ok(json!({"name": "shop", "maintenance": true})),
        "PATCH /apps/shop" => ok(json!({"name": asked.body.get("name").cloned(),
            "web_url": "http://store.localhost/"})),
        _ => missing(),
    })
    .await;
    assert_eq!(stage.run(&["maintenance", "-a", "shop"]).await.out, "on\n");
    let done = stage.run(&["maintenance", "off", "-a", "shop"]).await;
    assert_eq!(done.err, "Disabling maintenance mode for ⬢ shop... done\n");
    assert_eq!(stage.last("PATCH /apps/shop").body, json!({"maintenance": false}));
    let done = stage.run(&["rename", "store", "-a", "shop"]).await;
    assert_eq!(done.out, format!("http://store.localhost/ | {}/store.git\n", stage.url));
    assert!(done.err.starts_with("Renaming ⬢ shop to store... done\n"), "{}", done.err);
}

#[tokio::test]
async fn a_restart_of_the_server_repeats_only_what_may_be_repeated() {
    let cut = std::sync::Arc::new(AtomicUsize::new(0));
    let cuts = cut.clone();
    let stage = Stage::new(move |asked, _| match asked.line().as_str() {
        "GET /apps/shop" => ok(json!({"name": "shop"})),
        // The first answer of each kind is lost, though the server has done what was asked.
        "PATCH /apps/shop" | "DELETE /apps/shop" | "PATCH /apps/shop/formation" | "POST /apps"
            if cuts.fetch_add(1, Ordering::SeqCst) == 0 =>
        {
            Reply::Cut
        }
        "PATCH /apps/shop" => ok(json!({"name": "shop"})),
        _ => missing(),
    })
    .await;
    let done = stage.run(&["maintenance:on", "-a", "shop"]).await;
    assert_eq!((done.status, cut.swap(0, Ordering::SeqCst)), (0, 2), "{}", done.err);
    let done = stage.run(&["apps:destroy", "shop", "--confirm", "shop"]).await;
    assert_eq!((done.status, cut.swap(0, Ordering::SeqCst)), (0, 2), "{}", done.err);
    for line in [&["create", "new"][..], &["ps:scale", "web+1", "-a", "shop"]] {
        let done = stage.run(line).await;
        assert_eq!((done.status, cut.swap(0, Ordering::SeqCst)), (1, 1), "{}", done.err);
        assert!(done.err.contains("not known whether"), "{}", done.err);
    }
}

#[tokio::test]
async fn an_app_is_shown_with_what_the_server_knows() {
    let stage = Stage::new(|asked, _| match asked.line().as_str() {
        "GET /apps/shop" => ok(json!({"name": "shop", "owner": {"email": "me@example.com"},
            "git_url": "http://localhost/shop.git", "web_url": "http://shop.localhost/",
            "repo_size": 2_097_152, "slug_size": null, "region": {"name": "us"},
            "stack": {"name": "heroku-24"}, "build_stack": {"name": "heroku-26"}})),
        "GET /apps/shop/dynos" => ok(json!([{"type": "web"}, {"type": "worker"}, {"type": "web"}])),
        _ => missing(),
    })
    .await;
    let done = stage.run(&["info", "-a", "shop"]).await;
    assert_eq!(
        done.out,
        "=== shop\n\nAuto Cert Mgmt: false\nGit URL:        http://localhost/shop.git\n\
         Web URL:        http://shop.localhost/\nRepo Size:      2 MB\nSlug Size:      0 B\n\
         Owner:          me@example.com\nRegion:         us\nDynos:          web: 2, worker: 1\n\
         Stack:          heroku-24 (next build will use heroku-26)\n"
    );
    let done = stage.run(&["apps:info", "shop", "--shell"]).await;
    assert!(done.out.contains("\ndynos='web: 2,worker: 1'\nstack=heroku-24\n"), "{}", done.out);
    let done = stage.run(&["apps:info", "shop", "--json"]).await;
    let facts: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(facts["app"]["name"], "shop");
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

#[tokio::test]
async fn drift_is_a_table_and_an_exit_status() {
    let row = json!({"app": {"id": "1", "name": "shop"}, "what": "web.1",
        "declared": "v4 Standard-1X", "running": "nothing"});
    let stray = json!({"app": null, "what": "left", "declared": "nothing", "running": "running"});
    let rows = [row, stray];
    let stage = Stage::new(move |asked, _| match asked.line().as_str() {
        "GET /drift" => ok(json!({"apps": 2, "drift": rows})),
        "GET /apps/other" => ok(json!({"name": "other"})),
        _ => missing(),
    })
    .await;
    let done = stage.run(&["drift"]).await;
    assert_eq!(done.status, 1, "{}", done.err);
    let lines: Vec<Vec<&str>> =
        done.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["App", "What", "Declared", "Running"]);
    assert!(lines.contains(&vec!["shop", "web.1", "v4", "Standard-1X", "nothing"]), "{}", done.out);
    assert!(done.out.contains("left"));
    let done = stage.run(&["drift", "--app", "other"]).await;
    assert_eq!((done.status, done.out.as_str()), (0, "All runs as declared: ⬢ other\n"));
    let done = stage.run(&["drift", "--app", "gone"]).await;
    assert!(done.status == 1 && done.out.is_empty(), "{}", done.err);
    let done = stage.run(&["drift", "--json", "-a", "other"]).await;
    let shown: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((done.status, &shown["drift"]), (0, &json!([])));
}

#[tokio::test]
async fn domains_are_listed_added_and_cleared() {
    let stage = Stage::new(|asked, _| {
        let custom = |id: &str, name: &str| {
            json!({"id": id, "kind": "custom", "hostname": name, "cname": "shop.paas.example.org",
                "app": {"id": "a", "name": "shop"}, "sni_endpoint": null, "status": "none"})
        };
        match asked.line().as_str() {
            "GET /apps/shop/domains" | "GET /apps/shop/domains?dns" => {
                let mut wrong = custom("1", "*.example.net");
                wrong["dns_status"] = json!("failing");
                wrong["dns_status_reason"] = json!("it leads to 203.0.113.9");
                ok(json!([
                    {"id": "0", "kind": "heroku", "hostname": "shop.paas.example.org"},
                    custom("2", "www.example.com"),
                    wrong,
                ]))
            }
            "GET /apps/shop/domains/www.example.com"
            | "GET /apps/shop/domains/www.example.com?dns" => ok(custom("2", "www.example.com")),
            "POST /apps/shop/domains" => Reply::Json(201, custom("3", "example.org")),
            "DELETE /apps/shop/domains/www.example.com" => ok(custom("2", "www.example.com")),
            "DELETE /apps/shop/domains/%2A.example.net" => ok(custom("1", "*.example.net")),
            _ => missing(),
        }
    })
    .await;
    let done = stage.run(&["domains", "-a", "shop"]).await;
    let (head, rows) = done.out.split_once("=== shop Custom Domains\n\n").unwrap();
    assert_eq!(head, "=== shop Heroku Domain\n\nshop.paas.example.org\n\n");
    let rows: Vec<Vec<&str>> = rows.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows[2], ["*.example.net", "CNAME", "shop.paas.example.org"]);
    assert_eq!(rows[3], ["www.example.com", "CNAME", "shop.paas.example.org"]);
    assert_eq!(done.err, " ›   Warning: it leads to 203.0.113.9\n");

    let flags = ["--sort", "domain_name", "--filter", "Domain Name=www", "--columns", "DNS Target"];
    let done = stage.run(&[&["domains", "--csv", "-x", "-a", "shop"][..], &flags].concat()).await;
    assert_eq!(done.out, "DNS Target\nshop.paas.example.org\n");
    let done = stage.run(&["domains", "--sort", "size", "-a", "shop"]).await;
    assert!(done.status == 2 && done.err.contains("There is no column size"), "{}", done.err);
    let done = stage.run(&["domains:add", "example.org", "-a", "shop", "--wait"]).await;
    assert_eq!(done.status, 0, "{}", done.err);
    assert!(done.err.starts_with("Adding example.org to ⬢ shop... done\n"), "{}", done.err);
    assert!(done.out.contains("DNS Target shop.paas.example.org."), "{}", done.out);
    assert!(done.out.contains("ALIAS"), "{}", done.out);
    let body = stage.last("POST /apps/shop/domains").body;
    assert_eq!(body, json!({"hostname": "example.org", "sni_endpoint": null}));

    let done = stage.run(&["domains:info", "www.example.com", "-a", "shop"]).await;
    assert!(done.out.contains("app:      shop\n"), "{}", done.out);
    assert_eq!(stage.run(&["domains:wait", "www.example.com", "-a", "shop"]).await.status, 0);
    assert_eq!(stage.run(&["domains:clear", "-a", "shop"]).await.status, 0);
    stage.last("DELETE /apps/shop/domains/%2A.example.net");
    stage.last("DELETE /apps/shop/domains/www.example.com");
    assert_eq!(stage.run(&["domains:remove", "nobody.example", "-a", "shop"]).await.status, 1);
}
