//! `builds`, `builds:info`, `builds:output`: what pushes and uploaded sources were built into.

use super::app::AppArgs;
use super::client::{number, segment, text};
use super::failure::{Failure, Result};
use super::format::{ago, object, table};
use super::{Cx, stream};
use clap::Args;
use serde_json::Value;

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    app: AppArgs,
    /// Number of builds to show
    #[arg(short, long, default_value_t = 15, value_name = "NUM")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    num: u32,
    /// Output in JSON format
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct One {
    /// Id of the build; without it the newest, or the one that runs
    #[arg(value_name = "BUILD")]
    pub build: Option<String>,
    #[command(flatten)]
    pub app: AppArgs,
    /// Output in JSON format
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Output {
    /// Id of the build; without it the newest
    #[arg(value_name = "BUILD")]
    build: Option<String>,
    #[command(flatten)]
    app: AppArgs,
}

pub fn path(app: &str) -> String {
    format!("/apps/{}/builds", segment(app))
}

/// The newest builds first, whichever order the server's list has.
pub async fn newest(cx: &Cx, app: &str, count: u32) -> Result<Vec<Value>> {
    let range = format!("created_at ..; order=desc,max={count}");
    let mut builds = cx.client.get_range(&path(app), &range).await?;
    builds.sort_by(|a, b| text(b, "/created_at").cmp(text(a, "/created_at")));
    builds.truncate(count as usize);
    Ok(builds)
}

pub async fn find(cx: &Cx, app: &str, id: Option<&str>) -> Result<Value> {
    match id {
        Some(id) => cx.client.get(&format!("{}/{}", path(app), segment(id))).await,
        None => newest(cx, app, 1)
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| Failure::refused(format!("⬢ {app} has no builds."))),
    }
}

fn commit(build: &Value) -> String {
    text(build, "/source_blob/version").chars().take(8).collect()
}

/// `pending, number 2 in line`
fn status(build: &Value) -> String {
    let status = text(build, "/status");
    match number(build, "/place_in_line") {
        None => status.to_string(),
        Some(1) => format!("{status}, next in line"),
        Some(place) => format!("{status}, number {place} in line"),
    }
}

pub async fn list(cx: &Cx, args: List) -> Result {
    let app = cx.app(&args.app)?;
    let builds = newest(cx, &app, args.num).await?;
    if args.json {
        return cx.ui.json(&Value::Array(builds));
    }
    if builds.is_empty() {
        return cx.ui.line(format!("⬢ {app} has no builds."));
    }
    let rows: Vec<Vec<String>> = builds
        .iter()
        .map(|build| {
            vec![
                text(build, "/id").to_string(),
                status(build),
                commit(build),
                text(build, "/user/email").to_string(),
                ago(text(build, "/created_at")),
            ]
        })
        .collect();
    cx.ui.header(&format!("{app} Builds"))?;
    table(&cx.ui, &["ID", "Status", "Commit", "User", "Created"], &rows)
}

pub async fn info(cx: &Cx, args: One) -> Result {
    let app = cx.app(&args.app)?;
    let build = find(cx, &app, args.build.as_deref()).await?;
    if args.json {
        return cx.ui.json(&build);
    }
    let fact = |pointer: &str| match text(&build, pointer) {
        "" => vec![],
        value => vec![value.to_string()],
    };
    let seconds = |pointer: &str| match number(&build, pointer) {
        Some(millis) => vec![format!("{:.1} s", millis as f64 / 1000.0)],
        None => vec![],
    };
    cx.ui.header(&format!("Build {}", text(&build, "/id")))?;
    object(
        &cx.ui,
        &[
            ("Status", vec![status(&build)]),
            ("Commit", fact("/source_blob/version")),
            ("Source", fact("/source_blob/url")),
            ("Stack", fact("/stack")),
            ("Release", fact("/release/id")),
            ("Slug", fact("/slug/id")),
            ("By", fact("/user/email")),
            ("When", fact("/created_at")),
            ("Took", seconds("/took_ms")),
            ("Buildpacks took", seconds("/buildpacks_ms")),
        ],
    )
}

pub async fn output(cx: &Cx, args: Output) -> Result {
    let app = cx.app(&args.app)?;
    let build = find(cx, &app, args.build.as_deref()).await?;
    let url = text(&build, "/output_stream_url");
    match !url.is_empty() && stream::copy(cx, url).await? {
        true => Ok(()),
        false => {
            let id = text(&build, "/id");
            cx.ui.warn(&format!("Build {id} has no output any more."));
            Ok(())
        }
    }
}
