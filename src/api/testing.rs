//! The whole API in one process, over an engine in memory and a router that is always up to date.

use super::guard::Route;
use super::*;
use crate::apps::access::Access;
use crate::apps::lifecycle;
use crate::build::Builder;
use crate::certs::auto::dns::tests::Zone;
use crate::certs::{Certs, CertsParts, Handshakes};
use crate::config::ServerSettings;
use crate::deploy::{Deploy, DeployParts};
use crate::dynos::{Dynos, DynosParts, Published, Traffic};
use crate::engine::Engine;
use crate::engine::fake::FakeEngine;
use crate::link::{Certificate, Proofs};
use crate::logs::Logs;
use crate::logs::session::Sessions;
use crate::metrics::Metrics;
use crate::model::{
    App, AppName, Caller, ConfigVars, Permissions, ProcessType, Procfile, Slug, SlugId, User,
};
use crate::release::{NewRelease, Releases};
use crate::secrets::Secrets;
use crate::slugs::{Slugs, SlugsParts};
use crate::store::{self, Store};
use async_trait::async_trait;
use axum::http::{Method, StatusCode};
use serde_json::Value;
use std::time::Duration;
use tower::ServiceExt as _;
use uuid::Uuid;

/// A router that takes everything over at once.
struct AtOnce;

#[async_trait]
impl Traffic for AtOnce {
    fn publish(&self, state: &Published) -> u64 {
        state.wakes + 1
    }
    async fn applied(&self, _: u64, _: Duration) -> bool {
        true
    }
    async fn drained(&self, _: Uuid, _: Duration) -> bool {
        true
    }
    fn forget(&self, _: Uuid) {}
}

#[async_trait]
impl Handshakes for AtOnce {
    async fn use_certificates(&self, _: Vec<Certificate>) -> bool {
        true
    }

    async fn show_proofs(&self, _: Proofs) -> bool {
        true
    }
}

pub struct Stage {
    _dir: tempfile::TempDir,
    pub api: Arc<Api>,
    router: Router,
}

/// Somebody with a token.
#[derive(Clone)]
pub struct Person {
    pub user: User,
    pub token: String,
}

pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
}

/// A slug of the app that runs these.
pub fn slug(app: &App, types: &[(&str, &str)]) -> Slug {
    let typed = |(name, run): &(&str, &str)| (ProcessType::parse(name).unwrap(), run.to_string());
    Slug {
        images: Default::default(),
        id: SlugId::random(),
        app: app.id,
        commit: None,
        commit_description: None,
        process_types: Procfile::from_map(types.iter().map(typed).collect()),
        image: "sha256:x".to_string(),
        layers: Vec::new(),
        size: 1,
        stack: app.stack.clone(),
        buildpack_provided_description: None,
        created_at: crate::clock::Timestamp::now(),
        deleted_at: None,
    }
}

