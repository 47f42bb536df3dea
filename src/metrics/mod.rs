//! What dynos use and how requests fare, for a day. Figures are counted in memory and stored each
//! minute, in a database of their own, so that neither a request nor a change of state ever waits
//! for them.

pub mod point;
mod router_line;
mod window;

use crate::clock::Timestamp;
use crate::error::Result;
use crate::limits;
use crate::model::AppId;
use crate::store::Store;
use crate::store::metrics::{self as rows, MetricsRow};
use crate::tasks;
pub use point::{Point, Times};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
pub use window::{Series, Window};

/// A handle; clones count into the same figures.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    store: Store,
    counted: Mutex<Counted>,
}

/// What is not stored yet.
#[derive(Default)]
struct Counted {
    apps: BTreeMap<AppId, BTreeMap<String, Point>>,
    dynos: usize,
}

impl Counted {
    fn count(&mut self, app: AppId, dyno: &str, add: impl FnOnce(&mut Point)) {
        let dynos = self.apps.entry(app).or_default();
        if let Some(point) = dynos.get_mut(dyno) {
            add(point);
        } else if self.dynos < limits::METRICS_DYNOS {
            self.dynos += 1;
            add(dynos.entry(dyno.to_string()).or_default());
        }
    }
}

/// The first minute of the stored point that a time falls into.
fn point_of(at: Timestamp) -> i64 {
    at.0.div_euclid(60_000_000).div_euclid(limits::METRICS_STEP) * limits::METRICS_STEP
}

impl Metrics {
    /// Opens the figures of the last day and counts on.
    pub fn open(path: &Path) -> Result<Self> {
        let store = Store::open_metrics(path)?;
        Ok(Self(Arc::new(Inner { store, counted: Mutex::default() })))
    }

    /// Stores now and then what was counted.
    pub fn spawn(&self) {
        let metrics = self.clone();
        tasks::spawn("metrics", async move {
            loop {
                tokio::time::sleep(limits::METRICS_STORE).await;
                if let Err(error) = metrics.store(Timestamp::now()).await {
                    tracing::warn!(error = error.chain(), "a minute's metrics are lost");
                }
            }
        });
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lines of the router about an app's requests.
    pub fn requests<'a>(&self, app: AppId, lines: impl Iterator<Item = &'a str>) {
        let mut counted = self.counted();
        for request in lines.filter_map(router_line::parse) {
            counted.count(app, request.dyno, |point| point.request(request.status, request.millis));
        }
    }

    /// What a dyno was seen to use.
    pub fn sample(&self, app: AppId, dyno: &str, cpu: Option<u64>, memory_bytes: i64) {
        self.counted().count(app, dyno, |point| point.sample(cpu, memory_bytes));
    }

    /// Stores what was counted, and forgets what is older than a day. What was counted around the
    /// turn to a new point goes to the one that it is stored in.
    pub async fn store(&self, at: Timestamp) -> Result<()> {
        let counted = std::mem::take(&mut *self.counted());
        let minute = point_of(at);
        self.0
            .store
            .write(move |db| {
                for (app, dynos) in counted.apps {
                    for (dyno, point) in dynos {
                        let before = rows::find(db, minute, app, &dyno)?;
                        let mut whole = before.map(|row| window::point(&row)).unwrap_or_default();
                        whole.then(&point);
                        rows::put(db, &row(minute, app, dyno, &whole))?;
                    }
                }
                rows::forget(db, minute - limits::METRICS_MINUTES)
            })
            .await
    }

    /// An app's last day, with what is being counted. A step is some stored points' minutes, and a
    /// day some steps.
    pub async fn of_app(&self, app: AppId, at: Timestamp, step: i64) -> Result<Window> {
        // Steps begin at the same minutes whenever they are looked at.
        let start = point_of(at).div_euclid(step) * step + step - limits::METRICS_MINUTES;
        let stored =
            self.0.store.read(move |db| rows::since(db, app, start, limits::METRICS_ROWS)).await?;
        let now = self.counted().apps.get(&app).cloned().unwrap_or_default();
        Ok(Window::of(start, step, stored, point_of(at), now))
    }
}

