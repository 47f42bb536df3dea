//! Composition root of `senryu server`: builds each handle, starts each task, and on SIGTERM
//! takes no new work, waits for what runs and goes. Dynos and router go on.

use crate::api::{self, Api};
use crate::apps::access::{Access, Action};
use crate::apps::sign_in::EntryBy;
use crate::build::Builder;
use crate::certs::auto::acme::Acme;
use crate::certs::auto::{self, AutoParts, dns};
use crate::certs::{Certs, CertsParts};
use crate::clock::Timestamp;
use crate::config::ServerSettings;
use crate::console;
use crate::deploy::{Deploy, DeployParts};
use crate::dynos::{Dynos, DynosParts};
use crate::engine::Engine;
use crate::engine::docker::DockerEngine;
use crate::error::{Context, Error, Result};
use crate::git::{Access as GitAccess, Credentials, GitHost, Refusal};
use crate::link::RouterLog;
use crate::logs::Logs;
use crate::logs::session::Sessions;
use crate::metrics::Metrics;
use crate::model::{App, User};
use crate::origin::{Origin, Via};
use crate::release::Releases;
use crate::routing::link_client::RouterLink;
use crate::routing::{Routing, keep_logs, router_child};
use crate::secrets::{self, Secrets};
use crate::slugs::{Slugs, SlugsParts};
use crate::store::Store;
use crate::{limits, tasks};
use async_trait::async_trait;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Exit statuses that scripts rely on.
const EXIT_SETTING: u8 = 2;
const EXIT_SECOND_SERVER: u8 = 3;

/// Runs until SIGTERM. 0 after an orderly end, 1 when it could not start or go on, 2 for a wrong
/// setting, 3 when another server has the data directory. `digest` is of the settings file.
pub fn run(settings: ServerSettings, digest: &str) -> ExitCode {
    if let Err(text) = settings.check() {
        eprintln!("senryu server: {text}");
        return ExitCode::from(EXIT_SETTING);
    }
    start_tracing();
    let lock = match prepare(&settings, digest) {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            eprintln!(
                "senryu server: another server uses {}. Stop it first, or give this one another \
                 --data-dir",
                settings.data_dir.display()
            );
            return ExitCode::from(EXIT_SECOND_SERVER);
        }
        Err(error) => return failed(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&Error::internal("start the async runtime", error)),
    };
    let result = runtime.block_on(serve(Arc::new(settings)));
    // Tasks that still follow logs or wait for dynos end with the process: all that they know is
    // with the kernel already.
    runtime.shutdown_background();
    drop(lock);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &Error) -> ExitCode {
    eprintln!("senryu server: {}", error.chain());
    ExitCode::FAILURE
}

/// Our own log: to standard error, where systemd or `scripts/up` keeps it.
pub fn start_tracing() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SENRYU_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
}

/// Makes the directories and takes the lock; `None` if another server has it. The digest of its
/// settings file is left where `scripts/up` sees that the file has changed since.
fn prepare(settings: &ServerSettings, digest: &str) -> Result<Option<Flock<File>>> {
    for (dir, mode) in [(&settings.data_dir, 0o700), (&settings.run_dir, 0o755)] {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(dir)
            .context(format!("{} cannot be made", dir.display()))?;
    }
    let path = settings.data_dir.join("lock");
    let file = File::create(&path).context(format!("{} cannot be made", path.display()))?;
    let Some(lock) = take(file) else { return Ok(None) };
    on_tmpfs(&settings.run_dir)?;
    let dynos = settings.run_dir.join("dynos");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dynos)
        .context(format!("{} cannot be made", dynos.display()))?;
    let remembered = settings.run_dir.join("settings.sha256");
    std::fs::write(&remembered, digest)
        .context(format!("{} cannot be written", remembered.display()))?;
    Ok(Some(lock))
}

