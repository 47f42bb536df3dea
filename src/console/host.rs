//! The machine, for admins: what it has, what is promised and used of it, and all that runs.

use super::frame::{self, Frame, Place};
use super::signed::Signed;
use super::words::{self, Mark};
use super::{Console, Page, State};
use crate::clock::Timestamp;
use crate::dynos::host;
use crate::error::Result;
use crate::limits;
use crate::model::{App, Build, Formation};
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
    email: String,
    when: String,
}

/// One quantity of the host: words, and how full its bar is.
struct Gauge {
    name: &'static str,
    text: String,
    percent: i64,
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
    let mut dynos = dynos(&console, &apps);
    let more = dynos.len().saturating_sub(limits::DYNOS_SHOWN);
    dynos.truncate(limits::DYNOS_SHOWN);
    let view = View {
        frame: Frame::new("Host", Place::Host, &signed),
        gauges: gauges(&console, &formations).await?,
        apps: apps.len(),
        dynos,
        more,
        builds: pending.iter().map(|build| build_row(build, &names)).collect(),
        parallel_builds: console.platform.settings.parallel_builds,
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

fn build_row(build: &Build, names: &BTreeMap<crate::model::AppId, String>) -> BuildRow {
    BuildRow {
        id: build.id.to_string(),
        app: names.get(&build.app).cloned().unwrap_or_default(),
        email: build.user_email.clone(),
        when: words::ago(build.created_at, Timestamp::now()),
    }
}

async fn gauges(console: &Console, formations: &[Formation]) -> Result<Vec<Gauge>> {
    let settings = console.platform.settings.clone();
    let sizes = &settings.dyno_sizes;
    let promised: i64 = formations
        .iter()
        .map(|row| sizes.stored(&row.size).memory_bytes.saturating_mul(i64::from(row.quantity)))
        .sum();
    let settings = settings.clone();
    let looked = crate::tasks::blocking("look at the host", move || Ok(host::look(&settings)));
    let host = looked.await?;
    let percent = |part: i64, whole: i64| (part.saturating_mul(100) / whole.max(1)).clamp(0, 100);
    let for_dynos = host.memory_bytes - host.reserve_bytes;
    let used = host.memory_bytes - host.available_bytes;
    let busy = host.load / host.processors as f64 * 100.0;
    Ok(vec![
        Gauge {
            name: "Memory in use",
            text: format!("{} of {}", words::size(used), words::size(host.memory_bytes)),
            percent: percent(used, host.memory_bytes),
        },
        Gauge {
            name: "Memory promised to dynos",
            text: format!("{} of {}", words::size(promised), words::size(for_dynos)),
            percent: percent(promised, for_dynos),
        },
        Gauge {
            name: "Processors",
            text: format!("{:.1} busy of {}", host.load, host.processors),
            percent: (busy as i64).clamp(0, 100),
        },
    ])
}
