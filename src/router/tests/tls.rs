//! HTTPS: the certificate by name, refusals, what the dyno and the log are told, resumption, and
//! certificates that change while connections live.

use super::requests::serve_control;
use super::support::*;
use crate::certs::testing::{Authority, Made};
use crate::link::{Certificate, Proofs, Secret};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, ClientConfig, HandshakeKind, RootCertStore};
use std::sync::Arc;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub fn config(authority: &Authority) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.root().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A handshake for a name, as a browser makes it.
pub async fn connect(
    router: &TestRouter,
    config: &Arc<ClientConfig>,
    name: &str,
) -> std::io::Result<Client<TlsStream<TcpStream>>> {
    let stream = TcpStream::connect(router.tls_addr).await.unwrap();
    let name = ServerName::try_from(name.to_string()).unwrap();
    let stream = TlsConnector::from(config.clone()).connect(name, stream).await?;
    Ok(Client(BufReader::new(stream)))
}

pub fn to(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

/// The alert that a handshake ended with.
fn alert(error: &std::io::Error) -> AlertDescription {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        other => panic!("no alert but {other:?}: {error}"),
    }
}

pub async fn sample(dyno: &Dyno) -> TestRouter {
    let mut router = TestRouter::with_dynos(short_timers(), &[dyno]).await;
    let id = router.snapshot.apps[0].id;
    for name in ["www.example.com", "*.example.org"] {
        router.snapshot.hosts.insert(name.to_string(), id);
    }
    router.publish().await;
    router
}

pub fn served(made: &Made, endpoint: &str, names: &[&str]) -> Certificate {
    Certificate {
        endpoint: endpoint.to_string(),
        names: names.iter().map(|name| (*name).to_string()).collect(),
        chain: made.chain.clone(),
        key: Secret(made.key.clone()),
    }
}

pub fn both(authority: &Authority) -> (Made, Made) {
    let www = authority.sign("www", &["www.example.com"], "root");
    let wild = authority.sign("wild", &["*.example.org"], "root");
    (www, wild)
}

