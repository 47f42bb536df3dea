//! axe-core, a checker of accessibility: from npm into a folder of the build, once.

use super::browser::{Browser, pictures};
use super::command::run;
use serde_json::json;
use std::path::Path;
use std::process::Command;

pub struct Axe(String);

impl Axe {
    pub fn install() -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("axe");
        let file = dir.join("node_modules/axe-core/axe.min.js");
        if !file.exists() {
            std::fs::create_dir_all(&dir).unwrap();
            let mut npm = Command::new("npm");
            let arguments =
                ["install", "--no-save", "--no-audit", "--no-fund", "--silent", "axe-core@4.10"];
            run(npm.args(arguments).arg("--prefix").arg(&dir), b"").succeeded();
        }
        Self(std::fs::read_to_string(file).unwrap())
    }

    /// What is serious or worse on the open page: the rule, and where.
    #[track_caller]
    pub fn check(&self, browser: &Browser) -> Vec<String> {
        let is_there = browser.script("return typeof axe !== 'undefined'", json!([]));
        if is_there == false {
            browser.script(&self.0, json!([]));
        }
        let found = browser.script(
            "return axe.run().then((all) => all.violations
               .filter((one) => ['serious', 'critical'].includes(one.impact))
               .flatMap((one) => one.nodes.map((node) =>
                 one.id + ': ' + node.html + ' ' + node.failureSummary)))",
            json!([]),
        );
        found.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_string()).collect()
    }
}

/// Looks at a page in light, dark and on a phone: nothing that a checker finds serious, nothing
/// wider than the screen; with pictures if somebody wants some.
#[track_caller]
pub fn look(browser: &Browser, axe: &Axe, name: &str, path: &str) {
    browser.goto(path);
    look_at(browser, axe, name);
}

/// The same for the page that is open.
#[track_caller]
pub fn look_at(browser: &Browser, axe: &Axe, name: &str) {
    let pictures = pictures();
    for (kind, scheme, width) in
        [("light", "light", 1280), ("dark", "dark", 1280), ("phone", "light", 390)]
    {
        browser.scheme(scheme);
        browser.size(width, 844);
        let found = axe.check(browser);
        assert!(found.is_empty(), "{name} in {kind}:\n{}", found.join("\n"));
        let wide = browser.script("return document.documentElement.scrollWidth", json!([]));
        assert!(wide.as_u64().unwrap() <= u64::from(width), "{name} in {kind} is {wide} wide");
        if let Some(dir) = &pictures {
            browser.screenshot(&dir.join(format!("{name}-{kind}.png")));
        }
    }
    browser.scheme("light");
    browser.size(1280, 844);
}
