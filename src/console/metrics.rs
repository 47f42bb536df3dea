//! The last day of an app, of its process types or of one dyno: in charts, and as tables.

use super::Page;
use super::at::{At, Note};
use super::chart::{Chart, Given, Line};
use super::frame::{self, Frame, Place};
use super::tab::{Here, Tab};
use super::words;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::limits;
use crate::metrics::{Point, Series, Window};
use crate::model::Release;
use crate::store;
use askama::Template;
use axum::extract::Query;
use serde::Deserialize;

/// A process type, or a dyno.
struct Part {
    name: String,
    charts: Vec<Chart>,
    /// The type as a whole and its dynos, each over the whole day.
    dynos: Vec<Figures>,
    hours: Vec<Figures>,
}

/// A line of a table.
struct Figures {
    /// `web.1`, `14:00`
    name: String,
    /// It has a page of its own.
    is_dyno: bool,
    cpu: String,
    memory: String,
    requests: u64,
    statuses: [u32; 4],
    times: [String; 3],
}

struct Released {
    version: i64,
    at: String,
    description: String,
}

#[derive(Template)]
#[template(path = "console/metrics.html", config = "web/askama.toml")]
struct View {
    frame: Frame,
    app: String,
    tab: Here,
    dyno: Option<String>,
    parts: Vec<Part>,
    releases: Vec<Released>,
}

#[derive(Deserialize)]
pub struct Asked {
    dyno: Option<String>,
}

pub async fn show(at: At, Query(asked): Query<Asked>) -> Page {
    let (platform, id) = (at.platform(), at.app().id);
    let window = platform.metrics.of_app(id, Timestamp::now(), limits::METRICS_STEP).await?;
    let begins = window.begins();
    let releases = platform
        .store
        .read(move |db| store::releases::releases_since(db, id, begins, limits::METRICS_RELEASES))
        .await?;
    let wanted = window.series.iter().filter(|one| one.dyno == asked.dyno);
    let parts: Vec<Part> = wanted.map(|one| part(one, &window, &releases)).collect();
    if parts.is_empty() && asked.dyno.is_some() {
        return Err(Error::not_found("dyno").into());
    }
    let view = View {
        frame: at.frame(format!("Metrics of {}", at.name()), Note::Nothing),
        app: at.name(),
        tab: at.tab(Tab::Metrics),
        dyno: asked.dyno,
        parts,
        releases: releases.iter().map(released).collect(),
    };
    frame::render(view.frame.status(), &view)
}

/// `14:05`
fn time(at: Timestamp) -> String {
    at.api().chars().skip(11).take(5).collect()
}

fn released(release: &Release) -> Released {
    Released {
        version: release.version,
        at: time(release.created_at),
        description: words::visible(&release.description),
    }
}

fn part(one: &Series, window: &Window, releases: &[Release]) -> Part {
    let name = one.dyno.clone().unwrap_or_else(|| one.process.clone());
    let beside = |other: &&Series| other.process == one.process && one.dyno.is_none();
    let dynos = window.series.iter().filter(beside).map(|other| match &other.dyno {
        Some(dyno) => figures(dyno.clone(), true, &other.whole()),
        None => figures(format!("all {name}"), false, &other.whole()),
    });
    Part {
        charts: charts(&name, one, window, releases),
        dynos: dynos.collect(),
        hours: hours(one, window),
        name,
    }
}

/// The newest first, and only those in which something was seen.
fn hours(series: &Series, window: &Window) -> Vec<Figures> {
    let points = usize::try_from(60 / window.step).unwrap_or(1).max(1);
    let chunks = series.points.chunks(points).zip(0..);
    let mut hours: Vec<Figures> = chunks
        .filter(|(points, _)| points.iter().any(Point::was_seen))
        .map(|(points, hour)| {
            let mut whole = Point::default();
            points.iter().for_each(|point| whole.then(point));
            let begins = Timestamp(window.begins().0 + hour * 3_600_000_000);
            figures(time(begins), false, &whole)
        })
        .collect();
    hours.reverse();
    hours
}

