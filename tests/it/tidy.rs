//! Style that matters, checked by reading the sources: the layers, the lengths, the first line of
//! each file, and what must not be in the repository.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::support::platform::repository;

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

struct Source {
    /// Below the repository, such as `src/git/http.rs`.
    path: String,
    text: String,
}

impl Source {
    /// Whether all of it is test code.
    fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.split('/').any(|part| part == "tests" || part == "testing.rs")
            || self.path.ends_with("tests.rs")
    }

    /// The lines above its own tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = |line: &&str| !line.starts_with("#[cfg(test)]\nmod tests");
        let end = self.text.find("\n#[cfg(test)]\nmod ").map_or(self.text.len(), |at| at + 1);
        self.text[..end].lines().take_while(tests).enumerate().map(|(at, line)| (at + 1, line))
    }

    /// `git` of `src/git/http.rs`, `server` of `src/server.rs`.
    fn module(&self) -> &str {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
    }
}

/// Every file below these folders whose name ends so.
fn files(folders: &[&str], ending: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        walk(&repository().join(folder), &mut paths);
    }
    paths.sort();
    let sources: Vec<Source> = paths
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .filter_map(|path| {
            let text = String::from_utf8(std::fs::read(&path).ok()?).ok()?;
            let path = path.strip_prefix(repository()).ok()?.display().to_string();
            Some(Source { path, text })
        })
        .collect();
    assert!(!sources.is_empty(), "no files {ending} below {folders:?}");
    sources
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if ![".git", "target", "node_modules"].iter().any(|skipped| name == *skipped) {
                walk(&entry.path(), found);
            }
        } else {
            found.push(entry.path());
        }
    }
}

#[track_caller]
fn none(problems: &str) {
    assert!(problems.is_empty(), "\n{problems}");
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let mut problems = String::new();
    for source in files(&["src", "tests"], ".rs") {
        if !source.text.starts_with("//! ") {
            let _ = writeln!(problems, "{}:1: no //! comment", source.path);
        }
    }
    none(&problems);
}

/// Files that are longer than they should be, with why that is so for now. There is none.
const LONG_FILES: [&str; 0] = [];

#[test]
fn files_and_functions_are_not_too_long() {
    let mut problems = String::new();
    for source in files(&["src", "tests/it"], ".rs") {
        let path = &source.path;
        let lines = source.code().count();
        if lines > FILE_LINES && !source.is_test() && !LONG_FILES.contains(&path.as_str()) {
            let _ = writeln!(problems, "{path}: {lines} lines, at most {FILE_LINES}");
        }
        for (start, name, length) in functions(&source.text) {
            if length > FUNCTION_LINES {
                let _ = writeln!(
                    problems,
                    "{path}:{start}: {name} has {length} lines, at most {FUNCTION_LINES}"
                );
            }
        }
    }
    none(&problems);
}

/// Line, name and length of each function. The code is formatted, so one ends at the next brace
/// that stands as far to the right as it does.
fn functions(text: &str) -> Vec<(usize, String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let bare = line.trim_start();
        let indent = line.len() - bare.len();
        let words: Vec<&str> = bare.split(' ').collect();
        let Some(at) = words.iter().position(|word| *word == "fn") else { continue };
        let heads =
            |word: &&str| word.starts_with("pub") || ["async", "const", "unsafe"].contains(word);
        if !words[..at].iter().all(heads) {
            continue;
        }
        let name = words.get(at + 1).unwrap_or(&"").split(['(', '<']).next().unwrap_or("");
        let ends = |line: &&str| {
            let bare = line.trim_start();
            line.len() - bare.len() == indent && (bare == "}" || bare.ends_with(';'))
        };
        if line.ends_with('}') || line.ends_with(';') {
            continue;
        }
        if let Some(length) = lines[start..].iter().position(ends) {
            found.push((start + 1, name.to_string(), length + 1));
        }
    }
    found
}

