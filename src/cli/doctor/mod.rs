//! `doctor`: whether this machine has what the platform needs. Each finding comes with the
//! command that mends it.

mod docker;
mod firewall;
mod host;
mod isolation;
mod names;
mod port;

use super::failure::{FAILED, Failure, Result};
use super::{Cx, socket};
use crate::config::ServerSettings;
use crate::limits;
use clap::Args;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use tokio::time::timeout;

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct Doctor {
    /// Output in JSON format
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: ServerSettings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Ok,
    Warn,
    Fail,
}

#[derive(Debug)]
struct Finding {
    level: Level,
    what: &'static str,
    message: String,
    /// A command, or what to do where no command does it.
    mend: Option<String>,
}

impl Finding {
    fn ok(what: &'static str, message: impl Into<String>) -> Self {
        Self { level: Level::Ok, what, message: message.into(), mend: None }
    }

    fn warn(what: &'static str, message: impl Into<String>, mend: &str) -> Self {
        Self { level: Level::Warn, what, message: message.into(), mend: Some(mend.to_string()) }
    }

    fn fail(what: &'static str, message: impl Into<String>, mend: &str) -> Self {
        Self { level: Level::Fail, what, message: message.into(), mend: Some(mend.to_string()) }
    }
}

pub async fn doctor(cx: &Cx, args: Doctor) -> Result {
    let settings = &args.settings;
    let mut findings = vec![match settings.check() {
        Ok(()) => Finding::ok("settings", "make sense"),
        Err(message) => {
            let mend = "edit /etc/senryu/senryu.toml, then: senryu server --check";
            Finding::fail("settings", message, mend)
        }
    }];
    findings.extend(docker::look(settings).await);
    findings.push(program("git", &["--version"], "apt-get install git").await);
    findings.push(program("iptables", &["--version"], "apt-get install iptables").await);
    findings.push(host::disk(&settings.data_dir));
    findings.push(host::memory());
    findings.push(host::connections());
    findings.push(host::clock(&settings.database()).await);
    findings.push(host::names(settings).await);
    findings.push(run_dir(&settings.run_dir));
    findings.push(master_key(&settings.master_key_file));
    let server = server(&settings.server_socket()).await;
    let running = server.level == Level::Ok;
    findings.push(server);
    findings.extend(port::look(settings, running).await);
    if running {
        findings.extend(names::look(&settings.admin_socket()).await);
    }
    // What a server has made here, if one has.
    let made = std::fs::read_to_string(settings.data_dir.join("installation"));
    if let Some(installation) = made.ok().as_deref().map(str::trim).filter(|id| !id.is_empty()) {
        findings.extend(firewall::look(installation, running).await);
        findings.extend(isolation::probe(settings, installation).await);
    }
    match args.json {
        true => {
            let list = findings.iter().map(as_json).collect();
            cx.ui.json(&Value::Array(list))?;
        }
        false => print(cx, &findings)?,
    }
    match findings.iter().any(|finding| finding.level == Level::Fail) {
        true => Err(Failure::Exit(FAILED)),
        false => Ok(()),
    }
}

fn as_json(finding: &Finding) -> Value {
    let level = match finding.level {
        Level::Ok => "ok",
        Level::Warn => "warn",
        Level::Fail => "fail",
    };
    json!({
        "level": level, "what": finding.what, "message": finding.message, "mend": finding.mend,
    })
}

fn print(cx: &Cx, findings: &[Finding]) -> Result {
    for finding in findings {
        let (word, colour) = match finding.level {
            Level::Ok => ("ok  ", "32"),
            Level::Warn => ("warn", "33"),
            Level::Fail => ("FAIL", "31"),
        };
        let word = cx.ui.painted(colour, word);
        cx.ui.line(format!("{word}  {}: {}", finding.what, finding.message))?;
        if let Some(mend) = &finding.mend {
            cx.ui.line(format!("      → {mend}"))?;
        }
    }
    Ok(())
}

async fn asked(socket: &Path, path: &str) -> std::result::Result<(u16, Value), String> {
    match timeout(limits::DOCTOR_TIMEOUT, socket::send(socket, path, None)).await {
        Ok(result) => result.map_err(|failure| failure.to_string()),
        Err(_) => Err(format!("{} did not answer", socket.display())),
    }
}

/// What a program prints, if it is there and ends well.
async fn output_of(name: &str, args: &[&str]) -> Option<String> {
    let run = tokio::process::Command::new(name)
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(limits::DOCTOR_TIMEOUT, run).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn program(name: &'static str, args: &[&str], mend: &str) -> Finding {
    let run = tokio::process::Command::new(name)
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match timeout(limits::DOCTOR_TIMEOUT, run).await {
        Ok(Ok(output)) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            Finding::ok(name, text.lines().next().unwrap_or_default().to_string())
        }
        Ok(Ok(output)) => Finding::fail(name, format!("ends with {}", output.status), mend),
        Ok(Err(error)) => Finding::fail(name, format!("can't be run: {error}"), mend),
        Err(_) => Finding::fail(name, "does not answer", mend),
    }
}

fn run_dir(run_dir: &Path) -> Finding {
    let what = "run dir";
    let place = run_dir.display();
    let mend = "choose a folder on a tmpfs with --run-dir (mount -t tmpfs tmpfs /run/senryu)";
    match nix::sys::statfs::statfs(host::existing(run_dir)) {
        Ok(stat) if stat.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC => {
            Finding::ok(what, format!("{place} is on a tmpfs"))
        }
        Ok(_) => {
            let message = format!("{place} is on a disk: config vars would be written to it");
            Finding::warn(what, message, mend)
        }
        Err(error) => Finding::fail(what, format!("{place}: {error}"), mend),
    }
}

fn master_key(path: &Path) -> Finding {
    use std::os::unix::fs::PermissionsExt;
    let what = "master key";
    let place = path.display();
    match std::fs::metadata(path) {
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => Finding::fail(
            what,
            format!("{place} can be read by others"),
            &format!("chmod 600 {place}"),
        ),
        Ok(_) => Finding::ok(what, format!("{place}; keep a copy away from this machine")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Finding::ok(what, format!("{place} will be made on the first start"))
        }
        Err(error) => Finding::warn(what, format!("{place}: {error}"), "sudo senryu doctor"),
    }
}

async fn server(path: &Path) -> Finding {
    match asked(path, "/account").await {
        Ok((status, _)) if status < 500 => {
            Finding::ok("server", format!("answers on {}", path.display()))
        }
        Ok((status, _)) => Finding::fail(
            "server",
            format!("answers HTTP {status} on {}", path.display()),
            "read its log: journalctl -u senryu, or /var/log/senryu/server.log",
        ),
        Err(message) => Finding::warn("server", message, "scripts/up, or: senryu server"),
    }
}
