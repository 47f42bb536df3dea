//! `git:remote`, and `git:credentials`, by which git asks us for the token.

use super::client::{segment, text};
use super::credentials::Credentials;
use super::failure::{Failure, Result};
use super::{Cx, address, git};
use clap::Args;
use reqwest::Url;

/// Bytes of git's question; it has a handful of short lines.
const QUESTION_BYTES: u64 = 64 * 1024;

#[derive(Debug, Args)]
pub struct GitRemote {
    /// The app
    #[arg(value_name = "APP", hide = true, conflicts_with = "app")]
    name: Option<String>,
    /// The app to use [env: SENRYU_APP, HEROKU_APP]
    #[arg(short, long, value_name = "APP")]
    app: Option<String>,
    /// The git remote to create
    #[arg(short, long, default_value = "senryu", value_name = "REMOTE")]
    remote: String,
}

#[derive(Debug, Args)]
pub struct GitCredentials {
    /// `get`, `store` or `erase`
    verb: String,
}

pub async fn set(cx: &Cx, args: GitRemote) -> Result {
    let variable = |name| cx.env.var(name).map(str::to_string);
    let name = args
        .name
        .or(args.app)
        .or_else(|| variable("SENRYU_APP"))
        .or_else(|| variable("HEROKU_APP"))
        .ok_or_else(|| Failure::usage("Specify an app with --app"))?;
    if !git::in_work_tree(&cx.env) {
        return Err(Failure::with_hint(
            format!("{} is not inside a git work tree", cx.env.dir.display()),
            "Make one here with: git init",
        ));
    }
    let app = cx.client.get(&format!("/apps/{}", segment(&name))).await?;
    let base = cx.client.base();
    let url = git::url(&base, text(&app, "/name"));
    git::set_remote(&cx.env, &args.remote, &url)?;
    if let Err(failure) = git::install_helper(&cx.env, &base) {
        cx.ui.warn(&format!("git will ask for the token on a push: {failure}"));
    }
    cx.ui.line(format!("set git remote {} to {url}", args.remote))
}

/// Answers git, for the servers that we have a token of and for no other. Without an answer git
/// asks the user, so a server that we don't know is no failure.
pub fn credentials(cx: &Cx, args: GitCredentials) -> Result {
    match args.verb.as_str() {
        "get" => {}
        "store" | "erase" => return Ok(()),
        verb => return Err(Failure::usage(format!("unknown command: {verb}"))),
    }
    let question = cx.ui.read_input(QUESTION_BYTES)?;
    let field = |name: &str| {
        question.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or("")
    };
    let (protocol, host) = (field("protocol"), field("host"));
    let Ok(asked) = Url::parse(&format!("{protocol}://{host}")) else { return Ok(()) };
    let saved = Credentials::load(&cx.env)?;
    let token = match cx.client.token() {
        Some(token) if cx.client.base() == address::of(&asked) => token,
        _ => match saved.of_host(protocol, host) {
            Some(saved) => &saved.token,
            None => return Ok(()),
        },
    };
    if let Err(failure) = cx.client.may_tell(&asked) {
        // Git must not ask the user for the password in its place.
        cx.ui.line("quit=1")?;
        cx.ui.flush()?;
        return Err(failure);
    }
    cx.ui.line(format!("protocol={protocol}\nhost={host}\nusername=senryu\npassword={token}"))
}
