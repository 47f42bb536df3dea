//! Dynos: listed, scaled, restarted and stopped.

use super::*;

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
