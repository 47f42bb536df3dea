//! `access` and its commands: who may use an app, and what each of them may do.

use super::Cx;
use super::app::AppArgs;
use super::client::{segment, text};
use super::failure::{Failure, Result};
use super::format::table;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub enum Access {
    /// List who has access to an app
    #[command(name = "access", alias = "access:list")]
    List(List),
    /// Give a user of the platform access to an app
    #[command(name = "access:add", visible_alias = "sharing:add")]
    Add(Add),
    /// Change what a collaborator may do with an app
    #[command(name = "access:update")]
    Update(Update),
    /// Remove a collaborator from an app
    #[command(name = "access:remove", visible_alias = "sharing:remove")]
    Remove(One),
    /// Leave an app that somebody shared with you
    #[command(name = "apps:leave", visible_alias = "leave")]
    Leave(Leave),
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    app: AppArgs,
    /// Output in JSON format
    #[arg(short, long)]
    json: bool,
}

const PERMISSIONS: &str = "\
Permissions: view (see the app and its logs; comes with the others), deploy (push, config vars, run,
roll back, restart), operate (scale, restart, maintenance, domains, certificates, egress), manage
(rename, destroy, access, audit). The owner and the platform's admins may do everything.";

#[derive(Debug, Args)]
#[command(after_help = PERMISSIONS)]
pub struct Add {
    /// E-mail address of a user of this platform
    #[arg(value_name = "EMAIL")]
    email: String,
    #[command(flatten)]
    app: AppArgs,
    /// Comma-separated permissions; without it view, deploy and operate
    #[arg(short, long, value_name = "LIST")]
    permissions: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = PERMISSIONS)]
pub struct Update {
    /// E-mail address of the collaborator
    #[arg(value_name = "EMAIL")]
    email: String,
    #[command(flatten)]
    app: AppArgs,
    /// Comma-separated permissions, in place of the present ones
    #[arg(short, long, value_name = "LIST")]
    permissions: String,
}

#[derive(Debug, Args)]
pub struct One {
    /// E-mail address of the collaborator
    #[arg(value_name = "EMAIL")]
    email: String,
    #[command(flatten)]
    app: AppArgs,
}

#[derive(Debug, Args)]
pub struct Leave {
    #[command(flatten)]
    app: AppArgs,
}

pub async fn run(cx: &Cx, command: Access) -> Result {
    match command {
        Access::List(args) => list(cx, args).await,
        Access::Add(args) => add(cx, args).await,
        Access::Update(args) => update(cx, args).await,
        Access::Remove(args) => remove(cx, &cx.app(&args.app)?, &args.email).await,
        Access::Leave(args) => leave(cx, args).await,
    }
}

async fn list(cx: &Cx, args: List) -> Result {
    let app = cx.app(&args.app)?;
    let mut all = cx.client.get_all(&format!("/apps/{}/collaborators", segment(&app))).await?;
    all.sort_by(|a, b| text(a, "/user/email").cmp(text(b, "/user/email")));
    if args.json {
        return cx.ui.json(&Value::Array(all));
    }
    let row = |one: &Value| {
        let permissions = one["permissions"].as_array().into_iter().flatten();
        let names: Vec<&str> = permissions.map(|one| text(one, "/name")).collect();
        let field = |pointer| text(one, pointer).to_string();
        vec![field("/user/email"), field("/role"), names.join(", ")]
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    table(&cx.ui, &["Email", "Role", "Permissions"], &rows)
}

/// `deploy, operate` as the API takes it; the server knows which there are.
fn split(list: &str) -> Result<Vec<&str>> {
    let names: Vec<&str> = list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    match names.is_empty() {
        true => Err(Failure::usage("--permissions is empty")),
        false => Ok(names),
    }
}

/// The permissions that the server has given, for the end of the line.
fn given(collaborator: &Value) -> String {
    let permissions = collaborator["permissions"].as_array().into_iter().flatten();
    let names: Vec<&str> = permissions.map(|one| text(one, "/name")).collect();
    format!("done, {}", names.join(", "))
}

async fn add(cx: &Cx, args: Add) -> Result {
    let app = cx.app(&args.app)?;
    let what = format!("Adding {} access to the app ⬢ {app}", args.email);
    let (path, body) = match &args.permissions {
        None => ("/apps", json!({ "user": args.email })),
        Some(list) => ("/teams/apps", json!({ "user": args.email, "permissions": split(list)? })),
    };
    let path = format!("{path}/{}/collaborators", segment(&app));
    cx.ui.action(&what, cx.client.post(&path, &body), given).await.map(|_| ())
}

async fn update(cx: &Cx, args: Update) -> Result {
    let app = cx.app(&args.app)?;
    let what = format!("Updating {} in application ⬢ {app}", args.email);
    let path = format!("/teams/apps/{}/collaborators/{}", segment(&app), segment(&args.email));
    let body = json!({ "permissions": split(&args.permissions)? });
    cx.ui.action(&what, cx.client.patch(&path, &body), given).await.map(|_| ())
}

async fn remove(cx: &Cx, app: &str, email: &str) -> Result {
    let what = format!("Removing {email} access from the app ⬢ {app}");
    let path = format!("/apps/{}/collaborators/{}", segment(app), segment(email));
    cx.ui.action(&what, cx.client.delete(&path), |_| "done".to_string()).await.map(|_| ())
}

async fn leave(cx: &Cx, args: Leave) -> Result {
    let app = cx.app(&args.app)?;
    let account = cx.client.get("/account").await?;
    let path = format!("/apps/{}/collaborators/{}", segment(&app), segment(text(&account, "/id")));
    let what = format!("Leaving ⬢ {app}");
    cx.ui.action(&what, cx.client.delete(&path), |_| "done".to_string()).await.map(|_| ())
}
