//! `releases` and its commands: list, info, output, wait, rollback.

use super::app::AppArgs;
use super::client::{number, segment, text};
use super::failure::{Failure, Result, TIMED_OUT};
use super::format::{ago, object, shell_word, table};
use super::rollout::{self, Rollout, State};
use super::{Cx, stream};
use crate::limits;
use clap::Args;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    app: AppArgs,
    /// Number of releases to show
    #[arg(short, long, default_value_t = 15, value_name = "NUM")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    num: u32,
    /// Output releases in JSON format
    #[arg(long)]
    json: bool,
    /// Show the ids of slugs
    #[arg(short = 'x', long, hide = true)]
    extended: bool,
}

#[derive(Debug, Args)]
pub struct Info {
    /// The release, such as v12; without it the newest
    #[arg(value_name = "RELEASE")]
    release: Option<String>,
    #[command(flatten)]
    app: AppArgs,
    /// Output in JSON format
    #[arg(long)]
    json: bool,
    /// Output config vars in shell format
    #[arg(short, long)]
    shell: bool,
}

#[derive(Debug, Args)]
pub struct Output {
    /// The release, such as v12; without it the newest
    #[arg(value_name = "RELEASE")]
    release: Option<String>,
    #[command(flatten)]
    app: AppArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 the release serves, 1 it failed or another one serves, 124 \
                        the time is up."
)]
pub struct Wait {
    /// The release, such as v12; without it the newest
    #[arg(value_name = "RELEASE")]
    release: Option<String>,
    #[command(flatten)]
    app: AppArgs,
    /// Seconds to wait
    #[arg(short, long, default_value_t = limits::RELEASES_WAIT_SECONDS, value_name = "SECONDS")]
    timeout: u64,
}

#[derive(Debug, Args)]
pub struct Rollback {
    /// The release to go back to, such as v12; without it the one before
    #[arg(value_name = "RELEASE")]
    release: Option<String>,
    #[command(flatten)]
    app: AppArgs,
    /// Return at once, without waiting until the new release serves
    #[arg(long)]
    no_wait: bool,
}

fn path(app: &str) -> String {
    format!("/apps/{}/releases", segment(app))
}

async fn newest(cx: &Cx, app: &str, count: u32) -> Result<Vec<Value>> {
    cx.client.get_range(&path(app), &format!("version ..; max={count}, order=desc")).await
}

/// A release by its name (`v12`, `12` or an id); the newest without one.
async fn find(cx: &Cx, app: &str, name: Option<&str>) -> Result<Value> {
    match name {
        Some(name) => {
            let name = name.to_lowercase();
            let id = name.strip_prefix('v').unwrap_or(&name);
            cx.client.get(&format!("{}/{}", path(app), segment(id))).await
        }
        None => newest(cx, app, 1)
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| Failure::refused(format!("⬢ {app} has no releases."))),
    }
}

fn status_words(release: &Value) -> &'static str {
    match text(release, "/status") {
        "expired" => "release expired",
        "failed" => "release command failed",
        "pending" => "release command executing",
        _ => "",
    }
}

fn seconds(millis: i64) -> String {
    format!("{:.1} s", millis as f64 / 1000.0)
}

fn version(release: &Value) -> i64 {
    number(release, "/version").unwrap_or(0)
}

pub async fn list(cx: &Cx, args: List) -> Result {
    let app = cx.app(&args.app)?;
    let mut releases = newest(cx, &app, args.num).await?;
    if args.json {
        return cx.ui.json(&Value::Array(releases));
    }
    if releases.is_empty() {
        return cx.ui.line(format!("⬢ {app} has no releases."));
    }
    releases.sort_by_key(|release| std::cmp::Reverse(version(release)));
    let current = releases.iter().find(|r| r.get("current") == Some(&Value::Bool(true)));
    let header = match current {
        Some(current) => format!("{app} Releases - Current: v{}", version(current)),
        None => format!("{app} Releases"),
    };
    cx.ui.header(&header)?;
    let rows: Vec<Vec<String>> = releases
        .iter()
        .map(|release| {
            let description =
                format!("{} {}", text(release, "/description"), status_words(release));
            let mut row = vec![
                format!("v{}", version(release)),
                description.trim_end().to_string(),
                text(release, "/user/email").to_string(),
                ago(text(release, "/created_at")),
            ];
            if args.extended {
                row.push(text(release, "/slug/id").to_string());
            }
            row
        })
        .collect();
    let head = if args.extended { &["", "", "", "", ""][..] } else { &["", "", "", ""] };
    table(&cx.ui, head, &rows)
}

