//! A host on the outside, with git repositories and files over HTTPS. It has a network namespace
//! of its own behind a pair of virtual interfaces, at an address that is not private, so that a
//! build gets to it as it gets to the net: through the installation's network and firewall.

use super::command::run;
use super::docker::docker;
use super::platform::{clean, repository};
use super::until;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const IMAGE: &str = "senryu/stack:build";
/// It ends by itself if the test can't end it.
const LIFETIME: &str = "900";

pub struct Outside {
    dir: TempDir,
    container: String,
    pub address: String,
}

/// A program that must succeed.
#[track_caller]
fn must(program: &str, arguments: &[&str]) {
    run(Command::new(program).args(arguments), b"").succeeded();
}

impl Outside {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed) % 4;
        let number = std::process::id() % 4096 * 4 + count;
        let container = format!("senryu-it-{}-outside-{count}", std::process::id());
        // Of the range for tests of networks; four addresses for each.
        let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
        let (high, low) = (high * 4 + low / 64, low % 64 * 4);
        let [ours, address] = [1, 2].map(|last| format!("198.18.{high}.{}", low + last));
        let root = dir.path().to_str().unwrap();
        let [key, certificate] =
            ["key.pem", "certificate.pem"].map(|name| format!("{root}/{name}"));
        let name = format!("subjectAltName=IP:{address}");
        let kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        let what = ["-nodes", "-days", "2", "-subj", "/CN=outside", "-addext", &name];
        let files = ["-keyout", key.as_str(), "-out", certificate.as_str()];
        must("openssl", &[&kind[..], &what, &files].concat());
        std::fs::copy(repository().join("tests/fixtures/outside.py"), dir.path().join("serve.py"))
            .unwrap();
        let volume = format!("{root}:/srv:ro");
        docker(&[
            "run",
            "--detach",
            "--rm",
            "--network=none",
            "--name",
            &container,
            "--volume",
            &volume,
            IMAGE,
            "timeout",
            LIFETIME,
            "python3",
            "/srv/serve.py",
            "/srv",
        ])
        .succeeded();
        let outside = Self { dir, container, address };
        outside.connect(&ours, number);
        until("the outside listens", Duration::from_secs(20), || {
            TcpStream::connect((outside.address.as_str(), 443)).ok()
        });
        outside
    }

    fn connect(&self, ours: &str, number: u32) {
        let format = "{{.State.Pid}}";
        let pid = docker(&["inspect", "--format", format, &self.container]).succeeded().stdout;
        let pid = pid.trim();
        let [here, there] = ["h", "t"].map(|end| format!("sit{number}{end}"));
        must("ip", &["link", "add", &here, "type", "veth", "peer", "name", &there]);
        must("ip", &["link", "set", &there, "netns", pid]);
        must("ip", &["addr", "add", &format!("{ours}/30"), "dev", &here]);
        must("ip", &["link", "set", &here, "up"]);
        let inside = |arguments: &[&str]| {
            let enter = ["--target", pid, "--net", "ip"];
            must("nsenter", &[&enter[..], arguments].concat());
        };
        inside(&["addr", "add", &format!("{}/30", self.address), "dev", &there]);
        inside(&["link", "set", &there, "up"]);
        inside(&["route", "add", "default", "via", ours]);
    }

    /// A file with the CA bundle of this host and the outside's certificate.
    pub fn ca_file(&self) -> PathBuf {
        let path = self.dir.path().join("bundle.pem");
        let mut bundle = std::fs::read("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default();
        bundle.extend(std::fs::read(self.dir.path().join("certificate.pem")).unwrap());
        std::fs::write(&path, bundle).unwrap();
        path
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{}/{path}", self.address)
    }

    fn git(&self, repository: &Path, arguments: &[&str]) -> String {
        let mut command = clean("git");
        command.env("HOME", self.dir.path()).current_dir(repository);
        command.args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]).args(arguments);
        run(&mut command, b"").succeeded().stdout.trim().to_string()
    }

    /// Puts scripts into a repository, as a commit under a tag; its id.
    pub fn commit(&self, name: &str, tag: &str, scripts: &[(&str, &str)]) -> String {
        let dir = self.dir.path().join(name);
        if !dir.exists() {
            std::fs::create_dir(&dir).unwrap();
            self.git(&dir, &["init", "--quiet", "--initial-branch=main"]);
        }
        write_scripts(&dir, scripts);
        self.git(&dir, &["add", "--all"]);
        self.git(&dir, &["commit", "--quiet", "--message", tag]);
        self.git(&dir, &["tag", tag]);
        self.git(&dir, &["rev-parse", "HEAD"])
    }

    /// Puts a repository at its newest commit into another as a submodule, as a commit; its id.
    pub fn submodule(&self, name: &str, path: &str, url: &str, of: &str) -> String {
        let commit = self.git(&self.dir.path().join(of), &["rev-parse", "HEAD"]);
        let dir = self.dir.path().join(name);
        std::fs::write(dir.join(".gitmodules"), gitmodules(path, url)).unwrap();
        std::fs::create_dir_all(dir.join(path)).unwrap();
        let entry = format!("160000,{commit},{path}");
        self.git(&dir, &["update-index", "--add", "--cacheinfo", &entry]);
        self.git(&dir, &["add", ".gitmodules"]);
        self.git(&dir, &["commit", "--quiet", "--message", path]);
        self.git(&dir, &["rev-parse", "HEAD"])
    }

    /// Packs scripts into a tarball.
    pub fn tarball(&self, name: &str, scripts: &[(&str, &str)]) {
        let files = tempfile::tempdir().unwrap();
        write_scripts(files.path(), scripts);
        let (to, from) = (self.dir.path().join(name), files.path().to_str().unwrap());
        must("tar", &["-C", from, "-czf", to.to_str().unwrap(), "."]);
    }

    /// The host goes away.
    pub fn end(&self) {
        docker(&["rm", "--force", &self.container]);
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.end();
    }
}

/// What git knows of one submodule.
pub fn gitmodules(path: &str, url: &str) -> String {
    format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n")
}

/// Programs of a shell, below a directory.
pub fn write_scripts(dir: &Path, scripts: &[(&str, &str)]) {
    use std::os::unix::fs::PermissionsExt;
    for (path, script) in scripts {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/usr/bin/env bash\nset -e\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}
