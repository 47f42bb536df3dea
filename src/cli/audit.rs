//! `audit` and `audit:verify`: who did what, and whether that is still what was written.

use super::Cx;
use super::client::{number, segment, text};
use super::failure::{Failure, Result};
use super::format::{clean, table};
use clap::{Args, Subcommand};
use serde_json::Value;

#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Show who changed what, newest last
    #[command(name = "audit")]
    List(List),
    /// Check that no entry of the audit was changed or removed
    #[command(name = "audit:verify")]
    Verify(Verify),
}

#[derive(Debug, Args)]
pub struct List {
    /// Only this app; needs the permission manage, without it one must be an admin
    #[arg(short, long, value_name = "APP")]
    app: Option<String>,
    /// How many of the newest entries
    #[arg(short, long, value_name = "N", default_value_t = 50)]
    num: usize,
    /// Output in JSON format
    #[arg(short, long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The chain alone cannot tell that its end was cut off. Keep the head that this prints away from the
machine, and give it the next time.

Exit status: 0 all as written, 1 an entry is not, or the check could not be made.")]
pub struct Verify {
    /// The head that an earlier check printed
    #[arg(long, value_name = "NUMBER:HASH")]
    head: Option<String>,
    /// Output in JSON format
    #[arg(short, long)]
    json: bool,
}

pub async fn run(cx: &Cx, command: Audit) -> Result {
    match command {
        Audit::List(args) => list(cx, args).await,
        Audit::Verify(args) => verify(cx, args).await,
    }
}

async fn list(cx: &Cx, args: List) -> Result {
    let path = match &args.app {
        Some(app) => format!("/apps/{}/audit?n={}", segment(app), args.num),
        None => format!("/audit?n={}", args.num),
    };
    let answer = cx.client.get(&path).await?;
    if args.json {
        return cx.ui.json(&answer);
    }
    let entries = answer.as_array().into_iter().flatten().rev();
    let rows: Vec<Vec<String>> = entries.map(row).collect();
    if rows.is_empty() {
        return cx.ui.line("No entries.");
    }
    table(&cx.ui, &["Nr", "When", "Who", "Via", "From", "Action", "App", "Details"], &rows)
}

fn row(entry: &Value) -> Vec<String> {
    let field = |pointer| text(entry, pointer).to_string();
    let details = entry["details"].as_object().into_iter().flatten();
    let details: Vec<String> = details
        .map(|(key, value)| format!("{key}={}", clean(value.as_str().unwrap_or_default())))
        .collect();
    vec![
        number(entry, "/seq").unwrap_or_default().to_string(),
        field("/created_at"),
        field("/actor/email"),
        field("/via"),
        field("/address"),
        field("/action"),
        field("/app/name"),
        details.join(" "),
    ]
}

async fn verify(cx: &Cx, args: Verify) -> Result {
    let path = match &args.head {
        Some(head) => format!("/audit/verify?head={}", segment(head)),
        None => "/audit/verify".to_string(),
    };
    let answer = cx.client.get(&path).await?;
    if args.json {
        cx.ui.json(&answer)?;
    }
    if let Some(seq) = number(&answer, "/broken/seq") {
        let why = text(&answer, "/broken/why");
        return Err(Failure::with_hint(
            format!("Entry {seq} of the audit: {why}."),
            "Everything before it is as it was written. Somebody who may write the database has \
             changed it: keep a copy, and compare it with a backup.",
        ));
    }
    if !args.json {
        let entries = number(&answer, "/entries").unwrap_or_default();
        cx.ui.line(format!("All {entries} entries are as they were written."))?;
        cx.ui.line(format!("Head: {}", clean(text(&answer, "/head"))))?;
    }
    Ok(())
}
