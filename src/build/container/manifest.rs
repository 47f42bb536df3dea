//! `heroku.yml`: which images are built, and what runs in them. A plain Dockerfile without one is
//! an image for `web`. What is wrong is named by line and key, all of it at once.

use super::yaml::{self, Key, Node, Placed};
use crate::build::tree;
use crate::limits;
use crate::model::ProcessType;
use std::collections::BTreeMap;

/// What an app's images are made of and run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// In the order of the file.
    pub images: Vec<ImageSource>,
    /// Build arguments of all images.
    pub args: Vec<(String, String)>,
    pub run: BTreeMap<ProcessType, Run>,
    pub release: Option<Run>,
    /// What is there and is not done.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSource {
    pub process: ProcessType,
    /// Path of the Dockerfile; the directory that it is in is what is sent to the builder.
    pub dockerfile: String,
    pub target: Option<String>,
}

/// What runs, and in the image of which process type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    pub command: Option<String>,
    pub image: Option<ProcessType>,
}

impl Manifest {
    /// For an app that has a Dockerfile and no heroku.yml.
    pub fn of_dockerfile() -> Self {
        let web = ProcessType::parse("web").ok();
        let images = web.map(|process| ImageSource {
            process,
            dockerfile: "Dockerfile".to_string(),
            target: None,
        });
        Self { images: images.into_iter().collect(), ..Self::default() }
    }

    /// Reads a heroku.yml; else all that is wrong with it, a sentence each.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let mut reading = Reading::default();
        match yaml::parse(text) {
            Err(error) => reading.wrong.push(error),
            Ok(document) => reading.document(document),
        }
        match reading.wrong.is_empty() {
            true => Ok(reading.manifest),
            false => Err(reading.wrong),
        }
    }
}

#[derive(Default)]
struct Reading {
    manifest: Manifest,
    wrong: Vec<String>,
    /// Images that are named, with the line and the key that does so.
    named: Vec<(ProcessType, u64, String)>,
}

impl Reading {
    fn say(&mut self, line: u64, key: &str, what: impl std::fmt::Display) {
        self.wrong.push(format!("line {line}: {key} {what}"));
    }

    fn document(&mut self, document: Placed) {
        for (key, value) in self.entries("heroku.yml", document) {
            match key.name.as_str() {
                "setup" => self.manifest.notes.push(
                    "setup in heroku.yml is for apps that are made from it: it is not used here"
                        .to_string(),
                ),
                "build" => self.build(value),
                "run" => self.run(value),
                "release" => {
                    let run = self.one_run("release", value);
                    if run.as_ref().is_some_and(|run| run.command.is_none()) {
                        self.say(key.line, "release", "needs a command");
                    }
                    self.manifest.release = run;
                }
                _ => self.unknown(&key, "", "setup, build, run, release"),
            }
        }
        if self.manifest.images.is_empty() && self.wrong.is_empty() {
            self.wrong.push("build.docker names no image, and there must be one".to_string());
        }
        for (process, line, key) in std::mem::take(&mut self.named) {
            if !self.manifest.images.iter().any(|image| image.process == process) {
                self.say(line, &key, format!("names {process}, which build.docker does not build"));
            }
        }
    }

    fn build(&mut self, value: Placed) {
        for (key, value) in self.entries("build", value) {
            match key.name.as_str() {
                "docker" => self.docker(value),
                "config" => {
                    for (key, value) in self.entries("build.config", value) {
                        let name = format!("build.config.{}", key.name);
                        if let Some(text) = self.text(&name, value) {
                            self.manifest.args.push((key.name, text));
                        }
                    }
                }
                "languages" | "pipelines" | "packages" => {
                    let key = format!("build.{}", key.name);
                    let note = format!("{key} in heroku.yml is not known here: it is not used");
                    self.manifest.notes.push(note);
                }
                _ => self.unknown(&key, "build.", "docker, config"),
            }
        }
    }

    fn docker(&mut self, value: Placed) {
        for (key, value) in self.entries("build.docker", value) {
            let name = format!("build.docker.{}", key.name);
            let Some(process) = self.process(&key, &name) else { continue };
            let line = value.line;
            let (dockerfile, target) = match value.node {
                Node::Map(_) => {
                    let (mut dockerfile, mut target) = (None, None);
                    for (key, value) in self.entries(&name, value) {
                        let inner = format!("{name}.{}", key.name);
                        match key.name.as_str() {
                            "dockerfile" => dockerfile = self.text(&inner, value),
                            "target" => target = self.text(&inner, value),
                            _ => self.unknown(&key, &format!("{name}."), "dockerfile, target"),
                        }
                    }
                    (dockerfile.or(Some("Dockerfile".to_string())), target)
                }
                _ => (self.text(&name, value), None),
            };
            let Some(dockerfile) = dockerfile else { continue };
            match tree::parts(dockerfile.as_bytes()) {
                Ok(parts) if !parts.is_empty() => {
                    self.manifest.images.push(ImageSource { process, dockerfile, target });
                }
                _ => self.say(line, &name, "must be the path of a Dockerfile in the source"),
            }
        }
        if self.manifest.images.len() > limits::APP_IMAGES {
            let most = limits::APP_IMAGES;
            self.wrong.push(format!("build.docker has more than {most} images"));
        }
    }

    fn run(&mut self, value: Placed) {
        for (key, value) in self.entries("run", value) {
            let name = format!("run.{}", key.name);
            let Some(process) = self.process(&key, &name) else { continue };
            if process.is_release() {
                self.say(key.line, &name, "is not run: the release command is a key of its own");
                continue;
            }
            if let Some(run) = self.one_run(&name, value) {
                self.manifest.run.insert(process, run);
            }
        }
        if self.manifest.run.len() > limits::PROCESS_TYPES {
            let most = limits::PROCESS_TYPES;
            self.wrong.push(format!("run has more than {most} process types"));
        }
    }

