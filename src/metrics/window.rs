//! The figures of an app over a day: a line for each process type, and one for each dyno.

use super::point::{Point, Times};
use crate::clock::Timestamp;
use crate::limits;
use crate::store::metrics::MetricsRow;
use std::collections::{BTreeMap, BTreeSet};

/// One line of figures: a process type, or one of its dynos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    pub process: String,
    /// None for the process type as a whole.
    pub dyno: Option<String>,
    /// One for each step.
    pub points: Vec<Point>,
}

impl Series {
    /// The figures of all the time as one.
    pub fn whole(&self) -> Point {
        let mut whole = Point::default();
        self.points.iter().for_each(|point| whole.then(point));
        whole
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The first minute, of the Unix epoch.
    pub start: i64,
    /// Minutes of one point.
    pub step: i64,
    /// A process type is followed by its dynos.
    pub series: Vec<Series>,
}

pub fn point(row: &MetricsRow) -> Point {
    Point {
        statuses: row.statuses,
        times: Times::from_bytes(&row.times),
        cpu: row.cpu,
        memory_bytes: row.memory_bytes,
    }
}

/// `web` of `web.1`. What no dyno got was for `web`, since nothing else gets requests.
fn process_of(dyno: &str) -> &str {
    dyno.split('.').next().filter(|process| !process.is_empty()).unwrap_or("web")
}

type Lines = BTreeMap<(String, Option<String>), Vec<Point>>;

impl Window {
    pub fn begins(&self) -> Timestamp {
        Timestamp(self.start * 60_000_000)
    }

    /// From stored points, newest first, and those of now, which belong to one of the minutes.
    pub fn of(
        start: i64,
        step: i64,
        stored: Vec<MetricsRow>,
        minute: i64,
        now: BTreeMap<String, Point>,
    ) -> Self {
        let mut times: BTreeMap<i64, BTreeMap<String, Point>> = BTreeMap::from([(minute, now)]);
        for row in stored {
            let (point, dynos) = (point(&row), times.entry(row.minute).or_default());
            dynos.entry(row.dyno).or_default().then(&point);
        }
        let alone = shown_alone(&times);
        let count = usize::try_from(limits::METRICS_MINUTES / step).unwrap_or(0);
        let mut lines = Lines::new();
        for (minute, dynos) in times {
            let index = usize::try_from((minute - start).div_euclid(step)).unwrap_or(usize::MAX);
            let mut add = |process: &str, dyno: Option<String>, point: &Point| {
                let line = lines.entry((process.to_string(), dyno));
                let points = line.or_insert_with(|| vec![Point::default(); count]);
                if let Some(whole) = points.get_mut(index) {
                    whole.then(point);
                }
            };
            let mut types: BTreeMap<String, Point> = BTreeMap::new();
            for (dyno, point) in dynos {
                let process = process_of(&dyno).to_string();
                types.entry(process.clone()).or_default().beside(&point);
                if alone.contains(&dyno) {
                    add(&process, Some(dyno), &point);
                }
            }
            types.iter().for_each(|(process, point)| add(process, None, point));
        }
        let mut series: Vec<Series> = lines
            .into_iter()
            .map(|((process, dyno), points)| Series { process, dyno, points })
            .collect();
        // The second before the tenth; the sort is stable.
        series.sort_by_key(|one| {
            let name = one.dyno.as_ref().map(String::len);
            (one.process.clone(), name)
        });
        Self { start, step, series }
    }
}

/// The dynos that get a line of their own: of each type those seen last.
fn shown_alone(times: &BTreeMap<i64, BTreeMap<String, Point>>) -> BTreeSet<String> {
    let mut alone: BTreeSet<String> = BTreeSet::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for dyno in times.values().rev().flat_map(BTreeMap::keys).filter(|dyno| !dyno.is_empty()) {
        let count = counts.entry(process_of(dyno)).or_default();
        if *count < limits::METRICS_DYNOS_SHOWN && alone.insert(dyno.clone()) {
            *count += 1;
        }
    }
    alone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AppId;

    fn row(minute: i64, dyno: &str, cpu: u64, memory_bytes: i64) -> MetricsRow {
        MetricsRow {
            minute,
            app: AppId::random(),
            dyno: dyno.to_string(),
            statuses: [1, 0, 0, 0],
            times: Vec::new(),
            cpu: (cpu, 1),
            memory_bytes,
        }
    }

    #[test]
    fn a_type_is_its_dynos_side_by_side_and_a_step_its_points_one_after_the_other() {
        let rows = vec![
            row(20, "web.2", 100, 8),
            row(20, "web.1", 300, 4),
            row(10, "web.1", 500, 2),
            row(10, "clock.1", 7, 1),
        ];
        let window = Window::of(0, 30, rows, 20, BTreeMap::new());
        let names: Vec<_> = window.series.iter().map(|one| one.dyno.as_deref()).collect();
        assert_eq!(names, [None, Some("clock.1"), None, Some("web.1"), Some("web.2")]);
        let web = &window.series[2].points[0];
        assert_eq!(web.cpu_thousandths(), Some(450), "500, then 300 and 100 at once");
        assert_eq!((web.memory_bytes, web.requests()), (12, 3));
        assert_eq!(window.series[3].whole().cpu_thousandths(), Some(400));
        assert_eq!(window.series[2].points.len(), 48);
    }

    #[test]
    fn dynos_that_were_seen_last_have_a_line_of_their_own() {
        let most = i64::try_from(limits::METRICS_DYNOS_SHOWN).unwrap();
        let rows: Vec<_> =
            (0..=most).map(|at| row(at * 10, &format!("run.{}", 1000 + at), 1, 1)).collect();
        let window = Window::of(0, 10, rows, 0, BTreeMap::new());
        assert_eq!(window.series.len(), 1 + limits::METRICS_DYNOS_SHOWN);
        assert!(window.series.iter().all(|one| one.dyno.as_deref() != Some("run.1000")));
        assert_eq!(window.series[0].whole().requests(), 101, "the sum has all");
    }
}
