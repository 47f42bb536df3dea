//! HTTPS from outside: certificates added, served, renewed, refused and removed, through the death
//! of either process; and the platform's own one.

use crate::support::command::run;
use crate::support::openssl::{Authority, Made};
use crate::support::{App, Platform, eventually};
use nix::sys::signal::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// A platform with a listener for HTTPS.
fn platform(more: &[&str]) -> (Arc<Platform>, SocketAddr) {
    let tls = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = tls.to_string();
    let extra = [&["--tls-listen", &listen], more].concat();
    (Arc::new(Platform::start_with(&extra)), tls)
}

type Client = StreamOwned<ClientConnection, TcpStream>;

/// A client that trusts `root` only, and names no protocol, as Heroku's own does not.
fn connect(tls: SocketAddr, root: &str, host: &str) -> std::io::Result<Client> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_string()).unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(tls)?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(StreamOwned::new(connection, socket))
}

/// A GET by HTTPS: the whole answer, to the end of the connection.
fn https(tls: SocketAddr, root: &str, host: &str) -> std::io::Result<String> {
    let mut stream = connect(tls, root, host)?;
    let head = format!("GET /headers HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Files that `certs:add` is given.
fn files(app: &App, name: &str, made: &Made) -> [String; 2] {
    [("crt", &made.chain), ("key", &made.key)].map(|(kind, text)| {
        let path = app.platform.home().join(format!("{name}.{kind}"));
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    })
}

fn endpoints(app: &App) -> Vec<Value> {
    app.api("GET", "/sni-endpoints", None).is(200).json().as_array().unwrap().clone()
}

#[test]
fn a_domain_is_served_with_its_certificate_whatever_dies() {
    let authority = Authority::create();
    let root = authority.root();
    let (platform, tls) = platform(&[]);
    let app = platform.app_from("tiny");
    app.cli(&["domains:add", "www.example.com"]).succeeded();
    assert!(https(tls, &root, "www.example.com").is_err(), "there is no certificate");
    let none = app.cli(&["certs"]).succeeded();
    assert!(none.stdout.contains("has no SSL certificates"), "{}", none.stdout);

    let made = authority.sign("www", &["www.example.com", "*.example.org"], "root");
    let whole = Made { chain: format!("{}{root}", made.chain), key: made.key.clone() };
    let [crt, key] = files(&app, "www", &whole);
    let added = app.cli(&["certs:add", &crt, &key]).succeeded();
    assert!(added.stdout.contains("served for www.example.com."), "{}", added.stdout);
    let answer = https(tls, &root, "www.example.com").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"x-forwarded-proto\":\"https\""), "{answer}");
    assert!(answer.contains(&format!("\"x-forwarded-port\":\"{}\"", tls.port())), "{answer}");
    app.log_says("tls=true tls_version=tls1.3");
    app.cli(&["domains:add", "shop.example.org"]).succeeded();
    https(tls, &root, "shop.example.org").unwrap();
    for name in ["other.example.org", "localhost"] {
        assert!(https(tls, &root, name).is_err(), "{name}");
    }
    let [cert] = endpoints(&app).try_into().unwrap();
    assert_eq!(cert["domains"].as_array().unwrap().len(), 2);
    assert_eq!(cert["ssl_cert"]["cert_domains"], json!(["www.example.com", "*.example.org"]));
    let listed = app.cli(&["certs"]).succeeded().stdout;
    assert!(listed.contains("www.example.com, *.example.org"), "{listed}");
    let shown = app.cli(&["certs:info", "--show-domains"]).succeeded().stdout;
    assert!(shown.contains("shop.example.org") && shown.contains("is not trusted"), "{shown}");

    // The key is nowhere in the clear: not in the database, not in what the router keeps.
    let secret = made.key.lines().nth(1).unwrap();
    for dir in [platform.data_dir(), platform.run_dir()] {
        let found = std::process::Command::new("grep").args(["-rlF", secret]).arg(&dir).output();
        assert_eq!(String::from_utf8_lossy(&found.unwrap().stdout), "", "{}", dir.display());
    }
    sent_to_https(&app, tls, &root);
    for pid in platform.router_pids() {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    let answers = || https(tls, &root, "www.example.com").is_ok();
    eventually("another router has the certificates", answers);
    platform.end_server(Signal::SIGKILL);
    assert!(answers(), "the router goes on alone");
    platform.start_server();
    assert!(answers());

    what_handshakes_may_be(tls);
    handshakes_are_resumed(&app, tls);
    renewed_and_removed(&app, &authority, tls);
}

/// What openssl's client says of a handshake.
fn s_client(tls: SocketAddr, name: &str, more: &[&str]) -> String {
    let client = std::process::Command::new("openssl")
        .args(["s_client", "-connect", &tls.to_string(), "-servername", name])
        .args(more)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    format!(
        "{}{}",
        String::from_utf8_lossy(&client.stdout),
        String::from_utf8_lossy(&client.stderr)
    )
}

fn what_handshakes_may_be(tls: SocketAddr) {
    let is_held = |name: &str, more: &[&str]| {
        let said = s_client(tls, name, more);
        said.contains("Cipher is ") && !said.contains("Cipher is (NONE)")
    };
    let name = "www.example.com";
    // Level 0, so that it is the router that refuses and not the client.
    let weak = |words: &[&'static str]| [words, &["-cipher", "ALL:@SECLEVEL=0"]].concat();
    for (more, is_wanted) in [
        (vec!["-tls1_3"], true),
        (vec!["-tls1_2"], true),
        (weak(&["-tls1_1"]), false),
        (weak(&["-tls1"]), false),
        (vec!["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], true),
        (vec!["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"], false),
        (vec!["-tls1_2", "-cipher", "AES128-SHA:AES256-GCM-SHA384:@SECLEVEL=0"], false),
        (vec!["-alpn", "h2"], true),
    ] {
        assert_eq!(is_held(name, &more), is_wanted, "{more:?}");
    }
    assert!(!is_held("nobody.example.com", &[]));
    // Who names no host gets nobody's certificate.
    let nameless = ["s_client", "-connect", &tls.to_string(), "-noservername"];
    let said = run(std::process::Command::new("openssl").args(nameless), b"").text();
    assert!(said.contains("Cipher is (NONE)") && !said.contains("BEGIN CERTIFICATE"), "{said}");
}

/// By openssl's client, in both versions, with certificates of both kinds.
fn handshakes_are_resumed(app: &App, tls: SocketAddr) {
    let file = |name: &str| app.platform.home().join(name).to_str().unwrap().to_string();
    let [crt, key, ticket] = [file("rsa.crt"), file("rsa.key"), file("ticket")];
    let kind = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=rsa"];
    let files = ["-addext", "subjectAltName=DNS:rsa.example.com", "-keyout", &key, "-out", &crt];
    run(std::process::Command::new("openssl").args(kind).args(files), b"").succeeded();
    app.cli(&["domains:add", "rsa.example.com"]).succeeded();
    app.cli(&["certs:add", &crt, &key]).succeeded();
    for name in ["www.example.com", "rsa.example.com"] {
        let head = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        let ask = |more: &[&str]| {
            let mut client = std::process::Command::new("openssl");
            client.args(["s_client", "-connect", &tls.to_string(), "-servername", name]);
            // The server's tickets come behind the handshake.
            client.args(["-ign_eof"]).args(more);
            run(&mut client, head.as_bytes()).text()
        };
        for (version, word) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
            let new = ask(&[version, "-sess_out", &ticket]);
            assert!(new.contains(&format!("New, {word}")), "{new}");
            let again = ask(&[version, "-sess_in", &ticket]);
            assert!(again.contains(&format!("Reused, {word}")), "{name}: {again}");
            assert!(again.contains("HTTP/1.1 200"), "{again}");
        }
    }
    let rsa = ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"];
    assert!(s_client(tls, "rsa.example.com", &rsa).contains("Cipher is ECDHE-RSA"));
    let confirm = format!("--confirm={}", app.name);
    app.cli(&["certs:remove", "--endpoint", "rsa.example.com", &confirm]).succeeded();
    app.cli(&["domains:remove", "rsa.example.com"]).succeeded();
}

/// Both are kept by router and server alike: what follows kills them.
fn sent_to_https(app: &App, tls: SocketAddr, root: &str) {
    let shown = app.cli(&["apps:info"]).succeeded().stdout;
    assert!(!shown.contains("HTTPS"), "{shown}");
    app.cli(&["https:redirect", "on"]).succeeded();
    app.cli(&["https:hsts", "on"]).succeeded();
    let shown = app.cli(&["apps:info"]).succeeded().stdout;
    assert!(shown.contains("HTTPS:") && shown.contains("redirect, HSTS"), "{shown}");
    let url = app.platform.url();
    let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
    let mut plain = TcpStream::connect(("127.0.0.1", port)).unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    plain
        .write_all(b"GET /a?b HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 301"), "{answer}");
    let place = format!("Location: https://www.example.com:{}/a?b\r\n", tls.port());
    assert!(answer.contains(&place), "{answer}");
    let answer = https(tls, root, "www.example.com").unwrap();
    assert!(answer.contains("Strict-Transport-Security: max-age=31536000\r\n"), "{answer}");
    app.cli(&["https:redirect", "off"]).succeeded();
}

fn renewed_and_removed(app: &App, authority: &Authority, tls: SocketAddr) {
    let root = authority.root();
    let narrow = authority.sign("narrow", &["www.example.com"], "root");
    let whole = Made { chain: format!("{}{root}", narrow.chain), key: narrow.key };
    let [crt, key] = files(app, "narrow", &whole);
    let confirm = format!("--confirm={}", app.name);
    app.cli(&["certs:update", &crt, &key, &confirm])
        .failed(1)
        .says("certificate_chain is not for the domain shop.example.org");
    app.cli(&["domains:remove", "shop.example.org"]).succeeded();
    app.cli(&["certs:update", &crt, &key, &confirm]).succeeded().says("Updated certificate");
    https(tls, &root, "www.example.com").unwrap();
    let domain = app.api("GET", "/domains/www.example.com", None).is(200).json();
    assert_eq!(domain["sni_endpoint"]["name"], endpoints(app)[0]["name"]);
    let path = "/domains/www.example.com";
    app.api("PATCH", path, Some(json!({ "sni_endpoint": null }))).is(200);
    assert!(https(tls, &root, "www.example.com").is_err(), "detached");
    let name = endpoints(app)[0]["name"].clone();
    app.api("PATCH", path, Some(json!({ "sni_endpoint": name }))).is(200);
    https(tls, &root, "www.example.com").unwrap();
    app.cli(&["certs:remove", &confirm]).succeeded();
    assert!(https(tls, &root, "www.example.com").is_err(), "removed");
    app.cli(&["certs:info"]).failed(1).says("has no SSL certificates");
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let authority = Authority::create();
    authority.intermediate("middle");
    let made = authority.sign("www", &["www.example.com"], "middle");
    let own = authority.self_signed("own", "/CN=own.example.com", &[]).chain;
    let app = Platform::shared().empty_app();
    let add = |chain: &str, key: &str| {
        let body = json!({ "certificate_chain": chain, "private_key": key });
        app.api("POST", "/sni-endpoints", Some(body)).is(422).json()
    };
    for (error, words) in [
        (add(&made.chain, &made.key), "certificate_chain is incomplete"),
        (add("nonsense", &made.key), "certificate_chain holds no certificate"),
        (add(&own, &made.key), "private_key does not belong"),
        (add(&own, "nonsense"), "private_key holds no private key"),
        (add(&own, &authority.locked_key("www")), "private_key is protected"),
        (add(&authority.root(), &made.key), "certificate_chain names no host"),
    ] {
        let message = error["message"].as_str().unwrap();
        assert!(error["id"] == "invalid_params" && message.contains(words), "{error}");
    }
    let lacking = Some(json!({ "certificate_chain": made.chain }));
    let error = app.api("POST", "/sni-endpoints", lacking).is(422).json();
    assert_eq!(error["message"], "private_key is required");
    assert!(endpoints(&app).is_empty());
    app.cli(&["https:redirect", "on"]).failed(1).says("does not listen for HTTPS");
}

#[test]
fn the_platforms_own_names_are_served_with_its_certificate() {
    let authority = Authority::create();
    let root = authority.root();
    let made = authority.sign("own", &["*.paas.example.org"], "root");
    let own = Made { chain: format!("{}{root}", made.chain), key: made.key };
    let dir = tempfile::tempdir().unwrap();
    let [crt, key] = [("crt", &own.chain), ("key", &own.key)].map(|(kind, text)| {
        let path = dir.path().join(kind);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    });
    let flags = ["--tls-certificate-file", &crt, "--tls-key-file", &key];
    let (platform, tls) = platform(&[&["--domain", "paas.example.org"], &flags[..]].concat());
    let app = platform.app_from("tiny");
    let shown = app.api("GET", "", None).is(200).json();
    let web_url = format!("https://{}.paas.example.org:{}/", app.name, tls.port());
    assert_eq!(shown["web_url"], web_url.as_str());
    heroku_attaches(&app, tls, &root);
    let client = std::process::Command::new("openssl")
        .args(["s_client", "-connect", &tls.to_string(), "-servername", "api.paas.example.org"])
        .args(["-CAfile", &crt, "-verify_return_error", "-verify_hostname", "api.paas.example.org"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&client.stdout);
    assert!(client.status.success() && said.contains("Verify return code: 0"), "{said}");

    let newer = authority.self_signed(
        "newer",
        "/CN=Newer platform",
        &["-addext", "subjectAltName=DNS:*.paas.example.org"],
    );
    std::fs::write(&crt, &newer.chain).unwrap();
    std::fs::write(&key, &newer.key).unwrap();
    let subject = || s_client(tls, "api.paas.example.org", &[]).contains("Newer platform");
    eventually("the new files are served", subject);

    platform.end_server(Signal::SIGTERM);
    std::fs::write(&key, "nonsense").unwrap();
    let refused = run(&mut platform.server_command(), b"").failed(1);
    assert!(refused.stderr.contains("private_key holds no private key"), "{}", refused.stderr);
}

/// As Heroku's own client runs a one-off: a secret, a line, and bytes both ways.
fn heroku_attaches(app: &App, tls: SocketAddr, root: &str) {
    let host = "api.paas.example.org";
    let attach = |body: Value| {
        let dyno = app.api("POST", "/dynos", Some(body)).is(201).json();
        let url = dyno["attach_url"].as_str().unwrap().to_string();
        let start = format!("rendezvous://{host}:{}/", tls.port());
        let secret = url.strip_prefix(&start).unwrap_or_else(|| panic!("{url}"));
        let mut client = connect(tls, root, host).unwrap();
        client.write_all(format!("{secret}\r\n").as_bytes()).unwrap();
        let mut banner = [0; 12];
        client.read_exact(&mut banner).unwrap();
        assert_eq!(&banner, b"rendezvous\r\n");
        (client, secret.to_string())
    };
    let said = |client: &mut Client| {
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        said
    };
    let command = "tr a-z A-Z; echo \"\u{ffff} heroku-command-exit-status: 7\"";
    let (mut piped, secret) = attach(json!({ "attach": true, "command": command }));
    piped.write_all(b"from here\n\x04").unwrap();
    let expected = "FROM HERE\n\u{ffff} heroku-command-exit-status: 7\n";
    assert_eq!(said(&mut piped), expected);
    let env = json!({ "TERM": "xterm", "COLUMNS": 90, "LINES": 30 });
    let terminal = json!({ "attach": true, "command": "tty && stty size && cat", "env": env });
    let (mut typed, _) = attach(terminal);
    typed.write_all(b"typed\n\x04").unwrap();
    let seen = said(&mut typed);
    assert!(seen.contains("/dev/pts/0\r\n30 90\r\n"), "{seen:?}");
    assert_eq!(seen.matches("typed\r\n").count(), 2, "the terminal's echo and cat's: {seen:?}");
    // A secret is good for one client.
    let mut again = connect(tls, root, host).unwrap();
    again.write_all(format!("{secret}\r\n").as_bytes()).unwrap();
    assert!(said(&mut again).contains("Couldn't find that dyno"));
    https(tls, root, host).unwrap();
}