#[test]
fn nothing_is_left_undone_or_ignored() {
    // Written in parts, so that this file does not hold them.
    let forbidden = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[ign", "ore"),
        concat!("dbg", "!("),
    ];
    let mut problems = String::new();
    for source in files(&["src", "tests"], ".rs") {
        for (number, line) in source.text.lines().enumerate() {
            for word in forbidden.iter().filter(|word| line.contains(**word)) {
                let _ = writeln!(problems, "{}:{}: {word}", source.path, number + 1);
            }
        }
    }
    none(&problems);
}

#[test]
fn no_registry_is_named() {
    // Packages are fetched through each language's own client and its settings.
    let hosts = [
        concat!("registry.", "npm"),
        concat!("registry.", "yarn"),
        concat!("files.", "pythonhosted"),
        concat!("pypi.", "org"),
        concat!("static.", "crates.io"),
        concat!("index.", "crates.io"),
        concat!("proxy.", "golang"),
        concat!("repo.", "maven"),
        concat!("repo1.", "maven"),
        concat!("deb.", "debian.org"),
        concat!("registry-1.", "docker"),
        concat!("ghcr.", "io"),
        concat!("rubygems.", "org"),
        concat!("static.", "rust-lang"),
    ];
    let mut problems = String::new();
    for source in files(&["."], "") {
        for (number, line) in source.text.lines().enumerate() {
            for host in hosts.iter().filter(|host| line.contains(**host)) {
                let _ = writeln!(problems, "{}:{}: names {host}", source.path, number + 1);
            }
        }
    }
    none(&problems);
}

#[test]
fn the_example_procfile_parses_and_is_what_the_sample_runs() {
    let read = |path: &str| {
        let bytes = std::fs::read(repository().join(path)).unwrap();
        senryu::model::Procfile::parse(&bytes).unwrap()
    };
    let example = read("Procfile.example");
    let types: Vec<&str> = example.iter().map(|(process, _)| process.as_str()).collect();
    assert_eq!(types, ["clock", "release", "web", "worker"]);
    assert_eq!(example, read("tests/fixtures/apps/sample/Procfile"));
}

/// Nouns and tools: each module may use them, beside what its own row names.
const LAYER_0: [&str; 11] = [
    "model", "error", "limits", "cgroup", "meminfo", "clock", "wake", "tasks", "origin", "config",
    "secrets",
];

/// Which modules each module may use besides itself and, from `store` on, layer 0.
const MAY_USE: &[(&str, &[&str])] = &[
    // Layer 0 itself: `model` uses errors, time and limits, and nothing that does anything.
    ("model", &["error", "clock", "limits"]),
    ("error", &[]),
    ("limits", &[]),
    ("clock", &["limits"]),
    ("cgroup", &[]),
    ("meminfo", &[]),
    ("wake", &[]),
    ("origin", &["model"]),
    ("tasks", &["error", "origin"]),
    // The names of dyno sizes are nouns; what an operator sets of them is a setting.
    ("config", &["limits", "model"]),
    ("secrets", &["error"]),
    // What server and router say to each other: both have it, so it knows neither.
    ("link", &["limits"]),
    // What client and server say to each other about an attached dyno.
    ("frames", &["limits"]),
    // Layer 1, the world.
    ("store", &[]),
    ("engine", &[]),
    ("logs", &[]),
    ("metrics", &["store"]),
    // What the journey leaves behind, and brings back.
    ("slugs", &["store", "engine", "logs"]),
    // Layer 2, the journey: each stage knows the next.
    ("apps", &["store"]),
    // `build` for the output that a push is sent; `deploy` for all the rest.
    ("git", &["deploy", "build"]),
    ("deploy", &["store", "engine", "logs", "slugs", "build", "release", "dynos"]),
    ("build", &["engine", "slugs"]),
    ("release", &["store"]),
    // A dyno gets the config vars of its release, which only `release` can open.
    ("dynos", &["store", "engine", "logs", "metrics", "release"]),
    // What the router is to serve, by `link`'s noun.
    ("certs", &["store", "link"]),
    ("routing", &["certs", "dynos", "logs", "metrics", "link"]),
    // Layer 2, the other process.
    ("router", &["frames", "link"]),
    // What the faces can ask of the journey.
    ("actions", &["apps", "certs", "deploy", "dynos", "logs", "metrics", "release", "store"]),
    // Layer 3, the faces.
    (
        "api",
        &[
            "actions", "apps", "certs", "deploy", "dynos", "frames", "logs", "metrics", "release",
            "store",
        ],
    ),
    ("console", &["actions", "apps", "deploy", "dynos", "logs", "metrics", "store"]),
    // Host commands: see `the_client_knows_the_server_only_where_it_starts_it`.
    ("cli", &["frames", "git", "router", "server"]),
];

