//! The `git` program as the command line uses it: remotes of the work tree here, and the
//! credential helper in the user's own settings.

use super::address;
use super::env::Env;
use super::failure::{Failure, Result};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    pub name: String,
    pub app: String,
}

/// The address that an app is pushed to.
pub fn url(base: &str, app: &str) -> String {
    format!("{base}/{app}.git")
}

/// Runs git; what it prints is ours, nothing reaches the terminal.
fn git(env: &Env, args: &[&str]) -> std::io::Result<Output> {
    // The user's own settings have nothing to do with where we are, and a user that root acts
    // for need not be allowed to be here.
    let dir = if args.contains(&"--global") { &env.home } else { &env.dir };
    let mut command = Command::new("git");
    command.args(args).current_dir(dir).stdin(Stdio::null()).env("HOME", &env.home);
    // Root acting for a user must not leave files of root's in that user's home.
    if let Some(owner) = env.owner {
        command.uid(owner.uid).gid(owner.gid).env_remove("XDG_CONFIG_HOME");
    }
    command.output()
}

fn run(env: &Env, args: &[&str]) -> Result<String> {
    let output =
        git(env, args).map_err(|error| Failure::refused(format!("Can't run git: {error}")))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(Failure::refused(format!(
            "git {} failed: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}

pub fn in_work_tree(env: &Env) -> bool {
    git(env, &["rev-parse", "--git-dir"]).is_ok_and(|output| output.status.success())
}

/// Name and address of each remote here; none outside of a work tree.
pub fn all_remotes(env: &Env) -> Vec<(String, String)> {
    // Without a folder `.git` above there is no need to start a program.
    if !env.dir.ancestors().any(|dir| dir.join(".git").exists()) && env.var("GIT_DIR").is_none() {
        return Vec::new();
    }
    let Ok(output) = git(env, &["remote", "-v"]) else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter_map(fetch_line).collect()
}

/// `senryu\thttp://localhost:5757/sample.git (fetch)`.
fn fetch_line(line: &str) -> Option<(String, String)> {
    let (name, rest) = line.split_once('\t')?;
    let (url, kind) = rest.rsplit_once(' ')?;
    (kind == "(fetch)").then(|| (name.to_string(), url.to_string()))
}

/// The remotes that lead to apps of the server at `base`.
pub fn remotes(env: &Env, base: &str) -> Vec<Remote> {
    let ours =
        |(name, url): (String, String)| Some(Remote { name, app: address::app(&url, base)? });
    all_remotes(env).into_iter().filter_map(ours).collect()
}

/// Makes a remote, or gives the one there is its new address.
pub fn set_remote(env: &Env, name: &str, url: &str) -> Result {
    let exists = all_remotes(env).iter().any(|(remote, _)| remote == name);
    let verb = if exists { "set-url" } else { "add" };
    run(env, &["remote", verb, name, url]).map(|_| ())
}

pub fn remove_remote(env: &Env, name: &str) -> Result {
    run(env, &["remote", "remove", name]).map(|_| ())
}

/// Lets git ask us for the token, so that a push asks nobody. The empty entry before ours makes
/// git forget other helpers for this server, which might hold a password of long ago.
pub fn install_helper(env: &Env, base: &str) -> Result {
    for base in [Some(base.to_string()), address::of_git(base)].into_iter().flatten() {
        install_helper_of(env, &base)?;
    }
    Ok(())
}

fn install_helper_of(env: &Env, base: &str) -> Result {
    let key = format!("credential.{base}.helper");
    let ours = helper_command(env);
    let now = git(env, &["config", "--global", "--get-all", &key])
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .map_err(|error| Failure::refused(format!("Can't run git: {error}")))?;
    if now == format!("\n{ours}\n") {
        return Ok(());
    }
    remove_helper_of(env, base);
    run(env, &["config", "--global", "--add", &key, ""])?;
    run(env, &["config", "--global", "--add", &key, &ours]).map(|_| ())
}

pub fn remove_helper(env: &Env, base: &str) {
    for base in [Some(base.to_string()), address::of_git(base)].into_iter().flatten() {
        remove_helper_of(env, &base);
    }
}

/// Other settings for this server are the user's own.
fn remove_helper_of(env: &Env, base: &str) {
    // It fails when there is none, which is what is wanted.
    let key = format!("credential.{base}.helper");
    let _ = git(env, &["config", "--global", "--unset-all", &key]);
}

/// `!senryu git:credentials`, or with the whole path when `senryu` on the PATH is not us.
fn helper_command(env: &Env) -> String {
    let exe = std::env::current_exe().ok();
    let on_path = env.var("PATH").into_iter().flat_map(std::env::split_paths).find_map(|dir| {
        let candidate = dir.join("senryu");
        candidate.is_file().then_some(candidate)
    });
    let same = |a: &Path, b: &Path| a.canonicalize().ok() == b.canonicalize().ok();
    match (exe, on_path) {
        (Some(exe), Some(found)) if same(&exe, &found) => "!senryu git:credentials".to_string(),
        (Some(exe), _) => {
            let path = exe.to_string_lossy().into_owned();
            let quoted = shlex::try_quote(&path).map(|quoted| quoted.into_owned());
            format!("!{} git:credentials", quoted.unwrap_or(path))
        }
        (None, _) => "!senryu git:credentials".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_helper_is_installed_once_and_goes_again() {
        let home = tempfile::tempdir().unwrap();
        let env = Env::for_tests(home.path(), &[]);
        let config = || std::fs::read_to_string(home.path().join(".gitconfig")).unwrap();
        install_helper(&env, "http://localhost:5757").unwrap();
        let first = config();
        assert!(first.contains("git:credentials"), "{first}");
        install_helper(&env, "http://localhost:5757").unwrap();
        assert_eq!(config(), first);
        remove_helper(&env, "http://localhost:5757");
        assert!(!config().contains("git:credentials"));
    }
}
