//! `logs`: Heroku's format, the filters, and a log that is followed.

use crate::support::{Platform, eventually, until};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

/// `2026-11-21T10:00:00.123456+00:00 app[web.1]: message`.
fn parts(line: &str) -> Option<(&str, &str, &str)> {
    let (time, rest) = line.split_once(' ')?;
    let (head, message) = rest.split_once("]: ")?;
    let (source, process) = head.split_once('[')?;
    let digits = time.bytes().filter(u8::is_ascii_digit).count();
    let shape = time.len() == 32 && digits == 24 && time.ends_with("+00:00");
    (shape && matches!(source, "app" | "heroku")).then_some((source, process, message))
}

#[test]
fn every_line_has_herokus_form_and_the_filters_select() {
    let app = Platform::shared().app_from("tiny");
    app.get("/some/path?with=query").is(200);
    let router = app.log_says("path=\"/some/path?with=query\"");
    for words in [
        "heroku[router]: at=info method=GET ",
        &format!("host={}", app.host()),
        " dyno=web.1 ",
        " connect=",
        " service=",
        " status=200 ",
        " bytes=",
    ] {
        assert!(router.contains(words), "{words:?} is not in {router}");
    }
    let log = app.log();
    for line in log.lines() {
        assert!(parts(line).is_some(), "{line:?} is not in Heroku's form");
    }
    for (source, process, message) in [
        ("app", "api", "Initial release by user ada@example.com"),
        ("app", "api", "Release v1 created by user ada@example.com"),
        ("app", "api", "Build started by user ada@example.com"),
        ("app", "api", "Build succeeded"),
        ("app", "api", "Release v3 created by user ada@example.com"),
        ("heroku", "web.1", "Starting process with command `node server.js`"),
        ("heroku", "web.1", "State changed from starting to up"),
        ("app", "web.1", "v3 listens"),
    ] {
        let found = log.lines().filter_map(parts).any(|line| line == (source, process, message));
        assert!(found, "{source}[{process}]: {message} is not in\n{log}");
    }

    let lines = |arguments: &[&str]| -> Vec<String> {
        let output = app.cli(&[&["logs"], arguments].concat()).succeeded().stdout;
        output.lines().map(str::to_string).collect()
    };
    assert_eq!(lines(&["-n", "3"]).len(), 3);
    let all = |lines: Vec<String>, fits: &dyn Fn(&str, &str) -> bool| {
        assert!(!lines.is_empty());
        for line in &lines {
            let (source, process, _) = parts(line).unwrap();
            assert!(fits(source, process), "{line}");
        }
    };
    all(lines(&["--source", "heroku"]), &|source, _| source == "heroku");
    all(lines(&["--source", "app"]), &|source, _| source == "app");
    all(lines(&["--ps", "web"]), &|_, process| process.starts_with("web."));
    all(lines(&["--dyno-name", "web.1"]), &|_, process| process == "web.1");
    all(lines(&["--dyno-name", "router"]), &|_, process| process == "router");
    all(lines(&["-s", "app", "-p", "web"]), &|source, process| {
        source == "app" && process == "web.1"
    });
    app.cli(&["logs", "--source", "moon"]).failed(1).says("source must be");
}

#[test]
fn a_followed_log_shows_what_happens_from_now_on() {
    let app = Platform::shared().app_from("tiny");
    let mut command = app.platform.cli_command();
    command.args(["logs", "--tail", "-n", "1", "--app", &app.name]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (send, lines) = std::sync::mpsc::channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    until("the first line", Duration::from_secs(10), || lines.try_recv().ok());
    app.get("/followed-7").is(200);
    eventually("the request shows up", || {
        lines.try_iter().any(|line| line.contains("path=\"/followed-7\""))
    });
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
}

#[test]
fn a_long_line_and_a_dyno_that_ends_lose_nothing() {
    let app = Platform::shared().app_with("tiny");
    let script = "console.log('x'.repeat(40000)); console.log('the last words'); ";
    let server = std::fs::read_to_string(app.dir().join("server.js")).unwrap();
    app.write(
        "server.js",
        &format!("process.on('SIGTERM', () => {{ {script} process.exit(0) }});\n{server}"),
    );
    app.commit("speaks when it ends");
    app.push().succeeded();
    app.cli(&["ps:scale", "web=0"]).succeeded();
    app.log_says("the last words");
    let log = app.cli(&["logs", "-n", "1500", "-s", "app", "-p", "web"]).succeeded().stdout;
    let count = log.bytes().filter(|byte| *byte == b'x').count();
    assert_eq!(count, 40_000);
    app.log_says("Process exited with status");
}
