//! `users` and its commands, for admins: who may use this platform.

use super::Cx;
use super::apps::confirmed;
use super::client::{segment, text};
use super::failure::Result;
use super::format::table;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub enum Users {
    /// List the users of this platform
    #[command(name = "users", alias = "users:list")]
    List(List),
    /// Make a user; the password is shown this once
    #[command(name = "users:create", alias = "users:add")]
    Create(Create),
    /// Remove a user: tokens and password end at once
    #[command(name = "users:remove", alias = "users:destroy")]
    Remove(Remove),
    /// Switch off a user's second factor: for somebody who has lost it
    #[command(name = "users:2fa:disable")]
    RemoveSecondFactor(RemoveSecondFactor),
}

#[derive(Debug, Args)]
pub struct List {
    /// Output in JSON format
    #[arg(short, long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Create {
    /// E-mail address of the user
    #[arg(value_name = "EMAIL")]
    email: String,
    /// An admin: may do everything with every app, and make users
    #[arg(long)]
    admin: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "What the user has released and built stays and keeps the name.")]
pub struct Remove {
    /// E-mail address of the user
    #[arg(value_name = "EMAIL")]
    email: String,
    /// Who gets the apps that the user owns; without it such a user is not removed
    #[arg(long, value_name = "EMAIL")]
    apps_to: Option<String>,
    /// The user's e-mail address, to be asked nothing
    #[arg(short, long, value_name = "EMAIL")]
    confirm: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Make sure who asks: the password alone suffices from then on.")]
pub struct RemoveSecondFactor {
    /// E-mail address of the user
    #[arg(value_name = "EMAIL")]
    email: String,
}

pub async fn run(cx: &Cx, command: Users) -> Result {
    match command {
        Users::List(args) => list(cx, args).await,
        Users::Create(args) => create(cx, args).await,
        Users::Remove(args) => remove(cx, args).await,
        Users::RemoveSecondFactor(args) => remove_second_factor(cx, args).await,
    }
}

async fn list(cx: &Cx, args: List) -> Result {
    let all = cx.client.get_all("/users").await?;
    if args.json {
        return cx.ui.json(&Value::Array(all));
    }
    let row = |user: &Value| {
        let role = if user["admin"] == true { "admin" } else { "member" };
        let since = text(user, "/created_at").to_string();
        let is_on = user["two_factor_authentication"] == true;
        let second_factor = if is_on { "on" } else { "" };
        vec![text(user, "/email").to_string(), role.to_string(), second_factor.to_string(), since]
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    table(&cx.ui, &["Email", "Role", "Second factor", "Since"], &rows)
}

async fn create(cx: &Cx, args: Create) -> Result {
    let body = json!({ "email": args.email, "admin": args.admin });
    let what = format!("Creating {} {}", if args.admin { "admin" } else { "user" }, args.email);
    let done = |_: &Value| "done".to_string();
    let made = cx.ui.action(&what, cx.client.post("/users", &body), done).await?;
    cx.ui.say(
        "The password is shown this once, and has to be changed first: in the console, or by \
         senryu login:\n",
    );
    cx.ui.line(text(&made, "/password"))
}

async fn remove(cx: &Cx, args: Remove) -> Result {
    confirmed(cx, &args.email, args.confirm)?;
    let mut path = format!("/users/{}", segment(&args.email));
    if let Some(heir) = &args.apps_to {
        path.push_str(&format!("?apps_to={}", segment(heir)));
    }
    let what = format!("Removing {}", args.email);
    cx.ui.action(&what, cx.client.delete(&path), |_| "done".to_string()).await.map(|_| ())
}

async fn remove_second_factor(cx: &Cx, args: RemoveSecondFactor) -> Result {
    let path = format!("/users/{}/second-factor", segment(&args.email));
    let what = format!("Switching off the second factor of {}", args.email);
    cx.ui.action(&what, cx.client.delete(&path), |_| "done".to_string()).await.map(|_| ())
}
