//! How people come, what they are given, and that nothing of it is left once they are removed.

use crate::api::testing::{Person, Stage};
use crate::apps::sign_in::EntryBy;
use crate::error::Kind;
use crate::origin::Origin;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

#[tokio::test]
async fn another_sites_form_changes_nothing_by_what_a_browser_remembers() {
    let stage = Stage::new().await;
    let eve = stage.person("eve@x.org", false).await;
    let ask = async |site, method: &Method| {
        let body = (method == Method::POST).then(|| json!({}));
        stage.ask_from(Some(site), Some(&eve), method, "/apps", body).await
    };
    for site in ["cross-site", "same-site"] {
        let refused = ask(site, &Method::POST).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{site}");
        assert_eq!(refused.body["id"], "forbidden");
        assert_eq!(ask(site, &Method::GET).await.body, json!([]), "nothing was made");
    }
    assert_eq!(ask("same-origin", &Method::POST).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn people_are_removed_by_what_they_are_now_and_not_when_somebody_looked() {
    let stage = Stage::new().await;
    let access = &stage.api.access;
    let admin = stage.person("admin@x.org", true).await;
    let [eve, bob] = ["eve@x.org", "bob@x.org"].map(|email| stage.person(email, false));
    let (eve, bob) = (eve.await, bob.await);
    stage.app(&bob, "shop").await;
    access.promote(&eve.user).await.unwrap();
    access.remove_user(&admin.user, None).await.unwrap();
    let last = access.remove_user(&eve.user, None).await.unwrap_err();
    assert!(last.to_string().contains("last admin"), "{last}");

    // The heir has gone meanwhile: nobody would own the apps.
    let gone = access.remove_user(&bob.user, Some(&admin.user)).await.unwrap_err();
    assert_eq!(gone.kind(), Kind::NotFound);
    let apps = access.shared_apps(&access.user("bob@x.org").await.unwrap()).await.unwrap();
    assert_eq!(apps.len(), 1, "and nothing has changed");
    let again = access.remove_user(&admin.user, None).await.unwrap_err();
    assert_eq!(again.kind(), Kind::NotFound);
}

#[tokio::test]
async fn two_who_remove_a_collaborator_remove_one() {
    let stage = Stage::new().await;
    let (owner, eve) = (stage.person("owner@x.org", false), stage.person("eve@x.org", false));
    let (owner, eve) = (owner.await, eve.await);
    let app = stage.app(&owner, "shop").await;
    stage.share(&app, &eve, "view").await;
    let remove = || stage.api.access.remove_collaborator(&app, "eve@x.org");
    let (one, two) = tokio::join!(remove(), remove());
    assert_eq!([one.is_ok(), two.is_ok()].iter().filter(|done| **done).count(), 1);
    let audit = stage.ask(Some(&owner), &Method::GET, "/apps/shop/audit", None).await.body;
    let removed = audit.as_array().unwrap().iter();
    let removed = removed.filter(|entry| entry["action"] == "collaborator:destroy");
    assert_eq!(removed.count(), 1, "{audit}");
}

#[tokio::test]
async fn a_user_is_made_by_an_admin_and_let_in_by_password() {
    let stage = Stage::new().await;
    let admin = stage.person("admin@x.org", true).await;
    let made = stage
        .ask(Some(&admin), &Method::POST, "/users", Some(json!({ "email": "eve@x.org" })))
        .await;
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(made.body["admin"], false);
    let password = made.body["password"].as_str().unwrap();
    let (access, from) = (&stage.api.access, Origin::server());
    let first =
        access.sign_in("EVE@x.org", password, None, EntryBy::OwnPassword, &from).await.unwrap_err();
    assert_eq!(first.kind(), Kind::PasswordChange, "{first}");
    let caller =
        access.sign_in("EVE@x.org", password, None, EntryBy::AnyPassword, &from).await.unwrap();
    assert!(!caller.user.admin);
    let new = "four random words here";
    access.change_password(&caller.user, password, new, None, &from).await.unwrap();
    access.sign_in("EVE@x.org", new, None, EntryBy::OwnPassword, &from).await.unwrap();
    let again = json!({ "email": "Eve@X.org", "admin": true });
    let again = stage.ask(Some(&admin), &Method::POST, "/users", Some(again)).await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    for bad in ["eve", "@x.org", "a b@x.org", "a/b@x.org", ""] {
        let body = Some(json!({ "email": bad }));
        let answer = stage.ask(Some(&admin), &Method::POST, "/users", body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
    let all = stage.ask(Some(&admin), &Method::GET, "/users", None).await.body;
    let emails: Vec<&str> =
        all.as_array().unwrap().iter().map(|user| user["email"].as_str().unwrap()).collect();
    assert_eq!(emails, ["admin@x.org", "eve@x.org"]);
    assert!(!all.to_string().contains("password"), "{all}");
}

#[tokio::test]
async fn a_removed_user_has_no_way_in_and_the_apps_have_a_new_owner() {
    let stage = Stage::new().await;
    let admin = stage.person("admin@x.org", true).await;
    let (ada, eve) =
        (stage.person("ada@x.org", false).await, stage.person("eve@x.org", false).await);
    let (shop, blog) = (stage.app(&eve, "shop").await, stage.app(&ada, "blog").await);
    stage.share(&shop, &ada, "view").await;
    stage.share(&blog, &eve, "deploy").await;

    let remove = async |path: &str| stage.ask(Some(&admin), &Method::DELETE, path, None).await;
    let owns = remove("/users/eve@x.org").await;
    assert_eq!(owns.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        owns.body["message"].as_str().unwrap().contains("eve@x.org owns shop"),
        "{}",
        owns.body
    );
    let gone = remove("/users/eve@x.org?apps_to=ada@x.org").await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.body);

    let refused = stage.ask(Some(&eve), &Method::GET, "/account", None).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let shown = stage.ask(Some(&ada), &Method::GET, "/apps/shop", None).await.body;
    assert_eq!(shown["owner"]["email"], "ada@x.org");
    let who = stage.ask(Some(&ada), &Method::GET, "/apps/shop/collaborators", None).await.body;
    assert_eq!(who.as_array().unwrap().len(), 1, "the new owner is no collaborator: {who}");
    let who = stage.ask(Some(&ada), &Method::GET, "/apps/blog/collaborators", None).await.body;
    assert_eq!(who.as_array().unwrap().len(), 1, "{who}");
    let path = "/apps/blog/collaborators";
    let body = Some(json!({ "user": "eve@x.org" }));
    let none = stage.ask(Some(&ada), &Method::POST, path, body).await;
    assert_eq!(none.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(remove("/users/eve@x.org").await.status, StatusCode::NOT_FOUND);
    let last = remove("/users/admin@x.org?apps_to=ada@x.org").await;
    assert!(last.body["message"].as_str().unwrap().contains("last admin"), "{}", last.body);

    // The same e-mail may come back, with a new password and nothing of the old.
    let body = Some(json!({ "email": "eve@x.org" }));
    let back = stage.ask(Some(&admin), &Method::POST, "/users", body).await;
    assert_eq!(back.status, StatusCode::CREATED, "{}", back.body);
    let refused = stage.ask(Some(&eve), &Method::GET, "/account", None).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn collaborators_are_added_changed_and_removed() {
    let stage = Stage::new().await;
    let (ada, eve) =
        (stage.person("ada@x.org", false).await, stage.person("eve@x.org", false).await);
    let app = stage.app(&ada, "shop").await;
    let ask = async |method: Method, path: &str, body| {
        stage.ask(Some(&ada), &method, &format!("{path}/shop/collaborators"), body).await
    };
    let added = ask(Method::POST, "/apps", Some(json!({ "user": "eve@x.org" }))).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
    let names = |value: &serde_json::Value| -> Vec<String> {
        let list = value["permissions"].as_array().unwrap().iter();
        list.map(|one| one["name"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(names(&added.body), ["view", "deploy", "operate"]);
    assert_eq!(added.body["role"], "collaborator");
    assert_eq!(added.body["app"]["name"], "shop");
    for body in [
        json!({ "user": "eve@x.org" }),
        json!({ "user": "ada@x.org" }),
        json!({ "user": "nobody@x.org" }),
        json!({ "user": "eve@x.org", "permissions": ["root"] }),
        json!({ "user": "eve@x.org", "permissions": "view" }),
        json!({}),
    ] {
        let answer = ask(Method::POST, "/teams/apps", Some(body.clone())).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {}", answer.body);
    }
    let path = "/teams/apps/shop/collaborators/eve@x.org";
    let body = Some(json!({ "permissions": ["operate"] }));
    let changed = stage.ask(Some(&ada), &Method::PATCH, path, body).await;
    assert_eq!(names(&changed.body), ["view", "operate"]);
    let none = Some(json!({ "permissions": [] }));
    let none = stage.ask(Some(&ada), &Method::PATCH, path, none).await;
    assert_eq!(none.status, StatusCode::UNPROCESSABLE_ENTITY);
    let owner = "/teams/apps/shop/collaborators/ada@x.org";
    for method in [Method::PATCH, Method::DELETE] {
        let body = Some(json!({ "permissions": ["view"] }));
        let answer = stage.ask(Some(&ada), &method, owner, body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.body);
    }
    // Nobody may give himself more, and nobody but who manages may remove others.
    let body = Some(json!({ "permissions": ["manage"] }));
    let more = stage.ask(Some(&eve), &Method::PATCH, path, body).await;
    assert_eq!(more.status, StatusCode::FORBIDDEN);
    let other = stage.ask(Some(&eve), &Method::DELETE, owner, None).await;
    assert_eq!(other.status, StatusCode::FORBIDDEN);
    let all = stage.ask(Some(&eve), &Method::GET, "/apps/shop/collaborators", None).await.body;
    let all = all.as_array().unwrap();
    let of = |role: &str| all.iter().find(|one| one["role"] == role).unwrap();
    assert_eq!(of("owner")["user"]["email"], "ada@x.org");
    let id = of("collaborator")["id"].as_str().unwrap();
    let path = format!("/apps/shop/collaborators/{id}");
    assert_eq!(stage.ask(Some(&ada), &Method::DELETE, &path, None).await.status, StatusCode::OK);
    let gone = stage.ask(Some(&eve), &Method::GET, "/apps/shop", None).await;
    assert_eq!((gone.status, &gone.body["resource"]), (StatusCode::NOT_FOUND, &json!("app")));
    drop(app);
}

#[tokio::test]
async fn whoever_knows_the_password_changes_it_and_root_sets_another() {
    let stage = Stage::new().await;
    let (user, first) = stage.api.access.create_user("ada@x.org", false).await.unwrap();
    let (_, token) = stage.api.access.authorize(&user, "test", None).await.unwrap();
    let (ada, first) = (Person { user, token }, first.unwrap());
    let change =
        async |body: Value| stage.ask(Some(&ada), &Method::PATCH, "/account", Some(body)).await;
    let new = "four random words here";
    for (body, words) in [
        (json!({ "password": "wrong", "new_password": new }), "current password is not right"),
        (json!({ "password": first, "new_password": "short" }), "too short"),
        (json!({ "new_password": new }), "password is required"),
        (json!({ "password": first }), "new_password is required"),
    ] {
        let answer = change(body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.body);
        assert!(answer.body["message"].as_str().unwrap().contains(words), "{}", answer.body);
    }
    let answer = change(json!({ "password": first, "new_password": new })).await;
    assert_eq!((answer.status, &answer.body["email"]), (StatusCode::OK, &json!("ada@x.org")));
    let from = Origin::server();
    stage.api.access.by_password("ada@x.org", new, &from).await.unwrap();
    assert!(stage.api.access.by_password("ada@x.org", &first, &from).await.is_err());

    let root = crate::api::internal::routes(stage.api.clone());
    let body = json!({ "email": "ada@x.org" }).to_string();
    let request = axum::http::Request::post("/internal/passwords");
    let request = request.body(axum::body::Body::from(body)).unwrap();
    let answer = tower::ServiceExt::oneshot(root, request).await.unwrap();
    let bytes = axum::body::to_bytes(answer.into_body(), 1 << 16).await.unwrap();
    let answer: Value = serde_json::from_slice(&bytes).unwrap();
    let made = answer["password"].as_str().unwrap();
    stage.api.access.by_password("ada@x.org", made, &from).await.unwrap();
    let shown = stage.ask(Some(&ada), &Method::GET, "/account", None).await;
    assert_eq!(shown.status, StatusCode::OK, "tokens go on");
    let admin = stage.person("admin@x.org", true).await;
    let audit = stage.ask(Some(&admin), &Method::GET, "/audit", None).await.body;
    let changes = audit.as_array().unwrap().iter().filter(|one| one["action"] == "user:update");
    let who: Vec<&Value> = changes.map(|entry| &entry["actor"]["email"]).collect();
    assert_eq!(who, ["root", "ada@x.org"]);
    assert!(!audit.to_string().contains(made) && !audit.to_string().contains(new));
}

#[tokio::test]
async fn herokus_client_finds_the_token_that_it_revokes_when_it_logs_out() {
    let stage = Stage::new().await;
    let ada = stage.person("ada@x.org", false).await;
    stage.api.access.authorize(&ada.user, "another", None).await.unwrap();
    let ask = async |method: Method, path: &str| stage.ask(Some(&ada), &method, path, None).await;
    let all = ask(Method::GET, "/oauth/authorizations").await.body;
    let rows = all.as_array().unwrap().iter();
    let own: Vec<&Value> =
        rows.filter(|row| row["access_token"]["token"] == ada.token.as_str()).collect();
    assert_eq!((own.len(), all.as_array().unwrap().len()), (1, 2), "{all}");
    assert!(own[0]["used_at"].is_string(), "{all}");
    let usual = ask(Method::GET, "/oauth/authorizations/~").await;
    assert_eq!(
        (usual.status, &usual.body["resource"]),
        (StatusCode::NOT_FOUND, &json!("authorization"))
    );
    let path = format!("/oauth/authorizations/{}", own[0]["id"].as_str().unwrap());
    assert_eq!(ask(Method::GET, &path).await.body["description"], "test");
    assert_eq!(ask(Method::DELETE, &path).await.status, StatusCode::OK);
    assert_eq!(ask(Method::GET, "/account").await.status, StatusCode::UNAUTHORIZED);
}
