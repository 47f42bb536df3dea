//! Apps: listed, made, shown, renamed, destroyed, and whether all runs as declared.

use super::*;

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
