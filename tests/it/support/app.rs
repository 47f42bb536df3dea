//! An app and the work tree that it is pushed from.

use super::command::{Output, run};
use super::http::Reply;
use super::platform::{EMAIL, Platform, clean, repository};
use super::wait::until;
use super::{Connection, docker};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

pub struct App {
    pub platform: Arc<Platform>,
    pub name: String,
    pub id: String,
}

impl App {
    pub fn create(platform: Arc<Platform>, name: &str) -> Self {
        let reply = platform.api("POST", "/apps", Some(serde_json::json!({ "name": name })));
        let id = reply.is(201).json()["id"].as_str().unwrap().to_string();
        let app = Self { platform, name: name.to_string(), id };
        let dir = app.dir();
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        app.git(&["init", "--quiet", "--initial-branch=main"]).succeeded();
        let url = format!("{}/{name}.git", app.platform.url());
        app.git(&["remote", "add", "senryu", &url]).succeeded();
        app
    }

    pub fn dir(&self) -> PathBuf {
        self.platform.dir.path().join("work").join(&self.name)
    }

    pub fn host(&self) -> String {
        format!("{}.localhost", self.name)
    }

    pub fn git_command(&self) -> Command {
        let mut command = clean("git");
        command.env("HOME", self.platform.home()).current_dir(self.dir());
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), EMAIL);
        }
        command
    }

    pub fn git(&self, arguments: &[&str]) -> Output {
        run(self.git_command().args(arguments), b"")
    }

    pub fn copy_fixture(&self, fixture: &str) {
        copy(&repository().join("tests/fixtures/apps").join(fixture), &self.dir());
    }

    pub fn write(&self, file: &str, text: &str) {
        let path = self.dir().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn commit(&self, message: &str) {
        self.git(&["add", "--all"]).succeeded();
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]).succeeded();
    }

    pub fn push(&self) -> Output {
        self.git(&["push", "senryu", "main"])
    }

    /// The commit that the work tree is at.
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"]).succeeded().stdout.trim().to_string()
    }

    /// The commit that the platform's branch is at, as git tells strangers.
    pub fn pushed_commit(&self, branch: &str) -> Option<String> {
        let output = self.git(&["ls-remote", "senryu", &format!("refs/heads/{branch}")]);
        output.succeeded().stdout.split('\t').next().filter(|id| !id.is_empty()).map(str::to_string)
    }

    /// One command of the CLI for this app.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.cli_with_input(arguments, b"")
    }

    pub fn cli_with_input(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut all = arguments.to_vec();
        all.extend(["--app", &self.name]);
        self.platform.cli_with_input(&all, input)
    }

    /// A request of the API below `/apps/NAME`.
    pub fn api(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        self.platform.api(method, &format!("/apps/{}{path}", self.name), body)
    }

    /// A GET on a connection of its own.
    pub fn get(&self, path: &str) -> Reply {
        self.get_on(&mut self.platform.connection(), path).unwrap()
    }

    pub fn get_on(&self, connection: &mut Connection, path: &str) -> std::io::Result<Reply> {
        connection.request("GET", &self.host(), path, &[], b"")
    }

    /// The release that answers, as the fixtures tell in `X-Release`.
    #[track_caller]
    pub fn serving(&self) -> String {
        self.get("/").is(200).header("x-release").to_string()
    }

    /// Containers of this app's dynos of one name or all.
    pub fn dynos(&self) -> Vec<String> {
        self.containers("dyno")
    }

    pub fn containers(&self, kind: &str) -> Vec<String> {
        let app = format!("senryu.app={}", self.id);
        docker::containers(&[self.platform.label(), app, format!("senryu.kind={kind}")])
    }

    /// States of the dynos of a type by name, as `ps --json` tells.
    pub fn ps(&self) -> Vec<(String, String)> {
        let dynos = self.api("GET", "/dynos", None).is(200).json();
        let text = |dyno: &Value, key: &str| dyno[key].as_str().unwrap().to_string();
        let mut dynos: Vec<(String, String)> = dynos
            .as_array()
            .unwrap()
            .iter()
            .map(|dyno| (text(dyno, "name"), text(dyno, "state")))
            .collect();
        dynos.sort();
        dynos
    }

    pub fn releases(&self) -> Vec<Value> {
        self.api("GET", "/releases", None).is(200).json().as_array().unwrap().clone()
    }

    /// The log's newest lines, by the command line.
    pub fn log(&self) -> String {
        self.cli(&["logs", "--num", "1500"]).succeeded().stdout
    }

    #[track_caller]
    pub fn log_says(&self, words: &str) -> String {
        let limit = Duration::from_secs(20);
        until(&format!("{words:?} in the log of {}", self.name), limit, || {
            self.log().lines().find(|line| line.contains(words)).map(str::to_string)
        })
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
