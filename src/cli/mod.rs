//! The command line: `senryu TOPIC:COMMAND` (or `senryu topic command`), named and flagged as
//! Heroku's. This file is the command tree; each group of commands has a file of its own, and all
//! but the host's own speak to the server through the Platform API only.

mod access;
mod address;
mod admin;
mod app;
mod apps;
mod attach;
mod audit;
mod auth;
mod authorizations;
mod buildpacks;
mod buildpacks_known;
mod builds;
mod builds_create;
mod certs;
mod certs_auto;
mod certs_generate;
mod client;
mod columns;
mod config;
mod config_edit;
mod credentials;
mod doctor;
mod domains;
mod dotenv;
mod drift;
mod egress;
mod env;
mod failure;
mod fold;
mod format;
mod git;
mod host;
mod https;
mod logs;
mod maintenance;
mod metrics;
mod ps;
mod ps_type;
mod releases;
mod remote;
mod rollout;
mod run;
mod socket;
mod source;
mod sse;
mod stack;
mod stream;
mod terminal;
#[cfg(test)]
mod testing;
mod ui;
mod users;

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
    #[command(flatten)]
    Auth(auth::Commands),
    #[command(flatten)]
    Authorizations(authorizations::Authorizations),

    /// List your apps
    #[command(name = "apps", visible_alias = "apps:list", alias = "list")]
    Apps(apps::List),
    /// Create an app
    #[command(name = "apps:create", visible_alias = "create")]
    AppsCreate(apps::Create),
    /// Show detailed app information
    #[command(name = "apps:info", visible_alias = "info")]
    AppsInfo(apps::Info),
    /// Rename an app
    #[command(name = "apps:rename", visible_alias = "rename")]
    AppsRename(apps::Rename),
    /// Permanently destroy an app
    #[command(name = "apps:destroy", visible_alias = "destroy", alias = "apps:delete")]
    AppsDestroy(apps::Destroy),
    /// Open the app in a web browser
    #[command(name = "apps:open", visible_alias = "open")]
    AppsOpen(apps::Open),
    /// Add a git remote to an app's work tree
    #[command(name = "git:remote")]
    GitRemote(remote::GitRemote),
    #[command(name = "git:credentials", hide = true)]
    GitCredentials(remote::GitCredentials),

    /// Display the config vars of an app
    #[command(name = "config")]
    Config(config::List),
    /// Display config values of an app
    #[command(name = "config:get")]
    ConfigGet(config::Get),
    /// Set config vars, from arguments, a file or standard input
    #[command(name = "config:set", alias = "config:add")]
    ConfigSet(config::Set),
    /// Edit config vars in your editor
    #[command(name = "config:edit")]
    ConfigEdit(config_edit::Edit),
    /// Unset config vars
    #[command(name = "config:unset", alias = "config:remove")]
    ConfigUnset(config::Unset),

    /// List the dynos of an app
    #[command(name = "ps")]
    Ps(ps::List),
    /// Scale dyno quantity up or down
    #[command(name = "ps:scale", visible_alias = "scale", alias = "dyno:scale")]
    PsScale(ps::Scale),
    /// Show or change the size of dynos
    #[command(name = "ps:type", visible_aliases = ["ps:resize", "resize"])]
    #[command(aliases = ["dyno:type", "dyno:resize"])]
    PsType(ps_type::Type),
    /// Restart all dynos, one dyno or one process type
    #[command(name = "ps:restart", visible_aliases = ["restart", "dyno:restart"])]
    PsRestart(ps::Restart),
    /// Stop a dyno or a process type
    #[command(name = "ps:stop", aliases = ["stop", "kill", "ps:kill", "dyno:stop", "dyno:kill"])]
    PsStop(ps::Which),
    /// Wait until the newest release runs on all dynos
    #[command(name = "ps:wait")]
    PsWait(ps::Wait),
    /// Run a command in a one-off dyno, attached to this terminal
    #[command(name = "run")]
    Run(run::Run),
    /// Run a command in a one-off dyno, with its output in the log
    #[command(name = "run:detached")]
    RunDetached(run::Detached),
    /// Display whether the app is in maintenance mode
    #[command(name = "maintenance")]
    Maintenance(maintenance::Maintenance),
    /// Put the app into maintenance mode
    #[command(name = "maintenance:on")]
    MaintenanceOn(maintenance::Maintenance),
    /// Take the app out of maintenance mode
    #[command(name = "maintenance:off")]
    MaintenanceOff(maintenance::Maintenance),
    #[command(flatten)]
    Egress(egress::Commands),
    /// Show what the dynos used and how requests fared over the last day
    #[command(name = "metrics")]
    Metrics(metrics::Metrics),
    /// Display recent log output
    #[command(name = "logs")]
    Logs(logs::Logs),

    /// List domains for an app
    #[command(name = "domains", alias = "domains:list")]
    Domains(domains::List),
    /// Add a domain to an app
    #[command(name = "domains:add")]
    DomainsAdd(domains::Add),
    /// Serve a domain with another certificate of the app
    #[command(name = "domains:update")]
    DomainsUpdate(domains::Update),
    /// Show detailed information for a domain on an app
    #[command(name = "domains:info")]
    DomainsInfo(domains::One),
    /// Remove a domain from an app
    #[command(name = "domains:remove", alias = "domains:delete")]
    DomainsRemove(domains::One),
    /// Remove all domains from an app
    #[command(name = "domains:clear")]
    DomainsClear(domains::All),
    /// Wait for domains to be active for an app
    #[command(name = "domains:wait")]
    DomainsWait(domains::Wait),

    #[command(flatten)]
    Certs(certs::Certs),
    #[command(flatten)]
    Https(https::Https),
    #[command(flatten)]
    Access(access::Access),
    #[command(flatten)]
    Users(users::Users),
    #[command(flatten)]
    Audit(audit::Audit),

    /// Display the releases of an app
    #[command(name = "releases")]
    Releases(releases::List),
    /// View detailed information for a release
    #[command(name = "releases:info")]
    ReleasesInfo(releases::Info),
    /// View the release command's output
    #[command(name = "releases:output")]
    ReleasesOutput(releases::Output),
    /// Wait until a release serves
    #[command(name = "releases:wait")]
    ReleasesWait(releases::Wait),
    /// Roll back to a previous release
    #[command(name = "releases:rollback", visible_alias = "rollback")]
    ReleasesRollback(releases::Rollback),
    #[command(flatten)]
    Buildpacks(buildpacks::Commands),
    #[command(flatten)]
    Stack(stack::Commands),
    /// Display the builds of an app
    #[command(name = "builds")]
    Builds(builds::List),
    /// View detailed information for a build
    #[command(name = "builds:info")]
    BuildsInfo(builds::One),
    /// View a build's output
    #[command(name = "builds:output")]
    BuildsOutput(builds::Output),
    /// Build a source tarball and release it
    #[command(name = "builds:create")]
    BuildsCreate(builds_create::Create),
    /// Stop a build that runs or waits
    #[command(name = "builds:cancel")]
    BuildsCancel(builds::One),
    /// Purge the build cache of an app
    #[command(name = "builds:cache:purge")]
    BuildsCachePurge(builds_create::Purge),

    /// Run the platform on this machine
    #[command(name = "server")]
    Server(Box<host::Server>),
    /// Run the router alone (the server starts it by itself)
    #[command(name = "router")]
    Router(host::Router),
    /// Check what this machine needs to run the platform
    #[command(name = "doctor")]
    Doctor(Box<doctor::Doctor>),
    /// Compare what is declared with what runs
    #[command(name = "drift")]
    Drift(drift::Drift),
    #[command(flatten)]
    Admin(admin::Admin),
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
        Command::Version => offline(version),
        Command::Help { command } => offline(|ui| help(ui, command.as_deref())),
        command => client_command(command),
    }
}

