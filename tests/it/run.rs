//! One-off dynos as their users meet them: in a real terminal, through pipes, detached, and when
//! somebody is lost on the way.

use crate::support::terminal::Terminal;
use crate::support::{App, Platform, docker, eventually, process, until};
use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// `tiny` with the full-screen program beside it.
fn app_on(platform: Arc<Platform>) -> App {
    let app = platform.app_with("tiny");
    app.write("editor.js", include_str!("../fixtures/programs/editor.js"));
    app.write("Procfile", "web: node server.js\ntask: echo task of $DYNO with\n");
    app.commit("with programs");
    app.push().succeeded();
    app
}

fn run_command(app: &App, arguments: &[&str]) -> Command {
    let mut command = app.platform.cli_command();
    command.args(["run", "--app", &app.name]).args(arguments);
    command
}

fn one_offs(app: &App) -> Vec<String> {
    let names = app.ps().into_iter().map(|(name, _)| name);
    names.filter(|name| !name.starts_with("web.")).collect()
}

#[test]
fn a_full_screen_program_has_a_real_terminal() {
    let app = app_on(Platform::shared());
    let mut terminal = Terminal::start(&run_command(&app, &["node", "editor.js"]), 91, 27);
    terminal.shows("Running node editor.js on");
    terminal.shows("up, run.");
    terminal.shows("\x1b[?1049h");
    terminal.shows("91x27 key=none.");
    assert!(!terminal.echoes(), "the dyno has the keys");
    terminal.types("a");
    terminal.shows("key=61.");
    terminal.resize(120, 40);
    terminal.shows("120x40 key=61.");
    // Ctrl-C and Ctrl-Z are keys like any other to a program that wants them.
    terminal.types("\x03");
    terminal.shows("120x40 key=3.");
    terminal.types("\x1a");
    terminal.shows("key=1a.");
    terminal.types("q");
    terminal.shows("\x1b[?1049l");
    assert_eq!(terminal.ended(), 7);
    assert!(terminal.echoes(), "the terminal is as it was");
    app.log_says("Process exited with status 7");
    app.log_says("State changed from up to complete");
    eventually("nothing of it is left", || one_offs(&app).is_empty() && app.dynos().len() == 1);
}

#[test]
fn a_shell_in_a_terminal_has_job_control() {
    let app = app_on(Platform::shared());
    let mut terminal = Terminal::start(&run_command(&app, &["bash"]), 100, 30);
    terminal.shows("$ ");
    terminal.types("stty size; echo is-$DYNO-$TERM | tr a-z A-Z\n");
    terminal.shows("30 100");
    terminal.shows("IS-RUN.");
    terminal.shows("-XTERM-256COLOR");
    terminal.shows("$ ");
    terminal.types("sleep 300\n");
    // A key that stops a program also drops what was typed before it and not read yet.
    terminal.shows("sleep 300\r\n");
    terminal.shows_after("\x1a", "Stopped");
    terminal.shows("$ ");
    terminal.types("fg\n");
    terminal.shows("sleep 300\r\n");
    terminal.shows_after("\x03", "^C");
    until("the shell ends", Duration::from_secs(20), || {
        terminal.types("exit 3\n");
        terminal.has_ended()
    });
    assert_eq!(terminal.ended(), 3);

    let mut terminal = Terminal::start(&run_command(&app, &["sleep", "300"]), 80, 24);
    terminal.shows("up, run.");
    until("it sleeps", Duration::from_secs(20), || {
        (app.ps().iter().any(|(name, _)| name.starts_with("run."))
            && app.log().contains("Starting process with command `sleep 300`"))
        .then_some(())
    });
    until("it is interrupted", Duration::from_secs(20), || {
        terminal.types("\x03");
        terminal.has_ended()
    });
    assert_eq!(terminal.ended(), 130);
}

#[test]
fn pipes_keep_input_output_errors_and_status_apart() {
    let app = app_on(Platform::shared());
    let output = app.cli_with_input(&["run", "cat; echo oops >&2; exit 7"], b"one\r\ntwo");
    assert_eq!((output.status, output.stdout.as_str()), (7, "one\r\ntwo"));
    assert!(output.stderr.ends_with("oops\n"), "{}", output.stderr);
    assert!(output.stderr.contains("cat; echo oops >&2; exit 7 on ⬢"), "{}", output.stderr);

    let line = ["run", "echo $A-$B-$HEROKU_RELEASE_VERSION-$DYNO", "--env", "A=1;B=x=y"];
    let output = app.cli(&line).succeeded();
    assert!(output.stdout.starts_with("1-x=y-v3-run."), "{}", output.stdout);
    let output = app.cli(&["run", "task", "more", "words", "--type", "worker"]).succeeded();
    assert!(output.stdout.starts_with("task of worker."), "{}", output.stdout);
    assert!(output.stdout.ends_with(" with more words\n"), "{}", output.stdout);
    app.cli(&["run", "-x", "--no-tty", "-s", "standard-2x", "no-such-program", "-y"])
        .failed(127)
        .says("no-such-program: command not found");
    app.cli(&["run", "-s", "enormous", "true"]).failed(1).says("Size enormous is unknown");
    app.cli(&["run", "-e", "HEROKU_X=1", "true"]).failed(1).says("reserved");
    app.cli(&["run"]).failed(2).says("COMMAND");
    let empty = app.platform.empty_app();
    empty.cli(&["run", "true"]).failed(1).says("has no code to run yet");
    // Its own size and its own number, also for who asks the API.
    let reply = app.api("POST", "/dynos", Some(serde_json::json!({"command": "sleep 60"})));
    let dyno = reply.is(201).json();
    assert_eq!((&dyno["type"], &dyno["attach_url"]), (&"run".into(), &serde_json::Value::Null));
    let name = dyno["name"].as_str().unwrap();
    app.api("GET", &format!("/dynos/{name}"), None).is(200);
    app.api("POST", &format!("/dynos/{name}/actions/stop"), None).is(202);
    eventually("it has stopped", || one_offs(&app).is_empty());
    app.log_says("Process exited with status 143");
    app.api("POST", "/dynos", Some(serde_json::json!({"command": "x", "time_to_live": 0}))).is(422);
}

