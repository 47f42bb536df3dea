//! An app with one of everything that a request can name, for tests that walk a whole route table.

use crate::api::testing::{Person, Stage, slug};
use crate::certs::Pem;
use crate::certs::testing::{Authority, Made};
use crate::clock::Timestamp;
use crate::deploy::{NewBuild, Place};
use crate::model::{App, AuditEntry, BuildId, Caller, ConfigVars, Permissions};
use crate::store;
use serde_json::{Value, json};

pub const APP: &str = "shop";
/// The app has it.
pub const DOMAIN: &str = "www.shop.example.com";
/// The certificate of it.
pub const ENDPOINT: &str = "alcyone-12345";

/// Dynos so small that the machine has memory for them, and all that has to be there before some
/// changes can be.
pub const FLAGS: [&str; 5] = [
    "--tls-listen",
    "127.0.0.1:0",
    "--acme-directory",
    "https://authority.invalid/directory",
    "--dyno-sizes=Standard-1X:memory=32,kill=64",
];

/// What all scenes of a test have in common.
pub struct Theatre {
    certificate: Made,
}

impl Theatre {
    pub fn open() -> Self {
        let name = format!("subjectAltName=DNS:{DOMAIN}");
        let more = ["-addext", &*name];
        Self { certificate: Authority::create().self_signed("leaf", "/CN=leaf", &more) }
    }

    /// A body of the certificate and its key.
    pub fn pem(&self) -> Value {
        let Made { chain, key } = &self.certificate;
        json!({ "certificate_chain": chain, "private_key": key })
    }

    /// Sets the scene for somebody, who owns the app.
    pub async fn set(&self, stage: &Stage, owner: &Person) -> Scene {
        let app = stage.app(owner, APP).await;
        let slug = slug(&app, &[("web", "serve")]);
        stage.release(owner, slug, "Deploy", ConfigVars::default()).await;
        let Made { chain, key } = &self.certificate;
        let pem = Pem { chain: chain.clone(), key: key.clone() };
        stage.api.certs.add(&app, ENDPOINT.to_string(), pem).await.unwrap();
        let caller = Caller { user: owner.user.clone(), authorization: None };
        stage.api.add_domain(&caller, &app, DOMAIN, None).await.unwrap();
        let [guest, neighbour] =
            ["guest", "neighbour"].map(|who| format!("{who}-{}@x.org", app.id));
        let (id, now) = (stage.person(&guest, false).await.user.id, Timestamp::now());
        let factor = move |db: &rusqlite::Transaction<'_>| {
            store::second_factors::insert(db, id, b"sealed", 0, now)
        };
        stage.api.store.write(factor).await.unwrap();
        let all = Permissions::parse("view,deploy").unwrap();
        stage.api.access.add_collaborator(&app, &guest, all).await.unwrap();
        stage.person(&neighbour, false).await;
        let runs = stage.api.deploy.lines().join(app.id).unwrap();
        Scene { app, guest, neighbour, _runs: runs }
    }
}

pub struct Scene {
    pub app: App,
    /// Uses the app, and has a second factor.
    pub guest: String,
    /// Is on the platform, and no more.
    pub neighbour: String,
    /// Another build of the app, for which all others wait.
    _runs: Place,
}

impl Scene {
    /// A build that waits for its turn.
    pub async fn build(&self, stage: &Stage, owner: &Person) -> BuildId {
        let new = NewBuild {
            app: self.app.clone(),
            user: owner.user.clone(),
            url: "https://git.example/a.tgz".to_string(),
            buildpacks: Vec::new(),
            checksum: None,
            version: None,
            version_description: None,
        };
        stage.api.deploy.start_build(new).await.unwrap().id
    }

    /// Makes room for the next one.
    pub async fn strike(self, stage: &Stage) {
        let id = self.app.id;
        let left = stage.api.store.read(move |db| store::apps::by_id(db, id)).await.unwrap();
        if let Some(app) = left {
            stage.api.destroy_app(&app).await.unwrap();
        }
    }
}

/// The number of the newest entry of the audit.
pub async fn head(stage: &Stage) -> i64 {
    stage.api.store.read(store::audit::head).await.unwrap().0
}

/// The entries since then, newest first.
pub async fn since(stage: &Stage, before: i64) -> Vec<AuditEntry> {
    let read = stage.api.store.read(|db| store::audit::last(db, None, 100));
    let mut all = read.await.unwrap();
    all.retain(|entry| entry.seq > before);
    all
}
