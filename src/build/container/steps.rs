//! The nameless images that the builder's steps leave, known by what it prints. They are the next
//! build's cache, and go when no build of the app uses them any more.

use crate::build::cache::read_small;
use crate::build::volume::Volume;
use crate::limits;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where those of the last build that succeeded are noted, out of every build's sight, …
const NOTE: &str = "steps";
/// … and, as soon as they are heard of, those made since: a server may be killed at any moment.
const SINCE: &str = "steps.since";

/// Ids of steps, in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Made by this build.
    pub made: Vec<String>,
    /// Made by an earlier one and used again.
    pub used: Vec<String>,
    next: Next,
    since: Option<PathBuf>,
    /// What the last `FROM` names.
    base: String,
}

/// Whose the next id is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Next {
    #[default]
    Made,
    /// Of an image that is not ours to remove.
    Base,
    Used,
}

impl Steps {
    pub fn on(volume: &Volume) -> Self {
        Self { since: Some(volume.path(SINCE)), ..Self::default() }
    }

    fn make(&mut self, id: &str) {
        if let Some(since) = &self.since {
            let file = File::options().create(true).append(true).open(since);
            if let Err(error) = file.and_then(|mut file| writeln!(file, "{id}")) {
                tracing::warn!(%error, "a step of the builder is not noted");
            }
        }
        self.made.push(id.to_string());
    }

    /// Takes in what the builder prints; returns the base whose `ONBUILD` it is about to do.
    pub fn hear(&mut self, text: &str) -> Option<String> {
        let mut triggering = None;
        for line in text.lines().map(str::trim) {
            if line.starts_with("Step ") {
                let mut words = line.split_whitespace().skip(3);
                let from = words.next().is_some_and(|word| word.eq_ignore_ascii_case("FROM"));
                self.next = if from { Next::Base } else { Next::Made };
                if from {
                    let base = words.find(|word| !word.starts_with("--"));
                    self.base = base.unwrap_or_default().to_string();
                }
            }
            if line.starts_with("# Executing ") && line.contains(" build trigger") {
                triggering = Some(self.base.clone());
            }
            let Some(rest) = line.strip_prefix("---> ") else { continue };
            if rest == "Using cache" {
                self.next = Next::Used;
            }
            let id = rest.len() == 12 && rest.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !id || self.made.len() + self.used.len() >= limits::BUILD_STEPS {
                continue;
            }
            match self.next {
                Next::Made => self.make(rest),
                Next::Used => self.used.push(rest.to_string()),
                Next::Base => {}
            }
        }
        triggering
    }

    /// Adds those of another image of the same build.
    pub fn add(&mut self, other: Steps) {
        self.made.extend(other.made);
        self.used.extend(other.used);
    }

    /// Notes what this build used, and returns what only builds before it did or made.
    pub fn note(&self, volume: &Volume) -> std::io::Result<Vec<String>> {
        let now: Vec<&str> = self.made.iter().chain(&self.used).map(String::as_str).collect();
        let mut before = noted(&volume.path(""));
        before.extend(left(&volume.path("")));
        std::fs::write(volume.path(NOTE), now.join("\n"))?;
        forget_left(&volume.path(""))?;
        Ok(before.into_iter().filter(|id| !now.contains(&id.as_str())).collect())
    }
}

/// What the last build that succeeded used. `root` is the volume's.
pub fn noted(root: &Path) -> Vec<String> {
    lines(&root.join(NOTE))
}

/// What builds made that came to nothing, or were cut short.
pub fn left(root: &Path) -> Vec<String> {
    let noted = noted(root);
    lines(&root.join(SINCE)).into_iter().filter(|id| !noted.contains(id)).collect()
}

pub fn forget_left(root: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(root.join(SINCE)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn lines(file: &Path) -> Vec<String> {
    let text = read_small(file).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_told_from_bases_and_from_the_cache() {
        let mut steps = Steps::default();
        for text in [
            "Step 1/6 : FROM debian AS one\n",
            " ---> aaaaaaaaaaaa\n",
            "Step 2/6 : RUN echo ' ---> x'\n ---> Using cache\n ---> bbbbbbbbbbbb\n",
            "Step 3/6 : COPY . .\n",
            " ---> cccccccccccc\n",
            "Step 4/6 : FROM one\n ---> cccccccccccc\n",
            "Step 5/6 : RUN x\n ---> Running in dddddddddddd\n",
            "Removing intermediate container dddddddddddd\n ---> eeeeeeeeeeee\n",
            "Step 6/6 : LABEL a=b\n ---> Running in ffffffffffff\n ---> 111111111111\n",
        ] {
            steps.hear(text);
        }
        assert_eq!(steps.made, ["cccccccccccc", "eeeeeeeeeeee", "111111111111"]);
        assert_eq!(steps.used, ["bbbbbbbbbbbb"]);
    }

    #[test]
    fn a_base_with_instructions_of_its_own_is_named() {
        let mut steps = Steps::default();
        assert_eq!(steps.hear("Step 1/2 : FROM --platform=linux/amd64 one/two:3 AS x\n"), None);
        assert_eq!(steps.hear("# Executing 2 build trigger").as_deref(), Some("one/two:3"));
        assert_eq!(steps.hear("s\n"), None);
    }

    #[test]
    fn what_no_build_uses_any_more_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let volume = Volume::unmounted(dir.path().to_path_buf());
        let of = |made: &[&str]| Steps {
            made: made.iter().map(ToString::to_string).collect(),
            ..Steps::default()
        };
        assert!(of(&["a", "b"]).note(&volume).unwrap().is_empty());
        assert_eq!(of(&["b", "c"]).note(&volume).unwrap(), ["a"]);
        assert_eq!(noted(dir.path()), ["b", "c"]);
    }

    #[test]
    fn what_a_build_that_is_cut_short_made_is_known_to_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let volume = Volume::unmounted(dir.path().to_path_buf());
        let step = |id: &str| format!("Step 1/1 : RUN x\n ---> {id}\n");
        let (kept, cut, made) = ("aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc");
        let mut first = Steps::on(&volume);
        first.hear(&step(kept));
        assert!(first.note(&volume).unwrap().is_empty());
        Steps::on(&volume).hear(&step(cut));
        assert_eq!(left(dir.path()), [cut]);
        let mut third = Steps::on(&volume);
        third.hear(&format!("Step 1/2 : RUN x\n ---> Using cache\n ---> {kept}\n"));
        third.hear(&step(made));
        assert_eq!(left(dir.path()), [cut, made]);
        assert_eq!(third.note(&volume).unwrap(), [cut]);
        assert!(left(dir.path()).is_empty());
        assert_eq!(noted(dir.path()), [made, kept]);
    }
}
