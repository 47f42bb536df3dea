//! The buildpacks that come with Senryu. They are compiled in and unpacked once, into a directory
//! named by their content, so that an upgrade never changes what a running build reads.

use crate::error::{Context, Result};
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

#[derive(RustEmbed)]
#[folder = "buildpacks/"]
#[allow_missing = true]
struct Bundled;

/// The script that runs them inside the build container.
const DRIVER: &str = include_str!("driver.sh");
/// Heroku's order of detection: a Rails app with a package.json is Ruby.
const ORDER: [&str; 10] =
    ["ruby", "nodejs", "clojure", "python", "java", "gradle", "scala", "php", "go", "dotnet"];

/// The unpacked buildpacks.
#[derive(Debug, Clone)]
pub struct Buildpacks {
    /// Mounted read-only at `/buildpacks`: a directory for each, and `driver`.
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

    /// Candidates in the order of detection.
    pub fn candidates(&self) -> Vec<String> {
        ORDER.iter().filter(|name| self.names.contains(**name)).map(ToString::to_string).collect()
    }

    /// The bundled buildpack that a name means: `heroku/nodejs`, its URN, or the address under
    /// which Heroku's clients know it.
    pub fn find(&self, name: &str) -> Option<&str> {
        let name = name.strip_prefix("urn:buildpack:").unwrap_or(name);
        let name = match name.strip_prefix("https://") {
            Some(url) => url.strip_suffix(".tgz")?.split_once("/buildpacks/")?.1,
            None => name,
        };
        let name = name.strip_prefix("heroku/")?;
        self.names.get(name).map(String::as_str)
    }
}

fn files() -> Vec<(String, Vec<u8>)> {
    let mut files = vec![("driver".to_string(), DRIVER.as_bytes().to_vec())];
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

    #[test]
    fn finds_a_buildpack_by_each_of_its_names() {
        let names = BTreeSet::from(["nodejs".to_string()]);
        let buildpacks = Buildpacks { dir: PathBuf::new(), names };
        for name in [
            "heroku/nodejs",
            "urn:buildpack:heroku/nodejs",
            "https://registry.example/buildpacks/heroku/nodejs.tgz",
        ] {
            assert_eq!(buildpacks.find(name), Some("nodejs"), "{name}");
        }
        for name in ["heroku/../x", "nodejs", "heroku/ruby", "https://x.example/nodejs.tgz", ""] {
            assert_eq!(buildpacks.find(name), None, "{name}");
        }
        assert_eq!(buildpacks.candidates(), ["nodejs"]);
    }
}
