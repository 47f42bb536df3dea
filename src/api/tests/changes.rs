//! Every route that changes something leaves an entry that says who and from where, by the route
//! table itself: a new one is in here without being written down, and fails until it does.

use super::scene::{self, APP, DOMAIN, ENDPOINT, Scene, Theatre};
use crate::api::guard::Route;
use crate::api::testing::{Person, Stage};
use axum::http::Method;
use serde_json::{Value, json};

/// Routes that leave none, and why that is right; or that are seen to leave one elsewhere.
const UNTOLD: [(&str, &str); 8] = [
    ("DELETE /apps/{app}/build-cache", "it takes a volume, which the end-to-end tests have"),
    ("DELETE /oauth/sessions/~", "there is never one: its answer is what Heroku's client expects"),
    ("POST /apps/{app}/log-drains", "there are none yet, and it says so"),
    ("DELETE /apps/{app}/log-drains/{drain}", "the same"),
    ("POST /apps/{app}/log-sessions", "whoever may read the log gets an address to read it at"),
    ("POST /sources", "an address only: the build that takes what is put there has its entry"),
    ("POST /apps/{app}/sources", "the same"),
    ("PUT /sources/{secret}", "the same"),
];

/// Stands in a body for whom the scene has.
const NEIGHBOUR: &str = "{neighbour}";
const NEW_PASSWORD: &str = "four random words here";

/// What a request of the route must say to change something; some change one thing or another.
fn bodies(name: &str, first: &str, theatre: &Theatre) -> Vec<Value> {
    let one = |body| vec![body];
    match name {
        "PATCH /account" => one(json!({ "password": first, "new_password": NEW_PASSWORD })),
        "POST /users" => one(json!({ "email": "new@x.org" })),
        "POST /apps" => one(json!({ "name": "another" })),
        "PATCH /apps/{app}" => vec![
            json!({ "name": "renamed" }),
            json!({ "maintenance": true }),
            json!({ "build_stack": "container" }),
        ],
        "PATCH /apps/{app}/config-vars" => one(json!({ "KEY": "value" })),
        "POST /apps/{app}/collaborators" | "POST /teams/apps/{app}/collaborators" => {
            one(json!({ "user": NEIGHBOUR }))
        }
        "PATCH /teams/apps/{app}/collaborators/{user}" => one(json!({ "permissions": ["view"] })),
        "POST /apps/{app}/domains" => one(json!({ "hostname": "more.example.com" })),
        "PATCH /apps/{app}/domains/{domain}" => one(json!({ "sni_endpoint": ENDPOINT })),
        "POST /apps/{app}/sni-endpoints" | "PATCH /apps/{app}/sni-endpoints/{endpoint}" => {
            one(theatre.pem())
        }
        "PATCH /apps/{app}/acm" => one(json!({ "acm_refresh": true })),
        "PATCH /apps/{app}/https" => one(json!({ "redirect": true })),
        "PATCH /apps/{app}/egress" => one(json!({ "mode": "off" })),
        "PATCH /apps/{app}/formation" => {
            one(json!({ "updates": [{ "type": "web", "quantity": 2 }] }))
        }
        "PATCH /apps/{app}/formation/{type}" => one(json!({ "quantity": 2 })),
        "POST /apps/{app}/dynos" => one(json!({ "command": "true" })),
        "PUT /apps/{app}/buildpack-installations" => {
            one(json!({ "updates": [{ "buildpack": "heroku/nodejs" }] }))
        }
        "POST /apps/{app}/builds" => {
            one(json!({ "source_blob": { "url": "https://git.example/a.tgz" } }))
        }
        "POST /apps/{app}/releases" => one(json!({ "release": "v3" })),
        // All that it takes is in the path.
        _ => one(Value::Null),
    }
}

/// The path with something that there is in each place.
async fn filled(route: &Route, scene: &Scene, stage: &Stage, caller: &Person) -> String {
    let mut path = route.path.to_string();
    if path.contains("{build}") {
        path = path.replace("{build}", &scene.build(stage, caller).await.to_string());
    }
    if path.contains("/authorizations/{id}") {
        let user = stage.api.access.user(&caller.user.email).await.unwrap();
        let made = stage.api.access.authorize(&user, "another", None).await.unwrap().0;
        path = path.replace("{id}", &made.id.to_string());
    }
    let user = if path == "/users/{user}" { &scene.neighbour } else { &scene.guest };
    for (place, name) in [
        ("{app}", APP),
        ("{user}", user),
        ("{domain}", DOMAIN),
        ("{endpoint}", ENDPOINT),
        ("{type}", "web"),
        ("{dyno}", "web.1"),
    ] {
        path = path.replace(place, name);
    }
    path
}

#[tokio::test]
async fn each_route_that_changes_something_says_who_did_it() {
    let (stage, theatre) = (Stage::with(&scene::FLAGS).await, Theatre::open());
    let (user, first) = stage.api.access.create_user("admin@x.org", true).await.unwrap();
    let (_, token) = stage.api.access.authorize(&user, "test", None).await.unwrap();
    let (admin, first) = (Person { user, token }, first.unwrap());
    let (mut told, mut untold) = (0, 0);
    for route in stage.table() {
        if route.method == Method::GET {
            continue;
        }
        let name = format!("{} {}", route.method, route.path);
        if UNTOLD.iter().any(|(untold, _)| *untold == name) {
            untold += 1;
            continue;
        }
        for body in bodies(&name, &first, &theatre) {
            let scene = theatre.set(&stage, &admin).await;
            let path = filled(&route, &scene, &stage, &admin).await;
            let before = scene::head(&stage).await;
            let body = body.to_string().replace(NEIGHBOUR, &scene.neighbour);
            let body = serde_json::from_str(&body).ok().filter(|body: &Value| !body.is_null());
            let answer = stage.ask(Some(&admin), &route.method, &path, body).await;
            assert!(
                answer.status.is_success(),
                "{name}: {} {}; if it is new, say in this file what it takes",
                answer.status,
                answer.body
            );
            let entries = scene::since(&stage, before).await;
            assert!(!entries.is_empty(), "{name} changed something and left no entry");
            for entry in entries {
                let from = (&*entry.actor, &*entry.via, entry.address.as_deref());
                assert_eq!(from, ("admin@x.org", "cli", Some("192.0.2.7")), "{name}: {entry:?}");
                assert!(entry.request_id.is_some(), "{name}: {entry:?}");
            }
            told += 1;
            scene.strike(&stage).await;
        }
    }
    assert_eq!(untold, UNTOLD.len(), "one of those that leave no entry is no route any more");
    assert!(told >= 40, "only {told} changes");
}