pub async fn info(cx: &Cx, args: Info) -> Result {
    let app = cx.app(&args.app)?;
    let release = find(cx, &app, args.release.as_deref()).await?;
    if args.json {
        return cx.ui.json(&release);
    }
    let version = version(&release);
    // A server need not tell the config vars of old releases.
    let vars = match cx.client.get(&format!("{}/{version}/config-vars", path(&app))).await {
        Err(failure) if failure.is_api(404) => None,
        other => Some(other?),
    };
    let mut change = text(&release, "/description").to_string();
    if !status_words(&release).is_empty() {
        change.push_str(&format!(" ({})", status_words(&release)));
    }
    let eligible = release.get("eligible_for_rollback") == Some(&Value::Bool(true));
    let addons = release.get("addon_plan_names").and_then(Value::as_array);
    let addons = addons.into_iter().flatten().filter_map(Value::as_str).map(str::to_string);
    cx.ui.header(&format!("Release v{version}"))?;
    object(
        &cx.ui,
        &[
            ("Add-ons", addons.collect()),
            ("By", vec![text(&release, "/user/email").to_string()]),
            ("Change", vec![change]),
            ("Eligible for Rollback?", vec![if eligible { "Yes" } else { "No" }.to_string()]),
            ("When", vec![text(&release, "/created_at").to_string()]),
            (
                "Served after",
                number(&release, "/serving_after_ms").map(seconds).into_iter().collect(),
            ),
        ],
    )?;
    let Some(vars) = vars else { return Ok(()) };
    cx.ui.line("")?;
    cx.ui.header(&format!("v{version} Config vars"))?;
    let vars: Vec<(&str, String)> = vars
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default().to_string()))
        .collect();
    if args.shell {
        for (key, value) in &vars {
            cx.ui.line(format!("{key}={}", shell_word(value)))?;
        }
        return Ok(());
    }
    let pairs: Vec<(&str, Vec<String>)> =
        vars.into_iter().map(|(key, value)| (key, vec![value])).collect();
    object(&cx.ui, &pairs)
}

pub async fn output(cx: &Cx, args: Output) -> Result {
    let app = cx.app(&args.app)?;
    let release = find(cx, &app, args.release.as_deref()).await?;
    match text(&release, "/output_stream_url") {
        "" => {
            let version = version(&release);
            cx.ui.warn(&format!("Release v{version} has no release output available."));
            Ok(())
        }
        url => match stream::copy(cx, url).await? {
            true => Ok(()),
            false => {
                cx.ui.warn("Release command not started yet. Please try again in a few seconds.");
                Ok(())
            }
        },
    }
}

pub async fn rollback(cx: &Cx, args: Rollback) -> Result {
    let app = cx.app(&args.app)?;
    let target = match args.release.as_deref() {
        Some(name) => find(cx, &app, Some(name)).await?,
        None => {
            let eligible = |r: &Value| r.get("eligible_for_rollback") == Some(&Value::Bool(true));
            let mut releases = newest(cx, &app, 10).await?.into_iter().filter(eligible);
            releases.nth(1).ok_or_else(|| {
                Failure::refused(format!("No eligible release found for ⬢ {app} to roll back to."))
            })?
        }
    };
    let what = format!("Rolling back ⬢ {app} to v{}", version(&target));
    let body = json!({ "release": text(&target, "/id") });
    let post = path(&app);
    let wait = !args.no_wait;
    let work = async {
        let release = cx.client.post(&post, &body).await?;
        // With a release command there is something to read before there is something to wait for.
        if wait && text(&release, "/output_stream_url").is_empty() {
            rollout::settle(cx, &app, number(&release, "/version")).await?;
        }
        Ok(release)
    };
    let done = |release: &Value| format!("done, v{}", version(release));
    let release = cx.ui.action(&what, work, done).await?;
    cx.ui.warn("Rollback affects code and config vars; it doesn't add or remove addons.");
    cx.ui.warn(&format!("To undo, run: senryu rollback v{} -a {app}", version(&release) - 1));
    match text(&release, "/output_stream_url") {
        "" => Ok(()),
        url => {
            cx.ui.line("Running release command...")?;
            if !stream::copy(cx, url).await? {
                cx.ui.warn("Release command starting. `senryu releases:output` shows the log.");
            }
            match wait {
                true => rollout::settle(cx, &app, number(&release, "/version")).await,
                false => Ok(()),
            }
        }
    }
}

