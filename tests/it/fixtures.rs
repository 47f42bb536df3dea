//! Everyday apps: one for each package manager, one with a native module, and the sample.

use crate::support::times::pushed_twice;
use crate::support::{App, Platform};

fn deployed(fixture: &str) -> App {
    let app = Platform::shared().app_with(fixture);
    app.push().succeeded().says("Verifying deploy... done.");
    app
}

fn express(manager: &str) {
    let app = Platform::shared().app_with(&format!("express-{manager}"));
    pushed_twice(&app, 3, "Dependencies have not changed since the last build", |app, release| {
        assert_eq!(app.get("/").is(200).text(), format!("{manager} {release} web.1\n"));
    });
}

#[test]
fn express_by_npm() {
    express("npm");
}

#[test]
fn express_by_yarn() {
    express("yarn");
}

#[test]
fn express_by_pnpm() {
    express("pnpm");
}

#[test]
fn a_native_module_is_compiled_and_cached() {
    let app = Platform::shared().app_with("native-module");
    pushed_twice(&app, 3, "Verifying deploy... done.", |app, release| {
        assert_eq!(app.get("/").is(200).text(), format!("42 {release}\n"));
    });
}

#[test]
fn the_sample_with_all_its_process_types() {
    let app = deployed("sample");
    assert!(app.get("/").is(200).text().contains("v3"));
    assert_eq!(app.get("/healthz").is(200).text(), "ok\n");
    app.cli(&["ps:scale", "worker=1", "clock=1"]).succeeded();
    app.log_says("app[worker.1]: worker.1 of v3 starts");
    app.cli(&["config:set", "RELEASE_FAILS=1"]).failed(1).says("failed in its release phase");
    assert_eq!(app.get("/").is(200).header("x-release"), "v3");
}
