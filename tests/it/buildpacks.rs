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
    let release = "echo '---'; echo 'addons: [db:small]'; echo 'default_process_types:'
        echo '  web: perl serve.pl'; echo '  worker: sleep 1000'
        echo 'config_vars: {SECRET: not this, CITY: \"by the buildpack\"}'";
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
        .says("Default types for buildpack -> web, worker")
        .says("The buildpack asks for add-ons: db:small.")
        .says("Released v5");
    assert_eq!(app.get("/").is(200).text(), "a page\nfrom the profile\n");
    let set = app.api("GET", "/config-vars", None).is(200).json();
    assert_eq!(set, json!({ "CITY": "by the buildpack", "SECRET": "from the env dir" }));
    let release = app.api("GET", "/releases/4", None).is(200).json();
    assert_eq!(release["description"], "Set CITY config vars");
    // From the first deploy on the app's config vars are the user's.
    app.cli(&["config:unset", "CITY"]).succeeded();
    app.commit("again");
    app.push().succeeded().says("built before: once").says("Released v7");
    let set = app.api("GET", "/config-vars", None).is(200).json();
    assert_eq!(set, json!({ "SECRET": "from the env dir" }));
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

/// As the well-known one does it: apt with directories of its own, and no root.
const APT: &str = r#"
build=$1 cache=$2/apt
mkdir -p "$cache/archives/partial" "$2/lists/lists/partial"
options=(-o debug::nolocking=true -o dir::cache="$cache" -o dir::state="$2/lists")
echo "-----> Updating apt caches"
apt-get "${options[@]}" update 2>&1 | sed -u 's/^/       /'
for package in $(cat "$build/Aptfile"); do
  echo "-----> Fetching .debs for $package"
  apt-get "${options[@]}" -y --allow-downgrades -d install --reinstall "$package" | sed 's/^/       /'
done
mkdir -p "$build/.apt" "$build/.profile.d"
for package in "$cache"/archives/*.deb; do dpkg -x "$package" "$build/.apt/"; done
echo 'export PATH="$HOME/.apt/usr/bin:$PATH"' >"$build/.profile.d/000_apt.sh"
export PATH="$build/.apt/usr/bin:$PATH"
export | grep -E ' PATH=' >"$(dirname "$0")/../export"
"#;

#[test]
fn debian_packages_a_user_of_their_programs_and_a_procfile_for_each_app() {
    let platform = Platform::shared();
    let list = ["./packs/apt", "./packs/greets", "./packs/procfiles"];
    let app = with_buildpacks(&platform, &list);
    let packs = app.dir().join("packs");
    let aptfile = ("bin/detect", "[[ -f $1/Aptfile ]] && echo Apt");
    write_scripts(&packs.join("apt"), &[aptfile, ("bin/compile", APT)]);
    // Found by what the first one exports, at the build and in the dyno.
    let greets = ("bin/compile", "cd $1; hello --greeting=built >page");
    write_scripts(&packs.join("greets"), &[FITS, greets]);
    // Several apps in one repository: a config var says which Procfile it is.
    let copies = ("bin/compile", "cp \"$1/$(cat $3/PROCFILE)\" $1/Procfile");
    write_scripts(&packs.join("procfiles"), &[("bin/detect", "echo Procfiles"), copies]);
    app.write("Aptfile", "hello\n");
    app.write("Procfile.shop", "web: GREETING=$(hello --greeting=runs) perl serve.pl\n");
    app.cli(&["config:set", "PROCFILE=Procfile.shop"]).succeeded();
    app.commit("packages");
    app.push()
        .succeeded()
        .says("-----> Apt app detected")
        .says("-----> Fetching .debs for hello")
        .says("-----> Procfiles app detected");
    assert_eq!(app.get("/").is(200).text(), "built\nruns\n");
    app.commit("again");
    app.push().succeeded().says("Need to get 0 B");
}

/// Looks for a word in all that a build can read, by every way out that it might have.
const SPIES: &str = r#"
word=the-other-apps- word+=treasure
mounts=$(awk '{print $2}' /proc/self/mounts | grep -vE '^/(proc|sys|dev)?(/|$)')
grep -rlsF $word $mounts && exit 7
grep -lsF $word /proc/[0-9]*/root/work/cache/* && exit 7
for n in 0 1 2 3; do
  mknod /tmp/loop$n b 7 $n 2>/dev/null && exit 7
  [[ ! -r /dev/loop$n ]] || exit 7
done
ls /var/lib/docker /var/lib/senryu /work/../work/build/../../work/trash 2>/dev/null && exit 7
echo "       found nothing"
"#;

#[test]
fn buildpacks_that_take_what_they_can_get_are_named_and_hurt_nobody() {
    let platform = Platform::shared();
    let victim = with_buildpacks(&platform, &["./pack"]);
    let treasure = "echo the-other-apps-treasure >$2/treasure; cp $2/treasure page";
    write_scripts(&victim.dir().join("pack"), &[FITS, ("bin/compile", treasure)]);
    victim.commit("a treasure");
    victim.push().succeeded();

    let app = with_buildpacks(&platform, &["./pack"]);
    let push = |script: &str| {
        write_scripts(&app.dir().join("pack"), &[FITS, ("bin/compile", script)]);
        app.commit("tries");
        app.push()
    };
    push(SPIES).succeeded().says("found nothing");
    push("perl -e 'while (defined(my $pid = fork)) { $pid or sleep 600 } die'")
        .failed(1)
        .says(" !     The build ran into its limit of 512 processes and threads.");
    // Taken without being written, so that the host's disk has no work of it.
    let fills = "for size in 256M 16M 1M 64K 4K; do
            while fallocate -l $size filled.$((n += 1)) 2>/dev/null; do :; done
        done; exit 1";
    push(fills).failed(1).says(" !     The build's disk is full: source, build and cache share");
    app.log_says("Error S16 (Build disk limit)");
    assert_eq!(victim.get("/").is(200).text(), "the-other-apps-treasure\n\n");
    // What filled it goes with the build.
    push("echo fine >page").succeeded();
    assert_eq!(app.get("/").is(200).text(), "fine\n\n");
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
    let registry =
        concat!("https://buildpack-registry.s3.", "amazonaws.com/buildpacks/heroku/python.tgz");
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
        ("nodejs", "(did you mean heroku/nodejs?)"),
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
    // Whatever it was fetched as: its repository has been kept since.
    app.cli(&["buildpacks:set", &tagged]).succeeded();
    app.commit("kept");
    app.push().succeeded().says("is used, as in an earlier build");
    let tagged = outside.url("tools/.git#v9");
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
    app.push().failed(1).says(" !     Timed out compiling Fits app (1 minute)");
    let forks = "exec perl -e 'while (1) {
        my $pid = fork;
        if (defined $pid) { $pid or sleep 600 } else { select(undef, undef, undef, 0.5) }
    }'";
    outside.commit("forks", "v1", &[FITS, ("bin/compile", forks)]);
    app.cli(&["buildpacks:set", &outside.url("forks/.git")]).succeeded();
    app.commit("forks");
    app.push()
        .failed(1)
        .says(" !     Timed out compiling Fits app (1 minute)")
        .says(" !     It was at its limit of 512 processes and threads.");
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
