//! The command line: `senryu TOPIC:COMMAND` (or `senryu topic command`), named and flagged as
//! Heroku's. This file is the command tree; each group of commands has a file of its own, and all
//! but the host's own speak to the server through the Platform API only.

mod app;
mod auth;
mod client;
mod credentials;
mod env;
mod failure;
mod fold;
mod git;
mod host;
mod terminal;
mod ui;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use client::{Auth, Client};
use env::Env;
use failure::{FAILED, Failure, Result, USAGE};
use std::process::ExitCode;
use ui::Ui;

const DEFAULT_URL: &str = "http://localhost:5757";

#[derive(Debug, Parser)]
#[command(name = "senryu", version, about = "A Heroku you own", long_about = None)]
#[command(disable_help_subcommand = true, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Commands may be written with a space too: senryu ps scale web=2.
SENRYU_URL is the server (default http://localhost:5757), SENRYU_API_KEY a token that beats the \
saved one, SENRYU_APP the app.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Log in with e-mail and password
    #[command(name = "login", visible_alias = "auth:login")]
    Login(auth::Login),
    /// Clear the saved token and revoke it
    #[command(name = "logout", visible_alias = "auth:logout")]
    Logout,
    /// Show who is logged in
    #[command(name = "auth:whoami", visible_alias = "whoami")]
    Whoami,
    /// Print the token in use
    #[command(name = "auth:token")]
    Token,

    /// Run the platform on this machine
    #[command(name = "server")]
    Server(Box<host::Server>),
    /// Run the router alone (the server starts it by itself)
    #[command(name = "router")]
    Router(host::Router),
    #[command(name = "git-hook", hide = true)]
    GitHook(host::GitHook),
    /// Print the version
    #[command(name = "version")]
    Version,
    /// Show help for a command
    #[command(name = "help")]
    Help { command: Option<String> },
}

/// What every command of the client works with.
pub(crate) struct Cx {
    env: Env,
    ui: Ui,
    client: Client,
}

impl Cx {
    fn app(&self, args: &app::AppArgs) -> Result<String> {
        args.resolve(&self.env, &self.client.base())
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let tree = Cli::command();
    let mut args = Vec::new();
    for arg in std::env::args_os().skip(1) {
        match arg.into_string() {
            Ok(arg) => args.push(arg),
            Err(arg) => {
                let message = format!("{:?} is not UTF-8 text", arg.to_string_lossy());
                return host::refused(&message);
            }
        }
    }
    let args = fold::fold(args, |name| tree.find_subcommand(name).is_some());
    let args = match host::with_settings_file(args, &tree) {
        Ok(args) => args,
        Err(message) => return host::refused(&message),
    };
    match parse(tree, args) {
        Ok(command) => dispatch(command),
        Err(error) => explain(&error),
    }
}

fn parse(tree: clap::Command, args: Vec<String>) -> std::result::Result<Command, clap::Error> {
    let words = std::iter::once("senryu".to_string()).chain(args);
    let matches = tree.try_get_matches_from(words)?;
    Ok(Cli::from_arg_matches(&matches)?.command)
}

/// Help goes to stdout and is a success; a command line that can't be understood is not.
fn explain(error: &clap::Error) -> ExitCode {
    use std::io::Write;
    let text = error.to_string();
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        _ => {
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            let _ = write!(std::io::stderr(), " ›   Error: {text}");
            ExitCode::from(USAGE)
        }
    }
}

fn dispatch(command: Command) -> ExitCode {
    match command {
        Command::Server(args) => host::server(*args),
        Command::Router(args) => host::router(args),
        Command::GitHook(args) => host::git_hook(args),
        command => client_command(command),
    }
}

/// Runs a command of the client and turns its end into words and a status.
fn client_command(command: Command) -> ExitCode {
    // One worker beside this thread, so that Ctrl-C is heard while this one reads an answer.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!(" ›   Error: Can't start: {error}");
            return ExitCode::from(FAILED);
        }
    };
    let env = Env::of_process();
    let colour = env.var("NO_COLOR").is_none() && env.var("TERM") != Some("dumb");
    let ui = Ui::of_process(colour);
    let result = runtime.block_on(async {
        crate::tasks::spawn("interrupt", terminal::end_on_interrupt());
        let cx = match context(env, ui) {
            Ok(cx) => cx,
            Err((failure, ui)) => return report(Err(failure), &ui),
        };
        let result = run(&cx, command).await;
        report(result, &cx.ui)
    });
    runtime.shutdown_background();
    ExitCode::from(result)
}

fn report(result: Result, ui: &Ui) -> u8 {
    let result = result.and_then(|()| ui.flush());
    match result {
        Ok(()) => 0,
        Err(failure) => {
            if let Some(page) = failure.page() {
                ui.say(&page);
            }
            failure.status()
        }
    }
}

/// Server and token by the variables, or by what has been saved.
fn context(env: Env, ui: Ui) -> std::result::Result<Cx, (Failure, Ui)> {
    let base = env.var("SENRYU_URL").unwrap_or(DEFAULT_URL).trim_end_matches('/').to_string();
    let made = match env.var("SENRYU_API_KEY") {
        Some(token) => Client::new(&base, Auth::Token(token.trim().to_string()), true),
        None => credentials::Credentials::load(&env).and_then(|saved| {
            let auth = match saved.of(&base) {
                Some(saved) => Auth::Token(saved.token.clone()),
                None => Auth::None,
            };
            Client::new(&base, auth, false)
        }),
    };
    match made {
        Ok(client) => Ok(Cx { env, ui, client }),
        Err(failure) => Err((failure, ui)),
    }
}

async fn run(cx: &Cx, command: Command) -> Result {
    match command {
        Command::Login(args) => auth::login(cx, args).await,
        Command::Logout => auth::logout(cx).await,
        Command::Whoami => auth::whoami(cx).await,
        Command::Token => auth::token(cx),
        Command::Version => {
            let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
            cx.ui.line(format!("senryu/{} {os}-{arch}", env!("CARGO_PKG_VERSION")))
        }
        Command::Help { command } => help(cx, command.as_deref()),
        Command::Server(_) | Command::Router(_) | Command::GitHook(_) => Ok(()),
    }
}

fn help(cx: &Cx, name: Option<&str>) -> Result {
    let mut tree = Cli::command();
    tree.build();
    match name {
        None => cx.ui.line(tree.render_help().to_string()),
        Some(name) => match tree.find_subcommand_mut(name) {
            Some(found) => cx.ui.line(found.render_long_help().to_string()),
            None => Err(Failure::usage(format!("{name} is not a senryu command."))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }
}
