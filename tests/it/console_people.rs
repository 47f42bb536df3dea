//! People, what they may do with an app, and where they are signed in: changed in a browser, by the
//! buttons for it, and seen by whom it is about.

use crate::second_factor::switched_on;
use crate::support::axe::{Axe, look_at};
use crate::support::browser::Browser;
use crate::support::console::{
    ByHand, FORM, HERE, PASSWORD, admin, choose_password, post, sign_in,
};
use crate::support::{Platform, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

#[test]
fn people_and_sessions_are_changed_by_their_buttons() {
    let platform = Platform::shared();
    let app = platform.empty_app();
    let (axe, browser) = (Axe::install(), Browser::start(&platform));
    let (email, first) = admin(&platform);
    sign_in(&browser, &email, &first);
    choose_password(&browser, &first);
    browser.sees("Your password is changed.");
    let guest = format!("guest-of-{}@example.com", app.name);
    browser.click("People");
    browser.fill("E-mail", &guest);
    browser.click("Create");
    browser.sees(&format!("{guest} is here now."));
    look_at(&browser, &axe, "people-made");
    let password = "return document.querySelector('.note pre').innerText";
    let password = browser.script(password, json!([]));
    let them = ByHand::sign_in(&platform, &guest, password.as_str().unwrap());

    let page = format!("/console/apps/{}", app.name);
    them.get(&page).is(404);
    browser.goto(&page);
    browser.click("Access");
    browser.fill("E-mail", &guest);
    browser.click("deploy");
    browser.click("Add");
    browser.sees("Saved.");
    them.get(&format!("{page}/config")).is(200);
    assert!(!them.get(&page).text().contains("Turn maintenance on"));
    browser.click(&format!("{guest} may operate"));
    browser.click(&format!("Save permissions of {guest}"));
    eventually("they may operate it", || them.get(&page).text().contains("Turn maintenance on"));
    browser.goto(&format!("{page}/audit"));
    browser.sees("collaborator:update");
    browser.sees(&format!("{email} by console from 127.0.0.1"));
    browser.click("Access");
    browser.click(&format!("Remove {guest}"));
    browser.sees("Removed: the app is gone from that person's list.");
    them.get(&page).is(404);

    switched_on(&them);
    browser.click("People");
    browser.click(&format!("Change {guest}"));
    browser.click(&format!("Switch off the second factor of {guest}"));
    browser.sees("The second factor is off: the password suffices now.");
    browser.click(&format!("Remove {guest}"));
    browser.click(&format!("Remove {guest} for good"));
    browser.sees("Removed, with all sessions and tokens.");
    them.get("/console/account").is(303);
    sessions(&platform, &browser, &email);
    a_token_and_the_password(&platform, &browser, &email);
}

/// Signs in elsewhere, and ends that here.
fn sessions(platform: &Platform, browser: &Browser, email: &str) {
    let elsewhere = || {
        let headers = [HERE, FORM, ("User-Agent", "curl/8.0")];
        let body = format!("email={email}&password={PASSWORD}");
        let reply = post(platform, "/console/sign-in", &headers, &body).is(303);
        reply.header("set-cookie").split(';').next().unwrap().to_string()
    };
    let status = |cookie: &str| {
        let headers = [("Cookie", cookie)];
        let mut connection = platform.connection();
        let path = "/console/account";
        connection.request("GET", "localhost", path, &headers, b"").unwrap().status
    };
    let one = elsewhere();
    assert_eq!(status(&one), 200);
    browser.click(email);
    browser.click("Sign out curl at 127.0.0.1");
    browser.sees("That session is over.");
    assert_eq!(status(&one), 303);
    let more = [elsewhere(), elsewhere()];
    browser.goto("/console/account");
    browser.click("Sign out everywhere else");
    browser.sees("All other sessions are over.");
    assert_eq!(more.map(|cookie| status(&cookie)), [303, 303]);
    browser.sees("this one");
}

/// A token is revoked, and the password changed by one's own will.
fn a_token_and_the_password(platform: &Platform, browser: &Browser, email: &str) {
    let basic = format!("Basic {}", STANDARD.encode(format!("{email}:{PASSWORD}")));
    let made = platform.api_with(
        "POST",
        "/oauth/authorizations",
        &[("Authorization", &basic)],
        br#"{"description": "for a script"}"#,
    );
    let made = made.is(201).json();
    let bearer = format!("Bearer {}", made["access_token"]["token"].as_str().unwrap());
    let account = || platform.api_with("GET", "/account", &[("Authorization", &bearer)], b"");
    account().is(200);
    browser.goto("/console/account");
    browser.sees("for a script");
    let revoke = "document.querySelector('[aria-label^=\"Revoke for a script\"]').click()";
    browser.script(revoke, json!([]));
    browser.sees("That token is revoked: whatever came in by it is out.");
    account().is(401);

    browser.click("Change password");
    choose_password(browser, PASSWORD);
    browser.sees("The new password must differ from the old one");
    browser.fill("Current password", PASSWORD);
    browser.fill("New password", "another that is long");
    browser.fill("New password, once more", "another that is long");
    browser.click("Change password");
    browser.sees("Your password is changed.");
    let body = format!("email={email}&password={PASSWORD}");
    post(platform, "/console/sign-in", &[HERE, FORM], &body).is(422);
}

#[test]
fn what_somebody_may_not_do_is_neither_shown_nor_done() {
    let platform = Platform::shared();
    let app = platform.empty_app();
    let email = "guest@example.com";
    let boss = ByHand::admin(&platform);
    let made = boss.act("/console/people", &format!("email={email}")).is(200).text();
    let (_, rest) = made.split_once("aria-label=\"First password\">").unwrap();
    let guest = ByHand::sign_in(&platform, email, rest.split('<').next().unwrap());

    let of = |rest: &str| format!("/console/apps/{}{rest}", app.name);
    let pages =
        ["", "/logs", "/releases", "/builds", "/config", "/domains", "/access", "/settings"];
    for page in pages {
        guest.get(&of(page)).is(404);
    }
    for page in ["/console/host", "/console/people"] {
        guest.get(page).is(403);
        assert!(!guest.get("/console/apps").text().contains(page));
    }
    guest.act("/console/people", "email=x@example.com&admin=yes").is(403);
    assert!(!guest.get("/console/apps").is(200).text().contains(&app.name));

    boss.act(&of("/access"), &format!("is_new=yes&email={email}")).is(303);
    let shown = guest.get(&of("")).is(200).text();
    for action in ["Turn maintenance on", "Restart all", ">Scale<", "/config\""] {
        assert!(!shown.contains(action), "{action}: {shown}");
    }
    for (path, body) in [
        ("/scale", "process=web&quantity=3"),
        ("/restart", ""),
        ("/maintenance", "on=yes"),
        ("/releases", "release=v1"),
        ("/config", "was=&mark=&key=A&value=b"),
        ("/domains", "hostname=www.example.org"),
        ("/domains/remove", "hostname=www.example.org"),
        ("/access", "is_new=yes&permission=manage&email=x"),
        ("/access/remove", "email=x"),
        ("/settings/name", "name=taken-over"),
        ("/settings/delete", &format!("confirm={}", app.name)),
    ] {
        let page = guest.act(&of(path), body).is(403).text();
        assert!(page.contains("takes the permission"), "{path}: {page}");
    }
    guest.get(&of("/config")).is(403);
    boss.act(&of("/access"), &format!("email={email}&permission=deploy")).is(303);
    guest.act(&of("/config"), "was=&mark=&key=A&value=b").is(303);
    guest.act(&of("/scale"), "process=web&quantity=3").is(403);

    let user = platform.api("GET", "/users", None).is(200).json();
    let rows = user.as_array().unwrap().iter();
    let id = rows.filter(|one| one["email"] == email).map(|one| one["id"].clone()).next();
    let id = id.unwrap();
    boss.act("/console/people/remove", &format!("user={}", id.as_str().unwrap())).is(303);
    let out = guest.get("/console/account").is(303);
    assert!(out.header("location").starts_with("/console/sign-in"), "the session has ended");
}