/// Runs a command that needs neither a server nor what has been saved.
fn offline(command: impl FnOnce(&Ui) -> Result) -> ExitCode {
    let ui = Ui::of_process(false);
    let result = command(&ui);
    ExitCode::from(report(result, &ui))
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
        conclude(env, ui, command).await
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

/// One command of the client from its surroundings to its exit status.
async fn conclude(env: Env, ui: Ui, command: Command) -> u8 {
    match connection(&env) {
        Ok(client) => {
            let cx = Cx { env, ui, client };
            let result = run(&cx, command).await;
            report(result, &cx.ui)
        }
        Err(failure) => report(Err(failure), &ui),
    }
}

/// Server and token by the variables, or by what has been saved.
fn connection(env: &Env) -> Result<Client> {
    let client = Client::new(env.var("SENRYU_URL").unwrap_or(DEFAULT_URL))?;
    let client = client.in_clear(env.var("SENRYU_INSECURE") == Some("1"));
    if let Some(token) = env.var("SENRYU_API_KEY") {
        return Ok(client.with_variable(token.trim()));
    }
    let saved = credentials::Credentials::load(env)?;
    Ok(match saved.of(&client.base()) {
        Some(saved) => client.with_auth(Auth::Token(saved.token.clone())),
        None => client,
    })
}

async fn run(cx: &Cx, command: Command) -> Result {
    match command {
        Command::Auth(command) => auth::run(cx, command).await,
        Command::Apps(args) => apps::list(cx, args).await,
        Command::AppsCreate(args) => apps::create(cx, args).await,
        Command::AppsInfo(args) => apps::info(cx, args).await,
        Command::AppsRename(args) => apps::rename(cx, args).await,
        Command::AppsDestroy(args) => apps::destroy(cx, args).await,
        Command::AppsOpen(args) => apps::open(cx, args).await,
        Command::GitRemote(args) => remote::set(cx, args).await,
        Command::GitCredentials(args) => remote::credentials(cx, args),
        Command::Config(args) => config::list(cx, args).await,
        Command::ConfigGet(args) => config::get(cx, args).await,
        Command::ConfigSet(args) => config::set(cx, args).await,
        Command::ConfigEdit(args) => config_edit::edit(cx, args).await,
        Command::ConfigUnset(args) => config::unset(cx, args).await,
        Command::Ps(args) => ps::list(cx, args).await,
        Command::PsScale(args) => ps::scale(cx, args).await,
        Command::PsType(args) => ps_type::run(cx, args).await,
        Command::PsRestart(args) => ps::restart(cx, args).await,
        Command::PsStop(args) => ps::stop(cx, args).await,
        Command::PsWait(args) => ps::wait(cx, args).await,
        Command::Run(args) => run::run(cx, args).await,
        Command::RunDetached(args) => run::detached(cx, args).await,
        Command::Maintenance(args) => maintenance::show(cx, args).await,
        Command::MaintenanceOn(args) => maintenance::switch(cx, args, true).await,
        Command::MaintenanceOff(args) => maintenance::switch(cx, args, false).await,
        Command::Egress(command) => egress::run(cx, command).await,
        Command::Metrics(args) => metrics::metrics(cx, args).await,
        Command::Logs(args) => logs::logs(cx, args).await,
        Command::Domains(args) => domains::list(cx, args).await,
        Command::DomainsAdd(args) => domains::add(cx, args).await,
        Command::DomainsUpdate(args) => domains::update(cx, args).await,
        Command::DomainsInfo(args) => domains::info(cx, args).await,
        Command::DomainsRemove(args) => domains::remove(cx, args).await,
        Command::DomainsClear(args) => domains::clear(cx, args).await,
        Command::DomainsWait(args) => domains::wait(cx, args).await,
        Command::Certs(command) => certs::run(cx, command).await,
        Command::Https(command) => https::run(cx, command).await,
        Command::Access(command) => access::run(cx, command).await,
        Command::Authorizations(command) => authorizations::run(cx, command).await,
        Command::Users(command) => users::run(cx, command).await,
        Command::Audit(command) => audit::run(cx, command).await,
        Command::Releases(args) => releases::list(cx, args).await,
        Command::ReleasesInfo(args) => releases::info(cx, args).await,
        Command::ReleasesOutput(args) => releases::output(cx, args).await,
        Command::ReleasesWait(args) => releases::wait(cx, args).await,
        Command::ReleasesRollback(args) => releases::rollback(cx, args).await,
        Command::Buildpacks(command) => buildpacks::run(cx, command).await,
        Command::Stack(command) => stack::run(cx, command).await,
        Command::Builds(args) => builds::list(cx, args).await,
        Command::BuildsInfo(args) => builds::info(cx, args).await,
        Command::BuildsOutput(args) => builds::output(cx, args).await,
        Command::BuildsCreate(args) => builds_create::create(cx, args).await,
        Command::BuildsCancel(args) => builds_create::cancel(cx, args).await,
        Command::BuildsCachePurge(args) => builds_create::purge(cx, args).await,
        Command::Doctor(args) => doctor::doctor(cx, *args).await,
        Command::Drift(args) => drift::drift(cx, args).await,
        Command::Admin(command) => admin::run(cx, command).await,
        Command::Version => version(&cx.ui),
        Command::Help { command } => help(&cx.ui, command.as_deref()),
        // These bring their own runtime and never come here.
        Command::Server(_) | Command::Router(_) | Command::GitHook(_) => Ok(()),
    }
}

fn version(ui: &Ui) -> Result {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    ui.line(format!("senryu/{} {os}-{arch}", env!("CARGO_PKG_VERSION")))
}

fn help(ui: &Ui, name: Option<&str>) -> Result {
    let mut tree = Cli::command();
    tree.build();
    match name {
        None => ui.line(tree.render_help().to_string()),
        Some(name) => match tree.find_subcommand_mut(name) {
            Some(found) => ui.line(found.render_long_help().to_string()),
            None => Err(Failure::usage(format!("{name} is not a senryu command."))),
        },
    }
}

#[cfg(test)]
mod tests;
