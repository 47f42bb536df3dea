//! Other people's buildpacks, by every way of naming one: in the app's own tree, by git, as
//! tarballs; several in order, and ones that do not work.

use crate::support::outside::write_scripts;
use crate::support::{App, Outside, Platform};
use serde_json::json;
use std::sync::Arc;

/// A web process that needs no language: it answers each request with `page` and `GREETING`.
const SERVER: &str = r#"
use IO::Socket::INET;
my $server = IO::Socket::INET->new(LocalPort => $ENV{PORT}, Listen => 9, ReuseAddr => 1) or die;
while (my $client = $server->accept) {
    while (my $line = <$client>) { last if $line =~ /^\r?\n$/ }
    open my $page, "<", "page";
    print $client "HTTP/1.0 200 OK\r\n\r\n", <$page>, "$ENV{GREETING}\n";
    close $client;
}
"#;
const FITS: (&str, &str) = ("bin/detect", "echo Fits");

fn with_buildpacks(platform: &Arc<Platform>, buildpacks: &[&str]) -> App {
    let app = platform.empty_app();
    app.write("Procfile", "web: perl serve.pl\n");
    app.write("serve.pl", SERVER);
    app.write("page", "a page\n");
    app.commit("first");
    for buildpack in buildpacks {
        app.cli(&["buildpacks:add", buildpack]).succeeded();
    }
    app
}

#[test]
fn an_inline_buildpack_with_all_that_the_api_has() {
    let platform = Platform::shared();
    let app = with_buildpacks(&platform, &["heroku-community/inline"]);
    app.cli(&["config:set", "SECRET=from the env dir"]).succeeded();
    let compile = "\
        echo \"-----> $STACK ${SOURCE_VERSION:0:7} $(cat $3/SECRET) [$SECRET] $(pwd)\"
        [[ $1 == $PWD && -w $2 && -n $REQUEST_ID ]]
        echo \"       built before: $(cat $2/times 2>/dev/null)\"
        echo once >>$2/times
        mkdir -p .profile.d
        echo 'export GREETING=\"from the profile\"' >.profile.d/greeting.sh";
    let release = "echo '---'; echo 'addons: []'; echo 'default_process_types:'
        echo '  web: perl serve.pl'; echo '  worker: sleep 1000'";
    let scripts = [
        ("bin/detect", "echo Mine"),
        ("bin/compile", compile),
        ("bin/report", "[[ -d $1 && -d $2 && -d $3 ]] && echo seen >$2/report"),
        ("bin/release", release),
    ];
    write_scripts(&app.dir(), &scripts);
    app.write("Procfile", "clock: sleep 1000\n");
    app.commit("inline");
    let commit = app.git(&["rev-parse", "--short=7", "HEAD"]).stdout;
    app.push()
        .succeeded()
        .says("-----> Using buildpack: heroku-community/inline")
        .says("-----> Mine app detected")
        .says(&format!("-----> heroku-24 {} from the env dir [] /", commit.trim()))
        .says("Procfile declares types     -> clock")
        .says("Default types for buildpack -> web, worker");
    assert_eq!(app.get("/").is(200).text(), "a page\nfrom the profile\n");
    app.commit("again");
    app.push().succeeded().says("built before: once");
}

#[test]
fn a_null_one_and_one_in_a_directory_in_their_order() {
    let platform = Platform::shared();
    let app = with_buildpacks(&platform, &["./packs/null", "./packs/types"]);
    let dir = app.dir();
    write_scripts(&dir.join("packs/null"), &[("bin/detect", "echo Null"), ("bin/compile", ":")]);
    let types = "echo 'default_process_types: {one: sleep 1, two: sleep 2, web: never}'";
    let scripts = [FITS, ("bin/compile", "echo '       compiled'"), ("bin/release", types)];
    write_scripts(&dir.join("packs/types"), &scripts);
    app.commit("packs");
    let pushed = app.push().succeeded().text();
    let words = [
        "-----> Using buildpacks:",
        "       1. ./packs/null",
        "       2. ./packs/types",
        "-----> Null app detected",
        "-----> Fits app detected",
        "       compiled",
        "Procfile declares types     -> web",
        "Default types for buildpack -> one, two",
    ];
    let mut rest = pushed.as_str();
    for word in words {
        let (_, after) = rest.split_once(word).unwrap_or_else(|| panic!("{word}:\n{pushed}"));
        rest = after;
    }
    assert_eq!(app.get("/").is(200).text(), "a page\n\n");
    let build = app.api("GET", "/builds", None).is(200).json();
    assert_eq!(build[0]["buildpacks"][1]["url"], "./packs/types");
    // One that no longer fits is refused, and the release before it serves on.
    write_scripts(&dir.join("packs/null"), &[("bin/detect", "echo no reason >&2; exit 1")]);
    app.commit("does not fit");
    app.push()
        .failed(1)
        .says("-----> App not compatible with buildpack: ./packs/null")
        .says("no reason")
        .says("Push failed");
    app.cli(&["buildpacks:set", "./packs/none"]).succeeded();
    app.commit("not there");
    app.push().failed(1).says("there is no directory packs/none in the source");
    assert_eq!(app.get("/").is(200).text(), "a page\n\n");
}

