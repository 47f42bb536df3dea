//! Apps with Dockerfiles of their own: the stack `container`, heroku.yml, as whom their images
//! run, and what is left of builds that fail.

use crate::support::registry::Registry;
use crate::support::times;
use crate::support::{App, Platform, docker, eventually, until};
use std::sync::Arc;
use std::time::Duration;

fn app(platform: &Arc<Platform>) -> App {
    let app = platform.app_with("dockerfile");
    app.cli(&["stack:set", "container"]).succeeded().says("container");
    app
}

/// Images of the app that have a name.
fn images(app: &App) -> usize {
    let filter = format!("--filter=label=senryu.app={}", app.id);
    docker::docker(&["images", "--quiet", &filter]).succeeded().stdout.lines().count()
}

/// Ids that a build's steps had, but for those of bases.
fn steps(output: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut is_base = false;
    for line in output.lines() {
        if line.contains("Step ") {
            is_base = line.contains(" : FROM ");
        }
        let id = line.trim().rsplit_once("---> ").map_or("", |(_, id)| id.trim());
        if !is_base && id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            ids.push(id.to_string());
        }
    }
    ids
}

fn is_there(image: &str) -> bool {
    docker::docker(&["image", "inspect", "--format", "{{.Id}}", image]).status == 0
}

#[test]
fn a_dockerfile_app_deploys_as_any_other() {
    let app = app(&Platform::shared());
    app.write("a.secret", "not for the image");
    app.commit("with a secret");
    app.cli(&["config:set", "GREETING=it's $HOME"]).succeeded();
    let first = app.push().succeeded();
    for words in [
        "=== Building web (Dockerfile)",
        "RUN cp /srv/made.txt",
        "names no user but root: it runs as user 1000:1000",
        "Declared types -> web",
        "Released v4",
        "Verifying deploy... done.",
    ] {
        assert!(first.stderr.contains(words), "{words:?} is not in:\n{}", first.stderr);
    }
    // The build is root's in its container; the dyno is nobody's special.
    let none = "0000000000000000";
    let answer = |version| format!("{version} web.1 1000 {none} it's $HOME made by 0\n");
    assert_eq!(app.get("/").is(200).text(), answer("v4"));
    let dyno = &app.dynos()[0];
    let inspected = docker::docker(&["inspect", dyno]).succeeded().stdout;
    assert!(!inspected.contains("$HOME"), "a config var is in Docker's metadata");
    let ls = app.cli(&["run", "id -u; ls; echo $GREETING"]).succeeded();
    let words: Vec<&str> = ls.stdout.lines().collect();
    assert_eq!(words, ["1000", "Dockerfile", "made.txt", "server.py", "it's $HOME"]);

    // One line is changed: the steps above it are taken from the cache.
    app.write("new.txt", "x");
    app.commit("new file");
    let again = app.push().succeeded().says("Using cache");
    times::note(&first, &again);
    assert_eq!(app.get("/").is(200).text(), answer("v5"));
    app.cli(&["rollback"]).succeeded();
    assert_eq!(app.get("/").is(200).text(), answer("v6"));
    assert_eq!(images(&app), 2);

    failed_builds_leave_nothing(&app);
}

/// What a step of a build waits for: its processes are bounded, it would go before any dyno, and it
/// reaches neither metadata nor the machine.
const BOUNDED: &str = "timeout 60 bash -c '\
    until [ \"$(cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null)\" = 512 ]; \
    do sleep 0.1; done; \
    until [ \"$(cat /proc/1/oom_score_adj)\" = 900 ]; do sleep 0.1; done; \
    until grep -q \"open files  *16384  *16384\" /proc/1/limits; do sleep 0.1; done' \
    && ! timeout 2 bash -c 'exec 3<>/dev/tcp/169.254.169.254/80'";

/// The builder does what a base image's ONBUILD says as if it stood in the Dockerfile, also of one
/// that is still in its registry.
fn a_base_that_fetches_is_refused(app: &App, refused: &dyn Fn(&str, &str) -> usize) {
    let registry = Registry::start();
    let label = format!("senryu.installation={}", app.platform.installation);
    let text = "FROM scratch\nCOPY Dockerfile /said\nONBUILD ADD http://127.0.0.1:9/x /x\n";
    let fetches = registry.hold("team/fetches:1", &label, text);
    let dockerfile = format!("FROM {fetches}\nRUN cat /x\n");
    let steps = refused(&dockerfile, &format!("{fetches}, which FROM names, has an ONBUILD that"));
    assert_eq!(steps, 0, "it is refused before the builder begins");
    let text = "FROM scratch\nCOPY Dockerfile /said\n";
    let harmless = registry.hold("team/harmless:1", &label, text);
    let dockerfile = format!(
        "FROM {harmless} AS tool\nFROM senryu/stack:run\nCOPY --from=tool /said /\n\
         RUN exit $(wc -l </said)\n"
    );
    refused(&dockerfile, "returned a non-zero code: 2");
    let missing = harmless.replace(":1", ":none");
    refused(&format!("FROM {missing}\nRUN true\n"), "manifest unknown");
    docker::docker(&["rmi", "-f", &fetches, &harmless]).succeeded();
}

