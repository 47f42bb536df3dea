//! `stack`, `stack:set`, `regions`: what an app is built on, and where it runs.

use super::Cx;
use super::app::AppArgs;
use super::client::{segment, text};
use super::failure::Result;
use super::format::table;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Display the stacks that an app can be built on
    #[command(name = "stack", visible_alias = "apps:stacks")]
    List(List),
    /// Set the stack of an app, for its next build
    #[command(name = "stack:set", visible_alias = "apps:stacks:set")]
    Set(Set),
    /// Display where apps can run, which is one region
    #[command(name = "regions")]
    Regions(Regions),
}

pub async fn run(cx: &Cx, command: Commands) -> Result {
    match command {
        Commands::List(args) => list(cx, args).await,
        Commands::Set(args) => set(cx, args).await,
        Commands::Regions(args) => regions(cx, args).await,
    }
}

#[derive(Debug, Args)]
pub struct Regions {
    /// Output in JSON format
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    app: AppArgs,
}

#[derive(Debug, Args)]
pub struct Set {
    /// heroku-24 (buildpacks) or container (a Dockerfile, or heroku.yml)
    #[arg(value_name = "STACK")]
    stack: String,
    #[command(flatten)]
    app: AppArgs,
}

/// The app's own has a star, as Heroku's does.
async fn list(cx: &Cx, args: List) -> Result {
    let name = cx.app(&args.app)?;
    let app = cx.client.get(&format!("/apps/{}", segment(&name))).await?;
    let stacks = cx.client.get_all("/stacks").await?;
    cx.ui.header(&format!("⬢ {name} Available Stacks"))?;
    for stack in &stacks {
        let stack = text(stack, "/name");
        let mark = if stack == text(&app, "/build_stack/name") { "*" } else { " " };
        cx.ui.line(format!("{mark} {stack}"))?;
    }
    Ok(())
}

async fn set(cx: &Cx, args: Set) -> Result {
    let name = cx.app(&args.app)?;
    let path = format!("/apps/{}", segment(&name));
    let body = json!({ "build_stack": args.stack });
    let what = format!("Setting stack to {}", args.stack);
    cx.ui.action(&what, cx.client.patch(&path, &body), |_| "done".to_string()).await?;
    let then = format!(
        "You will need to redeploy ⬢ {name} for the change to take effect.\nRun git push senryu \
         main to do so.\n"
    );
    cx.ui.say(&then);
    Ok(())
}

async fn regions(cx: &Cx, args: Regions) -> Result {
    let regions = cx.client.get("/regions").await?;
    if args.json {
        return cx.ui.json(&regions);
    }
    let row = |region: &Value| {
        ["/name", "/description"].map(|field| text(region, field).to_string()).to_vec()
    };
    let rows: Vec<_> = regions.as_array().into_iter().flatten().map(row).collect();
    table(&cx.ui, &["ID", "Location"], &rows)
}