impl Stage {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With settings of its own.
    pub async fn with(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let (data, run) = (path("data"), path("run"));
        std::fs::create_dir(&data).unwrap();
        let flags = [&["--data-dir", &*data, "--run-dir", &*run][..], flags].concat();
        let settings = ServerSettings::for_tests(&flags);
        let settings = Arc::new(settings);
        let store = Store::open(&settings.database()).unwrap();
        let master = Secrets::from_file(&dir.path().join("key")).unwrap();
        let secrets = master.new_data_key().unwrap().0;
        let releases = Releases::new(store.clone(), secrets.clone());
        let engine: Arc<dyn Engine> = Arc::new(FakeEngine::empty());
        let logs = Logs::open(&settings.logs(), 1 << 20).unwrap();
        let metrics = Metrics::open(&settings.metrics()).unwrap();
        let slugs = Slugs::open(SlugsParts {
            store: store.clone(),
            engine: engine.clone(),
            logs: logs.clone(),
            settings: settings.clone(),
            installation: "test".to_string(),
        })
        .unwrap();
        let certs = Certs::start(CertsParts {
            store: store.clone(),
            secrets: secrets.clone(),
            settings: settings.clone(),
            handshakes: Arc::new(AtOnce),
            lookup: Arc::new(Zone::default()),
        });
        let certs = certs.await.unwrap();
        let dynos = Dynos::start(DynosParts {
            store: store.clone(),
            engine: engine.clone(),
            logs: logs.clone(),
            metrics: metrics.clone(),
            releases: releases.clone(),
            settings: settings.clone(),
            traffic: Arc::new(AtOnce),
        });
        let deploy = Deploy::new(DeployParts {
            store: store.clone(),
            engine: engine.clone(),
            logs: logs.clone(),
            releases: releases.clone(),
            builder: Arc::new(Builder::new(engine, settings.clone(), slugs.clone())),
            slugs,
            dynos: dynos.clone(),
            settings: settings.clone(),
        });
        let access = Access::new(store.clone(), secrets);
        let api = Arc::new(Api {
            store,
            access,
            certs,
            releases,
            deploy: deploy.unwrap(),
            dynos,
            logs,
            metrics,
            log_sessions: Sessions::new(),
            settings,
        });
        let router = routes(api.clone());
        Self { _dir: dir, api, router }
    }

    /// The route table as it is served.
    pub fn table(&self) -> Vec<Route> {
        table(self.api.clone()).routes
    }

    /// Somebody new. The password is none that could be entered, which saves the time to hash it.
    pub async fn person(&self, email: &str, admin: bool) -> Person {
        let now = crate::clock::Timestamp::now();
        let id = crate::model::UserId::random();
        let user = User { id, email: email.to_string(), admin, created_at: now, updated_at: now };
        let row = user.clone();
        self.api.store.write(move |db| store::users::insert(db, &row, "-")).await.unwrap();
        let (_, token) = self.api.access.authorize(&user, "test", None).await.unwrap();
        Person { user, token }
    }

    pub async fn app(&self, owner: &Person, name: &str) -> App {
        let caller = Caller { user: owner.user.clone(), authorization: None };
        let app = lifecycle::new_app(&caller, AppName::parse(name).unwrap(), limits::STACK);
        self.api.releases.create_app(&app, &owner.user).await.unwrap();
        app
    }

    /// The end of a deploy: a release of this slug.
    pub async fn release(&self, owner: &Person, slug: Slug, description: &str, config: ConfigVars) {
        let new = NewRelease {
            app: slug.app,
            slug: Some(slug.clone()),
            config,
            description: description.to_string(),
            user: owner.user.clone(),
        };
        let releases = self.api.releases.clone();
        let stored = self.api.store.write(move |db| {
            store::slugs::insert(db, &slug)?;
            releases.insert(db, &new).map(|_| ())
        });
        stored.await.unwrap();
    }

    pub async fn share(&self, app: &App, with: &Person, permissions: &str) {
        let permissions = Permissions::parse(permissions).unwrap();
        let user = &with.user.email;
        self.api.access.add_collaborator(app, user, permissions).await.unwrap();
    }

    pub async fn ask(
        &self,
        who: Option<&Person>,
        method: &Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        self.ask_from(None, who, method, path, body).await
    }

    /// The same by a browser, from a page of this place, of a neighbour or of somebody else.
    pub async fn ask_from(
        &self,
        site: Option<&str>,
        who: Option<&Person>,
        method: &Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let mut request = axum::http::Request::builder().method(method).uri(path);
        if let Some(site) = site {
            request = request.header("sec-fetch-site", site);
        }
        request = request.header("user-agent", "senryu-cli/test");
        request = request.header("x-forwarded-for", "198.51.100.1, 192.0.2.7");
        if let Some(person) = who {
            request = request.header("authorization", format!("Bearer {}", person.token));
        }
        let body = body.map_or_else(axum::body::Body::empty, |body| body.to_string().into());
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        Answer { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }
}
