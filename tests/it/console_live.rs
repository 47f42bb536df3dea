//! Pages that stay open: they follow what happens, and their buttons stop, restart and cancel it;
//! by keyboard too, in many tabs, and when the network or the session is gone.

use crate::support::axe::{Axe, look_at};
use crate::support::browser::{Browser, ENTER, TAB, UP};
use crate::support::console::{PASSWORD, admin, choose_password, sign_in};
use crate::support::{App, Platform, eventually};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

#[test]
fn an_open_page_follows_and_its_buttons_do_what_they_say() {
    let platform = Platform::shared();
    let app = platform.app_with("tiny");
    let page = format!("/console/apps/{}", app.name);
    let browser = Browser::start(&platform);
    let (email, first) = admin(&platform);
    sign_in(&browser, &email, &first);
    choose_password(&browser, &first);
    browser.sees("Your password is changed.");
    browser.goto(&page);
    browser.sees("Deploy your code");
    assert!(!browser.has("Scale"));
    std::thread::scope(|scope| {
        let push = scope.spawn(|| app.push());
        // The page that is open shows it, whoever looks at it.
        browser.sees("1 of 1 up");
        push.join().unwrap().succeeded();
    });
    assert!(browser.has("Scale"));
    // What somebody else does is seen here, in the field as well.
    app.cli(&["ps:scale", "web=2"]).succeeded();
    browser.sees("2 of 2 up");
    let quantity =
        || browser.script("return document.querySelector('[name=quantity]').value", json!([]));
    eventually("the field has the new number", || quantity() == "2");

    sizes_and_dynos(&browser, &app);
    builds_and_queue(&browser);
    by_keyboard(&browser, &app, &email);
    many_tabs(&browser, &page);
    without_a_network(&browser);
}

fn sizes_and_dynos(browser: &Browser, app: &App) {
    browser.choose("Size of web dynos", "Standard-2X");
    browser.click("Scale");
    browser.sees("Scaled.");
    let formation = app.api("GET", "/formation", None).is(200).json();
    assert_eq!(formation[0]["size"], "Standard-2X", "{formation}");
    eventually("both are of that size", || {
        let text = browser.text();
        text.matches("Standard-2X, v").count() == 2 && text.contains("2 of 2 up")
    });
    let before = app.dynos();
    browser.click("Restart all");
    browser.sees("Restarting.");
    eventually("both are others", || {
        let now = app.dynos();
        now.len() == 2 && !now.iter().any(|id| before.contains(id))
    });
    app.cli(&["run:detached", "sleep 600"]).succeeded();
    let one_off =
        || app.ps().into_iter().map(|(name, _)| name).find(|name| name.starts_with("run."));
    let name = one_off().unwrap();
    browser.click(&format!("Stop {name}"));
    eventually("the one-off is gone", || one_off().is_none());

    let metrics = format!("/console/apps/{}/metrics", app.name);
    eventually("a dyno has figures", || {
        browser.goto(&metrics);
        browser.has("web.1")
    });
    browser.click("web.1");
    browser.sees("All process types");
    assert_eq!(browser.path(), format!("{metrics}?dyno=web.1"));
}

/// A build that goes on until it is cancelled, and a push that waits behind it.
fn builds_and_queue(browser: &Browser) {
    let app = Platform::shared().empty_app();
    for (script, text) in [
        ("detect", "echo Endless"),
        ("compile", "echo it has begun; sleep 600"),
        ("release", "echo"),
    ] {
        app.write(&format!("bin/{script}"), &format!("#!/bin/sh\n{text}\n"));
        let path = app.dir().join("bin").join(script);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    app.write("Procfile", "worker: true\n");
    app.commit("endless");
    app.cli(&["buildpacks:set", "heroku-community/inline"]).succeeded();
    let push = || {
        let mut push = app.git_command();
        push.args(["push", "--quiet", "senryu", "main"]).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut first = push();
    eventually("it is built", || app.containers("build").len() == 1);
    let mut second = push();
    eventually("the page of the host tells both", || {
        browser.goto("/console/host");
        let text = browser.text();
        let rows: Vec<&str> = text.lines().collect();
        text.contains("Processors promised to dynos")
            && rows.windows(2).any(|rows| rows[0] == app.name && rows[1] == "building")
            && rows.windows(2).any(|rows| rows[0] == app.name && rows[1] == "waiting, number 1")
    });
    browser.goto(&format!("/console/apps/{}/builds", app.name));
    browser.sees("waiting, number 1");
    let _ = second.kill();
    second.wait().unwrap();
    browser.goto("/console/host");
    browser.click(&app.name);
    browser.sees("it has begun");
    look_at(browser, &Axe::install(), "build-running");
    browser.click("Cancel build");
    browser.sees("The build was cancelled.");
    browser.sees("failed");
    assert!(!first.wait().unwrap().success());
    eventually("no container of a build is left", || {
        // What git had begun may outlive it, and then the second push has its turn.
        app.cli(&["builds:cancel"]);
        app.containers("build").is_empty()
    });
}

/// From the sign-in to another number of dynos without a mouse.
fn by_keyboard(browser: &Browser, app: &App, email: &str) {
    browser.goto(&format!("/console/apps?q={}", app.name));
    browser.tab_to("Sign out");
    browser.press(ENTER);
    browser.sees("E-mail");
    browser.press(&format!("{email}{TAB}{PASSWORD}{ENTER}"));
    browser.sees("New app");
    browser.tab_to("Search apps");
    browser.press(&format!("{}{ENTER}", app.name));
    browser.sees("1 of ");
    browser.tab_to(&app.name);
    browser.press(ENTER);
    browser.sees("2 of 2 up");
    browser.tab_to("Number of web dynos");
    browser.press(&format!("{UP}{ENTER}"));
    browser.sees("Scaled.");
    browser.sees("3 of 3 up");
}

/// A browser has six connections for all pages of a place, so only the page in sight holds one.
fn many_tabs(browser: &Browser, page: &str) {
    for _ in 0..8 {
        browser.open_tab();
        browser.goto(page);
        browser.sees("3 of 3 up");
    }
}

/// A page that does not hear of its app any more says so; one without a session is one no more.
fn without_a_network(browser: &Browser) {
    let lost = "The connection is lost";
    // The next connection of this page is one that the browser does not make.
    let cut = "window.real = EventSource;
        window.EventSource = class extends real { constructor() { super('http://127.0.0.1:9/'); } };";
    browser.script(cut, json!([]));
    let here = browser.open_tab();
    browser.goto("/console/account");
    let there = browser.open_tab();
    browser.switch_to(&here);
    browser.sees(lost);
    browser.script("window.EventSource = real", json!([]));
    eventually("it is there again", || !browser.text().contains(lost));
    browser.sees("3 of 3 up");
    browser.switch_to(&there);
    browser.goto("/console/account");
    browser.click("Sign out");
    browser.sees("E-mail");
    browser.switch_to(&here);
    browser.sees("Sign in");
}
