//! Automatic certificates from a real authority whose nonces fail, by a clock that is moved; and
//! with one that is made up, what no real one does on demand.

use super::acme::Acme;
use super::dns::tests::Zone;
use super::pebble::Pebble;
use super::*;
use crate::apps::lifecycle::new_app;
use crate::certs::{CertsParts, Handshakes};
use crate::limits;
use crate::link::{Certificate, Proofs};
use crate::model::{
    App, AppName, Caller, Domain, DomainId, Hostname, SniEndpoint, SniEndpointId, User, UserId,
};
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// What the router would have.
#[derive(Default)]
struct Front {
    served: Mutex<Vec<Certificate>>,
    proofs: Mutex<Proofs>,
}

#[async_trait]
impl Handshakes for Front {
    async fn use_certificates(&self, certificates: Vec<Certificate>) -> bool {
        *self.served.lock().unwrap() = certificates;
        true
    }

    async fn show_proofs(&self, proofs: Proofs) -> bool {
        *self.proofs.lock().unwrap() = proofs;
        true
    }
}

impl Front {
    fn names(&self) -> Vec<String> {
        let served = self.served.lock().unwrap();
        let mut names: Vec<String> = served.iter().flat_map(|one| one.names.clone()).collect();
        names.sort();
        names
    }

    fn chain(&self, name: &str) -> String {
        let served = self.served.lock().unwrap();
        let one = served.iter().find(|one| one.names.iter().any(|known| known == name));
        one.expect("it is served").chain.clone()
    }

    /// Answers HTTP-01 as the router does.
    async fn listen(self: &Arc<Self>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let front = self.clone();
        tasks::spawn("test front", async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let front = front.clone();
                tasks::spawn("test front connection", async move {
                    let mut head = [0; 4096];
                    let Ok(length) = stream.read(&mut head).await else { return };
                    let head = String::from_utf8_lossy(&head[..length]).into_owned();
                    let path = head.split(' ').nth(1).unwrap_or_default();
                    let token = path.strip_prefix(limits::ACME_PATH).unwrap_or_default();
                    let answer = front.proofs.lock().unwrap().http.get(token).cloned();
                    let status = if answer.is_some() { "200 OK" } else { "404 Not Found" };
                    let body = answer.unwrap_or_default();
                    let text = format!(
                        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    // An authority that left shows in its own answer.
                    let _ = stream.write_all(text.as_bytes()).await;
                });
            }
        });
        port
    }
}

/// A store with an app, and a clock that stands still.
struct Fixture {
    _dir: tempfile::TempDir,
    parts: CertsParts,
    front: Arc<Front>,
    now: Arc<Mutex<Timestamp>>,
    app: App,
    zone: Vec<(&'static str, &'static str)>,
}

impl Fixture {
    async fn new(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state.db")).unwrap();
        let secrets = Secrets::from_file(&dir.path().join("master.key")).unwrap();
        let front = Arc::new(Front::default());
        let flags = [&["--tls-listen", "127.0.0.1:443", "--acme-directory", "https://x"], flags];
        let settings = Arc::new(ServerSettings::for_tests(&flags.concat()));
        let handshakes = front.clone();
        let lookup = Arc::new(Zone::default());
        let parts = CertsParts { store, secrets, settings, handshakes, lookup };
        let now = Timestamp::now();
        let user = User {
            id: UserId::random(),
            email: "ada@example.org".to_string(),
            admin: false,
            created_at: now,
            updated_at: now,
        };
        let caller = Caller { user: user.clone(), authorization: None };
        let app = new_app(&caller, AppName::parse("shop").unwrap(), "heroku-24");
        let row = app.clone();
        let write = move |db: &rusqlite::Transaction<'_>| {
            store::users::insert(db, &user, "")?;
            store::apps::insert(db, &row)?;
            store::apps::set_acm(db, row.id, true, now)
        };
        parts.store.write(write).await.unwrap();
        let now = Arc::new(Mutex::new(now));
        Self { _dir: dir, parts, front, now, app, zone: Vec::new() }
    }

    async fn add(&self, names: &[String]) {
        let (app, now) = (self.app.id, *self.now.lock().unwrap());
        let domains: Vec<Domain> = names
            .iter()
            .map(|name| Domain {
                id: DomainId::random(),
                app,
                hostname: Hostname::parse(name).unwrap(),
                sni_endpoint: None,
                acm: None,
                created_at: now,
                updated_at: now,
            })
            .collect();
        let write = move |db: &rusqlite::Transaction<'_>| {
            domains.iter().try_for_each(|domain| store::domains::insert(db, domain))
        };
        self.parts.store.write(write).await.unwrap();
    }

    /// As after a start of the server.
    async fn auto(&self, issuer: Arc<dyn Issuer>) -> Auto {
        let parts = &self.parts;
        let certs = Certs::start(CertsParts {
            store: parts.store.clone(),
            secrets: parts.secrets.clone(),
            settings: parts.settings.clone(),
            handshakes: self.front.clone(),
            lookup: Arc::new(Zone(self.zone.iter().copied().collect())),
        });
        let certs = certs.await.unwrap();
        let now = self.now.clone();
        Auto(AutoParts {
            store: parts.store.clone(),
            secrets: parts.secrets.clone(),
            settings: parts.settings.clone(),
            wake: certs.wakes(),
            certs,
            issuer,
            clock: Arc::new(move || *now.lock().unwrap()),
        })
    }

    fn pass_minutes(&self, minutes: i64) {
        self.now.lock().unwrap().0 += minutes * 60_000_000;
    }

    async fn rows(&self) -> Vec<AutoCertificate> {
        self.parts.store.read(auto_certificates::all).await.unwrap()
    }

    async fn row(&self, name: &str) -> AutoCertificate {
        let rows = self.rows().await;
        rows.into_iter().find(|row| row.hostname == name).expect("it is wanted")
    }
}

