//! `config`, `config:get`, `config:set`, `config:unset`: the config vars of an app.

use super::app::AppArgs;
use super::client::segment;
use super::failure::{Failure, Result};
use super::format::{self, shell_word};
use super::ui::read_text;
use super::{Cx, dotenv, rollout};
use crate::limits;
use clap::Args;
use serde_json::{Map, Value, json};

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    app: AppArgs,
    /// Output config vars in JSON format
    #[arg(short, long)]
    json: bool,
    /// Output config vars in shell format
    #[arg(short, long)]
    shell: bool,
}

#[derive(Debug, Args)]
pub struct Get {
    /// Keys of the config vars
    #[arg(value_name = "KEY", required = true)]
    keys: Vec<String>,
    #[command(flatten)]
    app: AppArgs,
    /// Output in JSON format
    #[arg(short, long)]
    json: bool,
    /// Output config vars in shell format
    #[arg(short, long)]
    shell: bool,
}

#[derive(Debug, Args)]
#[command(after_help = AFTER_SET)]
pub struct Set {
    /// KEY=VALUE pairs. One KEY alone with --file or --stdin gets the whole content as its value.
    /// `-` is the same as --stdin
    #[arg(value_name = "KEY=VALUE")]
    vars: Vec<String>,
    #[command(flatten)]
    app: AppArgs,
    /// Read config vars from a file (`-`: standard input)
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// Read config vars from standard input
    #[arg(long, conflicts_with = "file")]
    stdin: bool,
    /// Return at once, without waiting until the new release serves
    #[arg(long)]
    no_wait: bool,
}

const AFTER_SET: &str = "\
Arguments can be seen by everybody on this machine, and stay in the shell's history: give secrets \
by file or standard input. Those are never printed.

Files hold KEY=VALUE lines as in .env (comments, quotes, several lines inside quotes; nothing is \
expanded, a $ is a $) or one JSON object of strings.

  senryu config:set RAILS_ENV=staging
  senryu config:set --file .env
  pass show shop | senryu config:set -
  senryu config:set TLS_KEY --file key.pem";

#[derive(Debug, Args)]
pub struct Unset {
    /// Keys of the config vars
    #[arg(value_name = "KEY", required = true)]
    keys: Vec<String>,
    #[command(flatten)]
    app: AppArgs,
    /// Return at once, without waiting until the new release serves
    #[arg(long)]
    no_wait: bool,
}

fn path(app: &str) -> String {
    format!("/apps/{}/config-vars", segment(app))
}

pub async fn fetch(cx: &Cx, app: &str) -> Result<Map<String, Value>> {
    match cx.client.get(&path(app)).await? {
        Value::Object(vars) => Ok(vars),
        _ => Err(Failure::refused("The server answered something that is no set of config vars")),
    }
}

fn value_text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub async fn list(cx: &Cx, args: List) -> Result {
    let app = cx.app(&args.app)?;
    let vars = fetch(cx, &app).await?;
    if args.json {
        return cx.ui.json(&Value::Object(vars));
    }
    if args.shell {
        for (key, value) in &vars {
            cx.ui.line(format!("{key}={}", shell_word(value_text(value))))?;
        }
        return Ok(());
    }
    cx.ui.header(&format!("{app} Config Vars"))?;
    show(cx, vars.iter().map(|(key, value)| (key.as_str(), value_text(value))))
}

fn show<'a>(cx: &Cx, vars: impl Iterator<Item = (&'a str, &'a str)>) -> Result {
    let pairs: Vec<(&str, Vec<String>)> =
        vars.map(|(key, value)| (key, vec![value.to_string()])).collect();
    format::object(&cx.ui, &pairs)
}

pub async fn get(cx: &Cx, args: Get) -> Result {
    let app = cx.app(&args.app)?;
    let vars = fetch(cx, &app).await?;
    let value = |key: &String| vars.get(key).map(value_text);
    if args.json {
        let mut found: Vec<Value> =
            args.keys.iter().map(|key| json!({"key": key, "value": value(key)})).collect();
        return match found.len() {
            1 => cx.ui.json(&found.remove(0)),
            _ => cx.ui.json(&Value::Array(found)),
        };
    }
    for key in &args.keys {
        match (args.shell, value(key).unwrap_or_default()) {
            (true, value) => cx.ui.line(format!("{key}={}", shell_word(value)))?,
            (false, value) => cx.ui.line(value)?,
        }
    }
    Ok(())
}