fn row(minute: i64, app: AppId, dyno: String, point: &Point) -> MetricsRow {
    MetricsRow {
        minute,
        app,
        dyno,
        statuses: point.statuses,
        times: point.times.to_bytes(),
        cpu: point.cpu,
        memory_bytes: point.memory_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(dyno: &str, status: u16) -> String {
        format!("at=info dyno={dyno} connect=0ms service=9ms status={status} bytes=1")
    }

    fn request(metrics: &Metrics, app: AppId, dyno: &str, status: u16) {
        metrics.requests(app, [line(dyno, status).as_str()].into_iter());
    }

    fn names(window: &Window) -> Vec<&str> {
        window.series.iter().map(|one| one.dyno.as_deref().unwrap_or(&one.process)).collect()
    }

    #[tokio::test]
    async fn a_day_is_kept_over_restarts_and_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.db");
        let (shop, blog) = (AppId::random(), AppId::random());
        let begin = point_of(Timestamp::now());
        let at = |minute: i64| Timestamp((begin + minute) * 60_000_000 + 1);
        let metrics = Metrics::open(&path).unwrap();
        request(&metrics, shop, "web.1", 200);
        request(&metrics, shop, "web.2", 503);
        request(&metrics, shop, "", 503);
        request(&metrics, blog, "web.1", 200);
        metrics.sample(shop, "web.1", Some(250), 64 << 20);
        metrics.sample(shop, "worker.1", None, 32 << 20);
        metrics.store(at(1)).await.unwrap();
        request(&metrics, shop, "web.1", 404);
        metrics.store(at(2)).await.unwrap();
        drop(metrics);

        // Another server goes on with the same point, and shows what it has not stored yet.
        let metrics = Metrics::open(&path).unwrap();
        request(&metrics, shop, "web.1", 302);
        let window = metrics.of_app(shop, at(3), 10).await.unwrap();
        assert_eq!(names(&window), ["web", "web.1", "web.2", "worker", "worker.1"]);
        let day = |index: usize| window.series[index].whole();
        assert_eq!(day(0).statuses, [1, 1, 1, 2], "with what no dyno got");
        assert_eq!(day(1).statuses, [1, 1, 1, 0]);
        assert_eq!((day(1).cpu_thousandths(), day(1).memory_bytes), (Some(250), 64 << 20));
        assert_eq!(day(4).cpu_thousandths(), None);
        assert_eq!(window.series[0].points.len(), 144);
        assert_eq!(window.series[0].points[143].requests(), 5, "all of it is in the newest");

        metrics.store(at(limits::METRICS_MINUTES - 10)).await.unwrap();
        let kept = metrics.of_app(shop, at(limits::METRICS_MINUTES - 10), 10).await.unwrap();
        assert_eq!(kept.series[0].points[0].requests(), 4);
        metrics.store(at(limits::METRICS_MINUTES + 10)).await.unwrap();
        let read = move |db: &_| rows::since(db, shop, 0, 1000);
        let all = metrics.0.store.read(read).await.unwrap();
        assert!(all.iter().all(|row| row.minute > begin), "{all:?}");
    }

    #[tokio::test]
    async fn more_dynos_than_are_counted_cost_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Metrics::open(&dir.path().join("metrics.db")).unwrap();
        let shop = AppId::random();
        for number in 0..limits::METRICS_DYNOS + 10 {
            metrics.sample(shop, &format!("run.{number}"), Some(1), 1);
        }
        let window = metrics.of_app(shop, Timestamp::now(), 10).await.unwrap();
        assert_eq!(window.series.len(), 1 + limits::METRICS_DYNOS_SHOWN);
        let memory = window.series[0].whole().memory_bytes;
        assert_eq!(memory, i64::try_from(limits::METRICS_DYNOS).unwrap(), "all are in the sum");
    }
}
