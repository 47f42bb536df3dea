//! Builds without git: sources that are uploaded or fetched, what is refused of them, the queue,
//! cancelling, and what is left.

use crate::support::{App, Outside, Platform, command, docker, eventually};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

/// The work tree as a tarball beside it.
fn tarball(app: &App) -> PathBuf {
    let file = app.dir().with_extension("tar.gz");
    let (to, from) = (file.to_str().unwrap(), app.dir());
    let mut tar = Command::new("tar");
    tar.args(["--exclude=.git", "-czf", to, "-C", from.to_str().unwrap(), "."]);
    command::run(&mut tar, b"").succeeded();
    file
}

/// New addresses: the path of both.
fn address(app: &App) -> String {
    let made = app.api("POST", "/sources", None).is(201).json();
    let [put, get] = ["put_url", "get_url"].map(|key| made["source_blob"][key].as_str().unwrap());
    assert_eq!(put, get);
    put.strip_prefix(&app.platform.url()).unwrap().to_string()
}

/// Uploads without a token: the address is the secret.
fn put(app: &App, path: &str, bytes: &[u8]) -> u16 {
    app.platform.connection().request("PUT", "localhost", path, &[], bytes).unwrap().status
}

fn start(app: &App, blob: Value) -> Value {
    app.api("POST", "/builds", Some(json!({ "source_blob": blob }))).is(201).json()
}

fn status(app: &App, build: &str) -> String {
    let row = app.api("GET", &format!("/builds/{build}"), None).is(200).json();
    row["status"].as_str().unwrap().to_string()
}

/// The output of a build to its end.
fn output(app: &App, build: &Value) -> String {
    let url = build["output_stream_url"].as_str().unwrap();
    let path = url.strip_prefix(&app.platform.url()).unwrap();
    app.platform.connection().request("GET", "localhost", path, &[], b"").unwrap().is(200).text()
}

fn sources(platform: &Platform) -> usize {
    std::fs::read_dir(platform.data_dir().join("sources")).unwrap().count()
}

#[test]
fn an_uploaded_source_is_built_and_released() {
    let platform = std::sync::Arc::new(Platform::start());
    let app = platform.app_with("tiny");
    let file = tarball(&app);
    let create = ["builds:create", "--source-tar", file.to_str().unwrap(), "--version", "v1.2.3"];
    let created = app.cli(&create).succeeded();
    for words in ["-----> Node.js app detected", "Released v3", "Verifying deploy... done."] {
        assert!(created.stdout.contains(words), "{words:?} is not in:\n{}", created.stdout);
    }
    assert!(created.stderr.contains("Uploading the source... done"), "{}", created.stderr);
    assert_eq!(app.get("/").is(200).text(), "v3 web.1\n");
    assert_eq!(app.releases()[2]["description"], "Deploy v1.2.3");
    let builds = app.api("GET", "/builds", None).is(200).json();
    assert_eq!(builds[0]["source_blob"]["version"], "v1.2.3");
    assert_eq!(builds[0]["status"], "succeeded");
    assert_eq!(sources(&platform), 0, "the upload goes with its build");

    // An address takes one upload, and one build takes that.
    let path = address(&app);
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(put(&app, &path, b""), 400);
    assert_eq!(put(&app, &path, &bytes), 200);
    assert_eq!(put(&app, &path, &bytes), 409);
    let url = format!("{}{path}", platform.url());
    let sum = command::run(Command::new("sha256sum").arg(&file), b"").succeeded().stdout;
    let blob = json!({ "url": url, "checksum": format!("SHA256:{}", &sum[..64]) });
    let build = start(&app, blob.clone());
    assert_eq!(build["status"], "pending");
    assert!(output(&app, &build).contains("Released v4"));
    app.api("POST", "/builds", Some(json!({ "source_blob": blob }))).is(422);
    assert_eq!(put(&app, &path, &bytes), 404);

    // A push goes on from there, and finds the cache that the builds left.
    app.push().succeeded().says("Released v5");
    // Without a source it is the current directory, with what is not committed.
    app.write("notes.txt", "not committed");
    let mut here = app.platform.cli_command();
    here.current_dir(app.dir()).args(["builds:create", "--version", "here", "--app", &app.name]);
    let here = command::run(&mut here, b"").succeeded();
    assert!(here.stdout.contains("Released v6"), "{}", here.stdout);
    assert_eq!(
        app.cli(&["run", "--no-tty", "cat", "notes.txt"]).succeeded().stdout,
        "not committed"
    );
    app.cli(&["builds:cache:purge"]).succeeded();
    let audit = app.api("GET", "/audit?n=1", None).is(200).json();
    assert_eq!(audit[0]["action"], "build-cache:destroy", "{audit}");
    wrong_requests(&app);
}

