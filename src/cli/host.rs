//! The commands of the machine itself: `server`, `router` and git's hooks. They run in place of
//! the client and bring their own runtime.

use super::failure::{Failure, USAGE};
use crate::config::{self, RouterSettings, ServerSettings};
use clap::{Args, Command};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::process::ExitCode;

/// Where the settings file is unless `SENRYU_CONFIG` says otherwise.
const SETTINGS_FILE: &str = "/etc/senryu/senryu.toml";

#[derive(Debug, Args)]
#[command(after_help = AFTER_SERVER, args_override_self = true)]
pub struct Server {
    #[command(flatten)]
    pub settings: ServerSettings,
    /// Only check the settings: a wrong one is named, and the exit status is 2
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct Router {
    #[command(flatten)]
    pub settings: RouterSettings,
}

#[derive(Debug, Args)]
pub struct GitHook {
    /// `pre-receive` or `post-receive`
    phase: String,
}

const AFTER_SERVER: &str = "\
Every setting may also stand in /etc/senryu/senryu.toml (another file: SENRYU_CONFIG), written \
data_dir = \"/srv/senryu\". Flags beat variables, variables beat the file.

The master key file is made on the first start. Whoever has it and the database can read all \
config vars; without it nobody can, so keep a copy of it away from this machine.

Exit status: 2 a wrong setting, 3 another server uses the data directory.";

pub fn server(args: Server) -> ExitCode {
    match args.settings.check() {
        Ok(()) if args.check => ExitCode::SUCCESS,
        Ok(()) => crate::server::run(args.settings, &settings_digest()),
        Err(message) => refused(&message),
    }
}

pub fn router(args: Router) -> ExitCode {
    let level = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_string());
    tracing_subscriber::fmt().with_env_filter(level).with_writer(std::io::stderr).init();
    match crate::router::process::run(args.settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("senryu router: {error:#}");
            ExitCode::FAILURE
        }
    }
}

pub fn git_hook(args: GitHook) -> ExitCode {
    crate::git::hook::run(&args.phase)
}

/// A wrong setting, by its name.
pub fn refused(message: &str) -> ExitCode {
    let page = Failure::Refused { message: message.to_string(), hint: None }.page();
    eprint!("{}", page.unwrap_or_default());
    ExitCode::from(USAGE)
}

fn settings_file() -> PathBuf {
    std::env::var_os("SENRYU_CONFIG")
        .filter(|path| !path.is_empty())
        .map_or_else(|| PathBuf::from(SETTINGS_FILE), PathBuf::from)
}

/// SHA-256 of the settings file, as `sha256sum` writes it; of nothing where there is no file.
fn settings_digest() -> String {
    let text = std::fs::read(settings_file()).unwrap_or_default();
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Puts what the settings file says before the flags that were typed, which so override it.
/// Server and router share the file: each takes what it knows.
pub fn with_settings_file(args: Vec<String>, tree: &Command) -> Result<Vec<String>, String> {
    let Some(name) =
        args.first().filter(|name| ["server", "router", "doctor"].contains(&name.as_str()))
    else {
        return Ok(args);
    };
    let flags_of = |name: &str| -> Vec<String> {
        let arguments = tree.find_subcommand(name).map(|found| found.get_arguments());
        arguments
            .into_iter()
            .flatten()
            .filter_map(|argument| argument.get_long().map(str::to_string))
            .filter(|flag| flag != "help" && flag != "check")
            .collect()
    };
    let mine = flags_of(name);
    let mut known = flags_of("server");
    known.extend(flags_of("router"));
    let path = settings_file();
    let set = |name: &str| std::env::var_os(name).is_some();
    let mut flags = config::file_flags(&path, &known, set)?;
    flags.retain(|flag| {
        let bare = flag.trim_start_matches('-');
        mine.iter().any(|own| own == bare.split('=').next().unwrap_or(bare))
    });
    let mut all = args;
    all.splice(1..1, flags);
    Ok(all)
}
