//! The buildpacks that come with Senryu. They are compiled in and unpacked once, into a directory
//! named by their content, so that an upgrade never changes what a running build reads.

use super::detect::Origin;
use crate::error::{Context, Result};
use crate::model::Buildpack;
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

#[derive(RustEmbed)]
#[folder = "buildpacks/"]
struct Bundled;

/// What runs them inside the build container, and what it fetches others and submodules with.
const DRIVER: &str = include_str!("driver.sh");
const REMOTE: &str = include_str!("remote.sh");
const SUBMODULES: &str = include_str!("submodules.sh");
/// Heroku's order of detection: a Rails app with a package.json is Ruby. Heroku does not detect
/// `static` at all; here a site that is nothing else needs no buildpack to be chosen.
const ORDER: [&str; 11] = [
    "ruby", "nodejs", "clojure", "python", "java", "gradle", "scala", "php", "go", "dotnet",
    "static",
];
/// Bundled buildpacks that Heroku's clients know under another namespace than `heroku`.
const COMMUNITY: [&str; 1] = ["static"];

/// The app's own `bin/detect` and `bin/compile`.
const INLINE: &str = "inline";
/// Names whose repository Heroku has called otherwise.
const ALIASES: [(&str, &str); 1] = [("jvm", "jvm-common")];

/// The unpacked buildpacks.
#[derive(Debug, Clone)]
pub struct Buildpacks {
    /// Mounted read-only at `/buildpacks`: a directory for each, and the scripts.
    pub dir: PathBuf,
    names: BTreeSet<String>,
}

impl Buildpacks {
    /// Unpacks them unless that has been done, and removes those of other versions. No build may
    /// be running.
    pub fn unpack(data_dir: &Path) -> Result<Self> {
        let files = files();
        let home = data_dir.join("buildpacks");
        let dir = home.join(fingerprint(&files));
        if !dir.exists() {
            let _ = fs::remove_dir_all(&home);
            let half = home.join("unpacking");
            write(&half, &files).context("unpack the buildpacks")?;
            fs::rename(&half, &dir).context("unpack the buildpacks")?;
        }
        let names = files.iter().filter_map(|(path, _)| path.split_once('/'));
        Ok(Self { dir, names: names.map(|(name, _)| name.to_string()).collect() })
    }

