//! The nameless images that the builder's steps leave, known by what it prints. They are the next
//! build's cache, and go when no build of the app uses them any more.

use crate::build::cache::read_small;
use crate::build::volume::Volume;
use crate::limits;

/// Where they are noted, out of every build's sight.
const NOTE: &str = "steps";

/// Ids of steps, in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Made by this build.
    pub made: Vec<String>,
    /// Made by an earlier one and used again.
    pub used: Vec<String>,
    next: Next,
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
    /// Takes in what the builder prints.
    pub fn hear(&mut self, text: &str) {
        for line in text.lines().map(str::trim) {
            if line.starts_with("Step ") {
                let word = line.split_whitespace().nth(3).unwrap_or_default();
                let from = word.eq_ignore_ascii_case("FROM");
                self.next = if from { Next::Base } else { Next::Made };
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
                Next::Made => self.made.push(rest.to_string()),
                Next::Used => self.used.push(rest.to_string()),
                Next::Base => {}
            }
        }
    }

    /// Adds those of another image of the same build.
    pub fn add(&mut self, other: Steps) {
        self.made.extend(other.made);
        self.used.extend(other.used);
    }

    /// Notes what this build used, and returns what only builds before it did.
    pub fn note(&self, volume: &Volume) -> std::io::Result<Vec<String>> {
        let now: Vec<&str> = self.made.iter().chain(&self.used).map(String::as_str).collect();
        let before = noted(volume);
        std::fs::write(volume.path(NOTE), now.join("\n"))?;
        Ok(before.into_iter().filter(|id| !now.contains(&id.as_str())).collect())
    }
}

/// What the last build used.
pub fn noted(volume: &Volume) -> Vec<String> {
    let text = read_small(&volume.path(NOTE)).unwrap_or_default();
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
    fn what_no_build_uses_any_more_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let volume = Volume::unmounted(dir.path().to_path_buf());
        let of = |made: &[&str]| Steps {
            made: made.iter().map(ToString::to_string).collect(),
            ..Steps::default()
        };
        assert!(of(&["a", "b"]).note(&volume).unwrap().is_empty());
        assert_eq!(of(&["b", "c"]).note(&volume).unwrap(), ["a"]);
        assert_eq!(noted(&volume), ["b", "c"]);
    }
}
