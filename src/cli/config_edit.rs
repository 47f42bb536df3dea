//! `config:edit`: all config vars of an app in the user's editor.

use super::app::AppArgs;
use super::config::{change, fetch};
use super::failure::{Failure, Result};
use super::ui::read_text;
use super::{Cx, dotenv};
use crate::limits;
use clap::Args;
use serde_json::{Map, Value, json};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct Edit {
    #[command(flatten)]
    app: AppArgs,
    /// Return at once, without waiting until the new release serves
    #[arg(long)]
    no_wait: bool,
}

pub async fn edit(cx: &Cx, args: Edit) -> Result {
    let app = cx.app(&args.app)?;
    let before = fetch(cx, &app).await?;
    let text: String = before
        .iter()
        .map(|(key, value)| dotenv::line(key, value.as_str().unwrap_or_default()) + "\n")
        .collect();
    let changes = changes(&before, &edited(cx, &text)?)?;
    if changes.is_empty() {
        cx.ui.warn("No changes to config vars detected");
        return Ok(());
    }
    if fetch(cx, &app).await? != before {
        return Err(Failure::refused(
            "Config changed on server. Refusing to update: please start over.",
        ));
    }
    let names: Vec<&str> = changes.keys().map(String::as_str).collect();
    let what = format!("Updating {} and restarting ⬢ {app}", names.join(", "));
    change(cx, &app, &what, Value::Object(changes), !args.no_wait).await
}

/// What differs between the config vars and the text that came back: removed ones are null.
fn changes(before: &Map<String, Value>, text: &str) -> Result<Map<String, Value>> {
    let after = dotenv::parse(text)
        .map_err(|problem| Failure::refused(format!("Nothing has been changed: {problem}")))?;
    let mut changes = Map::new();
    for key in before.keys().filter(|key| !after.iter().any(|(kept, _)| kept == *key)) {
        changes.insert(key.clone(), Value::Null);
    }
    for (key, value) in after {
        if before.get(&key).and_then(Value::as_str) != Some(value.as_str()) {
            changes.insert(key, json!(value));
        }
    }
    Ok(changes)
}

/// A file that is gone when this is dropped: it holds secrets.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn edited(cx: &Cx, text: &str) -> Result<String> {
    let failed = |error: std::io::Error| Failure::refused(format!("Can't edit: {error}"));
    // In memory where there is such a place, so that no secret reaches a disk.
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let draft = Draft(dir.join(format!("senryu-config-{}.env", uuid::Uuid::new_v4())));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft.0)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    drop(file);
    let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| cx.env.var(name)).unwrap_or("vi");
    // An editor may be given with flags, as in `code --wait`.
    let status = std::process::Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(&draft.0)
        .status()
        .map_err(failed)?;
    if !status.success() {
        return Err(Failure::refused(format!("{editor} ended with {status}: nothing changed")));
    }
    read_text(File::open(&draft.0).map_err(failed)?, limits::CONFIG_FILE_BYTES, "the text")
}