/// A server that was killed while it began a program leaves its lock with that for a moment.
fn take(mut file: File) -> Option<Flock<File>> {
    let deadline = Instant::now() + limits::DATA_LOCK_WAIT;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Some(lock),
            Err((back, _)) if Instant::now() < deadline => file = back,
            Err(_) => return None,
        }
        #[allow(clippy::disallowed_methods, reason = "no runtime runs yet")]
        std::thread::sleep(limits::DATA_LOCK_RETRY);
    }
}

/// Config vars lie in the run directory while dynos run: never on a disk.
fn on_tmpfs(dir: &Path) -> Result<()> {
    let what = || format!("{} cannot be put on a tmpfs", dir.display());
    let kind = nix::sys::statfs::statfs(dir).context(what())?.filesystem_type();
    if kind == nix::sys::statfs::TMPFS_MAGIC {
        return Ok(());
    }
    use nix::mount::MsFlags;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    nix::mount::mount(Some("tmpfs"), dir, Some("tmpfs"), flags, Some("mode=0755,size=256m"))
        .context(what())
}

async fn serve(settings: Arc<ServerSettings>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let platform = Platform::start(settings.clone()).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: no new work is taken");
    platform.git.stop();
    platform.deploy.stop();
    let limit = Duration::from_secs(settings.shutdown_timeout);
    let idle = async { tokio::join!(platform.git.idle(), platform.deploy.idle()) };
    if tokio::time::timeout(limit, idle).await.is_err() {
        tracing::warn!(
            "builds or release commands still run: builds end with the server and can be pushed \
             again, release commands go on, and the next server waits for them"
        );
    }
    platform.builder.close().await;
    platform.logs.let_go().await;
    platform.docker.remove_background();
    if let Err(error) = platform.metrics.store(Timestamp::now()).await {
        tracing::warn!(error = error.chain(), "the last minute's metrics are lost");
    }
    Ok(())
}

struct Platform {
    git: Arc<GitHost>,
    deploy: Deploy,
    builder: Arc<Builder>,
    logs: Logs,
    docker: Arc<DockerEngine>,
    metrics: Metrics,
}

impl Platform {
    /// Order matters: nothing is planned before the dynos that run are known, and no push is
    /// taken before those that outlived the last server have ended.
    async fn start(settings: Arc<ServerSettings>) -> Result<Self> {
        let store = Store::open(&settings.database())?;
        let secrets = data_key(&store, &settings).await?;
        let installation = installation(&store).await?;
        tell_installation(&settings, &installation)?;
        let docker = Arc::new(connect(&settings, &installation).await?);
        let engine: Arc<dyn Engine> = docker.clone();
        let logs = Logs::open(&settings.logs(), settings.log_megabytes * 1024 * 1024)?;
        let slugs = Slugs::open(SlugsParts {
            store: store.clone(),
            engine: engine.clone(),
            logs: logs.clone(),
            settings: settings.clone(),
            installation: installation.clone(),
        })?;
        docker.restore_with(Arc::new(slugs.clone()));
        let releases = Releases::new(store.clone(), secrets.clone());
        let (link, router_log) = RouterLink::start(settings.clone()).await?;
        let metrics = counting(router_log, &settings, &logs)?;
        let routing = Arc::new(Routing::new(link, settings.clone()));
        let certs = certs(&store, secrets.clone(), &settings, routing.clone()).await?;
        let builder = Arc::new(Builder::new(engine.clone(), settings.clone(), slugs.clone()));
        let dynos = Dynos::start(DynosParts {
            store: store.clone(),
            engine: engine.clone(),
            logs: logs.clone(),
            metrics: metrics.clone(),
            releases: releases.clone(),
            settings: settings.clone(),
            traffic: routing,
        });
        let deploy = Deploy::new(DeployParts {
            store: store.clone(),
            engine: engine.clone(),
            logs: logs.clone(),
            releases: releases.clone(),
            builder: builder.clone(),
            slugs,
            dynos: dynos.clone(),
            settings: settings.clone(),
        })?;
        let access = Access::new(store.clone(), secrets);
        let (may_push, lines) = (Arc::new(PushAccess(access.clone())), deploy.lines().clone());
        let git = GitHost::new(&settings, may_push, Arc::new(deploy.clone()), lines)?;
        git.recover().await?;
        let apps = store.read(crate::store::apps::all).await?;
        builder.recover(&apps.iter().map(|app| app.id).collect::<Vec<_>>()).await?;
        dynos.recover_one_offs().await?;
        deploy.go_on().await?;
        git.start_hooks_listener().await?;
        deploy.spawn_upkeep(git.clone());
        let api = Arc::new(Api {
            store,
            access,
            certs,
            releases,
            deploy: deploy.clone(),
            dynos,
            logs: logs.clone(),
            metrics: metrics.clone(),
            log_sessions: Sessions::new(),
            settings: settings.clone(),
        });
        let pages = console::routes(api.clone());
        let public = git.clone().routes().merge(pages).merge(api::routes(api.clone()));
        listen(&settings.server_socket(), SocketFor::Router(&settings), public)?;
        listen(&settings.admin_socket(), SocketFor::Root, api::internal::routes(api))?;
        tracing::info!(url = settings.control_url(), installation, "ready");
        Ok(Self { git, deploy, builder, logs, docker, metrics })
    }
}