/// Until nothing is due.
async fn settle(auto: &Auto) {
    let mut tries = Tries::new(auto);
    for _ in 0..200 {
        if tries.is_idle() {
            tries.look().await.unwrap();
        }
        tries.begin();
        if tries.is_idle() {
            return;
        }
        assert!(tries.ended().await, "all is kept");
    }
    panic!("something is due again and again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_names_are_certified_and_renewed_whatever_the_authority_rejects() {
    let mut fixture = Fixture::new(&[]).await;
    let pebble = Pebble::start(fixture.front.listen().await, 1, 15, YEAR);
    let root = pebble.root().to_str().unwrap().to_string();
    let settings = ServerSettings::for_tests(&["--acme-root", &root]);
    let acme = async |fixture: &Fixture| {
        let (store, secrets) = (&fixture.parts.store, &fixture.parts.secrets);
        let front = fixture.front.clone();
        Arc::new(Acme::new(&pebble.directory(), &settings, store, secrets, front).await.unwrap())
    };
    let names: Vec<String> = (0..49).map(|n| format!("n{n:02}.example.com")).collect();
    fixture.add(&names).await;
    fixture.add(&["old.example.com".to_string()]).await;
    // It leads to where nobody listens.
    pebble.lead("old.example.com", "127.0.0.77");
    fixture.zone =
        vec![("old.example.com", "203.0.113.9"), ("api.paas.example.org", "198.51.100.1")];
    let flags = ["--tls-listen", "127.0.0.1:443", "--domain", "paas.example.org"];
    let more = ["--tls-certificate-file", "/crt", "--tls-key-file", "/key"];
    let own = ServerSettings::for_tests(&[&flags[..], &more].concat());
    let mut auto = fixture.auto(acme(&fixture).await).await;
    auto.0.settings = Arc::new(own);
    settle(&auto).await;
    // Nonces fail by chance: what failed so often that it counts is tried again, within minutes.
    for _ in 0..8 {
        if fixture.front.names().len() == names.len() {
            break;
        }
        fixture.pass_minutes(1);
        settle(&auto).await;
    }
    let reasons: Vec<_> = fixture.rows().await.into_iter().filter_map(|row| row.reason).collect();
    assert_eq!(fixture.front.names(), names, "{reasons:?}");
    assert!(fixture.front.proofs.lock().unwrap().http.is_empty(), "nothing is shown for nothing");
    let old = fixture.row("old.example.com").await;
    let reason = old.reason.unwrap();
    assert!(reason.starts_with("old.example.com leads to 203.0.113.9: it should"), "{reason}");
    assert!(reason.contains("The certificate authority says: "), "{reason}");

    // The server was down when two thirds of the life were over.
    let before = fixture.front.chain("n00.example.com");
    let renew_at = fixture.row("n00.example.com").await.renew_at.unwrap();
    *fixture.now.lock().unwrap() = Timestamp(renew_at.0 + 1);
    let auto = fixture.auto(acme(&fixture).await).await;
    assert_eq!(fixture.front.names(), names, "what there is is served at once");
    for _ in 0..8 {
        settle(&auto).await;
        if fixture.front.chain("n00.example.com") != before {
            return;
        }
        fixture.pass_minutes(60);
    }
    panic!("it is not renewed");
}

/// Says what it is told to.
#[derive(Default)]
struct Fake {
    fails: Mutex<bool>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Issuer for Fake {
    async fn issue(&self, hostname: &str) -> std::result::Result<Issued, Refused> {
        self.asked.lock().unwrap().push(hostname.to_string());
        if *self.fails.lock().unwrap() {
            return Err(Refused("not today".to_string()));
        }
        let made = rcgen::generate_simple_self_signed(vec![hostname.to_string()]).unwrap();
        Ok(Issued { chain: made.cert.pem(), key: made.key_pair.serialize_pem() })
    }
}

#[tokio::test]
async fn the_rows_follow_what_is_wanted_and_failures_say_why() {
    let fixture = Fixture::new(&["--domain", "paas.example.org"]).await;
    fixture.add(&["www.example.com".to_string(), "*.example.net".to_string()]).await;
    let fake = Arc::new(Fake::default());
    let auto = fixture.auto(fake.clone()).await;
    settle(&auto).await;
    let own = ["api", "dashboard", "git", "shop"].map(|name| format!("{name}.paas.example.org"));
    let names = [&own[..], &["www.example.com".to_string()]].concat();
    assert_eq!(fixture.front.names(), names);
    let wildcard = fixture.row("*.example.net").await;
    assert_eq!(wildcard.state, AutoState::Failed);
    assert!(wildcard.reason.unwrap().contains("certs:add"));

    // Nothing is due any more, and a renewal that fails takes nothing away.
    fake.asked.lock().unwrap().clear();
    settle(&auto).await;
    assert!(fake.asked.lock().unwrap().is_empty());
    *fake.fails.lock().unwrap() = true;
    let renew_at = fixture.row("www.example.com").await.renew_at.unwrap();
    *fixture.now.lock().unwrap() = renew_at;
    settle(&auto).await;
    let row = fixture.row("www.example.com").await;
    assert_eq!((row.state, row.reason.as_deref()), (AutoState::Failing, Some("not today")));
    assert_eq!(fixture.front.names(), names);

    // A server that died in the middle left a row behind.
    *fake.fails.lock().unwrap() = false;
    let mut row = fixture.row("www.example.com").await;
    (row.state, row.tried_at) = (AutoState::InProgress, Some(*fixture.now.lock().unwrap()));
    fixture.parts.store.write(move |db| auto_certificates::set_state(db, &row)).await.unwrap();
    settle(&auto).await;
    assert_eq!(fixture.row("www.example.com").await.state, AutoState::InProgress);
    fixture.pass_minutes(1);
    settle(&auto).await;
    assert_eq!(fixture.row("www.example.com").await.state, AutoState::Issued);

    // Renamed, and the domains want none any more.
    let id = fixture.app.id;
    let now = *fixture.now.lock().unwrap();
    let write = move |db: &rusqlite::Transaction<'_>| {
        store::apps::rename(db, id, &AppName::parse("store").unwrap(), now)?;
        store::apps::set_acm(db, id, false, now)
    };
    fixture.parts.store.write(write).await.unwrap();
    settle(&auto).await;
    let own = ["api", "dashboard", "git", "store"].map(|name| format!("{name}.paas.example.org"));
    assert_eq!(fixture.front.names(), own);
    assert_eq!(fixture.rows().await.len(), 4);
}

/// An authority that looks for a name for as long as it may, and has others at once.
struct Slow;

#[async_trait]
impl Issuer for Slow {
    async fn issue(&self, hostname: &str) -> std::result::Result<Issued, Refused> {
        if hostname.starts_with("slow") {
            tokio::time::sleep(limits::ACME_NAME).await;
            return Err(Refused("nobody answers there".to_string()));
        }
        Fake::default().issue(hostname).await
    }
}

#[tokio::test]
async fn a_new_domain_does_not_wait_for_slow_ones_to_end() {
    let fixture = Fixture::new(&[]).await;
    let slow: Vec<String> =
        (1..limits::ACME_PARALLEL).map(|n| format!("slow{n}.example.com")).collect();
    fixture.add(&slow).await;
    let auto = fixture.auto(Arc::new(Slow)).await;
    let wake = auto.0.wake.clone();
    // The clock stands still: it goes on by itself only where nobody waits for a thread.
    let hold = Hold::new();
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    spawn(auto.0);
    let until = async |what: &str, is_so: &dyn Fn(&[AutoCertificate]) -> bool| {
        let began = std::time::Instant::now();
        while !is_so(&fixture.rows().await) {
            assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        }
    };
    let in_progress = |rows: &[AutoCertificate]| {
        rows.iter().filter(|row| row.state == AutoState::InProgress).count()
    };
    until("all slow ones have begun", &|rows| in_progress(rows) == slow.len()).await;
    for name in ["new.example.com", "newer.example.com"] {
        fixture.add(&[name.to_string()]).await;
        wake.wake();
        let is_there = |row: &AutoCertificate| row.hostname == name && row.chain.is_some();
        until(name, &|rows| rows.iter().any(is_there)).await;
        assert_eq!(in_progress(&fixture.rows().await), slow.len(), "{name} did not wait");
    }
    assert_eq!(began.elapsed(), Duration::ZERO);

    // They end in their time, and a place is everybody's again.
    tokio::time::advance(limits::ACME_NAME + limits::ACME_LOOK).await;
    let failing = |rows: &[AutoCertificate]| {
        rows.iter().filter(|row| row.state == AutoState::Failing).count() == slow.len()
    };
    until("all slow ones have failed", &failing).await;
    drop(hold);
}

/// Keeps a paused clock from going on by itself, which it does where all tasks wait: a thread of
/// the runtime is busy.
struct Hold {
    ends: Option<std::sync::mpsc::Sender<()>>,
}

impl Hold {
    fn new() -> Self {
        let (ends, end) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || end.recv().ok());
        Self { ends: Some(ends) }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.ends.take();
    }
}

