//! Which app a command is about: the flag, the variable, or the git remote of the work tree.

use super::address;
use super::env::Env;
use super::failure::{Failure, Result};
use super::git::{self, Remote};
use clap::Args;

#[derive(Debug, Clone, Args, Default)]
pub struct AppArgs {
    /// App to run the command against [env: SENRYU_APP, HEROKU_APP]
    #[arg(short, long, value_name = "APP")]
    pub app: Option<String>,
    /// Git remote of the app to use
    #[arg(short, long, value_name = "REMOTE")]
    pub remote: Option<String>,
}

impl AppArgs {
    /// What was typed comes before what is set, and that before what is found.
    pub fn resolve(&self, env: &Env, base: &str) -> Result<String> {
        if let Some(app) = &self.app {
            return named(app, "--app");
        }
        if let Some(remote) = &self.remote {
            return by_remote(remote, git::all_remotes(env), base);
        }
        for variable in ["SENRYU_APP", "HEROKU_APP"] {
            if let Some(app) = env.var(variable) {
                return named(app, variable);
            }
        }
        only_one(git::remotes(env, base), base)
    }
}

fn named(app: &str, source: &str) -> Result<String> {
    match app.trim() {
        "" => Err(Failure::usage(format!("{source} is empty"))),
        app => Ok(app.to_string()),
    }
}

fn by_remote(name: &str, remotes: Vec<(String, String)>, base: &str) -> Result<String> {
    let Some((_, url)) = remotes.iter().find(|(remote, _)| remote == name) else {
        return Err(Failure::usage(format!("remote {name} not found in git remotes")));
    };
    address::app(url, base).ok_or_else(|| {
        Failure::usage(format!("remote {name} leads to {url}, which is no app of {base}"))
    })
}

fn only_one(remotes: Vec<Remote>, base: &str) -> Result<String> {
    if let Some(remote) = remotes.iter().find(|remote| remote.name == "senryu") {
        return Ok(remote.app.clone());
    }
    let Some(first) = remotes.first() else {
        return Err(Failure::usage(format!(
            "Which app? Name it with --app APP or in SENRYU_APP, or run this inside a git work \
             tree with a remote under {base} (senryu git:remote -a APP makes one)."
        )));
    };
    let Some(other) = remotes.iter().find(|remote| remote.app != first.app) else {
        return Ok(first.app.clone());
    };
    let list: Vec<String> =
        remotes.iter().map(|remote| format!("  {} ({})", remote.app, remote.name)).collect();
    Err(Failure::usage(format!(
        "Multiple apps in git remotes\n  Usage: --remote {}\n     or: --app {}\nYour local git \
         repository has more than 1 app referenced in git remotes.\nBecause of this, we can't \
         determine which app you want to run this command against.\nSpecify the app you want \
         with --app or --remote.\nRemotes in repo:\n{}",
        other.name,
        other.app,
        list.join("\n")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "http://localhost:5757";

    fn remote(name: &str, app: &str) -> Remote {
        Remote { name: name.into(), app: app.into() }
    }

    #[test]
    fn the_flag_beats_the_variables() {
        let home = tempfile::tempdir().unwrap();
        let env = Env::for_tests(home.path(), &[("HEROKU_APP", "b"), ("SENRYU_APP", "a")]);
        let args = AppArgs { app: Some("c".into()), remote: None };
        assert_eq!(args.resolve(&env, BASE).unwrap(), "c");
        assert_eq!(AppArgs::default().resolve(&env, BASE).unwrap(), "a");
        let env = Env::for_tests(home.path(), &[("HEROKU_APP", "b"), ("SENRYU_APP", "")]);
        assert_eq!(AppArgs::default().resolve(&env, BASE).unwrap(), "b");
    }

    #[test]
    fn the_remote_decides_when_it_is_clear() {
        assert_eq!(only_one(vec![remote("x", "shop")], BASE).unwrap(), "shop");
        assert_eq!(only_one(vec![remote("x", "shop"), remote("y", "shop")], BASE).unwrap(), "shop");
        let two = vec![remote("staging", "shop-staging"), remote("senryu", "shop")];
        assert_eq!(only_one(two, BASE).unwrap(), "shop");
    }

    #[test]
    fn errors_name_every_way_to_say_which_app() {
        let none = only_one(vec![], BASE).unwrap_err();
        for part in ["--app", "SENRYU_APP", "remote", BASE] {
            assert!(none.to_string().contains(part), "{none}");
        }
        assert_eq!(none.status(), 2);
        let two = only_one(vec![remote("a", "shop"), remote("b", "blog")], BASE).unwrap_err();
        assert!(two.to_string().contains("--remote b") && two.to_string().contains("--app blog"));

        let remotes = vec![("origin".to_string(), "https://example.com/x.git".to_string())];
        let missing = by_remote("prod", remotes.clone(), BASE).unwrap_err();
        assert_eq!(missing.to_string(), "remote prod not found in git remotes");
        assert!(by_remote("origin", remotes, BASE).unwrap_err().to_string().contains("no app of"));
    }
}
