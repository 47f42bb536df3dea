//! Containers of builds. Docker takes a third of a second to start one, which is most of what the
//! build of a small change takes. So one starts while a push is still announcing itself, and after
//! a deploy for the app's next push: it stands by, a shell at the end of a FIFO, until it is told
//! what to build or dismissed.

use super::Builder;
use super::compile::proxies;
use super::orders::Orders;
use super::volume::{USER, Volume, WORK};
use crate::engine::{ContainerSpec, Ended, Engine, LABEL_APP, LABEL_KIND, Labels, Mount, Output};
use crate::error::Result;
use crate::model::AppId;
use crate::{limits, tasks};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

const CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A container on its way to its end.
pub(super) struct Running {
    pub name: String,
    pub output: mpsc::Receiver<Output>,
    pub ended: oneshot::Receiver<Result<Ended>>,
}

/// A container that has no order yet. Dropped, it ends by itself.
pub struct Standby {
    running: Option<Running>,
    orders: Arc<Orders>,
    engine: Arc<dyn Engine>,
    name: String,
    _place: Option<Place>,
}

impl Standby {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is there: Docker, or somebody, may have ended it.
    pub fn stands(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.output.is_closed())
    }

    /// Tells it what to build. None if it was told to go meanwhile.
    pub(super) fn order<'a>(
        mut self,
        config: impl Iterator<Item = (&'a str, &'a str)>,
        words: &[String],
    ) -> Result<Option<Running>> {
        self.orders.set_config(config)?;
        match self.orders.give(words)? {
            true => Ok(self.running.take()),
            false => Ok(None),
        }
    }

    /// Ends it. Nothing of it is left when this returns, so that what it saw can be unmounted.
    pub async fn dismiss(mut self) {
        self.orders.dismiss();
        if let Some(running) = self.running.take() {
            let _ = running.ended.await;
        }
        let gone = async {
            while let Ok(Some(_)) = self.engine.inspect(&self.name).await {
                tokio::time::sleep(limits::STANDBY_GONE_RETRY).await;
            }
        };
        if tokio::time::timeout(limits::STANDBY_GONE, gone).await.is_err() {
            tracing::warn!(container = self.name, "a container that stood by does not go");
        }
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        self.orders.dismiss();
    }
}

/// For what one stands by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaits {
    /// A push that has announced itself.
    Announced,
    /// Another push, after a deploy, so far for nothing but its likelihood.
    Next,
}

/// Who stands by, the longest first.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<Vec<Standing>>>);

struct Standing {
    name: String,
    awaits: Awaits,
    orders: Weak<Orders>,
}

struct Place {
    places: Places,
    name: String,
}

impl Places {
    /// Where all are taken, the app that was deployed longest ago gives its own up; none does for
    /// a push that has announced itself.
    fn take(&self, name: &str, awaits: Awaits, orders: &Arc<Orders>) -> Option<Place> {
        let mut all = self.lock();
        if all.len() >= limits::STANDBYS {
            let longest = all.iter().position(|standing| standing.awaits == Awaits::Next)?;
            if let Some(orders) = all.remove(longest).orders.upgrade() {
                orders.dismiss();
            }
        }
        let orders = Arc::downgrade(orders);
        all.push(Standing { name: name.to_string(), awaits, orders });
        Some(Place { places: self.clone(), name: name.to_string() })
    }

    fn contains(&self, name: &str) -> bool {
        self.lock().iter().any(|standing| standing.name == name)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Standing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().retain(|standing| standing.name != self.name);
    }
}

impl Builder {
    /// Starts a container on the app's volume.
    pub(super) fn stand_by(&self, app: AppId, volume: &Volume) -> Result<Standby> {
        let name = container_name();
        let orders = Arc::new(Orders::create(&self.orders_home(), &name)?);
        self.standby(name, app, volume, orders, None)
    }

    /// Leaves one with the volume for so long, unless there are enough.
    pub(super) fn leave_standby(
        &self,
        volume: Volume,
        awaits: Awaits,
        time: Duration,
    ) -> Result<()> {
        let name = container_name();
        let orders = Arc::new(Orders::create(&self.orders_home(), &name)?);
        let Some(place) = self.places.take(&name, awaits, &orders) else { return Ok(()) };
        let standby = self.standby(name, volume.app, &volume, orders, Some(place))?;
        volume.keep_standby(standby, time);
        Ok(())
    }

    /// Whether a container stands by, so that it belongs to no build and is none's leftover.
    pub fn stands_by(&self, container: &str) -> bool {
        self.places.contains(container)
    }

    fn standby(
        &self,
        name: String,
        app: AppId,
        volume: &Volume,
        orders: Arc<Orders>,
        place: Option<Place>,
    ) -> Result<Standby> {
        let driver = ["/bin/bash", "/buildpacks/driver"].map(str::to_string).to_vec();
        let spec = self.spec(&name, app, volume, &orders, driver)?;
        Ok(Standby {
            running: Some(self.start(spec, &orders)),
            orders,
            engine: Arc::clone(&self.engine),
            name,
            _place: place,
        })
    }

