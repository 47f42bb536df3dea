//! `doctor`: whether this machine has what the platform needs. Each finding comes with the
//! command that mends it.

mod docker;
mod firewall;
mod host;
mod isolation;
mod names;

use super::failure::{FAILED, Failure, Result};
use super::{Cx, socket};
use crate::config::ServerSettings;
use crate::limits;
use clap::Args;
use serde_json::{Value, json};
use std::net::SocketAddr;
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
        Err(message) => Finding::fail("settings", message, "correct the setting that it names"),
    }];
    findings.extend(docker::look(settings).await);
    findings.push(program("git", &["--version"], "apt-get install git").await);
    findings.push(program("iptables", &["--version"], "apt-get install iptables").await);
    findings.push(host::disk(&settings.data_dir));
    findings.push(host::memory());
    findings.push(host::clock(&settings.database()).await);
    findings.push(host::names(settings).await);
    findings.push(run_dir(&settings.run_dir));
    findings.push(master_key(&settings.master_key_file));
    let server = server(&settings.server_socket()).await;
    let running = server.level == Level::Ok;
    findings.push(server);
    findings.push(listener(settings.listen, running).await);
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
        Err(error) => {
            let mend = "run doctor as the user that the server runs as";
            Finding::warn(what, format!("{place}: {error}"), mend)
        }
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
            "read its log: journalctl -u senryu-server, or /var/log/senryu/server.log",
        ),
        Err(message) => Finding::warn("server", message, "scripts/up, or: senryu server"),
    }
}

/// Who has the public port: our router, nobody, or somebody else.
async fn listener(listen: SocketAddr, running: bool) -> Finding {
    let what = "port";
    let local = match listen.ip().is_unspecified() {
        true => SocketAddr::from(([127, 0, 0, 1], listen.port())),
        false => listen,
    };
    let connect = timeout(limits::DOCTOR_TIMEOUT, tokio::net::TcpStream::connect(local)).await;
    if !matches!(connect, Ok(Ok(_))) {
        return match running {
            true => Finding::fail(
                what,
                format!("nothing listens on {listen}, though the server runs"),
                "restart the server: it starts the router (systemctl restart senryu-router)",
            ),
            false => Finding::ok(what, format!("{listen} is free")),
        };
    }
    match routed(local).await {
        Some(true) => Finding::ok(what, format!("the router answers on {listen}")),
        Some(false) if running => Finding::warn(
            what,
            format!("the router on {listen} does not reach the server"),
            "restart the server",
        ),
        _ => Finding::fail(
            what,
            format!("another program listens on {listen}"),
            &format!("find it with: ss -ltnp 'sport = :{}', or choose --listen", listen.port()),
        ),
    }
}

/// Whether the API answers behind this address: it refuses a caller without a token in its own
/// words. `None` when what answers is not ours.
async fn routed(local: SocketAddr) -> Option<bool> {
    let client = super::client::Client::new(
        &format!("http://localhost:{}", local.port()),
        super::client::Auth::None,
        false,
    );
    let url = format!("http://{local}/account");
    let response =
        timeout(limits::DOCTOR_TIMEOUT, client.ok()?.open(&url, &[])).await.ok()?.ok()?;
    let status = response.status().as_u16();
    let body: Value = timeout(limits::DOCTOR_TIMEOUT, response.json()).await.ok()?.ok()?;
    match (status, body.get("id").and_then(Value::as_str)) {
        (401, Some("unauthorized")) => Some(true),
        (503, Some(_)) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_another_program_has_is_found() {
        let listener_socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener_socket.local_addr().unwrap();
        let answer = std::thread::spawn(move || {
            // The first connection only asks whether somebody listens.
            for _ in 0..2 {
                let (mut stream, _) = listener_socket.accept().unwrap();
                let _ = std::io::Write::write_all(
                    &mut stream,
                    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi",
                );
            }
        });
        let finding = listener(address, false).await;
        assert_eq!(finding.level, Level::Fail, "{finding:?}");
        assert!(finding.message.contains("another program"));
        answer.join().unwrap();
        assert_eq!(listener(address, false).await.level, Level::Ok);
        assert_eq!(listener(address, true).await.level, Level::Fail);
    }
}
