//! Collaborators and users on the command line.

use super::*;

fn person(email: &str, role: &str, permissions: &[&str]) -> Value {
    let permissions: Vec<Value> = permissions.iter().map(|name| json!({ "name": name })).collect();
    json!({ "user": { "email": email }, "role": role, "permissions": permissions })
}

#[tokio::test]
async fn collaborators_are_listed_added_and_changed() {
    let stage = Stage::new(|asked, _| match asked.line().as_str() {
        "GET /apps/shop/collaborators" => ok(json!([
            person("me@example.com", "owner", &["view", "deploy", "operate", "manage"]),
            person("eve@example.com", "collaborator", &["view"]),
        ])),
        "POST /apps/shop/collaborators" => {
            assert_eq!(asked.body, json!({ "user": "eve@example.com" }));
            Reply::Json(201, person("eve@example.com", "collaborator", &["view", "deploy"]))
        }
        "POST /teams/apps/shop/collaborators" => {
            let body = json!({ "user": "eve@example.com", "permissions": ["deploy", "operate"] });
            assert_eq!(asked.body, body);
            Reply::Json(201, person("eve@example.com", "collaborator", &["view"]))
        }
        "PATCH /teams/apps/shop/collaborators/eve%40example.com" => {
            assert_eq!(asked.body, json!({ "permissions": ["view"] }));
            ok(person("eve@example.com", "collaborator", &["view"]))
        }
        "DELETE /apps/shop/collaborators/eve%40example.com" => ok(json!({})),
        _ => missing(),
    })
    .await;
    let eve = "eve@example.com";
    let done = stage.run(&["access", "-a", "shop"]).await;
    let lines: Vec<&str> = done.out.lines().collect();
    assert!(lines[2].starts_with("eve@example.com  collaborator  view"), "{}", done.out);
    assert!(lines[3].contains("owner         view, deploy, operate, manage"), "{}", done.out);
    let done = stage.run(&["access:add", eve, "-a", "shop"]).await;
    let said = "Adding eve@example.com access to the app ⬢ shop... done, view, deploy\n";
    assert_eq!((done.status, done.err.as_str()), (0, said));
    let done = stage.run(&["access:add", eve, "-a", "shop", "-p", "deploy, operate"]).await;
    assert_eq!(done.status, 0, "{}", done.err);
    let done = stage.run(&["access:update", eve, "-a", "shop", "-p", "view"]).await;
    assert_eq!(done.status, 0, "{}", done.err);
    let done = stage.run(&["access:remove", eve, "-a", "shop"]).await;
    assert_eq!(done.status, 0, "{}", done.err);
    let done = stage.run(&["access:add", eve, "-a", "shop", "-p", " , "]).await;
    assert!(done.status == 2 && done.err.contains("--permissions is empty"), "{}", done.err);
}

#[tokio::test]
async fn a_new_users_password_is_all_that_goes_to_standard_output() {
    let stage = Stage::new(|asked, _| match asked.line().as_str() {
        "POST /users" => {
            assert_eq!(asked.body, json!({ "email": "eve@example.com", "admin": false }));
            let made = json!({ "email": "eve@example.com", "admin": false, "password": "s3cret" });
            Reply::Json(201, made)
        }
        "DELETE /users/eve%40example.com?apps_to=me%40example.com" => ok(json!({})),
        _ => missing(),
    })
    .await;
    let eve = "eve@example.com";
    let done = stage.run(&["users:create", eve]).await;
    assert_eq!((done.status, done.out.as_str()), (0, "s3cret\n"), "{}", done.err);
    let done = stage.run(&["users:remove", eve, "--confirm", "ev@example.com"]).await;
    assert!(done.status == 1 && done.err.contains("did not match"), "{}", done.err);
    let words = ["users:remove", eve, "--apps-to", "me@example.com", "--confirm", eve];
    let done = stage.run(&words).await;
    assert_eq!(done.status, 0, "{}", done.err);
}
