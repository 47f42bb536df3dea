//! What is declared against what runs, now: the store's formation beside the engine's containers
//! and images, without asking the reconciler, which might be what is wrong.

use super::plan::{Desired, Target};
use super::reconciler::{Dynos, desired};
use super::spec::{LABEL_SIZE, LABEL_VERSION};
use crate::engine::{
    Bounds, Container, ContainerStatus, Image, LABEL_APP, LABEL_DYNO, LABEL_EGRESS, LABEL_KIND,
    LABEL_SLUG,
};
use crate::error::Result;
use crate::limits;
use crate::model::{AppId, DynoName, Size, Sizes};
use futures_util::{StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet};

/// One thing that is not as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// None for what belongs to no app.
    pub app: Option<(AppId, String)>,
    /// `web.1`, `slug of v4`, or a container's name.
    pub what: String,
    pub declared: String,
    pub running: String,
}

/// What was compared.
#[derive(Debug, Clone, Default)]
pub struct Compared {
    pub apps: BTreeSet<AppId>,
    pub drift: Vec<Drift>,
}

const NOTHING: &str = "nothing";

impl Dynos {
    /// Compares all apps.
    pub async fn drift(&self) -> Result<Compared> {
        let desired = self.parts.store.read(desired::read).await?;
        let engine = &self.parts.engine;
        let mut containers = engine.list().await?;
        let images = engine.images("slug").await?;
        // A list does not tell the limits.
        let ids = containers.iter().filter(|container| is_dyno(container)).map(|one| &one.id);
        let looks = futures_util::stream::iter(ids.cloned().collect::<Vec<_>>());
        let looks = looks.map(|id| async move { engine.inspect(&id).await });
        let seen: Vec<_> = looks.buffer_unordered(limits::PARALLEL_SAMPLES).try_collect().await?;
        let mut bounds: BTreeMap<_, _> =
            seen.into_iter().flatten().map(|one| (one.id, one.bounds)).collect();
        for container in &mut containers {
            container.bounds = bounds.remove(&container.id).flatten();
        }
        Ok(compare(&desired, &containers, &images, &self.parts.settings.dyno_sizes))
    }
}

fn is_dyno(container: &Container) -> bool {
    container.labels.get(LABEL_KIND).is_some_and(|kind| kind == "dyno")
}

fn compare(
    desired: &[Desired],
    containers: &[Container],
    images: &[Image],
    sizes: &Sizes,
) -> Compared {
    let apps: BTreeSet<AppId> = desired.iter().map(|app| app.app).collect();
    let slugs: BTreeSet<&str> = images
        .iter()
        .filter_map(|image| image.labels.get(LABEL_SLUG))
        .map(String::as_str)
        .collect();
    let mut drift = Vec::new();
    for app in desired {
        drift.extend(dynos_of(app, containers, sizes));
        let targets = [&app.current, &app.serving].into_iter().flatten();
        let mut seen = BTreeSet::new();
        for target in targets.filter(|target| seen.insert(target.version)) {
            let slug = target.image.rsplit(':').next().unwrap_or_default();
            if !slugs.contains(slug) {
                drift.push(Drift {
                    app: Some((app.app, app.name.clone())),
                    what: format!("slug of v{}", target.version),
                    declared: format!("image {}", target.image),
                    running: "missing; it comes back with the next start".to_string(),
                });
            }
        }
    }
    for container in containers {
        let app = container.labels.get(LABEL_APP).and_then(|id| id.parse::<AppId>().ok());
        if !app.is_some_and(|app| apps.contains(&app)) {
            drift.push(Drift {
                app: None,
                what: container.name.clone(),
                declared: NOTHING.to_string(),
                running: format!("{:?} container of no app", container.status).to_lowercase(),
            });
        }
    }
    Compared { apps, drift }
}