fn figures(name: String, is_dyno: bool, point: &Point) -> Figures {
    let none = || "–".to_string();
    let within = |share| point.times.percentile(share).map_or_else(none, |ms| format!("{ms:.0}"));
    Figures {
        name,
        is_dyno,
        cpu: cores(point).map_or_else(none, |cpu| format!("{cpu:.2}")),
        memory: memory(point).map_or_else(none, |_| words::size(point.memory_bytes)),
        requests: point.requests(),
        statuses: point.statuses,
        times: [0.5, 0.95, 0.99].map(within),
    }
}

fn cores(point: &Point) -> Option<f64> {
    point.cpu_thousandths().map(|cpu| cpu as f64 / 1000.0)
}

fn memory(point: &Point) -> Option<f64> {
    (point.memory_bytes > 0).then(|| point.memory_bytes as f64 / f64::from(1 << 20))
}

/// Those in which there is something to see.
fn charts(name: &str, series: &Series, window: &Window, releases: &[Release]) -> Vec<Chart> {
    let line = |label: &'static str, value: &dyn Fn(&Point) -> Option<f64>| Line {
        label,
        values: series.points.iter().map(value).collect(),
    };
    let has_requests = series.points.iter().any(|point| point.requests() > 0);
    let class = |class: usize, label| {
        line(label, &move |point| {
            (has_requests && point.was_seen()).then(|| f64::from(point.statuses[class]))
        })
    };
    let within = |share: f64, label| line(label, &move |point| point.times.percentile(share));
    let statuses = vec![class(0, "2xx"), class(1, "3xx"), class(2, "4xx"), class(3, "5xx")];
    let times = vec![within(0.5, "p50"), within(0.95, "p95"), within(0.99, "p99")];
    let all = [
        ("cpu", "CPU", "cores", vec![line("used", &cores)]),
        ("memory", "Memory", "MB", vec![line("most", &memory)]),
        ("requests", "Requests in ten minutes", "", statuses),
        ("times", "Response time", "ms", times),
    ];
    let measured = all
        .into_iter()
        .filter(|(.., lines)| lines.iter().any(|line| line.values.iter().any(Option::is_some)));
    let charts = measured.map(|(id, title, unit, lines)| Given {
        id: format!("{id}-{name}"),
        title,
        unit,
        start: window.start * 60,
        step: window.step * 60,
        lines,
        releases: releases.iter().rev().map(mark).collect(),
    });
    charts.map(Given::chart).collect()
}

fn mark(release: &Release) -> (i64, String, String) {
    let at = release.created_at.0.div_euclid(1_000_000);
    (at, format!("v{}", release.version), words::visible(&release.description))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(dyno: Option<&str>, points: Vec<Point>) -> Series {
        Series { process: "web".to_string(), dyno: dyno.map(str::to_string), points }
    }

    #[test]
    fn a_type_has_charts_of_what_was_measured_its_dynos_and_its_hours() {
        let mut busy = Point::default();
        busy.request(200, Some(12));
        busy.request(503, None);
        let mut idle = Point::default();
        idle.sample(Some(250), 64 << 20);
        let mut points = vec![Point::default(); 144];
        (points[3], points[143]) = (idle, busy);
        let series = vec![series(None, points.clone()), series(Some("web.1"), points)];
        let window = Window { start: 28_000_000, step: 10, series };
        let part = part(&window.series[0], &window, &[]);
        let ids: Vec<&str> = part.charts.iter().map(|chart| chart.id.as_str()).collect();
        assert_eq!(ids, ["cpu-web", "memory-web", "requests-web", "times-web"]);
        let names: Vec<_> = part.dynos.iter().map(|row| (row.name.as_str(), row.is_dyno)).collect();
        assert_eq!(names, [("all web", false), ("web.1", true)]);
        assert_eq!((part.hours.len(), part.hours[0].requests), (2, 2), "the newest comes first");
        assert_eq!(part.hours[0].statuses, [1, 0, 0, 1]);
        assert_eq!((part.hours[1].cpu.as_str(), part.hours[1].memory.as_str()), ("0.25", "64 MB"));
    }
}
