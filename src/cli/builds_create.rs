//! `builds:create`, `builds:cancel`, `builds:cache:purge`: a build without git, the end of one, and
//! what builds leave for the next.

use super::app::AppArgs;
use super::builds::{One, find, newest, path};
use super::client::{number, segment, text};
use super::failure::{FAILED, Failure, Result};
use super::{Cx, source, stream};
use crate::limits;
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::time::Instant;

#[derive(Debug, Args)]
#[command(after_help = AFTER_CREATE)]
pub struct Create {
    #[command(flatten)]
    app: AppArgs,
    /// Source tarball (.tar.gz) to upload and build instead of the current directory
    #[arg(long, value_name = "FILE", conflicts_with = "source_url")]
    source_tar: Option<PathBuf>,
    /// Address of a source tarball, which the build fetches
    #[arg(long, value_name = "URL")]
    source_url: Option<String>,
    /// What this source is called, such as a commit or a tag
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// SHA256 of the tarball, in hexadecimal digits
    #[arg(long, value_name = "SHA256")]
    checksum: Option<String>,
}

const AFTER_CREATE: &str =
    "  senryu builds:create              # the current directory, without what .gitignore leaves out
  git archive --format=tar.gz HEAD >app.tar.gz
  senryu builds:create --source-tar app.tar.gz --version \"$(git rev-parse HEAD)\"";

#[derive(Debug, Args)]
pub struct Purge {
    #[command(flatten)]
    app: AppArgs,
}

/// Ends with 0 once the release is made, with 1 if there is none.
pub async fn create(cx: &Cx, args: Create) -> Result {
    let app = cx.app(&args.app)?;
    let url = match (args.source_tar, args.source_url) {
        (_, Some(url)) => url,
        (Some(file), None) => {
            let opened = open(&file).await?;
            upload(cx, "Uploading the source", async { Ok(opened) }).await?
        }
        (None, None) => {
            let dir = cx.env.dir.clone();
            let what = format!("Uploading {}", dir.display());
            upload(cx, &what, async {
                let packed = tokio::task::spawn_blocking(move || source::pack(&dir)).await;
                let packed = packed.map_err(|error| Failure::refused(error.to_string()))?;
                Ok(File::from_std(packed?))
            })
            .await?
        }
    };
    let checksum = args.checksum.map(|sum| match sum.contains(':') {
        true => sum,
        false => format!("SHA256:{sum}"),
    });
    let blob = json!({ "url": url, "version": args.version, "checksum": checksum });
    let build = cx.client.post(&path(&app), &json!({ "source_blob": blob })).await?;
    let id = text(&build, "/id");
    stream::copy(cx, text(&build, "/output_stream_url")).await?;
    let ended = settled(cx, &app, id).await?;
    match text(&ended, "/status") {
        "succeeded" => Ok(()),
        "failed" => Err(Failure::Exit(FAILED)),
        _ => Err(Failure::with_hint(
            format!("Build {id} is still pending."),
            format!("See what became of it with: senryu builds:info {id} --app {app}"),
        )),
    }
}

async fn open(file: &Path) -> Result<File> {
    let unreadable =
        |error: std::io::Error| Failure::refused(format!("Can't read {}: {error}", file.display()));
    let opened = File::open(file).await.map_err(unreadable)?;
    let meta = opened.metadata().await.map_err(unreadable)?;
    if !meta.is_file() {
        return Err(Failure::refused(format!("{} is no file", file.display())));
    }
    Ok(opened)
}

/// Puts a tarball where a build finds it; the address of that.
async fn upload(cx: &Cx, what: &str, tar: impl Future<Output = Result<File>>) -> Result<String> {
    let sending = async {
        let tar = tar.await?;
        let unreadable = |error| Failure::refused(format!("Can't read the source: {error}"));
        let bytes = tar.metadata().await.map_err(unreadable)?.len();
        let source = cx.client.post("/sources", &Value::Null).await?;
        cx.client.upload(text(&source, "/source_blob/put_url"), tar, bytes).await?;
        Ok(text(&source, "/source_blob/get_url").to_string())
    };
    cx.ui.action(what, sending, |_| "done".to_string()).await
}

/// The output of a build ends just when its row says how.
async fn settled(cx: &Cx, app: &str, id: &str) -> Result<Value> {
    let until = Instant::now() + limits::CLIENT_PATIENCE;
    loop {
        let build = find(cx, app, Some(id)).await?;
        if text(&build, "/status") != "pending" || Instant::now() > until {
            return Ok(build);
        }
        tokio::time::sleep(limits::CLIENT_RETRY_PAUSE).await;
    }
}

pub async fn cancel(cx: &Cx, args: One) -> Result {
    let app = cx.app(&args.app)?;
    let build = match &args.build {
        Some(id) => find(cx, &app, Some(id)).await?,
        None => {
            // The one that runs, or else the one that is next.
            let mut builds = newest(cx, &app, limits::BUILDS_SEARCHED).await?;
            builds.retain(|build| text(build, "/status") == "pending");
            builds.reverse();
            let place = |build: &Value| number(build, "/place_in_line").unwrap_or(0);
            builds
                .into_iter()
                .min_by_key(place)
                .ok_or_else(|| Failure::refused(format!("⬢ {app} has no build that is pending.")))?
        }
    };
    let id = text(&build, "/id").to_string();
    let path = format!("{}/{}", path(&app), segment(&id));
    let ended = cx
        .ui
        .action(&format!("Stopping build {id} on ⬢ {app}"), cx.client.delete(&path), |_| {
            "done".to_string()
        })
        .await?;
    match args.json {
        true => cx.ui.json(&ended),
        false => Ok(()),
    }
}

pub async fn purge(cx: &Cx, args: Purge) -> Result {
    let app = cx.app(&args.app)?;
    let path = format!("/apps/{}/build-cache", segment(&app));
    let what = format!("Purging the build cache of ⬢ {app}");
    cx.ui.action(&what, cx.client.delete(&path), |_| "done".to_string()).await.map(|_| ())
}