fn failed_builds_leave_nothing(app: &App) {
    let before = images(app);
    let refused = |dockerfile: &str, words: &str| {
        app.write("Dockerfile", dockerfile);
        app.commit("breaks");
        let output = app.push().failed(1);
        assert!(output.stderr.contains(words), "{words:?} is not in:\n{}", output.stderr);
        eventually("no image is left", || images(app) == before);
        let steps = steps(&output.stderr.replace("remote:", ""));
        eventually("no step is left", || !steps.iter().any(|step| is_there(step)));
        steps.len()
    };
    let base = format!("FROM senryu/stack:run\nRUN echo {} >/fresh\n", app.id);
    assert_eq!(refused(&format!("{base}RUN exit 3\n"), "returned a non-zero code: 3"), 1);
    let fetches = format!("{base}ADD http://169.254.169.254/latest/ /metadata\n");
    assert_eq!(refused(&fetches, "Dockerfile: Line 3: ADD of an address"), 0);
    a_base_that_fetches_is_refused(app, &refused);
    let bounded = format!("{base}RUN {BOUNDED} && exit 9\n");
    refused(&bounded, "returned a non-zero code: 9");
    refused(&format!("{base}RUN exit 137\n"), "So ends a step that is killed");
    app.log_says("Error S15 (Build memory limit) -> A step was killed");
    let fills = format!("{base}RUN fallocate -l 4G /filled && sleep 60\n");
    refused(&fills, "A step wrote more than 3072 MB");
    app.log_says("Error S16 (Build disk limit) -> A step wrote more than 3072M");
    refused(&format!("{base}NONSENSE\n"), "unknown instruction: NONSENSE");
    refused("FROM scratch\nCOPY server.py /\nCMD [\"/x\"]\n", "it needs a shell at /bin/sh");
    refused(&format!("{base}USER stranger\nCMD x\n"), "a user that it knows");
    refused(&format!("{base}CMD []\nENTRYPOINT []\n"), "web has no command");
    std::fs::remove_file(app.dir().join("Dockerfile")).unwrap();
    app.commit("no Dockerfile");
    app.push().failed(1).says("neither a heroku.yml build manifest nor a Dockerfile");
    assert_eq!(app.serving(), "v6");
}

#[test]
fn heroku_yml_has_images_arguments_and_commands_for_each_type() {
    // The same server, with images and a manifest of its own.
    let app = app(&Platform::shared());
    app.copy_fixture("heroku-yml");
    app.commit("a manifest");
    app.cli(&["config:set", "GREETING=hello"]).succeeded();
    let push = app.push().succeeded();
    for words in [
        "setup in heroku.yml is for apps that are made from it",
        "=== Building web (Dockerfile)",
        "=== Building worker (worker/Dockerfile)",
        "Declared types -> release, web, worker",
        "releasing as 1234",
    ] {
        assert!(push.stderr.contains(words), "{words:?} is not in:\n{}", push.stderr);
    }
    let answer = app.get("/").is(200).text();
    assert_eq!(answer, "v4 web.1 1234 0000000000000000 hello sweet\n");
    app.cli(&["ps:scale", "worker=1"]).succeeded();
    app.log_says("at work: from the image, as 65534, hello");
    assert_eq!(images(&app), 2);
    app.commit("nothing new");
    let again = app.push().succeeded().says("Using cache");
    times::note(&push, &again);
    let answer = answer.replace("v4", "v5");
    assert_eq!(app.get("/").is(200).text(), answer);
    what_docker_loses_comes_back(&app, &answer);

    app.write("heroku.yml", "build:\n  docker:\n    web: Dockerfile\n  confg:\n    A: b\n");
    app.commit("a mistake");
    let refused = app.push().failed(1).stderr;
    for words in ["Your heroku.yml manifest is invalid", "=!= line 4: build.confg is unknown"] {
        assert!(refused.contains(words), "{words:?} is not in:\n{refused}");
    }
    assert_eq!(app.serving(), "v5");
}

/// Images go, as a careless `docker system prune -af` takes them.
fn what_docker_loses_comes_back(app: &App, answer: &str) {
    let filter = format!("--filter=label=senryu.app={}", app.id);
    let listed = docker::docker(&["images", "--format", "{{.Repository}}:{{.Tag}}", &filter]);
    let listed = listed.succeeded().stdout;
    let names: Vec<&str> = listed.lines().collect();
    // Docker writes each image out as a whole, base and all.
    until("the images of both releases are kept", Duration::from_secs(180), || {
        let log = app.platform.server_log();
        let kept = log.lines().filter(|line| line.contains("images are kept as files"));
        (kept.filter(|line| line.contains(&app.id)).count() == 2).then_some(())
    });
    // What runs, Docker does not remove.
    app.cli(&["ps:scale", "web=0", "worker=0"]).succeeded();
    eventually("nothing runs", || app.dynos().is_empty());
    docker::docker(&[&["rmi", "-f"], &names[..]].concat()).succeeded();
    assert_eq!(images(app), 0);
    app.cli(&["ps:scale", "web=1", "worker=1"]).succeeded();
    assert_eq!(app.get("/").is(200).text(), answer);
    app.log_says("loaded again from the slug's files");
}

#[test]
fn a_docker_build_that_is_cancelled_leaves_nothing() {
    let app = app(&Platform::shared());
    let first = format!("FROM senryu/stack:run\nRUN echo {} >/begun\n", app.id);
    app.write("Dockerfile", &format!("{first}RUN sleep 600\n"));
    app.commit("endless");
    let mut push = app.git_command();
    let push = push.args(["push", "senryu", "main"]).stderr(std::process::Stdio::piped());
    let mut push = push.spawn().unwrap();
    let mut said = std::io::BufReader::new(push.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains("RUN sleep 600") {
        let read = std::io::BufRead::read_line(&mut said, &mut text).unwrap();
        assert!(read > 0, "it has ended:\n{text}");
    }
    app.cli(&["builds:cancel"]).succeeded();
    std::io::Read::read_to_end(&mut said, &mut Vec::new()).unwrap();
    assert!(!push.wait().unwrap().success());
    let steps = steps(&text.replace("remote:", ""));
    assert_eq!(steps.len(), 1, "{text}");
    eventually("its step is gone", || !is_there(&steps[0]));
    assert_eq!(images(&app), 0);
}