pub async fn wait(cx: &Cx, args: Wait) -> Result {
    let app = cx.app(&args.app)?;
    let until = Instant::now() + Duration::from_secs(args.timeout);
    let Ok(result) = tokio::time::timeout_at(until, outcome(cx, &app, &args)).await else {
        cx.ui.say(&format!(" ›   Error: Not serving after {} s\n", args.timeout));
        return Err(Failure::Exit(TIMED_OUT));
    };
    let version = result?;
    cx.ui.line(format!("v{version} is serving"))
}

/// Waits for the release without an end; gives its version once it serves.
async fn outcome(cx: &Cx, app: &str, args: &Wait) -> Result<i64> {
    let version = version(&patiently(cx, app, args.release.as_deref()).await?);
    let name = format!("v{version}");
    loop {
        let release = patiently(cx, app, Some(&name)).await?;
        if text(&release, "/status") == "failed" {
            return Err(Failure::with_hint(
                format!("{name} of ⬢ {app} failed in its release phase"),
                format!("`senryu releases:output {name} -a {app}` shows why."),
            ));
        }
        if text(&release, "/status") == "pending" {
            tokio::time::sleep(limits::CLIENT_RETRY_PAUSE).await;
            continue;
        }
        let wait = Duration::from_secs(limits::ROLLOUT_POLL_SECONDS.min(args.timeout));
        match rollout::ask(cx, app, wait).await? {
            Some(rollout) => match judged(&rollout, version, app) {
                Some(result) => return result,
                None => tokio::time::sleep(limits::ROLLOUT_PAUSE).await,
            },
            None => {
                return Err(Failure::refused("This server can't tell which release serves"));
            }
        }
    }
}

/// Reads a release; a server that restarts meanwhile is waited for.
async fn patiently(cx: &Cx, app: &str, name: Option<&str>) -> Result<Value> {
    let until = Instant::now() + limits::CLIENT_PATIENCE;
    loop {
        match find(cx, app, name).await {
            Err(Failure::Unreachable { .. } | Failure::Api { status: 502..=504, .. })
                if Instant::now() < until =>
            {
                tokio::time::sleep(limits::CLIENT_RETRY_PAUSE).await;
            }
            other => return other,
        }
    }
}

/// What a roll-out says about one release; `None` while it says nothing yet.
fn judged(rollout: &Rollout, version: i64, app: &str) -> Option<Result<i64>> {
    let other = |now: i64| {
        Some(Err(Failure::refused(format!("v{version} of ⬢ {app} is not serving: v{now} is"))))
    };
    match (rollout.serving, rollout.current) {
        (Some(serving), _) if serving == version => Some(Ok(version)),
        (Some(serving), _) if serving > version => other(serving),
        (_, Some(current)) if current > version => other(current),
        _ => match rollout.state {
            State::Failing => Some(Err(match rollout.message.as_str() {
                "" => Failure::refused(format!("v{version} of ⬢ {app} does not come up")),
                message => Failure::refused(message),
            })),
            // Nothing has traffic because there is nothing to run, as before the first deploy, and
            // that is as wanted.
            State::Settled if rollout.serving.is_none() => Some(Ok(version)),
            State::Settled | State::Converging => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(state: State, current: i64, serving: Option<i64>) -> Rollout {
        Rollout { state, message: String::new(), current: Some(current), serving }
    }

    #[test]
    fn a_release_serves_fails_or_is_replaced() {
        let said = |state, current, serving| judged(&rollout(state, current, serving), 4, "shop");
        assert!(matches!(said(State::Settled, 4, Some(4)), Some(Ok(4))));
        assert!(matches!(said(State::Settled, 4, None), Some(Ok(4))));
        // Before the first deploy a release has nothing to run.
        let bare = Rollout { current: None, ..rollout(State::Settled, 4, None) };
        assert!(matches!(judged(&bare, 4, "shop"), Some(Ok(4))));
        assert!(matches!(said(State::Failing, 4, Some(3)), Some(Err(_))));
        assert!(said(State::Converging, 4, Some(3)).is_none());
        assert!(said(State::Settled, 3, Some(3)).is_none());
        let replaced = said(State::Converging, 5, Some(3)).unwrap().unwrap_err();
        assert!(replaced.to_string().contains("v5"), "{replaced}");
        // While it serves, a newer one that does not come up is no failure of this one.
        assert!(matches!(said(State::Failing, 5, Some(4)), Some(Ok(4))));
    }
}