/// Every dyno that is declared or there, if it is not both and the same.
fn dynos_of(app: &Desired, containers: &[Container], sizes: &Sizes) -> Vec<Drift> {
    let mut wanted: BTreeMap<DynoName, String> = BTreeMap::new();
    for row in &app.formation {
        let runs = |target: &Target| target.commands.command(&row.process).is_some();
        let Some(current) = app.current.as_ref().filter(|target| runs(target)) else { continue };
        for number in (1..=row.quantity).filter(|_| !row.process.is_release()) {
            let name = DynoName { process: row.process.clone(), number };
            let version = current.version.to_string();
            wanted.insert(name, dyno_text(&version, &row.size, app.egress.stored().as_deref()));
        }
    }
    let mut there: BTreeMap<DynoName, Vec<String>> = BTreeMap::new();
    let id = app.app.to_string();
    for container in containers.iter().filter(|one| one.labels.get(LABEL_APP) == Some(&id)) {
        let label = |key: &str| container.labels.get(key).map_or("", String::as_str);
        let Some(name) = DynoName::parse(label(LABEL_DYNO)) else { continue };
        if !is_dyno(container) || limits::ONE_OFF_NUMBERS.contains(&name.number) {
            continue;
        }
        let egress = container.labels.get(LABEL_EGRESS).map(String::as_str);
        let mut text = dyno_text(label(LABEL_VERSION), label(LABEL_SIZE), egress);
        if container.status != ContainerStatus::Running {
            text += &format!(", {:?}", container.status).to_lowercase();
        }
        if let Some(bounds) = &container.bounds {
            text += &changed(bounds, &sizes.stored(label(LABEL_SIZE)));
        }
        there.entry(name).or_default().push(text);
    }
    let names: BTreeSet<DynoName> = wanted.keys().chain(there.keys()).cloned().collect();
    let compared = names.into_iter().filter_map(|name| {
        let declared = wanted.remove(&name).unwrap_or_else(|| NOTHING.to_string());
        let found = there.remove(&name).unwrap_or_default();
        let running = if found.is_empty() { NOTHING.to_string() } else { found.join(" and ") };
        (declared != running).then(|| Drift {
            app: Some((app.app, app.name.clone())),
            what: name.to_string(),
            declared,
            running,
        })
    });
    compared.collect()
}

/// `, memory 4096M instead of 1024M`: limits that are not those of the dyno's size.
fn changed(bounds: &Bounds, size: &Size) -> String {
    let megabytes = |bytes: i64| match bytes {
        0 => "without limit".to_string(),
        _ => format!("{}M", bytes >> 20),
    };
    let count = |count: i64| match count {
        0 => "without limit".to_string(),
        _ => count.to_string(),
    };
    let memory = size.memory_limit_bytes;
    let mut text = String::new();
    let mut note = |what: &str, is: String, declared: String| {
        if is != declared {
            text += &format!(", {what} {is} instead of {declared}");
        }
    };
    note("memory", megabytes(bounds.memory_bytes), megabytes(memory));
    // Without one the kernel may be unable to limit it.
    if bounds.swap_bytes > 0 && bounds.swap_bytes != bounds.memory_bytes {
        note("memory with swap", megabytes(bounds.swap_bytes), megabytes(memory));
    }
    note("processes", count(bounds.pids), count(size.pids));
    note("cpu shares", count(bounds.cpu_shares), count(size.cpu_shares));
    let processors = |nano: i64| match nano {
        0 => "all".to_string(),
        _ => format!("{:.1}", nano as f64 / 1e9),
    };
    note("processors", processors(bounds.nano_cpus), processors(0));
    text
}

