//! Debian's `pebble`, a certificate authority for tests, with its DNS server. The end-to-end tests
//! have this file, too.

use super::openssl::Authority;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Pebble {
    dir: tempfile::TempDir,
    names: Child,
    authority: Child,
    dns: SocketAddr,
    directory: SocketAddr,
    management: SocketAddr,
    rejected: u32,
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn program(dns: SocketAddr, rejected: u32) -> Command {
    let mut pebble = Command::new("pebble");
    pebble.args(["-config", "config.json", "-dnsserver", &dns.to_string()]);
    pebble.env("PEBBLE_VA_NOSLEEP", "1");
    pebble.env("PEBBLE_WFE_NONCEREJECT", rejected.to_string());
    pebble
}

fn spawn(mut command: Command, dir: &Path) -> Child {
    command.current_dir(dir).stdin(Stdio::null());
    let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
    command.stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().expect("Debian's package pebble is installed")
}

impl Pebble {
    /// One that asks for proof at these ports and rejects so many of 100 nonces; its certificates
    /// live for so long. Its own ports may be taken by another test before it has them.
    pub fn start(http: u16, tls: u16, rejected: u32, life: Duration) -> Self {
        let found = (0..5).find_map(|_| Self::try_start(http, tls, rejected, life));
        found.expect("pebble starts")
    }

    fn try_start(http: u16, tls: u16, rejected: u32, life: Duration) -> Option<Self> {
        let [dns, management, directory, own] = [free(), free(), free(), free()];
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create();
        let made = authority.sign("pebble", &["localhost"], "root");
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("root.crt", &authority.root());
        write("pebble.crt", &made.chain);
        write("pebble.key", &made.key);
        write(
            "config.json",
            &format!(
                "{{\"pebble\": {{\"listenAddress\": \"{directory}\", \"managementListenAddress\": \
                 \"{own}\", \"certificate\": \"pebble.crt\", \"privateKey\": \"pebble.key\", \
                 \"httpPort\": {http}, \"tlsPort\": {tls}, \"ocspResponderURL\": \"\", \
                 \"externalAccountBindingRequired\": false, \
                 \"certificateValidityPeriod\": {}}}}}",
                life.as_secs()
            ),
        );
        let mut names = Command::new("pebble-challtestsrv");
        names.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]);
        names.args(["-dns01", &dns.to_string(), "-management", &management.to_string()]);
        let names = spawn(names, dir.path());
        let made = spawn(program(dns, rejected), dir.path());
        let mut pebble = Self { dir, names, authority: made, dns, directory, management, rejected };
        pebble.listens().then_some(pebble)
    }

    fn listens(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(60);
        for address in [self.directory, self.management, self.dns] {
            while !self.has_ended() && TcpStream::connect(address).is_err() {
                assert!(Instant::now() < deadline, "pebble does not start");
                std::thread::yield_now();
            }
        }
        !self.has_ended()
    }

    fn has_ended(&mut self) -> bool {
        let mut all = [&mut self.names, &mut self.authority].into_iter();
        all.any(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// The authority dies; names still lead where they did.
    #[cfg_attr(test, allow(dead_code, reason = "the end-to-end tests do it"))]
    pub fn kill(&mut self) {
        let _ = self.authority.kill();
        let _ = self.authority.wait();
    }

    /// And is there again, at the same place. It has forgotten all accounts.
    #[cfg_attr(test, allow(dead_code, reason = "the end-to-end tests do it"))]
    pub fn revive(&mut self) {
        self.authority = spawn(program(self.dns, self.rejected), self.dir.path());
        assert!(self.listens(), "pebble starts again");
    }

    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.directory.port())
    }

    /// What its directory is trusted by.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root.crt")
    }

    /// Has a name lead to an address of this machine; without this all lead to 127.0.0.1.
    pub fn lead(&self, name: &str, address: &str) {
        self.manage("clear-a", &format!("{{\"host\": \"{name}\"}}"));
        let body = format!("{{\"host\": \"{name}\", \"addresses\": [\"{address}\"]}}");
        self.manage("add-a", &body);
    }

    fn manage(&self, path: &str, body: &str) {
        let mut stream = TcpStream::connect(self.management).unwrap();
        let head = format!(
            "POST /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\
             \r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in [&mut self.names, &mut self.authority] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
