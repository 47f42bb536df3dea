//! The tokens that `senryu login` saves: one for each server, in
//! `~/.config/senryu/credentials.toml`, which only its owner can read.

use super::address;
use super::env::Env;
use super::failure::{Failure, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, fchown};
use std::path::{Path, PathBuf};

#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Saved {
    pub email: String,
    pub token: String,
    /// The authorization that the token belongs to, so that `logout` can revoke it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
pub struct Credentials {
    #[serde(default)]
    servers: BTreeMap<String, Saved>,
}

impl Credentials {
    pub fn path(env: &Env) -> PathBuf {
        env.home.join(".config/senryu/credentials.toml")
    }

    /// What has been saved; nothing when there is no file.
    pub fn load(env: &Env) -> Result<Self> {
        let path = Self::path(env);
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|_| {
                // The parser's message would quote the line, and with it the token.
                Failure::with_hint(
                    format!("{} is not a file that senryu wrote", path.display()),
                    "Remove it and log in again: senryu login",
                )
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::refused(format!("Can't read {}: {error}", path.display()))),
        }
    }

    pub fn of(&self, server: &str) -> Option<&Saved> {
        self.servers.get(server)
    }

    /// The token of the server that git names by protocol and host.
    pub fn of_host(&self, protocol: &str, host: &str) -> Option<&Saved> {
        let named = format!("{protocol}://{host}");
        let exact = self.servers.get(&address::kept(&named)?);
        exact.or_else(|| self.servers.get(&address::server(&named)?))
    }

    pub fn set(&mut self, server: &str, saved: Saved) {
        self.servers.insert(server.to_string(), saved);
    }

    pub fn remove(&mut self, server: &str) -> Option<Saved> {
        self.servers.remove(server)
    }

    /// Writes the file anew: complete or not at all, and never readable by others in between.
    pub fn save(&self, env: &Env) -> Result {
        let path = Self::path(env);
        let text = toml::to_string(self)
            .map_err(|error| Failure::refused(format!("Can't write credentials: {error}")))?;
        write(env, &path, &text)
            .map_err(|error| Failure::refused(format!("Can't write {}: {error}", path.display())))
    }
}

fn write(env: &Env, path: &Path, text: &str) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(&env.home);
    make_dir(env, &env.home.join(".config"), 0o755)?;
    make_dir(env, dir, 0o700)?;
    std::fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    let beside = dir.join(format!(".credentials.{}", std::process::id()));
    let result = (|| {
        // `create_new` follows no link, so nobody can lend us a file of theirs.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        own(env, &file)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    })();
    if result.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    result
}

fn own(env: &Env, file: &File) -> std::io::Result<()> {
    match env.owner {
        Some(owner) => fchown(file, Some(owner.uid), Some(owner.gid)),
        None => Ok(()),
    }
}

fn make_dir(env: &Env, dir: &Path, mode: u32) -> std::io::Result<()> {
    match DirBuilder::new().mode(mode).create(dir) {
        Ok(()) => match env.owner {
            Some(owner) => chown(dir, Some(owner.uid), Some(owner.gid)),
            None => Ok(()),
        },
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_can_read_what_is_saved() {
        let home = tempfile::tempdir().unwrap();
        let env = Env::for_tests(home.path(), &[]);
        let mut credentials = Credentials::load(&env).unwrap();
        let saved =
            Saved { email: "a@example.com".into(), token: "secret".into(), authorization: None };
        credentials.set("http://localhost:5757", saved.clone());
        credentials.save(&env).unwrap();
        credentials.save(&env).unwrap();

        let path = Credentials::path(&env);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);

        let mut again = Credentials::load(&env).unwrap();
        assert!(again.of("http://localhost:5757") == Some(&saved));
        assert!(again.of_host("http", "localhost:5757") == Some(&saved));
        assert!(again.of_host("https", "localhost:5757").is_none());
        again.set("http://localhost", saved.clone());
        assert!(again.of_host("http", "localhost:80") == Some(&saved));
        again.set("https://api.x.org", saved.clone());
        assert!(again.of_host("https", "git.x.org") == Some(&saved));
        assert!(again.of_host("https", "git.y.org").is_none());
        assert!(again.remove("http://localhost:5757").is_some());
        assert!(again.of("http://localhost:5757").is_none());
    }

    #[test]
    fn a_file_that_is_not_ours_is_refused_without_showing_it() {
        let home = tempfile::tempdir().unwrap();
        let env = Env::for_tests(home.path(), &[]);
        let path = Credentials::path(&env);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "token = = hunter2").unwrap();
        let message = Credentials::load(&env).err().unwrap().page().unwrap();
        assert!(message.contains("log in again") && !message.contains("hunter2"), "{message}");
    }
}
