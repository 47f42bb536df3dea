//! `run` and `run:detached`: one-off dynos.

use super::app::AppArgs;
use super::client::{segment, text};
use super::failure::{Failure, Result};
use super::{Cx, attach, logs};
use crate::frames;
use clap::Args;
use serde_json::{Map, Value, json};

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    dyno: Dyno,
    /// Pass through the exit status, which is always done: for scripts written for Heroku
    #[arg(short = 'x', long)]
    exit_code: bool,
    /// Give the command pipes and no terminal, with standard error apart
    #[arg(long)]
    no_tty: bool,
    #[arg(long, hide = true)]
    listen: bool,
    #[arg(long, hide = true)]
    no_notify: bool,
}

#[derive(Debug, Args)]
pub struct Detached {
    #[command(flatten)]
    dyno: Dyno,
    /// Stream the dyno's log
    #[arg(short, long)]
    tail: bool,
}

#[derive(Debug, Args)]
struct Dyno {
    #[command(flatten)]
    app: AppArgs,
    /// Environment variables for this dyno, as "KEY=VALUE;KEY=VALUE"
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Dyno size
    #[arg(short, long, value_name = "SIZE")]
    size: Option<String>,
    /// Process type that the dyno is named after
    #[arg(long = "type", value_name = "TYPE")]
    process_type: Option<String>,
    #[arg(long, hide = true)]
    no_launcher: bool,
    /// The command, or a process type for the command that it has. Flags of ours may stand before
    /// it or behind it; what follows -- is the command's
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
    #[arg(allow_hyphen_values = true)]
    command: Vec<String>,
}

pub async fn run(cx: &Cx, args: Run) -> Result {
    let app = cx.app(&args.dyno.app)?;
    // Standard output that goes elsewhere must not get a terminal's line ends.
    let terminal = cx.ui.asks && cx.ui.width.is_some() && !args.no_tty;
    let command = joined(&args.dyno.command);
    let mut env = environment(&args.dyno.env)?;
    if terminal {
        env.insert("TERM".to_string(), json!(cx.env.var("TERM").unwrap_or("xterm")));
        if let Some(size) = attach::window() {
            env.insert("COLUMNS".to_string(), json!(size.0));
            env.insert("LINES".to_string(), json!(size.1));
        }
    }
    let mut body = args.dyno.body(&command, env);
    body["attach"] = json!(true);
    body["force_no_tty"] = json!(!terminal);
    let work = async {
        let dyno = make(cx, &app, &body).await?;
        // The address is the official client's; ours is the server that it speaks to already.
        let secret = text(&dyno, "/attach_url").rsplit('/').next().unwrap_or_default();
        let path = format!("{}{}", frames::PATH, segment(secret));
        let connection = cx.client.upgrade(&path, frames::PROTOCOL).await?;
        Ok((dyno, connection))
    };
    let what = format!("Running {command} on ⬢ {app}");
    let done = |(dyno, _): &(Value, _)| format!("up, {}", text(dyno, "/name"));
    let (dyno, connection) = cx.ui.action(&what, work, done).await?;
    attach::converse(connection, terminal, text(&dyno, "/name")).await
}

pub async fn detached(cx: &Cx, args: Detached) -> Result {
    let app = cx.app(&args.dyno.app)?;
    let command = joined(&args.dyno.command);
    let env = environment(&args.dyno.env)?;
    let mut body = args.dyno.body(&command, env);
    body["attach"] = json!(false);
    let what = format!("Running {command} on ⬢ {app}");
    let done = |dyno: &Value| format!("done, {}", text(dyno, "/name"));
    let dyno = cx.ui.action(&what, make(cx, &app, &body), done).await?;
    let name = text(&dyno, "/name");
    if args.tail {
        return logs::tail_of(cx, &app, name).await;
    }
    cx.ui.say(&format!("Run senryu logs --app {app} --dyno-name {name} to view the output.\n"));
    Ok(())
}

async fn make(cx: &Cx, app: &str, body: &Value) -> Result<Value> {
    cx.client.post(&format!("/apps/{}/dynos", segment(app)), body).await
}

impl Dyno {
    fn body(&self, command: &str, env: Map<String, Value>) -> Value {
        let mut body = json!({ "command": command });
        if !env.is_empty() {
            body["env"] = Value::Object(env);
        }
        for (field, value) in [("size", &self.size), ("type", &self.process_type)] {
            if let Some(value) = value {
                body[field] = json!(value);
            }
        }
        body
    }
}

