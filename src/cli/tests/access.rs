//! Collaborators, users and tokens on the command line.

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

fn token(id: &str, description: &str, more: Value) -> Value {
    let hidden = json!({ "token": "HRKU-**********", "expires_in": null });
    let mut row = json!({
        "id": format!("{id}-0000-4000-8000-000000000000"),
        "access_token": hidden,
        "description": description,
        "created_at": "2026-11-01T10:00:00Z",
        "used_at": null,
    });
    more.as_object().unwrap().iter().for_each(|(key, value)| row[key] = value.clone());
    row
}

#[tokio::test]
async fn tokens_are_listed_made_and_revoked_by_the_beginning_of_their_id() {
    let own = json!({
        "access_token": { "token": "key", "expires_in": 86_400 * 400 },
        "used_at": "2026-11-22T10:00:00Z",
    });
    let all = json!([token("aaaa1111", "a script", json!({})), token("aaaa2222", "laptop", own)]);
    let stage = Stage::new(move |asked, _| match asked.line().as_str() {
        "GET /oauth/authorizations" => ok(all.clone()),
        "DELETE /oauth/authorizations/aaaa2222-0000-4000-8000-000000000000" => ok(all[1].clone()),
        "POST /oauth/authorizations" => {
            assert_eq!(asked.body, json!({ "description": "ci", "expires_in": 60 }));
            let shown = json!({ "access_token": { "token": "HRKU-new", "expires_in": 60 } });
            Reply::Json(201, token("bbbb", "ci", shown))
        }
        _ => missing(),
    })
    .await;
    let done = stage.run(&["authorizations"]).await;
    let lines: Vec<&str> = done.out.lines().collect();
    assert!(lines[2].ends_with("  a script         never       never"), "{}", done.out);
    assert!(lines[3].contains("  laptop (in use)  2026-11-22  20"), "{}", done.out);
    let done = stage.run(&["authorizations:revoke", "aaaa"]).await;
    assert!(done.status == 1 && done.err.contains("2 tokens have an id"), "{}", done.err);
    let done = stage.run(&["authorizations:revoke", "cccc"]).await;
    assert!(done.status == 1 && done.err.contains("No token of yours"), "{}", done.err);
    let done = stage.run(&["authorizations:revoke", "aaaa2"]).await;
    let said = "Revoking OAuth Authorization... done, revoked authorization from laptop\n";
    assert!(done.status == 0 && done.err.starts_with(said), "{}", done.err);
    assert!(done.err.contains("log in again with senryu login"), "{}", done.err);
    let words = ["authorizations:create", "-d", "ci", "-e", "60"];
    let done = stage.run(&words).await;
    assert!(done.out.contains("Token:       HRKU-new\n"), "{}", done.out);
    let done = stage.run(&[&words[..], &["--short"]].concat()).await;
    assert_eq!(done.out, "HRKU-new\n");
}
