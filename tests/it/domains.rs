//! Custom domains: added, routed, taken, cleared; the platform's own domain; and what becomes of
//! names when their app is renamed or destroyed.

use crate::support::{App, Platform};
use serde_json::json;
use std::sync::Arc;

fn status(app: &App, host: &str) -> u16 {
    app.platform.connection().request("GET", host, "/", &[], b"").unwrap().status
}

fn add(app: &App, name: &str) -> crate::support::Reply {
    app.api("POST", "/domains", Some(json!({ "hostname": name, "sni_endpoint": null })))
}

#[test]
fn a_custom_domain_leads_to_its_app_from_the_moment_it_is_added() {
    let app = Platform::shared().app_from("tiny");
    let other = app.platform.empty_app();
    let name = format!("www.{}.example.com", app.name);
    let wildcard = format!("*.{}.example.com", app.name);
    let below = format!("a.b.{}.example.com", app.name);
    assert_eq!(status(&app, &name), 404);

    let added = app.cli(&["domains:add", &name.to_uppercase(), "--wait"]).succeeded();
    assert!(added.stdout.contains(&format!("DNS Target {}", app.host())), "{}", added.stdout);
    assert_eq!(status(&app, &name), 200);
    assert_eq!(status(&app, &below), 404);
    let reply = add(&app, &wildcard).is(201).json();
    assert_eq!(
        (&reply["kind"], &reply["status"], &reply["cname"]),
        (&json!("custom"), &json!("none"), &json!(app.host()))
    );
    assert_eq!(status(&app, &below), 200);

    let same = add(&app, &name).is(422).json();
    assert_eq!(same["message"], "Domain already added to this app.");
    let taken = add(&other, &name).is(422).json();
    assert_eq!(taken["id"], "invalid_params");
    assert_eq!(taken["message"], format!("{name} is currently in use by another app."));
    for (bad, why) in [
        ("bücher.example", "xn--bcher-kva.example"),
        ("a.*.example.com", "whole first part"),
        ("localhost", "fully qualified"),
        ("x.localhost", "the platform's own"),
    ] {
        let error = add(&app, bad).is(422).json();
        assert_eq!(error["id"], "invalid_params");
        assert!(error["message"].as_str().unwrap().contains(why), "{bad}: {error}");
    }
    // An exact name wins over the wildcard of another app.
    let exact = format!("blank.{}.example.com", app.name);
    add(&other, &exact).is(201);
    let page = app.platform.connection().request("GET", &exact, "/", &[], b"").unwrap();
    assert_ne!(page.status, 200, "the other app has nothing deployed");

    let id = reply["id"].as_str().unwrap();
    assert_eq!(app.api("GET", &format!("/domains/{id}"), None).is(200).json(), reply);
    // Below `localhost` nobody can tell where a name should lead.
    let asked = app.api("GET", &format!("/domains/{id}?dns"), None).is(200).json();
    assert!(asked.get("dns_status").is_some_and(serde_json::Value::is_null), "{asked}");
    let own = app.api("GET", &format!("/domains/{}", app.host()), None).is(200).json();
    assert_eq!((&own["kind"], &own["cname"]), (&json!("heroku"), &json!(null)));
    let refused = app.api("DELETE", &format!("/domains/{}", app.host()), None).is(422).json();
    assert!(refused["message"].as_str().unwrap().contains("the app's own"), "{refused}");
    app.api("DELETE", &format!("/domains/{exact}"), None).is(404);

    app.cli(&["domains:remove", &name]).succeeded();
    assert_eq!(status(&app, &name), 200, "the wildcard covers it");
    app.cli(&["domains:clear"]).succeeded();
    assert_eq!(status(&app, &name), 404);
    let left = app.cli(&["domains"]).succeeded().stdout;
    assert!(left.contains(&app.host()) && !left.contains("Custom Domains"), "{left}");
}

#[test]
fn names_follow_a_rename_and_are_free_after_a_destroy() {
    let platform = Arc::new(Platform::start());
    *platform.more_settings.lock().unwrap() = vec!["--domain=Paas.Example.org".to_string()];
    platform.end_server(nix::sys::signal::Signal::SIGTERM);
    platform.start_server();
    let app = platform.app_from("tiny");
    assert_eq!(status(&app, &format!("{}.paas.example.org", app.name)), 200);
    for host in ["api.paas.example.org", "git.paas.example.org"] {
        let reply = platform.connection().request("GET", host, "/account", &[], b"").unwrap();
        assert_eq!(reply.status, 401, "{host}");
    }
    add(&app, "www.example.com").is(201);
    add(&app, "*.example.org").is(201);
    add(&app, "nobody.paas.example.org").is(422);
    assert_eq!(status(&app, "other.example.org"), 200);
    assert_eq!(status(&app, "nobody.paas.example.org"), 404, "no wildcard from above");

    app.cli(&["apps:rename", "renamed"]).succeeded();
    assert_eq!(status(&app, &format!("{}.paas.example.org", app.name)), 404);
    assert_eq!(status(&app, "renamed.paas.example.org"), 200);
    assert_eq!(status(&app, "www.example.com"), 200);
    let domain = platform.api("GET", "/apps/renamed/domains/www.example.com", None).is(200).json();
    assert_eq!(domain["cname"], "renamed.paas.example.org");

    platform.cli(&["apps:destroy", "-a", "renamed", "--confirm", "renamed"]).succeeded();
    let next = platform.empty_app();
    add(&next, "www.example.com").is(201);
}
