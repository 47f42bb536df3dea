//! `drift`: what is declared against what runs, now.

use super::Cx;
use super::client::{number, text};
use super::failure::{FAILED, Failure, Result};
use super::format::table;
use clap::Args;
use serde_json::{Value, json};

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 all runs as declared, 1 something does not.")]
pub struct Drift {
    /// Only this app
    #[arg(short, long, value_name = "NAME")]
    app: Option<String>,
    /// Display as JSON
    #[arg(long)]
    json: bool,
}

pub async fn drift(cx: &Cx, args: Drift) -> Result {
    let mut answer = cx.client.get("/drift").await?;
    let mut rows = match answer.get_mut("drift").map(Value::take) {
        Some(Value::Array(rows)) => rows,
        _ => return Err(Failure::refused("The server answered without a list of drift")),
    };
    if let Some(app) = &args.app {
        // An app that is not there has no drift, but that is not what was asked.
        cx.client.get(&format!("/apps/{}", super::client::segment(app))).await?;
        rows.retain(|row| text(row, "/app/name") == app || text(row, "/app/id") == app);
    }
    let drifted = !rows.is_empty();
    if args.json {
        cx.ui.json(&json!({ "apps": answer.get("apps"), "drift": rows }))?;
    } else if drifted {
        let cells = |row: &Value| -> Vec<String> {
            let cell = |pointer| text(row, pointer).to_string();
            let app = if row["app"].is_null() { "-".to_string() } else { cell("/app/name") };
            vec![app, cell("/what"), cell("/declared"), cell("/running")]
        };
        let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
        table(&cx.ui, &["App", "What", "Declared", "Running"], &rows)?;
        if rows.iter().flatten().any(|cell| cell.contains(" instead of ")) {
            cx.ui.say("Limits stay changed until the dyno is made anew: `senryu ps:restart`.\n");
        }
        cx.ui.say("What else differs is repaired by itself; `senryu logs` says what was found.\n");
    } else {
        let apps = match &args.app {
            Some(app) => format!("⬢ {app}"),
            None => format!("{} apps", number(&answer, "/apps").unwrap_or(0)),
        };
        cx.ui.line(format!("All runs as declared: {apps}"))?;
    }
    if drifted { Err(Failure::Exit(FAILED)) } else { Ok(()) }
}
