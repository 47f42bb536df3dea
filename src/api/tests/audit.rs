//! The audit: every change leaves an entry that says who and from where, a failed one leaves none,
//! no secret is in it, and whoever tampers with it is found out.

use crate::api::testing::{Answer, Person, Stage};
use crate::clock::Timestamp;
use crate::store::audit::verify;
use axum::http::{Method, StatusCode};
use rusqlite::Connection;
use serde_json::{Value, json};

async fn entries(stage: &Stage, who: &Person) -> Vec<Value> {
    let answer = stage.ask(Some(who), &Method::GET, "/audit?n=1000", None).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body.as_array().unwrap().clone()
}

/// A request that must change something, and the newest entry that it leaves.
async fn changed(
    stage: &Stage,
    admin: &Person,
    method: Method,
    path: &str,
    body: Value,
) -> (Answer, Value) {
    let before = entries(stage, admin).await.len();
    let body = (!body.is_null()).then_some(body);
    let answer = stage.ask(Some(admin), &method, path, body).await;
    assert!(answer.status.is_success(), "{method} {path}: {} {}", answer.status, answer.body);
    let after = entries(stage, admin).await;
    assert!(after.len() > before, "{method} {path} left no entry");
    (answer, after[0].clone())
}

#[tokio::test]
async fn every_change_leaves_an_entry_without_secrets() {
    let stage = Stage::new().await;
    let admin = stage.person("admin@x.org", true).await;
    stage.person("eve@x.org", false).await;
    let change = async |method: Method, path: &str, body: Value, action: &str| {
        let (_, entry) = changed(&stage, &admin, method, path, body).await;
        assert_eq!(entry["action"], action, "{path}: {entry}");
        assert_eq!(entry["actor"]["email"], "admin@x.org", "{entry}");
        assert_eq!((&entry["via"], &entry["address"]), (&json!("cli"), &json!("192.0.2.7")));
        assert!(entry["request_id"].as_str().is_some_and(|id| id.len() >= 36), "{entry}");
        entry
    };
    use Method as M;
    change(M::POST, "/apps", json!({ "name": "shop" }), "release:create").await;
    let secret = "hunter2-and-more";
    let vars = json!({ "PASSWORD": secret });
    let entry = change(M::PATCH, "/apps/shop/config-vars", vars, "release:create").await;
    assert_eq!(entry["details"]["description"], "Set PASSWORD config vars", "{entry}");
    for (body, detail) in
        [(json!({ "maintenance": true }), "maintenance"), (json!({ "name": "store" }), "name")]
    {
        let entry = change(M::PATCH, "/apps/shop", body, "app:update").await;
        assert!(entry["details"][detail].is_string(), "{entry}");
        assert_eq!(entry["app"]["name"], "shop");
    }
    let app = |path: &str| format!("/apps/store{path}");
    let packs = json!({ "updates": [{ "buildpack": "heroku/nodejs" }] });
    let path = app("/buildpack-installations");
    change(M::PUT, &path, packs, "buildpack-installation:update").await;
    change(M::PATCH, &app("/egress"), json!({ "mode": "off" }), "app:update").await;
    change(M::DELETE, &app("/dynos"), Value::Null, "dyno:restart").await;
    let domain = json!({ "hostname": "www.example.com" });
    change(M::POST, &app("/domains"), domain, "domain:create").await;
    change(M::DELETE, &app("/domains/www.example.com"), Value::Null, "domain:destroy").await;
    let path = app("/collaborators");
    change(M::POST, &path, json!({ "user": "eve@x.org" }), "collaborator:create").await;
    let path = "/teams/apps/store/collaborators/eve@x.org";
    change(M::PATCH, path, json!({ "permissions": ["view"] }), "collaborator:update").await;
    change(M::DELETE, path, Value::Null, "collaborator:destroy").await;
    change(M::POST, "/oauth/authorizations", json!({}), "authorization:create").await;
    let entry = change(M::DELETE, "/apps/store", Value::Null, "app:destroy").await;
    assert_eq!(entry["app"]["name"], "store");
    change(M::POST, "/users", json!({ "email": "bob@x.org" }), "user:create").await;
    change(M::DELETE, "/users/bob@x.org", Value::Null, "user:destroy").await;

    let all = entries(&stage, &admin).await;
    let text = Value::from(all.clone()).to_string();
    assert!(!text.contains(secret) && !text.contains("HRKU-"), "{text}");
    // What fails leaves nothing behind.
    for (method, path, body) in [
        (M::POST, "/apps", json!({ "name": "no" })),
        (M::PATCH, "/apps/gone", json!({ "maintenance": true })),
        (M::POST, "/users", json!({ "email": "eve@x.org" })),
        (M::DELETE, "/users/admin@x.org", Value::Null),
    ] {
        let answer = stage.ask(Some(&admin), &method, path, Some(body)).await;
        assert!(answer.status.is_client_error(), "{path}");
    }
    assert_eq!(entries(&stage, &admin).await.len(), all.len());
    let found = stage.ask(Some(&admin), &M::GET, "/audit/verify", None).await.body;
    assert_eq!((&found["broken"], &found["entries"]), (&Value::Null, &json!(all.len())));
}