/// One word is a command line as it is; of several, those with spaces are quoted. So
/// `run echo \$DYNO` shows the dyno's own variable, as with Heroku's client.
fn joined(words: &[String]) -> String {
    if let [line] = words {
        return line.clone();
    }
    let quoted = words.iter().map(|word| match word.contains([' ', '"']) || word.is_empty() {
        true => format!("\"{}\"", word.replace('"', "\\\"")),
        false => word.clone(),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn environment(flags: &[String]) -> Result<Map<String, Value>> {
    let mut env = Map::new();
    for pair in flags.iter().flat_map(|flag| flag.split(';')).filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                env.insert(key.trim().to_string(), json!(value));
            }
            _ => {
                return Err(Failure::usage(format!("--env {pair}: must be KEY=VALUE")));
            }
        }
    }
    Ok(env)
}

/// Flags with a value that `run` takes, wherever they stand before `--`.
const WITH_VALUE: [&str; 9] =
    ["-a", "--app", "-r", "--remote", "-e", "--env", "-s", "--size", "--type"];
const WITHOUT_VALUE: [&str; 6] =
    ["-x", "--exit-code", "--no-tty", "--no-notify", "--no-launcher", "--listen"];
const TAIL: [&str; 2] = ["-t", "--tail"];

/// `run rake db:migrate -a shop --trace` means `run -a shop -- rake db:migrate --trace`: our flags
/// are taken out wherever they stand, as Heroku's client does, and the rest is the command.
pub fn sorted(args: Vec<String>) -> Vec<String> {
    let detached = args.first().is_some_and(|name| name == "run:detached");
    if !detached && args.first().is_none_or(|name| name != "run") {
        return args;
    }
    let mut rest = args.into_iter();
    let mut flags: Vec<String> = rest.next().into_iter().collect();
    let mut command: Vec<String> = Vec::new();
    while let Some(word) = rest.next() {
        let with_value = |flag: &str| {
            flag.starts_with("--") && word.strip_prefix(flag).is_some_and(|v| v.starts_with('='))
        };
        if word == "--" {
            command.extend(rest);
            break;
        } else if WITH_VALUE.contains(&word.as_str()) {
            flags.push(word);
            flags.extend(rest.next());
        } else if WITHOUT_VALUE.contains(&word.as_str())
            || (detached && TAIL.contains(&word.as_str()))
            || WITH_VALUE.iter().any(|flag| with_value(flag))
            || (command.is_empty() && ["-h", "--help"].contains(&word.as_str()))
        {
            flags.push(word);
        } else {
            command.push(word);
        }
    }
    if !command.is_empty() {
        flags.push("--".to_string());
        flags.extend(command);
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_string).collect()
    }

    #[test]
    fn our_flags_may_stand_anywhere_before_the_dashes() {
        for (given, meant) in [
            ("run bash -a shop", "run -a shop -- bash"),
            ("run -a shop rake db:migrate --trace", "run -a shop -- rake db:migrate --trace"),
            ("run ls -l --size=Basic -t", "run --size=Basic -- ls -l -t"),
            ("run -x -- app --app=x -x", "run -x -- app --app=x -x"),
            ("run:detached sleep 5 -t", "run:detached -t -- sleep 5"),
            ("run --help", "run --help"),
            ("run node --help", "run -- node --help"),
            ("run", "run"),
            ("ps -a x", "ps -a x"),
        ] {
            assert_eq!(sorted(words(given)).join(" "), meant, "{given}");
        }
    }

    #[test]
    fn words_with_spaces_stay_words() {
        let line = |words: &[&str]| {
            joined(&words.iter().map(|word| (*word).to_string()).collect::<Vec<_>>())
        };
        assert_eq!(line(&["echo $DYNO; false"]), "echo $DYNO; false");
        assert_eq!(line(&["echo", "$DYNO"]), "echo $DYNO");
        assert_eq!(line(&["sh", "-c", "echo \"a b\""]), r#"sh -c "echo \"a b\"""#);
        assert_eq!(line(&["printf", "%s", ""]), "printf %s \"\"");
    }

    #[test]
    fn variables_come_in_herokus_form() {
        let env = environment(&["A=1;B=x=y".into(), "C=".into()]).unwrap();
        assert_eq!(Value::Object(env), json!({"A": "1", "B": "x=y", "C": ""}));
        assert_eq!(environment(&["A".into()]).unwrap_err().status(), 2);
    }
}
