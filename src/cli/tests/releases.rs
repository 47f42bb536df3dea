//! Releases: their list, the way back, waiting for one, what its command prints.

use super::*;

#[tokio::test]
async fn releases_are_listed_and_rolled_back() {
    let release = |version: i64, status: &str| {
        json!({"id": format!("id-{version}"), "version": version, "status": status,
            "description": "Deploy abc", "user": {"email": "me@example.com"},
            "created_at": "2020-01-01T00:00:00Z", "current": version == 3,
            "eligible_for_rollback": version > 1, "output_stream_url": null,
            "slug": {"id": format!("slug-{version}")}})
    };
    let stage = Stage::new(move |asked, _| match asked.line().as_str() {
        "GET /apps/shop/releases" => {
            ok(json!([release(4, "failed"), release(3, "succeeded"), release(1, "succeeded")]))
        }
        "GET /apps/shop/releases/2" => ok(release(2, "succeeded")),
        "POST /apps/shop/releases" => Reply::Json(201, release(5, "succeeded")),
        _ if rollout_of(asked) => ok(settled(5)),
        _ => missing(),
    })
    .await;
    let done = stage.run(&["releases", "-a", "shop"]).await;
    let lines: Vec<&str> = done.out.lines().collect();
    assert_eq!(lines[0], "=== shop Releases - Current: v3");
    assert!(lines[2].starts_with("v4  Deploy abc release command failed  me@example.com  2"));
    let done = stage.run(&["releases", "-x", "-a", "shop"]).await;
    assert!(done.out.lines().nth(2).unwrap().ends_with("slug-4"), "{}", done.out);
    let done = stage.run(&["rollback", "v2", "-a", "shop"]).await;
    assert_eq!(done.status, 0);
    assert!(done.err.starts_with("Rolling back ⬢ shop to v2... done, v5\n"), "{}", done.err);
    assert_eq!(stage.last("POST /apps/shop/releases").body, json!({"release": "id-2"}));
    let done = stage.run(&["rollback", "-a", "shop"]).await;
    assert!(done.err.starts_with("Rolling back ⬢ shop to v3... done, v5\n"), "{}", done.err);
    let done = stage.run(&["releases:output", "v2", "-a", "shop"]).await;
    assert_eq!(done.err, " ›   Warning: Release v2 has no release output available.\n");
}

#[tokio::test]
async fn releases_wait_tells_by_its_status() {
    let stage = Stage::new(|asked, _| match asked.line().as_str() {
        "GET /apps/shop/releases/4" => ok(json!({"version": 4, "status": "succeeded"})),
        "GET /apps/shop/releases/5" => ok(json!({"version": 5, "status": "succeeded"})),
        "GET /apps/shop/releases/6" => ok(json!({"version": 6, "status": "failed"})),
        _ if rollout_of(asked) => ok(json!({"state": "converging", "message": null,
            "release": {"version": 5}, "serving": {"version": 4}, "elapsed_ms": 9})),
        _ => missing(),
    })
    .await;
    let done = stage.run(&["releases:wait", "v4", "-a", "shop"]).await;
    assert_eq!((done.status, done.out.as_str()), (0, "v4 is serving\n"));
    let done = stage.run(&["releases:wait", "v5", "-a", "shop", "--timeout", "1"]).await;
    assert_eq!(done.status, 124, "{}", done.err);
    let done = stage.run(&["releases:wait", "v6", "-a", "shop"]).await;
    assert_eq!(done.status, 1);
    assert!(done.err.contains("failed in its release phase"), "{}", done.err);
}

#[tokio::test]
async fn a_release_command_s_output_is_copied_through() {
    let url = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let known = url.clone();
    let stage = Stage::new(move |asked, _| match asked.line().as_str() {
        "GET /apps/shop/releases/2" => ok(json!({"version": 2,
            "output_stream_url": format!("{}/streams/x?secret=1", known.get().unwrap())})),
        "GET /streams/x?secret=1" => {
            Reply::Raw(200, ("content-type", "text/plain"), "migrated\n\0\0done\n".into())
        }
        _ => missing(),
    })
    .await;
    url.set(stage.url.clone()).unwrap();
    let done = stage.run(&["releases:output", "v2", "-a", "shop"]).await;
    assert_eq!((done.status, done.out.as_str()), (0, "migrated\ndone\n"));
    assert_eq!(stage.last("GET /streams/x?secret=1").header("authorization"), "");
}
