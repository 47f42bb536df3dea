//! `buildpacks` and its kin: what the next build of an app runs. `buildpacks_known` says what there
//! is.

use super::app::AppArgs;
use super::client::{segment, text};
use super::failure::{Failure, Result};
use super::{Cx, buildpacks_known, config};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Display the buildpacks of an app
    #[command(name = "buildpacks")]
    List(List),
    /// Add a buildpack, at the end of the list or at an index
    #[command(name = "buildpacks:add")]
    Add(Add),
    /// Set a buildpack, in the place of the first one or the one at an index
    #[command(name = "buildpacks:set")]
    Set(Add),
    /// Remove a buildpack
    #[command(name = "buildpacks:remove")]
    Remove(Remove),
    /// Remove all buildpacks: the next build detects its own
    #[command(name = "buildpacks:clear")]
    Clear(List),
    #[command(flatten)]
    Known(buildpacks_known::Commands),
}

pub async fn run(cx: &Cx, command: Commands) -> Result {
    match command {
        Commands::List(args) => list(cx, args).await,
        Commands::Add(args) => add(cx, args).await,
        Commands::Set(args) => set(cx, args).await,
        Commands::Remove(args) => remove(cx, args).await,
        Commands::Clear(args) => clear(cx, args).await,
        Commands::Known(command) => buildpacks_known::run(cx, command).await,
    }
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    app: AppArgs,
    /// Output in JSON format
    #[arg(short, long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = AFTER_ADD)]
pub struct Add {
    /// heroku/NAME, the https:// address of a git repository (#REF) or a tarball, or ./PATH
    #[arg(value_name = "BUILDPACK")]
    buildpack: String,
    #[command(flatten)]
    app: AppArgs,
    /// The 1-based index in the list of buildpacks
    #[arg(short, long, value_name = "INDEX", allow_negative_numbers = true)]
    index: Option<i64>,
    /// Output in JSON format
    #[arg(short, long)]
    json: bool,
}

const AFTER_ADD: &str = "\
Several buildpacks run in their order; the last one's process types count.

  senryu buildpacks:add heroku/nodejs
  senryu buildpacks:add --index 1 heroku-community/apt
  senryu buildpacks:add https://github.com/heroku/heroku-buildpack-pgbouncer#v0.20.0
  senryu buildpacks:set ./tools/buildpack     a directory of the app's own source
  senryu buildpacks:set heroku-community/inline     bin/detect, bin/compile of the app itself";

#[derive(Debug, Args)]
pub struct Remove {
    /// The buildpack, as the list shows it
    #[arg(value_name = "BUILDPACK")]
    buildpack: Option<String>,
    #[command(flatten)]
    app: AppArgs,
    /// The 1-based index in the list of buildpacks
    #[arg(short, long, value_name = "INDEX", allow_negative_numbers = true)]
    index: Option<i64>,
    /// Output in JSON format
    #[arg(short, long)]
    json: bool,
}

fn path(app: &str) -> String {
    format!("/apps/{}/buildpack-installations", segment(app))
}

fn names(installed: &Value) -> Vec<String> {
    let items = installed.as_array().into_iter().flatten();
    items.map(|item| shown(text(item, "/buildpack/url"))).collect()
}

/// With addresses as the list shows them.
fn installed(mut answer: Value) -> Value {
    for item in answer.as_array_mut().into_iter().flatten() {
        if let Some(Value::String(url)) = item.pointer_mut("/buildpack/url") {
            *url = shown(url);
        }
    }
    answer
}

async fn fetch(cx: &Cx, app: &str) -> Result<Vec<String>> {
    Ok(names(&cx.client.get(&path(app)).await?))
}

/// Sets all of an app's buildpacks.
pub async fn put(cx: &Cx, app: &str, list: &[String]) -> Result<Value> {
    let updates: Vec<Value> = list.iter().map(|name| json!({ "buildpack": name })).collect();
    Ok(installed(cx.client.put(&path(app), &json!({ "updates": updates })).await?))
}

async fn list(cx: &Cx, args: List) -> Result {
    let app = cx.app(&args.app)?;
    let installed = installed(cx.client.get(&path(&app)).await?);
    if args.json {
        return cx.ui.json(&installed);
    }
    match names(&installed).as_slice() {
        [] => cx.ui.line(format!("⬢ {app} has no Buildpacks.")),
        [one] => {
            cx.ui.header(&format!("⬢ {app} Buildpack"))?;
            cx.ui.line(one)
        }
        several => {
            cx.ui.header(&format!("⬢ {app} Buildpacks"))?;
            numbered(cx, several, "")
        }
    }
}

fn numbered(cx: &Cx, list: &[String], indent: &str) -> Result {
    for (index, name) in list.iter().enumerate() {
        cx.ui.line(format!("{indent}{}. {name}", index + 1))?;
    }
    Ok(())
}

/// Where in the list an index points; past its end means the end.
fn position(list: &[String], index: Option<i64>) -> Result<Option<usize>> {
    match index.map(usize::try_from) {
        None => Ok(None),
        Some(Ok(index)) if index > 0 => Ok(Some((index - 1).min(list.len()))),
        Some(_) => Err(Failure::refused("Invalid index. Must be greater than 0.")),
    }
}

fn not_set_yet(list: &[String], buildpack: &str) -> Result {
    let shown = shown(buildpack);
    match list.contains(&shown) {
        true => Err(Failure::refused(format!("The buildpack {shown} is already set on your app."))),
        false => Ok(()),
    }
}

/// As the list shows it.
fn shown(buildpack: &str) -> String {
    buildpack.strip_prefix("urn:buildpack:").unwrap_or(buildpack).to_string()
}

async fn add(cx: &Cx, args: Add) -> Result {
    let app = cx.app(&args.app)?;
    let mut list = fetch(cx, &app).await?;
    let at = position(&list, args.index)?;
    not_set_yet(&list, &args.buildpack)?;
    list.insert(at.unwrap_or(list.len()), args.buildpack.clone());
    change(cx, &args.app, args.json, &app, &list, "added").await?;
    buildpacks_known::tell_origin(cx, &args.buildpack).await;
    Ok(())
}

/// Replaces the one at the index, the first one without.
async fn set(cx: &Cx, args: Add) -> Result {
    let app = cx.app(&args.app)?;
    let mut list = fetch(cx, &app).await?;
    let at = position(&list, args.index)?.unwrap_or(0);
    not_set_yet(&list, &args.buildpack)?;
    match list.get_mut(at) {
        Some(place) => *place = args.buildpack.clone(),
        None => list.push(args.buildpack.clone()),
    }
    change(cx, &args.app, args.json, &app, &list, "set").await?;
    buildpacks_known::tell_origin(cx, &args.buildpack).await;
    Ok(())
}

async fn remove(cx: &Cx, args: Remove) -> Result {
    let app = cx.app(&args.app)?;
    let (index, wanted) = match (args.index, args.buildpack) {
        (Some(_), Some(_)) => {
            let message = "Please choose either index or Buildpack, but not both.";
            return Err(Failure::usage(message));
        }
        (None, None) => {
            return Err(Failure::usage(
                "Usage: senryu buildpacks:remove [BUILDPACK_URL]. Must specify a buildpack to \
                 remove, either by index or URL.",
            ));
        }
        (index, wanted) => (index, wanted.unwrap_or_default()),
    };
    let mut list = fetch(cx, &app).await?;
    if list.is_empty() {
        return Err(Failure::refused(format!(
            "No buildpacks were found. Next release on {app} will detect buildpack normally."
        )));
    }
    let at = match index {
        Some(index) => {
            let at = usize::try_from(index - 1).ok().filter(|at| *at < list.len());
            Some(at.ok_or_else(|| out_of_range(list.len()))?)
        }
        None => {
            let wanted = shown(&wanted);
            list.iter().position(|name| *name == wanted)
        }
    };
    let missing = || Failure::refused("Buildpack not found. Nothing was removed.");
    list.remove(at.ok_or_else(missing)?);
    match list.is_empty() {
        true => none_left(cx, args.json, &app, "Buildpack removed.").await,
        false => change(cx, &args.app, args.json, &app, &list, "removed").await,
    }
}

fn out_of_range(length: usize) -> Failure {
    Failure::refused(match length {
        1 => "Invalid index. Only valid value is 1.".to_string(),
        length => format!("Invalid index. Please choose a value between 1 and {length}"),
    })
}

async fn clear(cx: &Cx, args: List) -> Result {
    let app = cx.app(&args.app)?;
    none_left(cx, args.json, &app, "Buildpacks cleared.").await
}

async fn none_left(cx: &Cx, json: bool, app: &str, done: &str) -> Result {
    let installed = put(cx, app, &[]).await?;
    if json {
        return cx.ui.json(&installed);
    }
    let config = config::fetch(cx, app).await?;
    if config.get("BUILDPACK_URL").and_then(Value::as_str).is_none_or(str::is_empty) {
        let next = format!("Next release on {app} will detect buildpacks normally.");
        return cx.ui.line(format!("{done} {next}"));
    }
    cx.ui.line(done)?;
    cx.ui.warn("The BUILDPACK_URL config var is still set and will be used for the next release");
    Ok(())
}

async fn change(
    cx: &Cx,
    args: &AppArgs,
    json: bool,
    app: &str,
    list: &[String],
    done: &str,
) -> Result {
    let installed = put(cx, app, list).await?;
    if json {
        return cx.ui.json(&installed);
    }
    let these = match names(&installed).as_slice() {
        [one] => {
            cx.ui.line(format!("Buildpack {done}. Next release on ⬢ {app} will use {one}."))?;
            "this buildpack"
        }
        several => {
            cx.ui.line(format!("Buildpack {done}. Next release on ⬢ {app} will use:"))?;
            numbered(cx, several, "  ")?;
            "these buildpacks"
        }
    };
    let remote = args.remote.as_deref().unwrap_or("senryu");
    cx.ui.line(format!("Run git push {remote} main to create a new release using {these}."))
}