/// Counts from now on, the router's requests among the rest.
fn counting(
    router_log: mpsc::Receiver<Vec<RouterLog>>,
    settings: &ServerSettings,
    logs: &Logs,
) -> Result<Metrics> {
    let metrics = Metrics::open(&settings.metrics())?;
    metrics.spawn();
    keep_logs(router_log, logs.clone(), metrics.clone());
    Ok(metrics)
}

async fn certs(
    store: &Store,
    secrets: Secrets,
    settings: &Arc<ServerSettings>,
    handshakes: Arc<Routing>,
) -> Result<Certs> {
    let (store, settings) = (store.clone(), settings.clone());
    let certs = Certs::start(CertsParts {
        store: store.clone(),
        secrets: secrets.clone(),
        settings: settings.clone(),
        handshakes: handshakes.clone(),
        lookup: Arc::new(dns::System),
    });
    let certs = certs.await?;
    if let Some(directory) = &settings.acme_directory {
        let issuer = Acme::new(directory, &settings, &store, &secrets, handshakes).await?;
        auto::spawn(AutoParts {
            store,
            secrets,
            certs: certs.clone(),
            issuer: Arc::new(issuer),
            clock: Arc::new(Timestamp::now),
            wake: certs.wakes(),
            settings,
        });
    }
    Ok(certs)
}

/// Docker may still be starting: after a reboot both come up together.
async fn connect(settings: &ServerSettings, installation: &str) -> Result<DockerEngine> {
    let deadline = tokio::time::Instant::now() + limits::ENGINE_START;
    loop {
        match DockerEngine::connect(&settings.docker_socket, installation).await {
            Ok(engine) => return Ok(engine),
            Err(error) if tokio::time::Instant::now() >= deadline => return Err(error),
            Err(error) => tracing::warn!(error = error.chain(), "waiting for Docker"),
        }
        tokio::time::sleep(limits::ENGINE_RETRY).await;
    }
}

/// The key that config vars are sealed with; made, and wrapped by the master key, on first start.
async fn data_key(store: &Store, settings: &ServerSettings) -> Result<Secrets> {
    let wrapped = store.read(|db| crate::store::meta::bytes(db, "data_key")).await?;
    if let Some(wrapped) = wrapped {
        if !settings.master_key_file.exists() {
            return Err(Error::unavailable(format!(
                "the master key {} is missing, and without it the config vars in {} cannot be \
                 read: put it back from your copy",
                settings.master_key_file.display(),
                settings.database().display()
            )));
        }
        return Secrets::from_file(&settings.master_key_file)?.unwrap_data_key(&wrapped);
    }
    let master = Secrets::from_file(&settings.master_key_file)?;
    let (data, wrapped) = master.new_data_key()?;
    store.write(move |db| crate::store::meta::set_bytes(db, "data_key", &wrapped)).await?;
    Ok(data)
}