#[tokio::test]
async fn each_name_gets_its_certificate_and_the_dyno_hears_of_https() {
    let authority = Authority::create();
    let (www, wild) = both(&authority);
    let dyno = Dyno::echoing_heads().await;
    let mut router = sample(&dyno).await;
    let certificates =
        vec![served(&www, "one", &["www.example.com"]), served(&wild, "two", &["*.example.org"])];
    router.certify(1, certificates).await;
    let mut config = config(&authority);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let config = Arc::new(config);
    for name in ["www.example.com", "WWW.Example.com", "a.example.org"] {
        let mut client = connect(&router, &config, name).await.unwrap();
        assert_eq!(client.0.get_ref().get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        for _ in 0..2 {
            let response = client.request(&to(name)).await;
            assert_eq!(response.status, 200);
            assert!(response.body.contains("X-Forwarded-Proto: https\r\n"), "{}", response.body);
            let port = format!("X-Forwarded-Port: {}\r\n", router.tls_addr.port());
            assert!(response.body.contains(&port), "{}", response.body);
        }
    }
    router.log_line("host=a.example.org").await;
    let line = router.log_line("status=200").await;
    assert!(line.ends_with("protocol=http1.1 tls=true tls_version=tls1.3"), "{line}");
}

#[tokio::test]
async fn apps_that_want_it_are_sent_to_https_and_kept_there() {
    let authority = Authority::create();
    let (www, _) = both(&authority);
    let dyno = Dyno::saying("hello").await;
    let mut router = sample(&dyno).await;
    router.certify(1, vec![served(&www, "one", &["www.example.com"])]).await;
    router.snapshot.https_port = Some(8443);
    router.snapshot.apps[0].https_redirect = true;
    router.snapshot.apps[0].hsts = true;
    router.publish().await;
    let ask = async |line: &str, host: &str| {
        let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        router.client().await.request(&request).await
    };
    for (line, status, address) in [
        ("GET /a/b?c=d", 301, "https://www.example.com:8443/a/b?c=d"),
        ("GET http://www.example.com?c", 301, "https://www.example.com:8443/?c"),
        ("POST /form", 308, "https://www.example.com:8443/form"),
        ("GET /.well-known/acme", 301, "https://www.example.com:8443/.well-known/acme"),
    ] {
        let answer = ask(line, "WWW.example.com:80").await;
        assert_eq!((answer.status, answer.header("location")), (status, Some(address)), "{line}");
        assert_eq!(answer.header("strict-transport-security"), None, "it came in the clear");
    }
    router.log_line("method=POST path=\"/form\" host=www.example.com").await;
    let line = router.log_line("status=308").await;
    assert!(line.contains("at=info method=POST") && line.contains("dyno= connect="), "{line}");
    // Nobody is sent where there is no certificate, nor away from where one is proved.
    assert_eq!(ask("GET /", "a.example.org").await.status, 200);
    assert_eq!(ask("GET /.well-known/acme-challenge/x", "www.example.com").await.status, 200);
    let mut client = connect(&router, &Arc::new(config(&authority)), "www.example.com").await;
    let answer = client.as_mut().unwrap().request(&to("www.example.com")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
}

#[tokio::test]
async fn the_control_host_is_kept_to_https_where_the_network_hears_nothing_else() {
    let authority = Authority::create();
    let (www, _) = both(&authority);
    let dyno = Dyno::saying("hello").await;
    let mut router = sample(&dyno).await;
    router.certify(1, vec![served(&www, "one", &["www.example.com"])]).await;
    router.snapshot.control_hosts.push("www.example.com".into());
    serve_control(&router);
    for (by_https, expected) in [(false, None), (true, Some("max-age=31536000"))] {
        router.snapshot.control_by_https = by_https;
        router.publish().await;
        let mut client = connect(&router, &Arc::new(config(&authority)), "www.example.com").await;
        let answer = client.as_mut().unwrap().request(&to("www.example.com")).await;
        assert_eq!((answer.status, answer.header("strict-transport-security")), (200, expected));
    }
    // This machine itself may come in the clear, and is told nothing then.
    let plain = router.client().await.request(&to("www.example.com")).await;
    assert_eq!((plain.status, plain.header("strict-transport-security")), (200, None));
}

#[tokio::test]
async fn authorities_are_shown_proofs_before_anything_else() {
    let authority = Authority::create();
    let (www, _) = both(&authority);
    let dyno = Dyno::saying("the app's").await;
    let mut router = sample(&dyno).await;
    router.certify(1, vec![served(&www, "one", &["www.example.com"])]).await;
    router.snapshot.https_port = Some(8443);
    router.snapshot.apps[0].https_redirect = true;
    router.publish().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["new.example.com".to_string()]).unwrap();
    params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(&[7; 32])];
    let chain = params.self_signed(&key).unwrap().pem();
    let proof = Made { chain, key: key.serialize_pem() };
    let http = [("token".to_string(), "token.thumb".to_string())].into();
    let tls = vec![served(&proof, "token", &["new.example.com"])];
    router.show(1, Proofs { http, tls }).await;
    // For any name: the authority knows which it asked for.
    for host in ["www.example.com", "new.example.com", "localhost"] {
        let path = "/.well-known/acme-challenge/token";
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = router.client().await.request(&request).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "token.thumb"), "{host}");
        let request = request.replace("/token", "/other");
        let answer = router.client().await.request(&request).await;
        assert_ne!(answer.body, "token.thumb");
    }
    let mut config = config(&authority);
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let config = Arc::new(config);
    let shown = async |name: &str| {
        let error = connect(&router, &config, name).await.err().unwrap();
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
    };
    // It is no certificate that a browser would take, and the served ones are not shown here.
    assert!(shown("new.example.com").await);
    assert!(!shown("www.example.com").await);
    router.show(2, Proofs::default()).await;
    let path = "/.well-known/acme-challenge/token";
    let request = format!("GET {path} HTTP/1.1\r\nHost: www.example.com\r\n\r\n");
    assert_eq!(router.client().await.request(&request).await.body, "the app's");
}

