//! Debian's `pebble`, a certificate authority for tests, with its DNS server. The end-to-end tests
//! have this file, too.

use super::openssl::Authority;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Pebble {
    dir: tempfile::TempDir,
    children: Vec<Child>,
    directory: SocketAddr,
    management: SocketAddr,
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Pebble {
    /// One that asks for proof at these ports, and rejects so many of 100 nonces. Its own ports may
    /// be taken by another test before it has them.
    pub fn start(http: u16, tls: u16, rejected: u32) -> Self {
        let found = (0..5).find_map(|_| Self::try_start(http, tls, rejected));
        found.expect("pebble starts")
    }

    fn try_start(http: u16, tls: u16, rejected: u32) -> Option<Self> {
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
                 \"externalAccountBindingRequired\": false}}}}"
            ),
        );
        let mut names = Command::new("pebble-challtestsrv");
        names.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]);
        names.args(["-dns01", &dns.to_string(), "-management", &management.to_string()]);
        let mut pebble = Command::new("pebble");
        pebble.args(["-config", "config.json", "-dnsserver", &dns.to_string()]);
        pebble.env("PEBBLE_VA_NOSLEEP", "1");
        pebble.env("PEBBLE_WFE_NONCEREJECT", rejected.to_string());
        let children = [names, pebble].map(|mut command| {
            command.current_dir(dir.path()).stdin(Stdio::null());
            let log = std::fs::File::create(dir.path().join("log")).unwrap();
            command.stdout(log.try_clone().unwrap()).stderr(log);
            command.spawn().expect("Debian's package pebble is installed")
        });
        let mut pebble = Self { dir, children: children.into(), directory, management };
        let deadline = Instant::now() + Duration::from_secs(60);
        for address in [directory, management, dns] {
            while !pebble.has_ended() && TcpStream::connect(address).is_err() {
                assert!(Instant::now() < deadline, "pebble does not start");
                std::thread::yield_now();
            }
        }
        (!pebble.has_ended()).then_some(pebble)
    }

    fn has_ended(&mut self) -> bool {
        self.children.iter_mut().any(|child| !matches!(child.try_wait(), Ok(None)))
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
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
