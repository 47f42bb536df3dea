//! `buildpacks:search`, `buildpacks:info`, `buildpacks:versions`: what the platform knows of
//! buildpacks that have a name.

use super::Cx;
use super::client::{segment, text};
use super::failure::Result;
use super::format::{object, table};
use clap::{Args, Subcommand};
use serde_json::Value;

#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Search the buildpacks that come with the platform
    #[command(name = "buildpacks:search")]
    Search(Search),
    /// Display what is known of a buildpack
    #[command(name = "buildpacks:info")]
    Info(One),
    /// Display the versions of a buildpack, of which there is one
    #[command(name = "buildpacks:versions")]
    Versions(One),
}

#[derive(Debug, Args)]
pub struct Search {
    /// A part of the name; all are shown without
    #[arg(value_name = "TERM")]
    term: Option<String>,
}

#[derive(Debug, Args)]
pub struct One {
    /// heroku/NAME or heroku-community/NAME
    #[arg(value_name = "BUILDPACK")]
    buildpack: String,
}

pub async fn run(cx: &Cx, command: Commands) -> Result {
    match command {
        Commands::Search(args) => search(cx, args).await,
        Commands::Info(args) => info(cx, args).await,
        Commands::Versions(args) => versions(cx, args).await,
    }
}

/// What cannot be searched.
const OTHERS: &str = "Others: heroku/NAME from Heroku's repositories, or the https:// address \
                      of any git repository.";

async fn search(cx: &Cx, args: Search) -> Result {
    let like = |term: &String| format!("?like%5Bdescription%5D={}", segment(term));
    let query = args.term.as_ref().map(like).unwrap_or_default();
    let found = cx.client.get(&format!("/buildpacks{query}")).await?;
    let row = |one: &Value| ["/id", "/description"].map(|field| text(one, field).into()).to_vec();
    let rows: Vec<_> = found.as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        return cx.ui.line(format!("No buildpacks found. {OTHERS}"));
    }
    table(&cx.ui, &["Buildpack", "Description"], &rows)?;
    cx.ui.say(&format!("\n{OTHERS}\n"));
    Ok(())
}

async fn info(cx: &Cx, args: One) -> Result {
    let one = cx.client.get(&path(&args.buildpack)).await?;
    cx.ui.header(text(&one, "/id"))?;
    let source = text(&one, "/source/url");
    let source = if source.is_empty() { vec![] } else { vec![source.to_string()] };
    let description = vec![text(&one, "/description").to_string()];
    object(&cx.ui, &[("Description", description), ("Source", source)])
}

async fn versions(cx: &Cx, args: One) -> Result {
    let path = format!("{}/revisions", path(&args.buildpack));
    let versions = cx.client.get(&path).await?;
    let row =
        |one: &Value| ["/release", "/status"].map(|field| text(one, field).to_string()).to_vec();
    let rows: Vec<_> = versions.as_array().into_iter().flatten().map(row).collect();
    table(&cx.ui, &["Version", "Status"], &rows)
}

/// After such a name was chosen: whether it exists is seen by the next build only.
pub async fn tell_origin(cx: &Cx, buildpack: &str) {
    if buildpack.contains(':') || buildpack.starts_with('.') {
        return;
    }
    // A server that does not know has nothing to tell.
    let Ok(one) = cx.client.get(&path(buildpack)).await else { return };
    let address = text(&one, "/source/url");
    if !address.is_empty() {
        cx.ui.warn(&format!("{buildpack} is not bundled: builds fetch it from {address}"));
    }
}

fn path(buildpack: &str) -> String {
    format!("/buildpacks/{}", segment(buildpack))
}