#[tokio::test]
async fn a_certificate_for_which_there_is_no_room_is_named() {
    let fixture = Fixture::new(&[]).await;
    fixture.add(&["big.example.com".to_string(), "small.example.com".to_string()]).await;
    let auto = fixture.auto(Arc::new(Fake::default())).await;
    settle(&auto).await;
    let certs = auto.0.certs.clone();
    assert!(certs.report().await.unwrap().iter().all(|name| !name.has_no_room));
    let (app, now) = (fixture.app.id, *fixture.now.lock().unwrap());
    let row = SniEndpoint {
        id: SniEndpointId::random(),
        app,
        name: "big".to_string(),
        chain: "x".repeat(limits::CERTIFICATES_BYTES),
        domains: Vec::new(),
        acm: false,
        created_at: now,
        updated_at: now,
    };
    let sealed = auto.0.secrets.seal(&crate::certs::seal_name(row.id), b"key").unwrap();
    let write = move |db: &rusqlite::Transaction<'_>| {
        store::sni_endpoints::insert(db, &row, &sealed)?;
        let domain = store::domains::find(db, app, "big.example.com")?.unwrap();
        store::sni_endpoints::attach(db, domain.id, Some(row.id), now)
    };
    fixture.parts.store.write(write).await.unwrap();
    certs.hand_over().await.unwrap();
    let report = certs.report().await.unwrap();
    let names: Vec<(&str, bool)> =
        report.iter().map(|name| (name.hostname.as_str(), name.has_no_room)).collect();
    assert_eq!(names, [("big.example.com", true), ("small.example.com", false)]);
}