#[tokio::test]
async fn whoever_manages_an_app_reads_that_apps_entries_only() {
    let stage = Stage::new().await;
    let (ada, eve) =
        (stage.person("ada@x.org", false).await, stage.person("eve@x.org", false).await);
    let app = stage.app(&ada, "shop").await;
    stage.app(&eve, "other").await;
    let shown = stage.ask(Some(&ada), &Method::GET, "/apps/shop/audit", None).await;
    let list = shown.body.as_array().unwrap();
    assert!(!list.is_empty() && list.iter().all(|entry| entry["app"]["id"] == json!(app.id.0)));
    let refused = stage.ask(Some(&ada), &Method::GET, "/audit", None).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let hidden = stage.ask(Some(&ada), &Method::GET, "/apps/other/audit", None).await;
    assert_eq!(hidden.status, StatusCode::NOT_FOUND);
    for n in ["0", "1001", "x", "-1"] {
        let path = format!("/apps/shop/audit?n={n}");
        let answer = stage.ask(Some(&ada), &Method::GET, &path, None).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{n}");
    }
}

#[tokio::test]
async fn tampering_is_found_by_the_first_entry_that_it_touched() {
    let stage = Stage::new().await;
    let ada = stage.person("ada@x.org", false).await;
    for name in ["one", "two", "three"] {
        stage.app(&ada, name).await;
    }
    let head = stage.api.store.read(crate::store::audit::head).await.unwrap();
    let count = head.0;
    assert!(count >= 9, "{count}");
    let db = || Connection::open(stage.api.settings.database()).unwrap();
    // The triggers refuse what a program of ours might do by mistake.
    for change in [
        "UPDATE audit SET actor = 'eve' WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 3",
        "INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE seq = 3",
        "INSERT INTO audit SELECT seq + 100, at, actor_id, actor, via, address, request_id,
         action, app_id, app, details, hash FROM audit WHERE seq = 3",
    ] {
        assert!(db().execute(change, []).is_err(), "{change}");
    }
    // Whoever removes them is found by the hashes.
    let copy = |name: &str, change: &str| {
        let path = stage.api.settings.data_dir.join(name);
        db().execute("VACUUM INTO ?", [path.display().to_string()]).unwrap();
        let db = Connection::open(&path).unwrap();
        for trigger in ["audit_in_order", "audit_no_update", "audit_no_delete"] {
            db.execute(&format!("DROP TRIGGER {trigger}"), []).unwrap();
        }
        db.execute(change, []).unwrap();
        db
    };
    let later = Timestamp::now().0 + 1;
    for (name, change, first) in [
        ("actor", "UPDATE audit SET actor = 'eve' WHERE seq = 3".to_string(), 3),
        ("time", format!("UPDATE audit SET at = {later} WHERE seq = 5"), 5),
        ("details", "UPDATE audit SET details = '{}' WHERE seq = 2".to_string(), 2),
        ("address", "UPDATE audit SET address = '' WHERE seq = 4".to_string(), 4),
        ("hash", "UPDATE audit SET hash = x'00' WHERE seq = 4".to_string(), 4),
        ("removed", "DELETE FROM audit WHERE seq = 3".to_string(), 3),
        ("first", "DELETE FROM audit WHERE seq = 1".to_string(), 1),
        ("kind", "UPDATE audit SET app_id = 'x' WHERE seq = 4".to_string(), 4),
    ] {
        let found = verify(&copy(name, &change), None).unwrap();
        assert_eq!(found.broken.map(|(seq, _)| seq), Some(first), "{name}");
    }
    // That the end is gone only one who kept the head can tell.
    let cut = copy("cut", &format!("DELETE FROM audit WHERE seq > {}", count - 2));
    assert_eq!(verify(&cut, None).unwrap().broken, None);
    let found = verify(&cut, Some(head.clone())).unwrap();
    assert_eq!(found.broken.map(|(seq, _)| seq), Some(count - 1));
    assert_eq!(verify(&db(), Some(head.clone())).unwrap().broken, None);
    let other = verify(&db(), Some((count, vec![0; 32]))).unwrap();
    assert_eq!(other.broken.map(|(seq, _)| seq), Some(count));
}