    /// A command, or a command and an image.
    fn one_run(&mut self, name: &str, value: Placed) -> Option<Run> {
        if !matches!(value.node, Node::Map(_)) {
            let command = Some(self.command(name, value)?);
            return Some(Run { command, image: None });
        }
        let mut run = Run::default();
        for (key, value) in self.entries(name, value) {
            let inner = format!("{name}.{}", key.name);
            match key.name.as_str() {
                "command" => run.command = self.command(&inner, value),
                "image" => {
                    let line = value.line;
                    let text = self.text(&inner, value)?;
                    match ProcessType::parse(&text) {
                        Ok(process) => {
                            self.named.push((process.clone(), line, inner));
                            run.image = Some(process);
                        }
                        Err(_) => self.say(line, &inner, "must be a process type"),
                    }
                }
                _ => self.unknown(&key, &format!("{name}."), "command, image"),
            }
        }
        Some(run)
    }

    /// Text, or a list of words that are put one after the other, as on Heroku.
    fn command(&mut self, name: &str, value: Placed) -> Option<String> {
        let line = value.line;
        let text = match value.node {
            Node::List(items) => {
                let words = items.into_iter().map(|item| self.text(name, item));
                words.collect::<Option<Vec<_>>>()?.join(" ")
            }
            _ => self.text(name, value)?,
        };
        let text = text.trim().to_string();
        if text.is_empty() || text.contains('\0') {
            self.say(line, name, "must be a command");
            return None;
        }
        Some(text)
    }

    fn text(&mut self, name: &str, value: Placed) -> Option<String> {
        match value.node {
            Node::Text(text) => Some(text),
            Node::Null => {
                self.say(value.line, name, "is empty");
                None
            }
            _ => {
                self.say(value.line, name, "must be text");
                None
            }
        }
    }

    fn entries(&mut self, name: &str, value: Placed) -> Vec<(Key, Placed)> {
        match value.node {
            Node::Map(entries) => entries,
            Node::Null => Vec::new(),
            _ => {
                self.say(value.line, name, "must be keys with values");
                Vec::new()
            }
        }
    }

    fn process(&mut self, key: &Key, name: &str) -> Option<ProcessType> {
        let process = ProcessType::parse(&key.name).ok();
        if process.is_none() {
            self.say(key.line, name, "is no name of a process type");
        }
        process
    }

    fn unknown(&mut self, key: &Key, above: &str, known: &str) {
        let name = format!("{above}{}", key.name);
        self.say(key.line, &name, format!("is unknown; there are: {known}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(name: &str) -> ProcessType {
        ProcessType::parse(name).unwrap()
    }

    #[test]
    fn a_whole_file_is_read() {
        let manifest = Manifest::parse(
            "setup:\n  addons:\n    - plan: x\nbuild:\n  docker:\n    web: Dockerfile\n    \
             worker:\n      dockerfile: worker/Dockerfile\n      target: run\n  config:\n    \
             LEVEL: 3\nrelease:\n  image: worker\n  command:\n    - ./migrate\n    - --all\nrun:\n  \
             web: ./serve --port $PORT\n  worker:\n    command: [./work]\n    image: web\n",
        )
        .unwrap();
        let paths: Vec<_> = manifest.images.iter().map(|i| i.dockerfile.as_str()).collect();
        assert_eq!(paths, ["Dockerfile", "worker/Dockerfile"]);
        assert_eq!(manifest.images[1].target.as_deref(), Some("run"));
        assert_eq!(manifest.args, [("LEVEL".to_string(), "3".to_string())]);
        let release = manifest.release.unwrap();
        assert_eq!(release.command.as_deref(), Some("./migrate --all"));
        assert_eq!(release.image, Some(process("worker")));
        let worker = &manifest.run[&process("worker")];
        assert_eq!(
            (worker.command.as_deref(), &worker.image),
            (Some("./work"), &Some(process("web")))
        );
        assert_eq!(manifest.notes.len(), 1);
    }

    #[test]
    fn what_is_wrong_is_named_by_line_and_key() {
        for (text, words) in [
            (
                "build:\n  docker:\n    web: ../Dockerfile\n",
                "line 3: build.docker.web must be the path",
            ),
            ("build:\n  docker:\n    web:\n", "line 3: build.docker.web is empty"),
            ("build:\n  docker: [web]\n", "line 2: build.docker must be keys with values"),
            (
                "build:\n  dokcer:\n    web: x\n",
                "line 2: build.dokcer is unknown; there are: docker",
            ),
            ("run:\n  web: x\n", "build.docker names no image"),
            (
                "release:\n  image: web\nbuild:\n  docker:\n    web: Dockerfile\n",
                "line 1: release needs a command",
            ),
            (
                "build:\n  docker:\n    web: Dockerfile\nrun:\n  worker:\n    command: x\n    image: job\n",
                "line 7: run.worker.image names job, which build.docker does not build",
            ),
            ("build:\n  docker:\n    We b: x\n", "line 3: build.docker.We b is no name"),
            (
                "build:\n  docker:\n    web: Dockerfile\n    web: web/Dockerfile\n",
                "line 4: web is there twice",
            ),
            (
                "build:\n  docker:\n    web: Dockerfile\nrun:\n  web: x\nrun:\n  job: y\n",
                "line 6: run is there twice",
            ),
            ("build: [\n", "line "),
            ("", "build.docker names no image"),
        ] {
            let wrong = Manifest::parse(text).unwrap_err();
            assert!(wrong.iter().any(|line| line.starts_with(words)), "{words:?}: {wrong:?}");
        }
    }
}
