//! axe-core, a checker of accessibility: from npm into a folder of the build, once.

use super::browser::Browser;
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
