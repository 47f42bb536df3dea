//! Certificates that come by themselves, from Debian's `pebble`: for an app's domains and the
//! platform's own names, through the death of the server, and what is said of those that fail.

use crate::support::pebble::Pebble;
use crate::support::{App, Platform, eventually};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Who issued what is served for a name.
fn issuer(tls: SocketAddr, name: &str) -> String {
    let client = Command::new("openssl")
        .args(["s_client", "-connect", &tls.to_string(), "-servername", name])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&client.stdout).into_owned();
    said.lines().find_map(|line| line.strip_prefix("issuer=")).unwrap_or_default().to_string()
}

fn is_served(tls: SocketAddr, name: &str) -> bool {
    issuer(tls, name).contains("Pebble")
}

fn domain(app: &App, name: &str) -> Value {
    app.api("GET", &format!("/domains/{name}"), None).is(200).json()
}

#[test]
fn domains_and_own_names_get_certificates_by_themselves() {
    let tls = free();
    // Where the router will listen is known once it does, and pebble asks there.
    let (platform, pebble) = platform(tls, [127, 0, 0, 1], "http-01");
    let app = platform.empty_app();
    for name in ["api.paas.example.org", &format!("{}.paas.example.org", app.name)] {
        eventually(name, || is_served(tls, name));
    }
    let off = app.cli(&["certs:auto"]).succeeded().stdout;
    assert!(off.contains("Automatic Certificate Management is disabled"), "{off}");
    app.cli(&["domains:add", "www.example.com"]).succeeded();
    assert!(!is_served(tls, "www.example.com"), "nobody wanted one");
    app.cli(&["certs:auto:enable", "--wait"]).succeeded().says("managed by Senryu");
    assert!(is_served(tls, "www.example.com"));
    let shown = domain(&app, "www.example.com");
    assert_eq!(shown["acm_status"], "cert issued");
    assert_eq!(shown["sni_endpoint"]["name"], "acm-www.example.com");
    let said = app.cli(&["certs:auto"]).succeeded().stdout;
    assert!(said.contains("Cert issued") && said.contains("Issuer"), "{said}");
    app.cli(&["certs:remove", &format!("--confirm={}", app.name)])
        .failed(1)
        .says("comes and goes by itself");

    // Nobody listens where this one leads.
    pebble.lead("wrong.example.com", "127.0.0.77");
    app.cli(&["domains:add", "wrong.example.com"]).succeeded();
    app.cli(&["domains:add", "*.example.net"]).succeeded();
    for (name, words) in [
        ("wrong.example.com", "The certificate authority says: "),
        ("*.example.net", "A wildcard is proved by DNS records"),
    ] {
        let failing = || domain(&app, name)["acm_status"] == "failing";
        eventually("it fails", failing);
        let reason = domain(&app, name)["acm_status_reason"].clone();
        assert!(reason.as_str().unwrap().contains(words), "{reason}");
    }
    let said = app.cli(&["certs:auto", "--wait"]).failed(1);
    assert!(said.stdout.contains("Failing") && said.stdout.contains("authority says"), "{said:?}");
    pebble.lead("wrong.example.com", "127.0.0.1");
    app.cli(&["certs:auto:refresh"]).succeeded();
    eventually("it is right now", || is_served(tls, "wrong.example.com"));

    // The server dies while it asks for some.
    let names: Vec<String> = (0..6).map(|n| format!("n{n}.example.com")).collect();
    for name in &names {
        app.cli(&["domains:add", name]).succeeded();
    }
    platform.end_server(Signal::SIGKILL);
    assert!(is_served(tls, "www.example.com"), "the router goes on alone");
    platform.start_server();
    for name in &names {
        eventually(name, || is_served(tls, name));
    }
    app.cli(&["certs:auto:disable", &format!("--confirm={}", app.name)]).succeeded();
    assert!(!is_served(tls, "www.example.com"));
    assert!(is_served(tls, "api.paas.example.org"), "the platform's own are not the app's");
}

#[test]
fn names_are_proved_in_a_tls_handshake_too() {
    let tls = free();
    let (platform, _pebble) = platform(tls, [0; 4], "tls-alpn-01");
    for name in ["git.paas.example.org", "api.paas.example.org"] {
        eventually(name, || is_served(tls, name));
    }
    // Over a network the server answers by HTTPS only, on this machine as it always has.
    let port: u16 = platform.url().rsplit(':').next().unwrap().parse().unwrap();
    let ask = |address: IpAddr, host: &str| {
        let mut stream = TcpStream::connect((address, port)).unwrap();
        let head = format!("GET /a HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let route = UdpSocket::bind("0.0.0.0:0").unwrap();
    route.connect("198.51.100.1:9").unwrap();
    let outside = route.local_addr().unwrap().ip();
    let sent = ask(outside, "api.paas.example.org");
    assert!(sent.starts_with("HTTP/1.1 301"), "{sent}");
    let place = format!("Location: https://api.paas.example.org:{}/a\r\n", tls.port());
    assert!(sent.contains(&place), "{sent}");
    let refused = ask(outside, "localhost");
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("HTTPS"), "{refused}");
    let inside = ask([127, 0, 0, 1].into(), "api.paas.example.org");
    assert!(inside.contains("not_found") || inside.contains("unauthorized"), "{inside}");
}

/// A platform whose certificates come from a pebble that rejects every tenth nonce.
fn platform(tls: SocketAddr, listen: [u8; 4], challenge: &str) -> (Arc<Platform>, Pebble) {
    let http = free();
    let pebble = Pebble::start(http.port(), tls.port(), 10);
    let root = pebble.root();
    let directory = pebble.directory();
    let tls = tls.to_string();
    let listen = SocketAddr::from((listen, http.port()));
    let platform = Platform::start_at(
        listen,
        &[
            ["--tls-listen", &tls],
            ["--domain", "paas.example.org"],
            ["--acme-directory", &directory],
            ["--acme-root", root.to_str().unwrap()],
            ["--acme-challenge", challenge],
        ]
        .concat(),
    );
    (Arc::new(platform), pebble)
}
