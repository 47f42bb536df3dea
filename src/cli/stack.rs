//! `stack`, `stack:set`: what an app is built on.

use super::Cx;
use super::app::AppArgs;
use super::client::{segment, text};
use super::failure::Result;
use clap::Args;
use serde_json::json;

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
pub async fn list(cx: &Cx, args: List) -> Result {
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

pub async fn set(cx: &Cx, args: Set) -> Result {
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
