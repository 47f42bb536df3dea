//! `egress`, `egress:on`, `egress:off`, `egress:allow`: where an app's dynos may connect to.

use super::app::AppArgs;
use super::client::{segment, text};
use super::failure::Result;
use super::{Cx, rollout};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Show where the app's dynos may connect to
    #[command(name = "egress")]
    Show(Egress),
    /// Let the app's dynos connect to anything outside
    #[command(name = "egress:on")]
    On(Egress),
    /// Let the app's dynos connect to nothing outside
    #[command(name = "egress:off")]
    Off(Egress),
    /// Let the app's dynos connect to a list of destinations only
    #[command(name = "egress:allow")]
    Allow(Allow),
}

pub async fn run(cx: &Cx, command: Commands) -> Result {
    match command {
        Commands::Show(args) => show(cx, args).await,
        Commands::On(args) => switch(cx, args, true).await,
        Commands::Off(args) => switch(cx, args, false).await,
        Commands::Allow(args) => allow(cx, args).await,
    }
}

#[derive(Debug, Args)]
pub struct Egress {
    #[command(flatten)]
    app: AppArgs,
}

#[derive(Debug, Args)]
pub struct Allow {
    /// IPv4 addresses or networks, either with :PORT, and dns to look up names; the whole list
    #[arg(value_name = "DESTINATION", required = true)]
    destinations: Vec<String>,
    #[command(flatten)]
    app: AppArgs,
}

async fn show(cx: &Cx, args: Egress) -> Result {
    let app = cx.app(&args.app)?;
    let egress = cx.client.get(&format!("/apps/{}/egress", segment(&app))).await?;
    cx.ui.line(words(&egress))
}

async fn switch(cx: &Cx, args: Egress, on: bool) -> Result {
    let mode = if on { "on" } else { "off" };
    set(cx, &args.app, &json!({ "mode": mode })).await
}

async fn allow(cx: &Cx, args: Allow) -> Result {
    set(cx, &args.app, &json!({ "mode": "list", "allow": args.destinations })).await
}

/// Takes effect by a restart, which is waited for.
async fn set(cx: &Cx, app: &AppArgs, body: &Value) -> Result {
    let app = cx.app(app)?;
    let path = format!("/apps/{}/egress", segment(&app));
    let work = async {
        let egress = cx.client.patch(&path, body).await?;
        rollout::settle(cx, &app, None).await?;
        Ok(egress)
    };
    let what = format!("Setting egress of ⬢ {app} and restarting its dynos");
    let done = |egress: &Value| format!("done, {}", words(egress));
    cx.ui.action(&what, work, done).await.map(|_| ())
}

fn words(egress: &Value) -> String {
    let list = egress["allow"].as_array().into_iter().flatten().filter_map(Value::as_str);
    match text(egress, "/mode") {
        "list" => list.collect::<Vec<_>>().join(" "),
        mode => mode.to_string(),
    }
}
