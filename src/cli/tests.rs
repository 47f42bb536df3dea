//! Whole commands against a server on a real socket: their words and their exit status.

mod access;
mod apps;
mod auth;
mod builds;
mod config;
mod connection;
mod domains;
mod dynos;
mod releases;

use super::testing::{Asked, Reply, Stage};
use super::*;
use serde_json::{Value, json};

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
