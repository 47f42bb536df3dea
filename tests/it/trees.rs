//! What a commit may hold beside plain files: submodules, links, odd names, files that lie
//! elsewhere; and what is refused of it.

use crate::support::outside::{gitmodules, write_scripts};
use crate::support::{App, Outside, Platform};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

/// The page is the file `page`.
const SERVER: &str = r#"
use IO::Socket::INET;
my $server = IO::Socket::INET->new(LocalPort => $ENV{PORT}, Listen => 9, ReuseAddr => 1) or die;
while (my $client = $server->accept) {
    while (my $line = <$client>) { last if $line =~ /^\r?\n$/ }
    open my $page, "<", "page";
    print $client "HTTP/1.0 200 OK\r\n\r\n", <$page>;
    close $client;
}
"#;

/// An app whose build is a script, run in its tree.
fn app_with(platform: &Arc<Platform>, compile: &str) -> App {
    let app = platform.empty_app();
    app.write("Procfile", "web: perl serve.pl\n");
    app.write("serve.pl", SERVER);
    app.write("page", "a page\n");
    write_scripts(&app.dir(), &[("bin/detect", "echo Script"), ("bin/compile", compile)]);
    app.commit("first");
    app.cli(&["buildpacks:set", "heroku-community/inline"]).succeeded();
    app
}

/// A submodule in the index, as a clone without its content has it.
fn put_submodule(app: &App, path: &str, url: &str, commit: &str) {
    app.write(".gitmodules", &gitmodules(path, url));
    std::fs::create_dir_all(app.dir().join(path)).unwrap();
    app.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")])
        .succeeded();
}

#[test]
fn submodules_are_installed_with_theirs_and_kept() {
    let outside = Outside::start();
    let ca_file = outside.ca_file();
    let settings = ["--build-ca-file", ca_file.to_str().unwrap()];
    let platform = Arc::new(Platform::start_with(&settings));
    outside.commit("inner", "v1", &[("value", "of the inner one")]);
    let tree = [("value", "of the first"), ("docs/x.psd", ""), ("docs/y", "")];
    outside.commit("first", "v1", &tree);
    let first = outside.submodule("first", "deep", "../../inner/.git", "inner");
    outside.commit("first", "v2", &[("value", "of a later one")]);

    let compile = "tail -qn 1 vendor/first/value vendor/first/deep/value >page
        find . -name .git >>page; ls vendor/first/docs >>page; ls -d nothing >>page";
    let app = app_with(&platform, compile);
    app.write(".slugignore", "*.psd\n.gitmodules\n");
    // No address of its own: a repository that was added like a file.
    std::fs::create_dir(app.dir().join("nothing")).unwrap();
    app.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{first},nothing")]);
    let url = outside.url("first/.git").replace("https://", "https://ada:secret-word@");
    put_submodule(&app, "vendor/first", &url, &first);
    app.commit("a submodule without an address");
    let refused = app.push().failed(1).says("Git submodules detected, installing:");
    let refused = refused.says("No url found for submodule path 'nothing' in .gitmodules");
    refused.says("!\tPush rejected, submodule install failed").says("!\tPush rejected to ");

    app.git(&["rm", "--quiet", "--cached", "nothing"]).succeeded();
    std::fs::remove_dir(app.dir().join("nothing")).unwrap();
    std::fs::create_dir(app.dir().join("nothing")).unwrap();
    app.write("nothing/file", "");
    app.commit("submodules");
    let pushed = app.push().succeeded().says("Git submodules detected, installing:");
    let pushed = pushed.says("Submodule path 'vendor/first': checked out");
    assert!(!pushed.text().contains("secret-word"), "{}", pushed.text());
    let page = "of the first\nof the inner one\ny\nnothing\n";
    assert_eq!(app.get("/").is(200).text(), page);

    // What is there need not be fetched.
    outside.end();
    app.commit("their host is away");
    app.push().succeeded();
    assert_eq!(app.get("/").is(200).text(), page);
    let other = "1234567890123456789012345678901234567890";
    put_submodule(&app, "vendor/first", &url, other);
    app.commit("what was never fetched");
    app.push().failed(1).says("!\tPush rejected, submodule install failed");
    assert_eq!(app.get("/").is(200).text(), page);
}