/// `v4 Standard-1X`, and where it may connect to, if not anywhere.
fn dyno_text(version: &str, size: &str, egress: Option<&str>) -> String {
    let text = format!("v{version} {size}");
    match egress {
        None => text,
        Some("") => text + ", egress off",
        Some(list) => format!("{text}, egress {list}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::dynos::plan::Wanted;
    use crate::engine::Labels;
    use crate::model::{Egress, Https, ProcessType, Procfile, ReleaseId, SlugId};

    fn app(slug: SlugId) -> Desired {
        let web = ProcessType::parse("web").unwrap();
        let commands = Procfile::from_map([(web.clone(), "serve".to_string())].into());
        let target = Target {
            images: Default::default(),
            release: ReleaseId::random(),
            version: 4,
            image: slug.image(),
            commands,
            commit: None,
            description: String::new(),
            created_at: Timestamp(0),
            served: true,
        };
        let row = |process: &ProcessType, quantity| Wanted {
            process: process.clone(),
            quantity,
            size: "Standard-1X".to_string(),
            epoch: 0,
            dyno_epochs: BTreeMap::new(),
        };
        // The current release has no worker: its row declares nothing.
        let worker = ProcessType::parse("worker").unwrap();
        Desired {
            app: AppId::random(),
            name: "shop".to_string(),
            maintenance: false,
            domains: Vec::new(),
            egress: Egress::Anywhere,
            https: Https::default(),
            current: Some(target.clone()),
            serving: Some(target),
            formation: vec![row(&web, 2), row(&worker, 1)],
        }
    }

    fn container(app: AppId, dyno: &str, version: &str, status: ContainerStatus) -> Container {
        let labels = [
            (LABEL_APP, app.to_string()),
            (LABEL_KIND, "dyno".to_string()),
            (LABEL_DYNO, dyno.to_string()),
            (LABEL_VERSION, version.to_string()),
            (LABEL_SIZE, "Standard-1X".to_string()),
        ];
        Container {
            id: dyno.to_string(),
            name: format!("senryu-shop-{dyno}"),
            labels: labels.map(|(key, value)| (key.to_string(), value)).into(),
            status,
            image: String::new(),
            created_at: Timestamp(0),
            started_at: None,
            finished_at: None,
            exit_code: None,
            out_of_memory: false,
            pid: None,
            address: None,
            log_path: None,
            written: None,
            bounds: None,
        }
    }

    fn image(slug: SlugId) -> Image {
        let labels = Labels::from([(LABEL_SLUG.to_string(), slug.to_string())]);
        Image { id: "sha256:x".to_string(), labels, size: 1, created_at: Timestamp(0) }
    }

    fn compare(desired: &[Desired], there: &[Container], images: &[Image]) -> Compared {
        super::compare(desired, there, images, &Sizes::default())
    }

    fn lines(compared: &Compared) -> Vec<String> {
        let line = |one: &Drift| format!("{}: {} / {}", one.what, one.declared, one.running);
        compared.drift.iter().map(line).collect()
    }

    #[test]
    fn nothing_drifts_where_all_is_as_declared() {
        use ContainerStatus::Running;
        let slug = SlugId::random();
        let app = app(slug);
        let mut there = vec![
            container(app.app, "web.1", "4", Running),
            container(app.app, "web.2", "4", Running),
            container(app.app, "run.4242", "3", Running),
        ];
        let mut build = container(app.app, "", "", Running);
        build.labels.insert(LABEL_KIND.to_string(), "build".to_string());
        there.push(build);
        let compared = compare(&[app], &there, &[image(slug)]);
        assert_eq!(lines(&compared), Vec::<String>::new());
    }

    #[test]
    fn a_dyno_that_may_connect_to_more_than_it_shall_drifts() {
        use ContainerStatus::Running;
        let slug = SlugId::random();
        let app = Desired { egress: Egress::Only(Vec::new()), ..app(slug) };
        let mut off = container(app.app, "web.1", "4", Running);
        off.labels.insert(LABEL_EGRESS.to_string(), String::new());
        let there = [off, container(app.app, "web.2", "4", Running)];
        let compared = compare(&[app], &there, &[image(slug)]);
        let expected = "web.2: v4 Standard-1X, egress off / v4 Standard-1X";
        assert_eq!(lines(&compared), [expected]);
    }

    #[tokio::test(start_paused = true)]
    async fn limits_that_somebody_changed_are_named() {
        let world = crate::dynos::reconciler::tests::World::new(2).await;
        world.until("two dynos", |engine| engine.running() == ["worker.1", "worker.2"]).await;
        let dynos = async || {
            let found = world.dynos.drift().await.unwrap().drift.into_iter();
            found.filter(|one| one.what.starts_with("worker")).collect::<Vec<_>>()
        };
        assert_eq!(dynos().await, []);
        world.engine.update("worker.2", |bounds| {
            bounds.memory_bytes = 4 << 30;
            bounds.swap_bytes = 4 << 30;
            bounds.pids = 0;
            bounds.nano_cpus = 500_000_000;
        });
        let found = dynos().await;
        assert_eq!((found.len(), found[0].what.as_str()), (1, "worker.2"));
        assert_eq!(
            found[0].running,
            "v3 Standard-1X, memory 4096M instead of 1024M, processes without limit instead of \
             256, processors 0.5 instead of all"
        );
    }

    #[test]
    fn each_difference_is_named() {
        use ContainerStatus::{Exited, Running};
        let app = app(SlugId::random());
        let image_name = app.current.as_ref().unwrap().image.clone();
        let there = [
            container(app.app, "web.1", "3", Running),
            container(app.app, "web.1", "4", Exited),
            container(app.app, "web.3", "4", Running),
            container(AppId::random(), "web.1", "7", Running),
        ];
        let compared = compare(&[app], &there, &[]);
        assert_eq!(
            lines(&compared),
            [
                "web.1: v4 Standard-1X / v3 Standard-1X and v4 Standard-1X, exited".to_string(),
                "web.2: v4 Standard-1X / nothing".to_string(),
                "web.3: nothing / v4 Standard-1X".to_string(),
                format!(
                    "slug of v4: image {image_name} / missing; it comes back with the next start"
                ),
                "senryu-shop-web.1: nothing / running container of no app".to_string(),
            ]
        );
    }
}