#[tokio::test]
async fn names_without_a_certificate_are_refused_in_the_handshake() {
    let authority = Authority::create();
    let (www, _) = both(&authority);
    let dyno = Dyno::saying("hello").await;
    let mut router = sample(&dyno).await;
    let config = Arc::new(config(&authority));
    let before = connect(&router, &config, "www.example.com").await.err().unwrap();
    assert_eq!(alert(&before), AlertDescription::UnrecognisedName, "nothing is certified yet");
    router.certify(1, vec![served(&www, "one", &["www.example.com"])]).await;
    for name in ["example.com", "a.www.example.com", "a.example.org", "127.0.0.1"] {
        let error = connect(&router, &config, name).await.err().unwrap();
        assert_eq!(alert(&error), AlertDescription::UnrecognisedName, "{name}");
    }
    let plain = TcpStream::connect(router.tls_addr).await.unwrap();
    let answer = Client(BufReader::new(plain)).request(&to("www.example.com")).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("port for HTTPS"), "{}", answer.body);
    // The port without TLS knows nothing of all this.
    assert_eq!(router.client().await.request(&to("www.example.com")).await.body, "hello");
}

#[tokio::test]
async fn a_connection_is_for_the_hosts_of_its_certificate_only() {
    let authority = Authority::create();
    let (www, wild) = both(&authority);
    let dyno = Dyno::saying("hello").await;
    let mut router = sample(&dyno).await;
    let certificates =
        vec![served(&www, "one", &["www.example.com"]), served(&wild, "two", &["*.example.org"])];
    router.certify(1, certificates).await;
    let config = Arc::new(config(&authority));
    let mut client = connect(&router, &config, "a.example.org").await.unwrap();
    assert_eq!(client.request(&to("b.example.org")).await.status, 200);
    assert_eq!(client.request(&to("www.example.com")).await.status, 495);
    let line = router.log_line("code=H32").await;
    assert!(line.starts_with("at=error code=H32 desc=\"TLS Certificate Mismatch\""), "{line}");
    for host in ["localhost", "nobody.example.com"] {
        let mut client = connect(&router, &config, "a.example.org").await.unwrap();
        assert_eq!(client.request(&to(host)).await.status, 421, "{host}");
    }
}

#[tokio::test]
async fn sessions_resume_and_certificates_change_under_living_connections() {
    let authority = Authority::create();
    let (www, wild) = both(&authority);
    let dyno = Dyno::saying("hello").await;
    let mut router = sample(&dyno).await;
    router.certify(1, vec![served(&www, "one", &["www.example.com"])]).await;
    let config = Arc::new(config(&authority));
    let mut kinds = Vec::new();
    let mut kept = None;
    for _ in 0..2 {
        let mut client = connect(&router, &config, "www.example.com").await.unwrap();
        // The ticket comes behind the handshake.
        assert_eq!(client.request(&to("www.example.com")).await.body, "hello");
        kinds.push(client.0.get_ref().get_ref().1.handshake_kind().unwrap());
        kept = Some(client);
    }
    assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);

    let renewed = authority.sign("renewed", &["www.example.com"], "root");
    let certificates = vec![
        served(&renewed, "one", &["www.example.com"]),
        served(&wild, "two", &["*.example.org"]),
    ];
    router.certify(2, certificates).await;
    let mut kept = kept.unwrap();
    assert_eq!(kept.request(&to("www.example.com")).await.status, 200);
    let fresh = Arc::new(self::config(&authority));
    let client = connect(&router, &fresh, "www.example.com").await.unwrap();
    let shown = client.0.get_ref().get_ref().1.peer_certificates().unwrap()[0].clone();
    assert_eq!(shown, CertificateDer::from_pem_slice(renewed.chain.as_bytes()).unwrap());
    connect(&router, &fresh, "a.example.org").await.unwrap();
    router.certify(3, Vec::new()).await;
    assert!(connect(&router, &fresh, "a.example.org").await.is_err());
    assert_eq!(kept.request(&to("www.example.com")).await.status, 200, "it was accepted");
}
