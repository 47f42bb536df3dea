//! `authorizations` and its commands: the tokens of your account, by which command line, git and
//! scripts come in.

use super::Cx;
use super::client::{segment, text};
use super::failure::{Failure, Result};
use super::format::{ago, clean, object, table};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// Characters of a whole id; the first few of them do where they name one only.
const ID_CHARS: usize = 36;

#[derive(Debug, Subcommand)]
pub enum Authorizations {
    /// List the tokens of your account, and when each was used last
    #[command(name = "authorizations", alias = "authorizations:list")]
    List(List),
    /// Make a token, for a script or a machine
    #[command(name = "authorizations:create")]
    Create(Create),
    /// Show a token's description, use and end
    #[command(name = "authorizations:info")]
    Info(Info),
    /// Revoke a token: it is good for nothing from then on
    #[command(name = "authorizations:revoke", alias = "authorizations:destroy")]
    Revoke(One),
}

#[derive(Debug, Args)]
pub struct List {
    /// Output in JSON format
    #[arg(short, long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "With --short, SENRYU_API_KEY takes it as it is printed.")]
pub struct Create {
    /// What the token is for
    #[arg(short, long, value_name = "TEXT")]
    description: Option<String>,
    /// Seconds that it stays valid; without it until it is revoked
    #[arg(short, long, value_name = "SECONDS")]
    expires_in: Option<u64>,
    /// What it is good for: there is only `global`, all that you may do
    #[arg(short, long, value_name = "SCOPE")]
    scope: Option<String>,
    /// Print the token only
    #[arg(short = 'S', long)]
    short: bool,
    /// Output in JSON format
    #[arg(short, long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct One {
    /// The token's id, or as much of its beginning as no other has
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, Args)]
pub struct Info {
    #[command(flatten)]
    one: One,
    /// Output in JSON format
    #[arg(short, long)]
    json: bool,
}

pub async fn run(cx: &Cx, command: Authorizations) -> Result {
    match command {
        Authorizations::List(args) => list(cx, args).await,
        Authorizations::Create(args) => create(cx, args).await,
        Authorizations::Info(args) => info(cx, args).await,
        Authorizations::Revoke(args) => revoke(cx, args).await,
    }
}

fn is_in_use(cx: &Cx, row: &Value) -> bool {
    cx.client.token() == Some(text(row, "/access_token/token"))
}

/// The day of a time, or what to say where there is none.
fn day(row: &Value, field: &str, none: &str) -> String {
    let day: String = text(row, field).chars().take(10).collect();
    if day.is_empty() { none.to_string() } else { day }
}

async fn list(cx: &Cx, args: List) -> Result {
    let mut all = cx.client.get_all("/oauth/authorizations").await?;
    if args.json {
        return cx.ui.json(&Value::Array(all));
    }
    all.sort_by_key(|row| text(row, "/created_at").to_string());
    let row = |row: &Value| {
        let mark = if is_in_use(cx, row) { " (in use)" } else { "" };
        vec![
            text(row, "/id").to_string(),
            format!("{}{mark}", text(row, "/description")),
            day(row, "/used_at", "never"),
            ends(row).map_or("never".to_string(), |at| at.chars().take(10).collect()),
        ]
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    table(&cx.ui, &["ID", "Description", "Last used", "Ends"], &rows)
}

/// When a token ends, of which the API says how many seconds are left.
fn ends(row: &Value) -> Option<String> {
    let left = row.pointer("/access_token/expires_in")?.as_i64()?;
    let at = chrono::Utc::now() + chrono::TimeDelta::try_seconds(left)?;
    Some(at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}

async fn create(cx: &Cx, args: Create) -> Result {
    let mut body = json!({});
    if let Some(description) = args.description {
        body["description"] = json!(description);
    }
    if let Some(seconds) = args.expires_in {
        body["expires_in"] = json!(seconds);
    }
    if let Some(scope) = args.scope {
        body["scope"] = scope.split(',').map(str::trim).collect();
    }
    let made = cx.client.post("/oauth/authorizations", &body);
    let made = cx.ui.action("Creating OAuth Authorization", made, |_| "done".to_string()).await?;
    match (args.short, args.json) {
        (true, _) => cx.ui.line(text(&made, "/access_token/token")),
        (false, true) => cx.ui.json(&made),
        (false, false) => show(cx, &made),
    }
}

fn show(cx: &Cx, row: &Value) -> Result {
    let one = |value: &str| if value.is_empty() { Vec::new() } else { vec![clean(value)] };
    let time = |field| match text(row, field) {
        "" => Vec::new(),
        at => vec![ago(at)],
    };
    let token = text(row, "/access_token/token");
    let is_hidden = token.contains('*');
    object(
        &cx.ui,
        &[
            ("ID", one(text(row, "/id"))),
            ("Description", one(text(row, "/description"))),
            ("Scope", one("global")),
            ("Token", if is_hidden { Vec::new() } else { one(token) }),
            ("Created at", time("/created_at")),
            ("Last used at", time("/used_at")),
            ("Ends at", ends(row).into_iter().collect()),
        ],
    )
}

/// The one that an id, or its beginning, names.
async fn find(cx: &Cx, wanted: &str) -> Result<Value> {
    if wanted.len() >= ID_CHARS {
        return cx.client.get(&format!("/oauth/authorizations/{}", segment(wanted))).await;
    }
    let mut all = cx.client.get_all("/oauth/authorizations").await?;
    all.retain(|row| text(row, "/id").starts_with(wanted));
    match (all.pop(), all.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err(Failure::with_hint(
            format!("No token of yours has an id that begins with {}", clean(wanted)),
            "senryu authorizations lists them",
        )),
        (Some(_), more) => Err(Failure::refused(format!(
            "{} tokens have an id that begins with {}: give more of it",
            more + 1,
            clean(wanted)
        ))),
    }
}

async fn info(cx: &Cx, args: Info) -> Result {
    let row = find(cx, &args.one.id).await?;
    if args.json {
        return cx.ui.json(&row);
    }
    show(cx, &row)
}

async fn revoke(cx: &Cx, args: One) -> Result {
    let row = find(cx, &args.id).await?;
    let path = format!("/oauth/authorizations/{}", segment(text(&row, "/id")));
    let done = |gone: &Value| {
        format!("done, revoked authorization from {}", clean(text(gone, "/description")))
    };
    cx.ui.action("Revoking OAuth Authorization", cx.client.delete(&path), done).await?;
    if is_in_use(cx, &row) {
        cx.ui.warn("This command line came in by that one: log in again with senryu login");
    }
    Ok(())
}