fn wrong_requests(app: &App) {
    for blob in [
        json!(null),
        json!({}),
        json!({ "url": "file:///etc/passwd" }),
        json!({ "url": "/sources/x" }),
        json!({ "url": "http://example.com/x", "checksum": "MD5:1" }),
        json!({ "url": "http://example.com/x", "version": 3 }),
        json!({ "url": "http://example.com/x", "other": "x" }),
    ] {
        app.api("POST", "/builds", Some(json!({ "source_blob": blob }))).is(422);
    }
    let none = app.api("DELETE", "/builds/00000000-0000-4000-8000-000000000000", None).is(404);
    assert_eq!(none.json()["id"], "not_found");
    app.cli(&["builds:cancel"]).failed(1);
    app.cli(&["builds:create", "--source-tar", "/nonexistent"]).failed(1);
}

/// Tarballs that a program makes which means no good.
const HOSTILE: &str = r#"
import gzip, io, sys, tarfile
kind = sys.argv[1]
tar = tarfile.open(fileobj=sys.stdout.buffer, mode="w|gz")
def add(name, kind=tarfile.REGTYPE, link="", content=b"x"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = len(content) if kind == tarfile.REGTYPE else 0
    tar.addfile(info, io.BytesIO(content))
add("package.json", content=b"{}")
if kind == "absolute": add("/etc/senryu-evil")
if kind == "up": add("../../../../etc/senryu-evil")
if kind == "through": add("out", tarfile.SYMTYPE, "/tmp"); add("out/senryu-evil")
if kind == "hardlink": add("shadow", tarfile.LNKTYPE, "/etc/shadow")
if kind == "device": add("sda", tarfile.BLKTYPE)
if kind == "pipe": add("pipe", tarfile.FIFOTYPE)
tar.close()
if kind == "bomb":
    zeros = gzip.compress(bytes(32 << 20))
    sys.stdout.buffer.seek(0)
    sys.stdout.buffer.truncate()
    for number in range(2):
        info = tarfile.TarInfo(f"zeros-{number}")
        info.size = 640 << 20
        sys.stdout.buffer.write(gzip.compress(info.tobuf()) + zeros * 20)
"#;

#[test]
fn hostile_archives_are_refused_by_a_clear_word() {
    let platform = Platform::shared();
    let app = platform.empty_app();
    for (kind, words) in [
        ("absolute", "/etc/senryu-evil is an absolute path"),
        ("up", "leads out of the source (..)"),
        ("through", "lies below something that is no directory"),
        ("hardlink", "is a hard link out of the source, to /etc/shadow"),
        ("device", "sda is a device"),
        ("pipe", "is a named pipe"),
        ("bomb", "larger than 1024 MB when it is unpacked"),
    ] {
        let file = app.dir().with_extension(kind);
        let script = format!("exec python3 -c \"$0\" {kind} >{}", file.display());
        let mut python = Command::new("bash");
        python.args(["-c", &script, HOSTILE]);
        command::run(&mut python, b"").succeeded();
        let refused = app.cli(&["builds:create", "--source-tar", file.to_str().unwrap()]).failed(1);
        assert!(refused.stdout.contains(words), "{words:?} is not in:\n{}", refused.stdout);
        assert!(refused.stdout.contains(" !     Push failed"), "{}", refused.stdout);
        std::fs::remove_file(file).unwrap();
    }
    for path in ["/etc/senryu-evil", "/tmp/senryu-evil"] {
        assert!(!Path::new(path).exists(), "{path}");
    }
    // What leads to the host's own network is not fetched, nor what is not there.
    for (url, words) in [
        ("http://169.254.169.254/latest/meta-data", "private address 169.254.169.254"),
        ("https://127.0.0.1/x.tgz", "private address 127.0.0.1"),
        ("http://[::1]:8080/x.tgz", "private address ::1"),
        ("http://10.0.0.1/x.tgz", "private address 10.0.0.1"),
        ("http://no-such-host.invalid/x.tgz", "the name no-such-host.invalid can't be resolved"),
    ] {
        let refused = app.cli(&["builds:create", "--source-url", url]).failed(1);
        assert!(refused.stdout.contains(words), "{words:?} is not in:\n{}", refused.stdout);
    }
    let builds = app.api("GET", "/builds", None).is(200).json();
    let failed = |build: &Value| build["status"] == "failed";
    assert!(builds.as_array().unwrap().iter().all(failed), "{builds}");
    eventually("the containers are gone", || app.containers("build").is_empty());
}

/// A buildpack of the app's own that goes on until it is stopped.
fn endless(app: &App) {
    for (script, text) in [
        ("detect", "echo Endless"),
        ("compile", "echo it has begun; sleep 600"),
        ("release", "echo"),
    ] {
        use std::os::unix::fs::PermissionsExt;
        let path = app.dir().join("bin").join(script);
        std::fs::create_dir_all(app.dir().join("bin")).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    // With one directory alone, that would be taken off.
    app.write("Procfile", "worker: true\n");
    app.cli(&["buildpacks:set", "heroku-community/inline"]).succeeded();
}

fn upload(app: &App) -> String {
    let path = address(app);
    assert_eq!(put(app, &path, &std::fs::read(tarball(app)).unwrap()), 200);
    format!("{}{path}", app.platform.url())
}

/// A push that stands behind two builds, and what it says from there on.
fn push_that_waits(app: &App) -> (Child, BufReader<ChildStderr>) {
    let mut push = app.git_command();
    let push = push.args(["push", "senryu", "main"]).stderr(Stdio::piped());
    let mut push = push.spawn().unwrap();
    let mut said = BufReader::new(push.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("Waiting for 2 other builds of") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it did not wait");
    }
    (push, said)
}

/// The id of the push that waits: uploads have no commit.
fn pending_push(app: &App) -> String {
    let builds = app.api("GET", "/builds", None).is(200).json();
    let mut builds = builds.as_array().unwrap().iter().filter(|build| build["status"] == "pending");
    let push = builds.find(|build| build["source_blob"]["version"].is_string()).unwrap();
    push["id"].as_str().unwrap().to_string()
}

#[test]
fn cancelled_and_killed_builds_leave_nothing() {
    let platform = std::sync::Arc::new(Platform::start());
    let app = platform.empty_app();
    endless(&app);
    let first = start(&app, json!({ "url": upload(&app) }));
    let first = first["id"].as_str().unwrap();
    eventually("the build runs", || app.containers("build").len() == 1);
    let second = start(&app, json!({ "url": upload(&app) }));
    let waits = second["id"].as_str().unwrap();
    // A push of the same app stands behind both, says so, and is a build as well.
    app.commit("pushed");
    let (mut push, mut said) = push_that_waits(&app);
    let listed = app.cli(&["builds"]).succeeded().stdout;
    assert!(listed.contains("pending, number 2 in line"), "{listed}");
    app.cli(&["builds:cancel", &pending_push(&app)]).succeeded();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("(build cancelled)"), "{rest}");
    assert!(!push.wait().unwrap().success());
    // The one that waits goes at once, and the one that runs with its container.
    let (mut push, _said) = push_that_waits(&app);
    let pushed = pending_push(&app);
    app.cli(&["builds:cancel", waits]).succeeded();
    assert_eq!(status(&app, waits), "failed");
    assert!(output(&app, &second).contains("The build was cancelled."));
    app.cli(&["builds:cancel"]).succeeded();
    assert_eq!(status(&app, first), "failed");
    eventually("the push is built", || app.containers("build").len() == 1);
    app.cli(&["builds:cancel", &pushed]).succeeded();
    assert!(!push.wait().unwrap().success());
    eventually("the containers are gone", || app.containers("build").is_empty());
    eventually("no upload is left", || sources(&platform) == 0);

    builds_outlive_a_server_that_is_killed(&platform, &app);
}

/// What runs and what waits is begun again by the next one, in the same order.
fn builds_outlive_a_server_that_is_killed(platform: &std::sync::Arc<Platform>, app: &App) {
    let killed = start(app, json!({ "url": upload(app) }));
    eventually("the build runs", || app.containers("build").len() == 1);
    std::fs::write(app.dir().join("bin/compile"), "#!/bin/sh\necho soon built\n").unwrap();
    // A Dockerfile's build beside it has made a nameless image.
    let dockerfile = platform.empty_app();
    dockerfile.cli(&["stack:set", "container"]).succeeded();
    let text = format!("FROM senryu/stack:run\nRUN echo {} >/begun\nRUN sleep 600\n", app.id);
    dockerfile.write("Dockerfile", &text);
    dockerfile.write("start", "true\n");
    let cut = start(&dockerfile, json!({ "url": upload(&dockerfile) }));
    let cut = cut["id"].as_str().unwrap();
    let mut step = String::new();
    eventually("its first step is done", || {
        let output = platform.data_dir().join(format!("outputs/{cut}.log"));
        let said = std::fs::read_to_string(output).unwrap();
        let made = said.split("RUN sleep 600").next().unwrap().rsplit("---> ").next().unwrap();
        step = made.split_whitespace().next().unwrap_or_default().to_string();
        said.contains("RUN sleep 600") && step.len() == 12
    });
    let waiting = [(); 2].map(|()| start(app, json!({ "url": upload(app) })));
    platform.end_server(nix::sys::signal::Signal::SIGKILL);
    platform.start_server();
    let killed = killed["id"].as_str().unwrap();
    eventually("the killed build runs again", || app.containers("build").len() == 1);
    eventually("the others wait again", || {
        app.cli(&["builds"]).succeeded().stdout.contains("pending, number 2 in line")
    });
    dockerfile.cli(&["builds:cancel", cut]).succeeded();
    eventually("its step is gone", || docker::docker(&["image", "inspect", &step]).status != 0);
    app.cli(&["builds:cancel", killed]).succeeded();
    for (build, version) in waiting.iter().zip(["v3", "v4"]) {
        let said = output(app, build);
        for words in ["The server was restarted", "soon built", &format!("Released {version}")] {
            assert!(said.contains(words), "{words:?} is not in:\n{said}");
        }
    }
    eventually("the containers are gone", || app.containers("build").is_empty());
    eventually("no upload is left", || sources(platform) == 0);
    assert_eq!(app.releases().len(), 4);
}

#[test]
fn a_source_on_the_net_is_fetched_by_a_container() {
    let outside = Outside::start();
    let ca_file = outside.ca_file();
    let extra = ["--build-ca-file", ca_file.to_str().unwrap()];
    let platform = std::sync::Arc::new(Platform::start_with(&extra));
    let app = platform.empty_app();
    // A source whose buildpack is itself, chosen for this build only.
    outside.tarball(
        "app.tar.gz",
        &[
            ("bin/detect", "echo Own"),
            ("bin/compile", "echo built $SOURCE_VERSION"),
            // With one directory alone, that would be taken off.
            ("start", "true"),
        ],
    );
    let source = |name: &str| {
        let blob = json!({ "url": outside.url(name), "version": "v7" });
        let own = json!([{ "url": "heroku-community/inline" }]);
        let body = json!({ "source_blob": blob, "buildpacks": own });
        app.api("POST", "/builds", Some(body)).is(201).json()
    };
    let build = source("app.tar.gz?secret=word");
    let said = output(&app, &build);
    for words in ["-----> Fetching the source", "built v7", "Released v3"] {
        assert!(said.contains(words), "{words:?} is not in:\n{said}");
    }
    assert_eq!(build["source_blob"]["url"], outside.url("app.tar.gz"), "the secret is not kept");
    assert!(!platform.server_log().contains("secret=word"));
    let chosen = app.api("GET", "/buildpack-installations", None).is(200).json();
    assert_eq!(chosen, json!([]), "for one build only");
    let said = output(&app, &source("nothing.tar.gz"));
    assert!(said.contains("The source can't be fetched: the host answered with 404"), "{said}");
    eventually("the containers are gone", || app.containers("build").is_empty());
}