/// Eight hexadecimal digits that every Docker resource of this installation carries.
async fn installation(store: &Store) -> Result<String> {
    store
        .write(|db| {
            if let Some(id) = crate::store::meta::text(db, "installation")? {
                return Ok(id);
            }
            let id = secrets::random_hex::<4>();
            crate::store::meta::set_text(db, "installation", &id)?;
            Ok(id)
        })
        .await
}

/// Also as a file, for scripts that must tell our containers from others while we do not run.
fn tell_installation(settings: &ServerSettings, installation: &str) -> Result<()> {
    let path = settings.data_dir.join("installation");
    std::fs::write(&path, format!("{installation}\n"))
        .context(format!("{} cannot be written", path.display()))
}

enum SocketFor<'a> {
    /// The router's user may connect, nobody else but root.
    Router(&'a ServerSettings),
    Root,
}

fn listen(path: &Path, who: SocketFor<'_>, routes: axum::Router) -> Result<()> {
    let what = || format!("{} cannot be listened on", path.display());
    // Bound beside it and renamed over it: whoever connects meanwhile finds the old or the new.
    let fresh = path.with_extension("new");
    let _ = std::fs::remove_file(&fresh);
    let listener = UnixListener::bind(&fresh).context(what())?;
    let (mode, owner) = match who {
        SocketFor::Root => (0o600, None),
        SocketFor::Router(settings) => {
            (0o660, router_child::router_ids(settings).map(|(_, group)| group))
        }
    };
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(mode)).context(what())?;
    if let Some(group) = owner {
        std::os::unix::fs::chown(&fresh, None, Some(group)).context(what())?;
    }
    std::fs::rename(&fresh, path).context(what())?;
    tasks::spawn("http", async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%error, "the server's socket failed");
        }
    });
    Ok(())
}

/// What git shows to whoever pushes with a password that is not enough.
const TOKEN_WANTED: &str = "Your account has a second factor, which git cannot ask for: use an API \
                            token in place of the password. `senryu login` sets that up.";

/// Git asks for a token as password, or for e-mail and password.
struct PushAccess(Access);

#[async_trait]
impl GitAccess for PushAccess {
    async fn authorize(
        &self,
        app: &str,
        credentials: &Credentials,
        write: bool,
    ) -> std::result::Result<(User, App), Refusal> {
        use crate::error::Kind;
        let refuse = |error: Error| match error.kind() {
            Kind::Unauthorized => Refusal::Unauthorized,
            Kind::NotFound => Refusal::NotFound,
            Kind::TwoFactor => Refusal::Forbidden(TOKEN_WANTED.to_string()),
            Kind::Forbidden | Kind::RateLimit | Kind::PasswordChange => {
                Refusal::Forbidden(error.to_string())
            }
            _ => Refusal::Failed(error),
        };
        let caller = match self.0.by_token(&credentials.password).await {
            Err(error) if error.kind() == Kind::Unauthorized && credentials.user.contains('@') => {
                let address = credentials.address.clone();
                let from = Origin { via: Via::Git, address, ..Origin::server() };
                let (user, password) = (&credentials.user, &credentials.password);
                self.0.sign_in(user, password, None, EntryBy::OwnPassword, &from).await
            }
            other => other,
        };
        let caller = caller.map_err(refuse)?;
        let action = if write { Action::Push } else { Action::Fetch };
        let app = self.0.allow(&caller, app, action).await.map_err(refuse)?;
        Ok((caller.user, app))
    }
}