#[test]
fn modules_use_only_the_layers_below_them() {
    let mut problems = String::new();
    for source in files(&["src"], ".rs") {
        let module = source.module();
        if source.is_test() || ["server", "main", "lib"].contains(&module) {
            continue;
        }
        let Some((_, may)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            let _ = writeln!(problems, "{}: {module} has no row in MAY_USE", source.path);
            continue;
        };
        let low = LAYER_0.contains(&module) || ["link", "frames"].contains(&module);
        for (number, used) in uses(&source) {
            let fits = used == module || may.contains(&used.as_str());
            if !fits && (low || !LAYER_0.contains(&used.as_str())) {
                let _ = writeln!(problems, "{}:{number}: {module} uses {used}", source.path);
            }
        }
    }
    none(&problems);
}

/// The modules of the crate that a file names, in `use` lines and in paths.
fn uses(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in source.code() {
        let bare = line.trim_start();
        if bare.starts_with("//") {
            continue;
        }
        for (at, _) in bare.match_indices("crate::") {
            let rest = &bare[at + "crate::".len()..];
            match rest.strip_prefix('{') {
                // `use crate::{limits, tasks};` stands on one line wherever it is used.
                Some(list) => {
                    let names = list.split(['}', ',']).map(str::trim);
                    found.extend(names.map(first_name).map(|name| (number, name)));
                }
                None => found.push((number, first_name(rest))),
            }
        }
    }
    found.retain(|(_, name)| name.starts_with(|c: char| c.is_ascii_lowercase()));
    found
}

fn first_name(path: &str) -> String {
    path.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

#[test]
fn the_client_knows_the_server_only_where_it_starts_it() {
    let mut problems = String::new();
    for source in files(&["src/cli"], ".rs") {
        if source.path == "src/cli/host.rs" || source.is_test() {
            continue;
        }
        for (number, used) in uses(&source) {
            if !["cli", "config", "frames", "limits", "meminfo", "tasks"].contains(&used.as_str()) {
                let _ = writeln!(problems, "{}:{number}: uses {used}", source.path);
            }
        }
    }
    none(&problems);
}

#[test]
fn each_big_dependency_stays_where_it_belongs() {
    let places: [(&str, &[&str]); 4] = [
        ("bollard", &["src/engine/"]),
        // Rows are read and written in `store`; those who hand it a transaction's body name the
        // connection.
        (
            "rusqlite",
            &[
                "src/store/",
                "src/certs/",
                "src/apps/lifecycle.rs",
                "src/deploy/mod.rs",
                "src/release/create.rs",
                "src/dynos/reconciler/desired.rs",
            ],
        ),
        ("askama", &["src/router/rescue.rs", "src/console/"]),
        ("axum", &["src/api/", "src/console/", "src/git/", "src/server.rs"]),
    ];
    let mut problems = String::new();
    for source in files(&["src"], ".rs").iter().filter(|source| !source.is_test()) {
        for (name, allowed) in &places {
            let path = format!("{name}::");
            let used = source.code().find(|(_, line)| line.contains(&path));
            if let Some((number, _)) = used
                && !allowed.iter().any(|place| source.path.starts_with(place))
            {
                let _ = writeln!(problems, "{}:{number}: uses {name}", source.path);
            }
        }
    }
    none(&problems);
}