/// A hundred megabytes that do not repeat within what anybody may buffer.
fn hundred_megabytes() -> impl Iterator<Item = Vec<u8>> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    (0..1600).map(move |_| {
        let mut block = Vec::with_capacity(64 * 1024);
        while block.len() < 64 * 1024 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend_from_slice(&state.to_le_bytes());
        }
        block
    })
}

#[test]
fn a_hundred_megabytes_through_standard_input_come_back_whole() {
    let platform = Arc::new(Platform::start());
    let app = app_on(platform.clone());
    let before = platform.server_memory();
    let mut child = run_command(&app, &["cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let mut sent = Sha256::new();
        for block in hundred_megabytes() {
            sent.update(&block);
            stdin.write_all(&block).unwrap();
        }
        sent.finalize()
    });
    let (mut back, mut length) = (Sha256::new(), 0);
    let mut stdout = child.stdout.take().unwrap();
    let mut buffer = vec![0; 64 * 1024];
    let started = std::time::Instant::now();
    while let Ok(read @ 1..) = stdout.read(&mut buffer) {
        back.update(&buffer[..read]);
        length += read;
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!((length, back.finalize()), (1600 * 64 * 1024, writer.join().unwrap()));
    let grown = platform.server_memory().saturating_sub(before);
    println!("100 MiB there and back in {:?}; the server grew by {grown} KiB", started.elapsed());
    assert!(grown < 40 * 1024, "the server grew by {grown} KiB");
}

#[test]
fn a_lost_client_hangs_its_dyno_up() {
    let app = app_on(Platform::shared());
    let mut client = run_command(&app, &["echo started; exec sleep 300"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = [0; 8];
    client.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(&line, b"started\n");
    assert_eq!(one_offs(&app).len(), 1);
    client.kill().unwrap();
    client.wait().unwrap();
    app.log_says("Client connection closed. Sending SIGHUP to all processes");
    app.log_says("Process exited with status 129");
    eventually("it has gone", || one_offs(&app).is_empty() && app.dynos().len() == 1);

    // In a terminal as well, where the client puts back what it had changed.
    let mut terminal =
        Terminal::start(&run_command(&app, &["echo st''arted; exec sleep 300"]), 80, 24);
    terminal.shows("started");
    process::signal(terminal.pid(), Signal::SIGTERM);
    assert_eq!(terminal.ended(), 143);
    assert!(terminal.echoes(), "the terminal is as it was");
    eventually("it has gone too", || one_offs(&app).is_empty());
}

#[test]
fn a_detached_one_writes_to_the_log_and_outlives_the_server() {
    let platform = Arc::new(Platform::start());
    let app = app_on(platform.clone());
    let command = "echo begun by $A; trap 'echo asked to end; exit 0' TERM; \
                   while :; do sleep 0.1; done";
    let output = app.cli(&["run:detached", "--env", "A=ada", command]).succeeded();
    let name = one_offs(&app).remove(0);
    assert!(output.stderr.contains(&format!("done, {name}")), "{}", output.stderr);
    assert!(output.stderr.contains(&format!("--dyno-name {name}")), "{}", output.stderr);
    app.log_says(&format!("app[{name}]: begun by ada"));
    app.log_says(&format!("heroku[{name}]: Starting process with command `echo begun"));
    app.cli(&["ps"])
        .succeeded()
        .says("=== run: one-off processes (1)")
        .says(&format!("{name} (Standard-1X): up"));

    // A client that is attached is lost with the server, a detached dyno is not.
    let mut terminal =
        Terminal::start(&run_command(&app, &["echo st''arted; exec sleep 300"]), 80, 24);
    terminal.shows("started");
    platform.end_server(Signal::SIGKILL);
    assert_eq!(terminal.ended(), 1);
    terminal.shows("broke off");
    platform.start_server();
    app.log_says("Client connection closed. Sending SIGHUP to all processes");
    eventually("only the detached one is left", || one_offs(&app) == [name.clone()]);
    app.cli(&["ps"]).succeeded().says("echo begun by $A");
    app.cli(&["config:set", "NEW=release"]).succeeded();
    assert_eq!(one_offs(&app).first(), Some(&name), "a release leaves it alone");

    app.cli(&["ps:stop", &name]).succeeded();
    app.log_says(&format!("app[{name}]: asked to end"));
    app.log_says(&format!("heroku[{name}]: Process exited with status 0"));
    app.log_says(&format!("heroku[{name}]: State changed from up to complete"));
    eventually("nothing of it is left", || one_offs(&app).is_empty() && app.dynos().len() == 1);
    assert_eq!(docker::containers(&[platform.label()]).len(), 1);
}