pub async fn set(cx: &Cx, args: Set) -> Result {
    let app = cx.app(&args.app)?;
    let wait = !args.no_wait;
    let (vars, shown) = collected(cx, args)?;
    let names: Vec<&str> = vars.iter().map(|(key, _)| key.as_str()).collect();
    fits(&vars)?;
    let what = format!("Setting {} and restarting ⬢ {app}", names.join(", "));
    let body: Map<String, Value> =
        vars.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    change(cx, &app, &what, Value::Object(body), wait).await?;
    show(cx, shown.iter().map(|(key, value)| (key.as_str(), value.as_str())))
}

pub async fn unset(cx: &Cx, args: Unset) -> Result {
    let app = cx.app(&args.app)?;
    let what = format!("Unsetting {} and restarting ⬢ {app}", args.keys.join(", "));
    let body: Map<String, Value> = args.keys.into_iter().map(|key| (key, Value::Null)).collect();
    change(cx, &app, &what, Value::Object(body), !args.no_wait).await
}

/// Changes config vars and waits for the release that this makes.
pub async fn change(cx: &Cx, app: &str, what: &str, body: Value, wait: bool) -> Result {
    let work = async {
        cx.client.patch(&path(app), &body).await?;
        let version = rollout::last_version(cx, app).await?;
        if wait {
            rollout::settle(cx, app, version).await?;
        }
        Ok(version)
    };
    let done = |version: &Option<i64>| match version {
        Some(version) => format!("done, v{version}"),
        None => "done".to_string(),
    };
    cx.ui.action(what, work, done).await.map(|_| ())
}

type Pairs = Vec<(String, String)>;

/// All pairs of a `config:set`, and those of them that were typed, which may be printed.
fn collected(cx: &Cx, args: Set) -> Result<(Pairs, Pairs)> {
    let dash = args.vars.iter().any(|word| word == "-");
    let source = match (args.file, args.stdin || dash) {
        (Some(_), true) => return Err(Failure::usage("Give --file or standard input, not both")),
        (Some(file), false) => Some(file),
        (None, true) => Some("-".to_string()),
        (None, false) => None,
    };
    let mut typed = Pairs::new();
    let mut bare = Vec::new();
    for word in args.vars.into_iter().filter(|word| word != "-") {
        match word.split_once('=') {
            Some((key, value)) => typed.push((key.to_string(), value.to_string())),
            None => bare.push(word),
        }
    }
    let mut vars = match (source, bare.as_slice()) {
        (None, []) if typed.is_empty() => {
            return Err(Failure::usage(
                "Usage: senryu config:set KEY1=VALUE1 [KEY2=VALUE2 ...]\nMust specify KEY and \
                 VALUE to set.",
            ));
        }
        (None, []) => Pairs::new(),
        (None, [word, ..]) => {
            return Err(Failure::usage(format!(
                "{word} is invalid. Must be in the format FOO=bar."
            )));
        }
        (Some(source), []) => dotenv::parse(&content(cx, &source)?)
            .map_err(|message| Failure::refused(format!("{}: {message}", named(&source))))?,
        (Some(source), [key]) => {
            let text = content(cx, &source)?;
            vec![(key.clone(), text.strip_suffix('\n').unwrap_or(&text).to_string())]
        }
        (Some(_), _) => {
            return Err(Failure::usage("Only one KEY can take the whole content of a file"));
        }
    };
    vars.extend(typed.iter().cloned());
    match vars.is_empty() {
        true => Err(Failure::refused("There is no config var in it: nothing has been changed")),
        false => Ok((vars, typed)),
    }
}

/// What is far too large is refused before it is sent: the server would not read it to its end,
/// and so could not name it.
fn fits(vars: &[(String, String)]) -> Result {
    let too_large = vars.iter().find(|(_, value)| value.len() > limits::CONFIG_VARS_BYTES);
    match too_large {
        None => Ok(()),
        Some((key, value)) => Err(Failure::refused(format!(
            "{key} has {} bytes, and all config vars of an app may take {}: nothing has been \
             changed. Keep files in the app, or in a store that a config var names",
            value.len(),
            limits::CONFIG_VARS_BYTES
        ))),
    }
}

fn named(source: &str) -> &str {
    if source == "-" { "standard input" } else { source }
}

fn content(cx: &Cx, source: &str) -> Result<String> {
    if source == "-" {
        return cx.ui.read_input(limits::CONFIG_FILE_BYTES);
    }
    let file = std::fs::File::open(cx.env.dir.join(source))
        .map_err(|error| Failure::refused(format!("Can't read {source}: {error}")))?;
    read_text(file, limits::CONFIG_FILE_BYTES, source)
}