#[tokio::test]
async fn where_an_apps_domains_lead_is_known_where_the_platform_has_a_domain() {
    let mut fixture = Fixture::new(&["--domain", "paas.example.org"]).await;
    fixture.zone = vec![
        ("shop.paas.example.org", "198.51.100.1"),
        ("www.example.com", "198.51.100.1"),
        ("senryu-doctor.example.net", "203.0.113.9"),
    ];
    let certs = fixture.auto(Arc::new(Fake::default())).await.0.certs;
    let names = ["www.example.com", "*.example.net"].map(str::to_string);
    let found = certs.leads("shop.paas.example.org", &names).await;
    assert_eq!(found[0], Leads::Here);
    let words = "senryu-doctor.example.net leads to 203.0.113.9: it should lead to \
                 shop.paas.example.org (198.51.100.1)";
    assert_eq!(found[1], Leads::Elsewhere(words.to_string()));
    let many: Vec<String> = (0..150).map(|n| format!("n{n}.example.com")).collect();
    let found = certs.leads("shop.paas.example.org", &many).await;
    assert_eq!(found.len(), limits::REPORTED_NAMES, "and no more lookups");

    let nowhere = Fixture::new(&[]).await.auto(Arc::new(Fake::default())).await.0.certs;
    assert_eq!(nowhere.leads("shop.localhost", &names).await, [Leads::Unknown, Leads::Unknown]);
}