    /// Changes with anything in them.
    pub fn version(&self) -> String {
        self.dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Candidates in the order of detection.
    pub fn candidates(&self) -> Vec<Buildpack> {
        in_order(&self.names)
    }

    /// Where a buildpack comes from. `source` is the address of those that are not bundled, with
    /// `{name}` in it.
    pub fn origin(&self, buildpack: &Buildpack, source: &str) -> Origin {
        match buildpack.clone() {
            Buildpack::Named { name, .. } if self.names.contains(&name) => Origin::Bundled(name),
            Buildpack::Named { name, .. } if name == INLINE => {
                Origin::Inline { path: String::new() }
            }
            Buildpack::Named { name, .. } => {
                Origin::Git { url: address(&name, source), reference: None }
            }
            Buildpack::Git { url, reference } => Origin::Git { url, reference },
            Buildpack::Tarball { url } => Origin::Tarball { url },
            Buildpack::Inline { path } => Origin::Inline { path },
        }
    }
}

/// Those that come with us.
pub fn bundled() -> Vec<Buildpack> {
    let names = Bundled::iter().filter_map(|path| Some(path.split_once('/')?.0.to_string()));
    in_order(&names.collect())
}

/// The repository of what is known by a name only; none of what comes with us or with the app.
pub fn repository(name: &str, source: &str) -> Option<String> {
    (name != INLINE && !is_bundled(name)).then(|| address(name, source))
}

/// Whether that comes with us, in whichever namespace.
pub fn is_bundled(name: &str) -> bool {
    let is_it = |one: &Buildpack| matches!(one, Buildpack::Named { name: own, .. } if own == name);
    bundled().iter().any(is_it)
}

fn address(name: &str, source: &str) -> String {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    source.replace("{name}", alias.map_or(name, |(_, repository)| repository))
}

fn in_order(names: &BTreeSet<String>) -> Vec<Buildpack> {
    let there = ORDER.iter().filter(|name| names.contains(**name));
    let named = |name: &&str| {
        let community = COMMUNITY.contains(name);
        let namespace = if community { "heroku-community" } else { "heroku" };
        Buildpack::Named { namespace: namespace.to_string(), name: name.to_string() }
    };
    there.map(named).collect()
}

fn files() -> Vec<(String, Vec<u8>)> {
    let scripts = [("driver", DRIVER), ("remote", REMOTE), ("submodules", SUBMODULES)];
    let mut files: Vec<_> =
        scripts.map(|(name, text)| (name.to_string(), text.as_bytes().to_vec())).into();
    for path in Bundled::iter() {
        if let Some(file) = Bundled::get(&path) {
            files.push((path.to_string(), file.data.into_owned()));
        }
    }
    files.sort();
    files
}

fn fingerprint(files: &[(String, Vec<u8>)]) -> String {
    let mut hash = Sha256::new();
    for (path, content) in files {
        hash.update(format!("{path}\0{}\0", content.len()));
        hash.update(content);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn write(dir: &Path, files: &[(String, Vec<u8>)]) -> std::io::Result<()> {
    for (path, content) in files {
        let path = dir.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content)?;
        // Modes are not compiled in; what a kernel can execute says so in its first bytes.
        let mode = if content.starts_with(b"#!") { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacks_once_and_drops_other_versions() {
        let data = tempfile::tempdir().unwrap();
        let old = data.path().join("buildpacks/0123");
        fs::create_dir_all(&old).unwrap();
        let first = Buildpacks::unpack(data.path()).unwrap();
        assert!(!old.exists());
        let driver = fs::metadata(first.dir.join("driver")).unwrap();
        assert_eq!(driver.permissions().mode() & 0o777, 0o755);
        let again = Buildpacks::unpack(data.path()).unwrap();
        assert_eq!(first.dir, again.dir);
        assert_eq!(fs::read_dir(data.path().join("buildpacks")).unwrap().count(), 1);
    }

    /// The driver, with its absolute paths below a directory.
    struct Container(tempfile::TempDir);

    impl Container {
        fn new(buildpacks: &[(&str, &[(&str, &str)])]) -> Self {
            let container = Self(tempfile::tempdir().unwrap());
            let root = container.0.path();
            for dir in ["work/build", "work/cache", "work/result", "env"] {
                fs::create_dir_all(root.join(dir)).unwrap();
            }
            for (name, scripts) in buildpacks {
                let scripts = scripts.iter().map(|(path, script)| {
                    (path.to_string(), format!("#!/bin/bash\n{script}\n").into_bytes())
                });
                let files: Vec<_> = scripts.collect();
                write(&root.join("packs").join(name), &files).unwrap();
            }
            container
        }

        fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
            let (choice, names) = arguments.split_first().unwrap();
            let bundled = |name: &&str| ["bundled", name, name, ""].map(str::to_string);
            let packs: Vec<String> = names.iter().flat_map(bundled).collect();
            self.run_all(choice, &packs)
        }

        fn run_all(&self, choice: &str, packs: &[String]) -> (Option<i32>, String) {
            let root = self.0.path().display().to_string();
            let script = DRIVER
                .replace("/tmp/buildpacks", "@copies@")
                .replace("/buildpacks", &format!("{root}/packs"))
                .replace("@copies@", &format!("{root}/copies"))
                .replace("/work/", &format!("{root}/work/"))
                .replace("/sys/fs/cgroup", &format!("{root}/cgroup"))
                .replace("</order", &format!("<{root}/order"))
                .replace(" /env", &format!(" {root}/env"));
            // Every build finds an empty /tmp.
            let _ = fs::remove_dir_all(format!("{root}/copies"));
            fs::create_dir_all(format!("{root}/packs")).unwrap();
            for (name, text) in [("remote", REMOTE), ("submodules", SUBMODULES)] {
                let text = text.replace("/work/", &format!("{root}/work/"));
                fs::write(format!("{root}/packs/{name}"), text).unwrap();
            }
            let head = ["heroku-24", "a1b2", "a-build", choice, "5"].map(str::to_string);
            let words = [&head[..], packs].concat();
            fs::create_dir_all(format!("{root}/order")).unwrap();
            let order = format!("{}\0{}\0", words.len(), words.join("\0"));
            fs::write(format!("{root}/order/words"), order).unwrap();
            let ran = std::process::Command::new("bash")
                .args(["-c", &script, "driver"])
                .env("LC_ALL", "C.UTF-8")
                .output()
                .unwrap();
            (ran.status.code(), String::from_utf8(ran.stdout).unwrap())
        }

        fn result(&self, name: &str) -> String {
            let path = self.0.path().join("work/result").join(name);
            fs::read_to_string(path).unwrap_or_default()
        }
    }

    #[test]
    fn the_driver_takes_the_first_that_fits() {
        let container = Container::new(&[
            ("one", &[("bin/detect", "echo no >&2; exit 1")]),
            (
                "two",
                &[
                    ("bin/detect", "echo Two"),
                    ("bin/compile", "sleep 0.05; touch $1/made; echo -----\\> out; echo err >&2"),
                    ("bin/release", "echo 'default_process_types: {web: x}'"),
                ],
            ),
            ("three", &[("bin/detect", "touch $1/asked")]),
        ]);
        fs::write(container.0.path().join("work/build/Procfile"), "web: y\n").unwrap();
        let (code, output) = container.run(&["auto", "one", "two", "three"]);
        assert_eq!(
            (code, output.as_str()),
            (Some(0), "-----> Two app detected\n-----> out\nerr\n")
        );
        assert_eq!(container.result("buildpack"), "two\n");
        assert_eq!(container.result("detected"), "Two\n");
        assert_eq!(container.result("release"), "default_process_types: {web: x}\n");
        assert_eq!(container.result("procfile"), "web: y\n");
        assert!(container.result("micros").trim().parse::<u64>().unwrap() >= 50_000);
        assert!(!container.0.path().join("work/build/asked").exists());
    }

    #[test]
    fn the_driver_runs_all_that_are_chosen_and_sources_their_exports() {
        let export = "echo 'export TOOL=made' >$(dirname $0)/../export; [ -z \"$TOOL\" ]";
        let container = Container::new(&[
            ("one", &[("bin/detect", "echo One"), ("bin/compile", export)]),
            (
                "two",
                &[
                    ("bin/detect", "echo Two"),
                    ("bin/compile", "echo $TOOL $# $STACK $SOURCE_VERSION"),
                    ("bin/report", "echo unseen; exit 1"),
                    ("bin/release", "echo \"[$TOOL]\""),
                ],
            ),
        ]);
        let (code, output) = container.run(&["chosen", "one", "two"]);
        let expected = "-----> One app detected\n-----> Two app detected\nmade 3 heroku-24 a1b2\n";
        assert_eq!((code, output.as_str()), (Some(0), expected));
        assert_eq!(container.result("release"), "[]\n");
        assert_eq!(container.result("report"), "unseen\n");
        let unchanged = container.0.path().join("packs/one/export");
        assert!(!unchanged.exists(), "buildpacks write into a copy of theirs");
    }

    #[test]
    fn the_driver_says_by_its_status_what_failed() {
        let fits = ("bin/detect", "echo Fits");
        let container = Container::new(&[
            ("none", &[("bin/detect", "echo why; exit 1"), ("bin/compile", "true")]),
            ("half", &[fits]),
            ("bad", &[fits, ("bin/compile", "exit 13"), ("bin/report", "touch $1/reported")]),
            ("mute", &[fits, ("bin/compile", "true"), ("bin/release", "exit 1")]),
            ("plain", &[("bin/detect", "true"), ("bin/compile", "true")]),
        ]);
        assert_eq!(container.run(&["auto", "none"]), (Some(10), String::new()));
        assert_eq!(container.run(&["auto"]), (Some(10), String::new()));
        assert_eq!(container.run(&["chosen", "none"]).0, Some(11));
        assert_eq!(container.result("buildpack"), "none\n");
        assert_eq!(container.run(&["auto", "bad"]).0, Some(12));
        assert!(container.0.path().join("work/build/reported").exists());
        assert_eq!(container.run(&["auto", "mute"]).0, Some(13));
        let (code, output) = container.run(&["chosen", "plain", "half"]);
        let words = " !     Can't use the buildpack half: it has no program bin/compile.\n";
        assert_eq!((code, output.as_str()), (Some(14), words));
        assert_eq!(container.result("buildpack"), "half\n");
        let (code, output) = container.run(&["auto", "plain"]);
        assert_eq!((code, output.as_str()), (Some(0), "-----> plain app detected\n"));
    }

    #[test]
    fn the_driver_runs_what_lies_in_the_source() {
        let container = Container::new(&[]);
        let scripts = [
            ("bin/detect", "true"),
            ("bin/compile", "echo compiled >made"),
            ("tools/bin/detect", "echo Tools"),
            ("tools/bin/compile", "cat made; touch $(dirname $0)/../export"),
        ];
        let scripts = scripts.map(|(path, script)| {
            (path.to_string(), format!("#!/bin/bash\n{script}\n").into_bytes())
        });
        write(&container.0.path().join("work/build"), &scripts).unwrap();
        let inline =
            |place: &str| ["inline", &format!("./{place}"), place, ""].map(str::to_string).to_vec();
        let (code, output) = container.run_all("chosen", &[inline(""), inline("tools")].concat());
        let words = "-----> Inline app detected\n-----> Tools app detected\ncompiled\n";
        assert_eq!((code, output.as_str()), (Some(0), words));
        assert!(!container.0.path().join("work/build/tools/export").exists(), "a copy ran");
        let (code, output) = container.run_all("chosen", &inline("none"));
        let words =
            " !     Can't use the buildpack ./none: there is no directory none in the source.";
        assert_eq!((code, output.trim_end()), (Some(14), words));
    }

    #[test]
    fn the_driver_knows_private_addresses() {
        let script = format!("{REMOTE}\nfor each; do is_private $each && echo $each; done; true");
        let check = |addresses: &[&str]| {
            let bash = std::process::Command::new("bash")
                .args(["-c", &script, "check"])
                .args(addresses)
                .output();
            String::from_utf8(bash.unwrap().stdout).unwrap()
        };
        let private = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.1.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.1.1",
            "192.168.1.1",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "fd00::1",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "224.0.0.1",
            "255.255.255.255",
        ];
        assert_eq!(check(&private), private.map(|address| format!("{address}\n")).concat());
        assert_eq!(check(&["1.1.1.1", "100.63.1.1", "172.32.0.1", "198.18.0.1", "2a00::1"]), "");
    }

    #[test]
    fn bundled_ones_are_tried_in_herokus_order() {
        let names = BTreeSet::from(["python", "static", "nodejs"].map(String::from));
        let buildpacks = Buildpacks { dir: PathBuf::new(), names };
        let candidates: Vec<_> = buildpacks.candidates().iter().map(ToString::to_string).collect();
        assert_eq!(candidates, ["heroku/nodejs", "heroku/python", "heroku-community/static"]);
        let told: Vec<_> = bundled().iter().map(ToString::to_string).collect();
        assert_eq!(told, crate::model::buildpack::BUNDLED, "what users are told there is");
    }
}
