//! Certificates that come by themselves, from Debian's `pebble`: for an app's domains and the
//! platform's own names, through the death of the server, and what is said of those that fail.

use crate::support::axe::{Axe, look_at};
use crate::support::browser::Browser;
use crate::support::command::run;
use crate::support::console::signed_in;
use crate::support::pebble::Pebble;
use crate::support::terminal::Terminal;
use crate::support::{App, Platform, eventually, until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Certificates that are not renewed while a test lasts, and those that are after 40 seconds.
const LONG: Duration = Duration::from_secs(90 * 86_400);
const SHORT: Duration = Duration::from_secs(60);
/// For that which takes so long, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// What a handshake for a name says.
fn handshake(tls: SocketAddr, name: &str) -> String {
    let client = Command::new("openssl")
        .args(["s_client", "-connect", &tls.to_string(), "-servername", name])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&client.stdout).into_owned()
}

fn is_served(tls: SocketAddr, name: &str) -> bool {
    let said = handshake(tls, name);
    said.lines().any(|line| line.starts_with("issuer=") && line.contains("Pebble"))
}

/// The certificate that is served for a name.
fn certificate(tls: SocketAddr, name: &str) -> Option<String> {
    let said = handshake(tls, name);
    let (_, rest) = said.split_once("-----BEGIN CERTIFICATE-----")?;
    Some(rest.split_once("-----END CERTIFICATE-----")?.0.to_string())
}

/// Whether a certificate is good for so long.
fn lives_on(certificate: &Option<String>, time: Duration) -> bool {
    let body = certificate.as_ref().unwrap();
    let pem = format!("-----BEGIN CERTIFICATE-----{body}-----END CERTIFICATE-----\n");
    let mut check = Command::new("openssl");
    check.args(["x509", "-noout", "-checkend", &time.as_secs().to_string()]);
    run(&mut check, pem.as_bytes()).status == 0
}

fn domain(app: &App, name: &str) -> Value {
    app.api("GET", &format!("/domains/{name}"), None).is(200).json()
}

#[test]
fn domains_and_own_names_get_certificates_by_themselves() {
    let tls = free();
    // Where the router will listen is known once it does, and pebble asks there.
    let (platform, pebble) = platform(tls, [127, 0, 0, 1], "http-01", LONG);
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
    for (name, state, words) in [
        ("wrong.example.com", "failing", "The certificate authority says: "),
        ("*.example.net", "failed", "A wildcard is proved by DNS records"),
    ] {
        eventually("it fails", || domain(&app, name)["acm_status"] == state);
        let reason = domain(&app, name)["acm_status_reason"].clone();
        assert!(reason.as_str().unwrap().contains(words), "{reason}");
    }
    let said = app.cli(&["certs:auto", "--wait"]).failed(1).says("A wildcard is proved");
    assert!(said.stdout.contains("Failing") && said.stdout.contains("authority says"), "{said:?}");
    app.cli(&["domains:remove", "*.example.net"]).succeeded();
    let browser = signed_in(&platform);
    wait_through_a_failure(&app, &pebble, &browser);
    assert!(is_served(tls, "wrong.example.com"));

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
    browser.goto(&format!("/console/apps/{}/domains", app.name));
    browser.click("Turn on");
    browser.sees("Automatic certificates are on");
    eventually("there are certificates again", || is_served(tls, "www.example.com"));
    browser.click("Turn off");
    browser.sees("Automatic certificates are off.");
    assert!(!is_served(tls, "www.example.com"));
    assert!(is_served(tls, "api.paas.example.org"), "the platform's own are not the app's");
}

/// What fails now may not fail for long: whoever waits is told why, and waits on.
fn wait_through_a_failure(app: &App, pebble: &Pebble, browser: &Browser) {
    let mut command = app.platform.cli_command();
    command.args(["certs:auto", "--wait", "-a", &app.name]);
    command.current_dir(app.dir());
    let mut waiting = Terminal::start(&command, 200, 30);
    waiting.shows("wrong.example.com has none yet");
    pebble.lead("wrong.example.com", "127.0.0.1");
    browser.goto(&format!("/console/apps/{}/domains", app.name));
    browser.sees("The certificate authority says: ");
    look_at(browser, &Axe::install(), "domains-certificates");
    browser.click("Try failed ones again");
    browser.sees("All that have failed are tried again now.");
    waiting.shows("Cert issued");
    assert_eq!(waiting.ended(), 0);
}

#[test]
fn names_are_proved_in_a_tls_handshake_too_and_renewed_whether_the_authority_is_up_or_not() {
    let tls = free();
    let (platform, mut pebble) = platform(tls, [0; 4], "tls-alpn-01", SHORT);
    let app = platform.empty_app();
    app.cli(&["domains:add", "www.example.com"]).succeeded();
    app.cli(&["certs:auto:enable", "--wait"]).succeeded();
    let first = certificate(tls, "www.example.com");
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

    let name = "www.example.com";
    let is_new = |old: &Option<String>| {
        let now = certificate(tls, name);
        (now.is_some() && now != *old).then_some(())
    };
    until("it is renewed", PATIENCE, || is_new(&first));
    // Nobody is there when the next time comes, neither the server nor, after that, the authority.
    let second = certificate(tls, name);
    platform.end_server(Signal::SIGTERM);
    until("it should be renewed", PATIENCE, || (!lives_on(&second, SHORT / 3)).then_some(()));
    assert_eq!(certificate(tls, name), second, "the router serves it meanwhile");
    pebble.kill();
    platform.start_server();
    let shown = until("it fails", PATIENCE, || {
        Some(domain(&app, name)).filter(|shown| shown["acm_status"] == "failing")
    });
    let reason = shown["acm_status_reason"].as_str().unwrap();
    assert!(reason.contains("authority cannot be reached"), "{reason}");
    let kept = certificate(tls, name);
    assert!(is_served(tls, name), "what there is serves on");
    pebble.revive();
    app.cli(&["certs:auto:refresh"]).succeeded();
    until("it is renewed after all", PATIENCE, || is_new(&kept));
    eventually("all is well", || domain(&app, name)["acm_status"] == "cert issued");
}

/// A platform whose certificates come from a pebble that rejects every tenth nonce, and live for so
/// long.
fn platform(
    tls: SocketAddr,
    listen: [u8; 4],
    challenge: &str,
    life: Duration,
) -> (Arc<Platform>, Pebble) {
    let http = free();
    let pebble = Pebble::start(http.port(), tls.port(), 10, life);
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