#[test]
fn submodules_from_where_they_may_not_come_are_refused() {
    let platform = Platform::shared();
    let app = app_with(&platform, "true");
    let touched = Path::new("/tmp/senryu-it-touched-by-a-submodule");
    let evil = format!("ext::sh -c \"touch {}\"", touched.display());
    let only = "submodules are fetched by https:// only";
    let commit = "1234567890123456789012345678901234567890";
    for (url, reason) in [
        ("file:///etc", only),
        (evil.as_str(), only),
        ("git@git.example:x.git", only),
        ("http://git.example/x.git", only),
        ("--upload-pack=touch x", only),
        ("https://127.0.0.1/x.git", "127.0.0.1 is a private address"),
        ("https://[::1]/x.git", "::1 is a private address"),
        ("https://169.254.169.254/x.git", "169.254.169.254 is a private address"),
        ("https://2130706433/x.git", "has the private address 127.0.0.1"),
        ("https://localhost/x.git", "has the private address"),
        ("https://nowhere.invalid/x.git", "the name nowhere.invalid can't be resolved"),
        ("../x.git", "relative to the app's own repository"),
    ] {
        put_submodule(&app, "module", &format!("{url:?}"), commit);
        app.commit(url);
        app.push()
            .failed(1)
            .says(&format!(" !     Git submodule module can't be fetched from {url}: "))
            .says(reason)
            .says("!\tPush rejected, submodule install failed")
            .says("pre-receive hook declined");
    }
    assert_eq!(app.pushed_commit("main"), None);
    assert!(!touched.exists());
    // Without any addresses it is an empty directory, as on Heroku.
    std::fs::remove_file(app.dir().join(".gitmodules")).unwrap();
    app.commit("no list");
    app.push().succeeded().says("Git submodule module is not in .gitmodules");
}

#[test]
fn links_modes_and_odd_names_reach_the_dyno() {
    let platform = Platform::shared();
    let app = app_with(&platform, "[[ -L to-page && -x run-me && ! -x page ]]");
    let check = "{ cat -- 'odd
name/-rf' to-page 'sp ce'/ünï; ./run-me; readlink out; ls ignored || true; } >all 2>&1; mv all page";
    write_scripts(&app.dir(), &[("check", check), ("run-me", "echo ran")]);
    app.write("Procfile", "web: ./check; exec perl serve.pl\n");
    for (path, text) in [("odd\nname/-rf", "odd\n"), ("sp ce/ünï", "letters\n"), ("ignored/x", "")]
    {
        std::fs::create_dir_all(app.dir().join(path).parent().unwrap()).unwrap();
        app.write(path, text);
    }
    app.write("big.psd", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
    app.write(".slugignore", "# comment\n/ignored\n");
    symlink("page", app.dir().join("to-page")).unwrap();
    symlink("/etc/shadow", app.dir().join("out")).unwrap();
    let mode = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(app.dir().join("page"), mode).unwrap();
    app.commit("a strange tree");
    app.push().succeeded().says(" !     1 file is a Git LFS pointer: big.psd");
    let page = app.get("/").is(200).text();
    let words = "odd\na page\nletters\nran\n/etc/shadow\nls: cannot access 'ignored'";
    assert!(page.starts_with(words), "{page}");
}

#[test]
fn a_procfile_may_be_a_link_but_not_to_what_lies_outside_of_the_app() {
    let platform = Platform::shared();
    let app = app_with(&platform, "true");
    let procfile = app.dir().join("Procfile");
    let link = |target: &str| {
        std::fs::remove_file(&procfile).unwrap();
        symlink(target, &procfile).unwrap();
        app.commit(target);
        app.push()
    };
    for target in ["/etc/passwd", "../../env/SECRET", "/proc/self/environ"] {
        let words = format!("Procfile is a symbolic link that leads out of the app, to {target}.");
        link(target).failed(1).says(&words).says("Push rejected, the Procfile can't be used");
    }
    link("bin").failed(1).says("Procfile is not a file.");
    link("nowhere").failed(1).says("Procfile is not a file.");
    assert_eq!(app.pushed_commit("main"), None);
    app.write("web.types", "web: perl serve.pl\n");
    link("web.types").succeeded().says("Procfile declares types -> web");
    assert_eq!(app.get("/").is(200).text(), "a page\n");
}
