//! Which buildpacks a build tries, where each comes from, and the words that say so.

use super::BuildFailure;
use super::buildpacks::Buildpacks;
use super::output::OutputSink;
use crate::model::{Buildpack, ConfigVars};

/// What the driver in the container is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Chosen ones must fit; otherwise the first that fits is taken.
    pub chosen: bool,
    pub packs: Vec<Pack>,
}

/// A buildpack and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// What the user calls it.
    pub buildpack: Buildpack,
    pub origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Comes with us, in the directory of this name.
    Bundled(String),
    Git {
        url: String,
        reference: Option<String>,
    },
    Tarball {
        url: String,
    },
    /// A directory of the source; empty for its root.
    Inline {
        path: String,
    },
}

impl Choice {
    /// What the driver is told of each: kind, name, place and git ref.
    pub fn arguments(&self) -> Vec<String> {
        let four = |pack: &Pack| {
            let (kind, place, reference) = match &pack.origin {
                Origin::Bundled(name) => ("bundled", name, None),
                Origin::Git { url, reference } => ("git", url, reference.as_ref()),
                Origin::Tarball { url } => ("tarball", url, None),
                Origin::Inline { path } => ("inline", path, None),
            };
            let reference = reference.cloned().unwrap_or_default();
            [kind.to_string(), pack.buildpack.to_string(), place.clone(), reference]
        };
        self.packs.iter().flat_map(four).collect()
    }
}

/// The configured buildpacks (by the user, or pinned by an earlier build), else all candidates.
/// The config var `BUILDPACK_URL` beats both, as on Heroku. `source` is where those that are known
/// by name only have their repositories.
pub fn choose(
    buildpacks: &Buildpacks,
    configured: &[Buildpack],
    config: &ConfigVars,
    source: &str,
    out: &OutputSink,
) -> Result<Choice, BuildFailure> {
    let by_variable = match config.iter().find(|(key, value)| *key == VARIABLE && !value.is_empty())
    {
        Some((_, value)) => vec![
            Buildpack::parse(value)
                .map_err(|error| BuildFailure::Buildpack(error.public_message().to_string()))?,
        ],
        None => Vec::new(),
    };
    let chosen = if by_variable.is_empty() { configured } else { &by_variable };
    let pack = |buildpack: &Buildpack| Pack {
        buildpack: buildpack.clone(),
        origin: buildpacks.origin(buildpack, source),
    };
    match chosen {
        [] => {
            out.headline("Determining which buildpack to use for this app");
            let packs = buildpacks.candidates().iter().map(pack).collect();
            return Ok(Choice { chosen: false, packs });
        }
        [one] => out.headline(&format!("Using buildpack: {one}")),
        several => {
            out.headline("Using buildpacks:");
            for (index, buildpack) in several.iter().enumerate() {
                out.detail(&format!("{}. {buildpack}", index + 1));
            }
        }
    }
    Ok(Choice { chosen: true, packs: chosen.iter().map(pack).collect() })
}

const VARIABLE: &str = "BUILDPACK_URL";

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(configured: &[&str], variable: &str) -> Result<(Choice, String), BuildFailure> {
        let dir = tempfile::tempdir().unwrap();
        let buildpacks = Buildpacks::unpack(dir.path()).unwrap();
        let path = dir.path().join("output");
        let out = OutputSink::create(&path).unwrap();
        let configured: Vec<_> =
            configured.iter().map(|text| Buildpack::parse(text).unwrap()).collect();
        let changes = vec![(VARIABLE.to_string(), Some(variable.to_string()))];
        let config = ConfigVars::default().changed(&changes).unwrap();
        let source = "https://git.example/buildpack-{name}.git";
        let choice = choose(&buildpacks, &configured, &config, source, &out)?;
        Ok((choice, std::fs::read_to_string(path).unwrap()))
    }

    #[test]
    fn says_which_buildpacks_are_used_and_where_they_are() {
        let (auto, words) = choice(&[], "").unwrap();
        assert!(!auto.chosen && auto.packs.len() > 1);
        assert_eq!(words, "-----> Determining which buildpack to use for this app\n");
        let (one, words) = choice(&["heroku/nodejs"], "").unwrap();
        assert_eq!(one.arguments(), ["bundled", "heroku/nodejs", "nodejs", ""]);
        assert_eq!(words, "-----> Using buildpack: heroku/nodejs\n");
        let list = ["heroku-community/apt", "https://x.example/b.git#v1", "./tools"];
        let (several, words) = choice(&list, "").unwrap();
        assert!(several.chosen);
        assert_eq!(
            several.arguments(),
            [
                "git",
                "heroku-community/apt",
                "https://git.example/buildpack-apt.git",
                "",
                "git",
                "https://x.example/b.git#v1",
                "https://x.example/b.git",
                "v1",
                "inline",
                "./tools",
                "tools",
                ""
            ]
        );
        assert_eq!(
            words,
            "-----> Using buildpacks:\n       1. heroku-community/apt\n       \
             2. https://x.example/b.git#v1\n       3. ./tools\n"
        );
        let (alias, _) = choice(&["heroku/jvm"], "").unwrap();
        assert_eq!(alias.arguments()[2], "https://git.example/buildpack-jvm-common.git");
        let (inline, _) = choice(&["heroku-community/inline"], "").unwrap();
        assert_eq!(inline.arguments(), ["inline", "heroku-community/inline", "", ""]);
    }

    #[test]
    fn the_legacy_variable_beats_the_list() {
        let (choice, words) = super::tests::choice(&["heroku/nodejs"], "./mine").unwrap();
        assert_eq!(choice.arguments(), ["inline", "./mine", "mine", ""]);
        assert_eq!(words, "-----> Using buildpack: ./mine\n");
        let refused = super::tests::choice(&[], "http://x.example/y").unwrap_err();
        assert!(refused.to_string().contains("by https:// only"), "{refused}");
    }
}
