//! What the command line takes from its surroundings: variables, the home folder of the user who
//! is really there (behind `sudo` too), the working folder. Tests make their own.

use nix::unistd::{User, geteuid};
use std::collections::HashMap;
use std::path::PathBuf;

/// The user that files are written for when root acts for someone else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

#[derive(Debug, Clone)]
pub struct Env {
    vars: HashMap<String, String>,
    pub home: PathBuf,
    /// Set when we run under `sudo`: what we write belongs to the user who called it.
    pub owner: Option<Owner>,
    pub dir: PathBuf,
}

impl Env {
    /// The process's own surroundings.
    pub fn of_process() -> Self {
        let vars: HashMap<String, String> = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let caller = vars
            .get("SUDO_USER")
            .filter(|name| geteuid().is_root() && name.as_str() != "root")
            .and_then(|name| User::from_name(name).ok().flatten());
        let (home, owner) = match caller {
            Some(user) => {
                (user.dir, Some(Owner { uid: user.uid.as_raw(), gid: user.gid.as_raw() }))
            }
            None => (own_home(&vars), None),
        };
        let dir = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        Self { vars, home, owner, dir }
    }

    #[cfg(test)]
    pub fn for_tests(home: &std::path::Path, vars: &[(&str, &str)]) -> Self {
        let vars = vars.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        Self { vars, home: home.to_path_buf(), owner: None, dir: home.to_path_buf() }
    }

    /// A variable that is set and not empty.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// `HOME`, or what the user database says where a service manager leaves it out.
fn own_home(vars: &HashMap<String, String>) -> PathBuf {
    match vars.get("HOME").filter(|home| !home.is_empty()) {
        Some(home) => PathBuf::from(home),
        None => match User::from_uid(geteuid()) {
            Ok(Some(user)) => user.dir,
            _ => PathBuf::from("/"),
        },
    }
}
