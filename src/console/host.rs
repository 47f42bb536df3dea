//! The machine, for admins: what it has, what is promised and used of it, and all that runs.

use super::frame::{self, Frame, Place};
use super::signed::Signed;
use super::words::{self, Mark};
use super::{Console, Page, State};
use crate::clock::Timestamp;
use crate::deploy::Standing;
use crate::dynos::host::{self, Ticks};
use crate::error::Result;
use crate::limits;
use crate::model::{App, AppId, Build, Formation, Size};
use crate::store;
use askama::Template;
use axum::extract;
use std::collections::BTreeMap;

struct DynoRow {
    app: String,
    name: String,
    mark: Mark,
    size: String,
    since: String,
}

struct BuildRow {
    id: String,
    app: String,
    mark: Mark,
    /// Its place in the queue.
    place: Option<usize>,
    email: String,
    when: String,
}

/// One quantity of the host: words, and how full its bar is.
struct Gauge {
    name: &'static str,
    text: String,
    percent: i64,
    /// What that means, where it is not plain.
    hint: String,
}

#[derive(Template)]
#[template(path = "console/host.html", config = "web/askama.toml")]
struct View {
    frame: Frame,
    gauges: Vec<Gauge>,
    apps: usize,
    dynos: Vec<DynoRow>,
    more: usize,
    builds: Vec<BuildRow>,
    parallel_builds: usize,
    build_memory: String,
}

pub async fn show(extract::State(console): State, signed: Signed) -> Page {
    let (apps, formations, pending) = console
        .platform
        .store
        .read(|db| {
            let builds = store::releases::pending_builds(db)?;
            Ok((store::apps::all(db)?, store::formations::all(db)?, builds))
        })
        .await?;
    let names: BTreeMap<_, _> = apps.iter().map(|app| (app.id, app.name.to_string())).collect();
    let mut builds: Vec<BuildRow> =
        pending.iter().map(|build| build_row(&console, build, &names)).collect();
    // Those at work, then those that wait, in the order of their places.
    builds.sort_by_key(|row| (row.mark.word != AT_WORK, row.place.unwrap_or(usize::MAX)));
    let settings = &console.platform.settings;
    let gauges = gauges(&console, &apps, &formations).await?;
    let mut dynos = dynos(&console, &apps);
    let more = dynos.len().saturating_sub(limits::DYNOS_SHOWN);
    dynos.truncate(limits::DYNOS_SHOWN);
    let view = View {
        frame: Frame::new("Host", Place::Host, &signed),
        gauges,
        apps: apps.len(),
        dynos,
        more,
        builds,
        parallel_builds: settings.parallel_builds,
        build_memory: words::size(settings.build_limits.memory_bytes),
    };
    frame::render(view.frame.status(), &view)
}

/// Those that are not up come first: they are why somebody looks.
fn dynos(console: &Console, apps: &[App]) -> Vec<DynoRow> {
    let now = Timestamp::now();
    let mut rows = Vec::new();
    for app in apps {
        for dyno in console.platform.dynos.of_app(app.id) {
            rows.push(DynoRow {
                app: app.name.to_string(),
                name: dyno.name.to_string(),
                mark: words::of_dyno(dyno.state),
                size: dyno.size.clone(),
                since: words::ago(dyno.since, now),
            });
        }
    }
    rows.sort_by(|a, b| (a.mark.tone == "ok", &a.app).cmp(&(b.mark.tone == "ok", &b.app)));
    rows
}

const AT_WORK: &str = "building";

fn build_row(console: &Console, build: &Build, names: &BTreeMap<AppId, String>) -> BuildRow {
    let standing = console.platform.deploy.standing(build.id);
    let (word, tone, place) = match standing {
        Standing::AtWork => (AT_WORK, "busy", None),
        Standing::Waits(place) => ("waiting", "off", Some(place)),
        Standing::Left => ("taken up", "off", None),
    };
    BuildRow {
        mark: Mark { word, tone },
        place,
        id: build.id.to_string(),
        app: names.get(&build.app).cloned().unwrap_or_default(),
        email: build.user_email.clone(),
        when: words::ago(build.created_at, Timestamp::now()),
    }
}

async fn gauges(console: &Console, apps: &[App], formations: &[Formation]) -> Result<Vec<Gauge>> {
    let settings = console.platform.settings.clone();
    let looked = crate::tasks::blocking("look at the host", move || {
        Ok((host::look(&settings), Ticks::now()))
    });
    let (host, first) = looked.await?;
    tokio::time::sleep(limits::HOST_LOOK).await;
    let then = crate::tasks::blocking("look at the host", || Ok(Ticks::now())).await?;
    let busy = then.busy_since(first, host.processors);
    let promised = promised(console, apps, formations);
    let memory: i64 = promised.iter().map(|size| size.memory_bytes).sum();
    let weight = promised.iter().map(|size| size.cpu_shares).sum::<i64>() as f64 / 1024.0;
    let percent = |part: i64, whole: i64| (part.saturating_mul(100) / whole.max(1)).clamp(0, 100);
    let for_dynos = host.memory_bytes - host.reserve_bytes;
    let used = host.memory_bytes - host.available_bytes;
    let processors = host.processors as f64;
    Ok(vec![
        Gauge {
            name: "Memory in use",
            text: format!("{} of {}", words::size(used), words::size(host.memory_bytes)),
            percent: percent(used, host.memory_bytes),
            hint: String::new(),
        },
        Gauge {
            name: "Memory promised to dynos",
            text: format!("{} of {}", words::size(memory), words::size(for_dynos)),
            percent: percent(memory, for_dynos),
            hint: String::new(),
        },
        Gauge {
            name: "Processors in use",
            text: format!("{busy:.1} of {}", host.processors),
            percent: (busy / processors * 100.0) as i64,
            hint: String::new(),
        },
        Gauge {
            name: "Processors promised to dynos",
            text: format!("{processors:.0} for {weight:.0} × 1X"),
            hint: worth(weight, processors),
            percent: ((weight / processors * 100.0) as i64).clamp(0, 100),
        },
    ])
}

/// What it means to weigh as much as a 1X dyno.
fn worth(weight: f64, processors: f64) -> String {
    match weight > processors {
        true => format!("When all compute at once each 1X has {:.2}.", processors / weight),
        false => "Each 1X has one for itself.".to_string(),
    }
}

/// The sizes of all dynos that shall run, and of the one-offs that do.
fn promised(console: &Console, apps: &[App], formations: &[Formation]) -> Vec<Size> {
    let sizes = &console.platform.settings.dyno_sizes;
    let mut all = Vec::new();
    for row in formations.iter().filter(|row| !row.process.is_release()) {
        all.extend((0..row.quantity).map(|_| sizes.stored(&row.size)));
    }
    for app in apps {
        let dynos = console.platform.dynos.of_app(app.id);
        let one_offs = dynos.iter();
        let one_offs = one_offs.filter(|dyno| limits::ONE_OFF_NUMBERS.contains(&dyno.name.number));
        all.extend(one_offs.map(|dyno| sizes.stored(&dyno.size)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_says_what_it_is_worth() {
        assert_eq!(worth(8.0, 2.0), "When all compute at once each 1X has 0.25.");
        assert_eq!(worth(2.0, 2.0), "Each 1X has one for itself.");
    }
}