    /// Runs a container in a task of its own. Its orders stay until it has ended.
    pub(super) fn start(&self, spec: ContainerSpec, orders: &Arc<Orders>) -> Running {
        let (send, output) = mpsc::channel(limits::BUILD_PIECES_TOGETHER);
        let (tell, ended) = oneshot::channel();
        let name = spec.name.clone();
        let (engine, orders) = (Arc::clone(&self.engine), Arc::clone(orders));
        let waits = self.settings.build_standby.max(limits::STANDBY_ANNOUNCED.as_secs());
        // A bound for what nobody waits for any more: whoever does has a limit of his own.
        let limit = Duration::from_secs(waits + self.settings.build_timeout);
        let limit = limit + limits::STANDBY_GONE;
        tasks::spawn("build container", async move {
            let _ = tell.send(engine.run(&spec, send, limit).await);
            drop(orders);
        });
        Running { name, output, ended }
    }

    /// Where the orders of running builds are.
    pub(super) fn orders_home(&self) -> std::path::PathBuf {
        self.settings.run_dir.join("build-env")
    }

    pub(super) fn spec(
        &self,
        name: &str,
        app: AppId,
        volume: &Volume,
        orders: &Orders,
        command: Vec<String>,
    ) -> Result<ContainerSpec> {
        let mount = |source: &Path, target: &str, read_only| {
            let (source, target) = (source.to_path_buf(), target.to_string());
            Mount { source, target, read_only }
        };
        let mut mounts = vec![
            mount(&volume.path(WORK), "/work", false),
            mount(&volume.work("app"), "/app", false),
            mount(&volume.work("tmp"), "/tmp", false),
            mount(&self.buildpacks()?.dir, "/buildpacks", true),
        ];
        mounts.extend(orders.mounts());
        if self.settings.build_ca_file.is_file() {
            mounts.push(mount(&self.settings.build_ca_file, CA_FILE, true));
        }
        let limits = &self.settings.build_limits;
        Ok(ContainerSpec {
            name: name.to_string(),
            image: self.settings.build_image.clone(),
            command,
            user: format!("{USER}:{USER}"),
            working_dir: "/work/build".to_string(),
            env: environment(self.settings.python_mirror.as_deref()),
            labels: Labels::from([
                (LABEL_KIND.to_string(), "build".to_string()),
                (LABEL_APP.to_string(), app.to_string()),
            ]),
            mounts,
            memory_bytes: limits.memory_limit_bytes,
            cpu_shares: limits.cpu_shares,
            pids: limits.pids,
            open_files: limits.open_files,
            read_only_root: true,
            keep_log: false,
            background: true,
            ..ContainerSpec::default()
        })
    }
}

fn container_name() -> String {
    format!("senryu-build-{}", Uuid::new_v4())
}

/// Heroku's minimal environment but for what the order says: no config vars.
fn environment(python_mirror: Option<&str>) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/app"),
        ("LANG", "C.UTF-8"),
        // Directories listed in CACHE_DIR/.senryu-keep come back without being copied.
        ("SENRYU_KEEP", "1"),
        // Each tool has its own idea of where the CA bundle is.
        ("SSL_CERT_FILE", CA_FILE),
        ("NODE_EXTRA_CA_CERTS", CA_FILE),
        ("npm_config_cafile", CA_FILE),
        ("PIP_CERT", CA_FILE),
        ("REQUESTS_CA_BUNDLE", CA_FILE),
        ("CURL_CA_BUNDLE", CA_FILE),
        ("GIT_SSL_CAINFO", CA_FILE),
    ]
    .map(|(key, value)| (key.to_string(), value.to_string()))
    .to_vec();
    env.extend(proxies());
    // The buildpack lets an app's config var of this name win.
    let mirror = python_mirror.map(|url| ("UV_PYTHON_INSTALL_MIRROR".to_string(), url.to_string()));
    env.extend(mirror);
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_deploys_and_announced_pushes_have_the_places() {
        let home = tempfile::tempdir().unwrap();
        let places = Places::default();
        let stand = |name: &str, awaits| {
            let orders = Arc::new(Orders::create(home.path(), name).unwrap());
            (places.take(name, awaits, &orders), orders)
        };
        let first = stand("first", Awaits::Next);
        let held: Vec<_> =
            (1..limits::STANDBYS).map(|n| stand(&n.to_string(), Awaits::Announced)).collect();
        let second = stand("second", Awaits::Next);
        assert!(second.0.is_some() && !places.contains("first"), "the oldest deploy's goes");
        assert!(!first.1.give(&[]).unwrap(), "and was told so");
        let push = stand("push", Awaits::Announced);
        assert!(push.0.is_some() && !places.contains("second"));
        // All that are left await a push that is on its way.
        assert!(stand("third", Awaits::Next).0.is_none());
        assert!(stand("late", Awaits::Announced).0.is_none());
        drop((first.0, push.0));
        assert!(stand("third", Awaits::Next).0.is_some());
        assert_eq!(places.lock().len(), held.len());
    }
}