#[test]
fn the_list_is_read_and_replaced_by_the_api() {
    let platform = Platform::shared();
    let app = platform.empty_app();
    let path = "/buildpack-installations";
    let put = |list: &[&str]| {
        let updates: Vec<_> = list.iter().map(|name| json!({ "buildpack": name })).collect();
        app.api("PUT", path, Some(json!({ "updates": updates })))
    };
    assert_eq!(app.api("GET", path, None).is(200).json(), json!([]));
    let registry = "https://registry.example/buildpacks/heroku/python.tgz";
    let expected = json!([
        {"ordinal": 0, "buildpack": {
            "name": "heroku/python", "url": "urn:buildpack:heroku/python"}},
        {"ordinal": 1, "buildpack": {
            "name": "https://git.example/x.git#v1", "url": "https://git.example/x.git#v1"}},
    ]);
    assert_eq!(put(&[registry, "https://git.example/x.git#v1"]).is(200).json(), expected);
    assert_eq!(app.api("GET", path, None).is(200).json(), expected);
    for (buildpack, reason) in [
        ("file:///etc", "https:// only"),
        ("ext::sh", "https://"),
        ("http://git.example/x.git", "https:// only"),
        ("https://127.0.0.1/x.git", "private"),
        ("https://user:word@git.example/x.git", "password"),
    ] {
        let refused = put(&[buildpack]).is(422).json();
        assert_eq!(refused["id"], "invalid_params");
        assert!(refused["message"].as_str().unwrap().contains(reason), "{refused}");
    }
    assert_eq!(app.api("GET", path, None).is(200).json(), expected);
    assert_eq!(put(&[]).is(200).json(), json!([]));
    app.cli(&["buildpacks"]).succeeded().says(&format!("⬢ {} has no Buildpacks.", app.name));
}

/// A platform that fetches from a host on the outside, and whose builds may not take long.
fn with_outside() -> (Outside, Arc<Platform>) {
    let outside = Outside::start();
    let source = outside.url("{name}/.git");
    let ca_file = outside.ca_file();
    let extra = [
        "--buildpack-source",
        &source,
        "--build-ca-file",
        ca_file.to_str().unwrap(),
        "--build-timeout",
        "20",
    ];
    let platform = Arc::new(Platform::start_with(&extra));
    (outside, platform)
}

#[test]
fn buildpacks_from_outside_are_fetched_and_kept() {
    let (outside, platform) = with_outside();
    let tools = "mkdir -p .tools && printf '#!/bin/sh\\necho tool of v1' >.tools/tool
        chmod +x .tools/tool
        echo \"export PATH=$1/.tools:\\$PATH\" >\"$(dirname \"$0\")/../export\"";
    let first =
        outside.commit("tools", "v1", &[("bin/detect", "echo Tools"), ("bin/compile", tools)]);
    outside.commit("tools", "v2", &[("bin/compile", &tools.replace("v1", "v2"))]);
    outside.tarball("user.tgz", &[("bin/detect", "echo User"), ("bin/compile", "tool >page")]);
    let (tagged, user) = (outside.url("tools/.git#v1"), outside.url("user.tgz"));
    let app = with_buildpacks(&platform, &[&tagged, &user]);
    app.push()
        .succeeded()
        .says(&format!("       1. {tagged}"))
        .says("-----> Tools app detected")
        .says("-----> User app detected");
    assert_eq!(app.get("/").is(200).text(), "tool of v1\n\n");
    // By the name of a repository without a ref, and by a commit.
    app.cli(&["buildpacks:set", "heroku/tools"]).succeeded();
    app.commit("the newest");
    app.push().succeeded().says("       1. heroku/tools");
    assert_eq!(app.get("/").is(200).text(), "tool of v2\n\n");
    let by_commit = outside.url(&format!("tools/.git#{first}"));
    app.cli(&["buildpacks:set", &by_commit]).succeeded();
    app.commit("by its commit");
    app.push().succeeded();
    assert_eq!(app.get("/").is(200).text(), "tool of v1\n\n");
    // What has been fetched once serves while its host is away; what has not is refused.
    outside.end();
    app.commit("the outside is away");
    app.push().succeeded().says("The tarball of the build before is used.");
    app.cli(&["buildpacks:set", &tagged]).succeeded();
    app.commit("not kept");
    app.push()
        .failed(1)
        .says(&format!("Can't use the buildpack {tagged}: "))
        .says(&format!(" !     Push rejected, error fetching custom buildpack {tagged}"))
        .says("!\tPush rejected to");
}

#[test]
fn buildpacks_that_do_not_work_are_named() {
    let (outside, platform) = with_outside();
    let loops = [FITS, ("bin/compile", "while :; do :; done")];
    outside.commit("loops", "v1", &loops);
    outside.commit("empty", "v1", &[("README", "")]);
    let app = with_buildpacks(&platform, &[&outside.url("loops/.git")]);
    app.push().failed(1).says(" !     Timed out compiling Fits app (1 minutes)");
    for (url, reason) in [
        (outside.url("none/.git"), "there is no git repository at that address"),
        (outside.url("loops/.git#v9"), "the repository has no branch, tag or commit v9"),
        (outside.url("none.tgz"), "The requested URL returned error: 404"),
        (outside.url("loops/.git/HEAD.tgz"), "error: 4"),
        (outside.url("empty/.git"), "it has no program bin/detect"),
        ("https://nowhere.invalid/x.git".to_string(), "the name nowhere.invalid can't be resolved"),
    ] {
        app.cli(&["buildpacks:set", &url]).succeeded();
        app.commit(&url);
        app.push()
            .failed(1)
            .says(&format!("Can't use the buildpack {url}: "))
            .says(reason)
            .says("Push rejected, error fetching custom buildpack");
    }
}
