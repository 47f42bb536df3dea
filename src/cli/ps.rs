//! `ps`, `ps:scale`, `ps:restart`, `ps:stop`, `ps:wait`: an app's dynos.

use super::app::AppArgs;
use super::client::{Call, number, segment, text};
use super::failure::{Failure, Result};
use super::format::{ago, clean, table_within};
use super::{Cx, rollout};
use crate::limits;
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug, Args)]
pub struct List {
    /// Only dynos of these process types
    #[arg(value_name = "TYPE")]
    types: Vec<String>,
    #[command(flatten)]
    app: AppArgs,
    /// Display as JSON
    #[arg(long)]
    json: bool,
    /// One line for each dyno, with its id and release
    #[arg(short = 'x', long, hide = true)]
    extended: bool,
    /// Show whole lines of that, however narrow the terminal is
    #[arg(long, hide = true)]
    no_wrap: bool,
}

#[derive(Debug, Args)]
pub struct Scale {
    /// TYPE=QUANTITY, TYPE+N or TYPE-N, each with :SIZE if wanted; nothing shows the formation
    #[arg(value_name = "TYPE=QUANTITY")]
    changes: Vec<String>,
    #[command(flatten)]
    app: AppArgs,
    /// Return at once, without waiting for the dynos
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
pub struct Which {
    /// Name of the dyno
    #[arg(value_name = "DYNO", hide = true)]
    dyno: Option<String>,
    #[command(flatten)]
    app: AppArgs,
    /// Name of the dyno
    #[arg(short, long, value_name = "DYNO", conflicts_with = "dyno")]
    dyno_name: Option<String>,
    /// Name of the process type
    #[arg(short, long, alias = "type", value_name = "TYPE")]
    #[arg(conflicts_with_all = ["dyno", "dyno_name"])]
    process_type: Option<String>,
}

#[derive(Debug, Args)]
pub struct Restart {
    #[command(flatten)]
    which: Which,
    /// Return at once, without waiting for the dynos
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
pub struct Wait {
    #[command(flatten)]
    app: AppArgs,
    /// Wait for dynos of one process type only
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    process_type: Option<String>,
    /// Wait for one-off dynos too
    #[arg(short = 'R', long, conflicts_with = "process_type")]
    with_run: bool,
    /// Seconds between two looks at these; for all other dynos the server tells at once
    #[arg(short, long, default_value_t = 10, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(10..=3600))]
    wait_interval: u64,
}

pub async fn list(cx: &Cx, args: List) -> Result {
    let app = cx.app(&args.app)?;
    let mut dynos = cx.client.get_all(&format!("/apps/{}/dynos", segment(&app))).await?;
    for wanted in &args.types {
        if !dynos.iter().any(|dyno| text(dyno, "/type") == wanted) {
            return Err(Failure::refused(format!("No {wanted} dynos on ⬢ {app}")));
        }
    }
    if !args.types.is_empty() {
        dynos.retain(|dyno| args.types.iter().any(|wanted| text(dyno, "/type") == wanted));
    }
    dynos.sort_by_key(|dyno| (text(dyno, "/type").to_string(), dyno_number(dyno)));
    if args.json {
        return cx.ui.json(&Value::Array(dynos));
    }
    if args.extended {
        return extended(cx, &dynos, args.no_wrap);
    }
    if dynos.is_empty() {
        return cx.ui.line(format!("No dynos on ⬢ {app}"));
    }
    print(cx, &dynos)
}

fn extended(cx: &Cx, dynos: &[Value], no_wrap: bool) -> Result {
    let row = |dyno: &Value| {
        let part = |pointer| text(dyno, pointer).to_string();
        let state = format!("{} {}", part("/state"), ago(text(dyno, "/updated_at")));
        let release = number(dyno, "/release/version").map(|version| version.to_string());
        let release = release.unwrap_or_default();
        vec![part("/id"), part("/name"), state, release, part("/command"), part("/size")]
    };
    let rows: Vec<_> = dynos.iter().map(row).collect();
    let head = ["ID", "Process", "State", "Release", "Command", "Size"];
    table_within(&cx.ui, cx.ui.width.filter(|_| !no_wrap), &head, &rows)
}

fn dyno_number(dyno: &Value) -> u64 {
    let name = text(dyno, "/name");
    name.rsplit_once('.').and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

fn print(cx: &Cx, dynos: &[Value]) -> Result {
    let (one_off, formation): (Vec<&Value>, Vec<&Value>) =
        dynos.iter().partition(|dyno| text(dyno, "/type") == "run");
    if !one_off.is_empty() {
        cx.ui.header(&format!("run: one-off processes ({})", one_off.len()))?;
        for dyno in one_off {
            let (name, size) = (text(dyno, "/name"), text(dyno, "/size"));
            let command = clean(text(dyno, "/command"));
            cx.ui.line(format!("{name} ({size}): {}: {command}", state(cx, dyno)))?;
        }
        cx.ui.line("")?;
    }
    let version = |dyno: &Value| number(dyno, "/release/version");
    // While a release takes over, dynos of two releases stand side by side: say which is which.
    let mixed = formation.iter().any(|dyno| version(dyno) != version(formation[0]));
    let group = |dyno: &Value| {
        let part = |pointer| text(dyno, pointer).to_string();
        (part("/type"), part("/size"), part("/command"))
    };
    let mut groups: Vec<(String, String, String)> = Vec::new();
    for dyno in &formation {
        if !groups.contains(&group(dyno)) {
            groups.push(group(dyno));
        }
    }
    for wanted in groups {
        let dynos: Vec<&&Value> = formation.iter().filter(|dyno| group(dyno) == wanted).collect();
        let (process, size, command) = wanted;
        cx.ui.header(&format!("{process} ({size}): {} ({})", clean(&command), dynos.len()))?;
        for dyno in dynos {
            let release = match (mixed, version(dyno)) {
                (true, Some(version)) => format!(" v{version}"),
                _ => String::new(),
            };
            cx.ui.line(format!("{}: {}{release}", text(dyno, "/name"), state(cx, dyno)))?;
        }
        cx.ui.line("")?;
    }
    Ok(())
}

/// `up 2026/11/21 09:40:12 +0000 (~ 2m ago)`, and why one is down.
fn state(cx: &Cx, dyno: &Value) -> String {
    let state = text(dyno, "/state");
    let colour = if state == "up" { "32" } else { "33" };
    let since = cx.ui.dim(&ago(text(dyno, "/updated_at")));
    let reason = match text(dyno, "/reason") {
        "" => String::new(),
        reason => format!(": {}", clean(reason)),
    };
    format!("{} {since}{reason}", cx.ui.painted(colour, state))
}

pub async fn scale(cx: &Cx, args: Scale) -> Result {
    let app = cx.app(&args.app)?;
    let path = format!("/apps/{}/formation", segment(&app));
    if args.changes.is_empty() {
        let formation = cx.client.get_all(&path).await?;
        if formation.is_empty() {
            return Err(Failure::with_hint(
                format!("No process types on ⬢ {app}."),
                "Push code with a Procfile to add process types.",
            ));
        }
        let mut words: Vec<String> = formation.iter().map(|f| scaled(f, "=")).collect();
        words.sort();
        return cx.ui.line(words.join(" "));
    }
    let updates: Vec<Value> =
        args.changes.iter().map(|word| change(word)).collect::<Result<_>>()?;
    let named: Vec<String> =
        updates.iter().map(|update| text(update, "/type").to_string()).collect();
    let body = json!({ "updates": updates });
    // One dyno more, asked for twice, would be two.
    let repeatable = updates_are_absolute(&body);
    let call = Call { body: Some(&body), repeatable, ..Call::new(Method::PATCH, &path) };
    let work = async {
        let formation = cx.client.send(&call).await?.body;
        if !args.no_wait {
            rollout::settle(cx, &app, None).await?;
        }
        Ok(formation)
    };
    let done = |formation: &Value| {
        let words: Vec<String> = formation
            .as_array()
            .into_iter()
            .flatten()
            .filter(|f| named.iter().any(|name| name == text(f, "/type")))
            .map(|f| scaled(f, " at "))
            .collect();
        format!("done, now running {}", words.join(", "))
    };
    cx.ui.action("Scaling dynos", work, done).await.map(|_| ())
}

fn updates_are_absolute(body: &Value) -> bool {
    let updates = body.get("updates").and_then(Value::as_array);
    updates.into_iter().flatten().all(|update| !update["quantity"].is_string())
}

fn scaled(formation: &Value, between: &str) -> String {
    let quantity = number(formation, "/quantity").unwrap_or(0);
    format!("{}{between}{quantity}:{}", text(formation, "/type"), text(formation, "/size"))
}

/// `web=2`, `web+1`, `worker-1`, `web=2:Standard-2X`, `web=Standard-2X`. Whether there may be so
/// many, and of that size, is for the server to say.
fn change(word: &str) -> Result<Value> {
    let wrong = || {
        Failure::usage(format!(
            "{word} is invalid. Must be in the format TYPE=QUANTITY, TYPE+N or TYPE-N, with \
             :SIZE if wanted."
        ))
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let sized = |amount: &str| -> (String, Option<String>) {
        match amount.split_once(':') {
            Some((quantity, size)) => (quantity.to_string(), Some(size.to_string())),
            None => (amount.to_string(), None),
        }
    };
    if let Some((process, amount)) = word.split_once('=') {
        let (quantity, size) = sized(amount);
        let plain = quantity.strip_prefix('-').unwrap_or(&quantity);
        return match (process.is_empty(), digits(plain), size) {
            (false, true, size) if size.as_deref() != Some("") => {
                // A relative quantity starts with a sign, so a negative one must be a number.
                let quantity = quantity.parse::<i64>().map_or(json!(quantity), |n| json!(n));
                Ok(update(process, Some(quantity), size))
            }
            (false, false, None) if !plain.is_empty() => {
                Ok(update(process, None, Some(quantity.clone())))
            }
            _ => Err(wrong()),
        };
    }
    let sign = word.rfind('+').or_else(|| word.rfind('-')).ok_or_else(wrong)?;
    // A size has dashes too: the sign stands before the colon.
    let sign = match word.find(':') {
        Some(colon) => word[..colon].rfind(['+', '-']).ok_or_else(wrong)?,
        None => sign,
    };
    let (process, amount) = word.split_at(sign);
    let (quantity, size) = sized(amount);
    match !process.is_empty() && digits(&quantity[1..]) && size.as_deref() != Some("") {
        true => Ok(update(process, Some(json!(quantity)), size)),
        false => Err(wrong()),
    }
}

fn update(process: &str, quantity: Option<Value>, size: Option<String>) -> Value {
    let mut update = json!({ "type": process });
    if let Some(quantity) = quantity {
        update["quantity"] = quantity;
    }
    if let Some(size) = size {
        update["size"] = json!(size);
    }
    update
}

pub async fn restart(cx: &Cx, Restart { which: args, no_wait }: Restart) -> Result {
    let app = cx.app(&args.app)?;
    let base = format!("/apps/{}", segment(&app));
    let (what, path) = match (&args.process_type, args.dyno_name.as_ref().or(args.dyno.as_ref())) {
        (Some(process), _) => {
            (format!("all {process} dynos"), format!("{base}/formations/{}", segment(process)))
        }
        (None, Some(dyno)) => (format!("dyno {dyno}"), format!("{base}/dynos/{}", segment(dyno))),
        (None, None) => ("all dynos".to_string(), format!("{base}/dynos")),
    };
    let work = async {
        cx.client.delete(&path).await?;
        match no_wait {
            true => Ok(()),
            false => rollout::settle(cx, &app, None).await,
        }
    };
    let what = format!("Restarting {what} on ⬢ {app}");
    cx.ui.action(&what, work, |()| "done".to_string()).await
}

pub async fn stop(cx: &Cx, args: Which) -> Result {
    let app = cx.app(&args.app)?;
    let base = format!("/apps/{}", segment(&app));
    let (what, path) = match (&args.process_type, args.dyno_name.as_ref().or(args.dyno.as_ref())) {
        (Some(process), _) => (
            format!("all {process} dynos"),
            format!("{base}/formations/{}/actions/stop", segment(process)),
        ),
        (None, Some(dyno)) => {
            (format!("dyno {dyno}"), format!("{base}/dynos/{}/actions/stop", segment(dyno)))
        }
        (None, None) => {
            return Err(Failure::usage(
                "Please specify a process type or dyno name to stop: --process-type TYPE or \
                 --dyno-name DYNO",
            ));
        }
    };
    let work = async { cx.client.send(&Call::new(Method::POST, &path)).await };
    let what = format!("Stopping {what} on ⬢ {app}");
    cx.ui.action(&what, work, |_| "done".to_string()).await.map(|_| ())
}

pub async fn wait(cx: &Cx, args: Wait) -> Result {
    let app = cx.app(&args.app)?;
    let version = rollout::last_version(cx, &app).await?;
    let what = format!("Waiting for the dynos of ⬢ {app}");
    let work = async {
        match (&args.process_type, args.with_run) {
            (None, false) => rollout::settle(cx, &app, version).await,
            _ => all_run(cx, &app, version.unwrap_or(0), &args).await,
        }
    };
    cx.ui.action(&what, work, |()| "done".to_string()).await
}

/// Waits until the dynos that are meant run this release, or a later one.
async fn all_run(cx: &Cx, app: &str, version: i64, args: &Wait) -> Result {
    let until = Instant::now() + limits::ROLLOUT_PATIENCE;
    let is_meant = |dyno: &&Value| match (text(dyno, "/type"), &args.process_type) {
        (process, Some(wanted)) => process == wanted,
        ("release", None) => false,
        ("run", None) => args.with_run,
        _ => true,
    };
    let runs = |dyno: &Value| {
        let release = number(dyno, "/release/version");
        text(dyno, "/state") == "up" && release.is_some_and(|release| release >= version)
    };
    loop {
        let dynos = cx.client.get_all(&format!("/apps/{}/dynos", segment(app))).await?;
        if dynos.iter().filter(is_meant).all(runs) {
            return Ok(());
        }
        if Instant::now() >= until {
            let waited = limits::ROLLOUT_PATIENCE.as_secs();
            let said = format!("Still waiting for the dynos of ⬢ {app} after {waited} s");
            return Err(Failure::with_hint(said, format!("`senryu ps -a {app}` shows them.")));
        }
        tokio::time::sleep(Duration::from_secs(args.wait_interval)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_say_how_many() {
        for (word, expected) in [
            ("web=2", json!({"type": "web", "quantity": 2})),
            ("web=-1", json!({"type": "web", "quantity": -1})),
            ("web=1000000", json!({"type": "web", "quantity": 1000000})),
            ("web+1", json!({"type": "web", "quantity": "+1"})),
            ("my-worker-1", json!({"type": "my-worker", "quantity": "-1"})),
            ("web=2:Standard-2X", json!({"type": "web", "quantity": 2, "size": "Standard-2X"})),
            ("web+1:Standard-2X", json!({"type": "web", "quantity": "+1", "size": "Standard-2X"})),
            ("web=Standard-2X", json!({"type": "web", "size": "Standard-2X"})),
        ] {
            assert_eq!(change(word).unwrap(), expected, "{word}");
        }
        for word in ["web", "=2", "web=", "web+", "+1", "web=2:", "", "web=-", "web+x"] {
            let failure = change(word).err().unwrap_or_else(|| panic!("{word:?} was taken"));
            assert_eq!(failure.status(), 2, "{word}");
        }
    }
}
