//! Dyno sizes: `ps:type`, the API's table, and what a dyno of a size is limited to.

use crate::support::docker::docker;
use crate::support::{App, Platform, eventually};
use serde_json::json;

/// A figure of the configuration that Docker has of the app's only dyno.
fn figure(app: &App, field: &str) -> String {
    let dynos = app.dynos();
    let format = format!("{{{{.HostConfig.{field}}}}}");
    docker(&["inspect", "--format", &format, &dynos[0]]).succeeded().stdout.trim().to_string()
}

#[test]
fn a_resized_type_is_restarted_with_the_limits_of_its_size() {
    let app = Platform::shared().app_from("tiny");
    let before = app.dynos();
    assert_eq!(figure(&app, "Memory"), (1024_i64 << 20).to_string());
    app.cli(&["ps:resize", "web=standard-2x"]).succeeded().says("web   Standard-2X  1");
    eventually("the old dyno has gone", || app.dynos().len() == 1 && app.dynos() != before);
    for (field, value) in
        [("Memory", (2048_i64 << 20).to_string()), ("CpuShares", "2048".to_string())]
    {
        assert_eq!(figure(&app, field), value, "{field}");
    }
    assert_eq!(figure(&app, "PidsLimit"), "512");
    assert_eq!(app.serving(), "v3");
    app.log_says("Scaled to web@1:Standard-2X by user");
    app.cli(&["ps:type", "web=huge"]).failed(1).says("Size huge is unknown; choose one of Eco");
    app.cli(&["ps:type"]).succeeded().says("Standard-2X");
    app.cli(&["ps:type", "eco"]).succeeded().says("web   Eco   1");
    // Heroku's schema names it by its id.
    let basic = app.platform.api("GET", "/dyno-sizes/basic", None).is(200).json();
    let update = json!({ "dyno_size": { "id": basic["id"] } });
    let updated = app.api("PATCH", "/formation/web", Some(update)).is(200).json();
    assert_eq!(updated["dyno_size"]["name"], "Basic");
}

#[test]
fn the_api_tells_the_table_with_the_operators_changes() {
    let platform = Platform::shared();
    let sizes = platform.api("GET", "/dyno-sizes", None).is(200).json();
    assert_eq!(sizes.as_array().unwrap().len(), 9);
    let eco = platform.api("GET", "/dyno-sizes/eco", None).is(200).json();
    assert_eq!((&eco["name"], &eco["memory"]), (&json!("Eco"), &json!(0.0625)));
    assert_eq!(eco["limits"]["processes"], 64);
    let id = eco["id"].as_str().unwrap();
    let by_id = platform.api("GET", &format!("/dyno-sizes/{id}"), None).is(200).json();
    assert_eq!(by_id, eco);
    let reply = platform.api("GET", "/dyno-sizes/huge", None).is(404);
    assert_eq!(reply.json()["message"], "Couldn't find that dyno size.");
}
