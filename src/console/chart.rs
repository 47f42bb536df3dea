//! Charts: lines over a day with grid, axis and releases, as places for the template to draw at.
//! Colours are the page's, by classes, so that a chart is right in light and in dark.

use std::fmt::Write as _;

/// One line of a chart, as it is named in the legend, and its values; where there is none the line
/// is interrupted.
pub struct Line {
    pub label: &'static str,
    pub values: Vec<Option<f64>>,
}

pub struct Given {
    /// Unique on its page.
    pub id: String,
    pub title: &'static str,
    /// Of the numbers at the axis: `ms`, `MB`.
    pub unit: &'static str,
    /// Seconds since the Unix epoch of the first value, and between two.
    pub start: i64,
    pub step: i64,
    pub lines: Vec<Line>,
    /// Seconds since the Unix epoch, and what was released then: `v12`, and a description.
    pub releases: Vec<(i64, String, String)>,
}

/// Where the template draws what. Numbers are in the drawing's own units.
pub struct Chart {
    pub id: String,
    pub title: String,
    /// What one who does not see it is told.
    pub description: String,
    /// Height and text of each line of the grid.
    pub grid: Vec<(String, String)>,
    /// Place and text of each hour.
    pub hours: Vec<(String, String)>,
    pub releases: Vec<Mark>,
    /// Name and path.
    pub lines: Vec<(&'static str, String)>,
}

/// A release.
pub struct Mark {
    pub x: String,
    pub version: String,
    pub description: String,
    /// Its version is written beside it only where there is room.
    pub is_named: bool,
}

// As the template has them.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 24.0;
/// Between two named releases, for a version of four digits.
const NAME_WIDTH: f64 = 36.0;
/// From its left end around.
const RING: &str = "a3 3 0 1 0 6 0a3 3 0 1 0-6 0";
/// Seconds between two hours that are written.
const HOURS: i64 = 4 * 3600;

impl Given {
    pub fn chart(self) -> Chart {
        let greatest = self.values().fold(0.0, f64::max);
        let top = nice(greatest);
        let names: Vec<&str> = self.lines.iter().map(|line| line.label).collect();
        let title = match self.unit {
            "" => self.title.to_string(),
            unit => format!("{}, {unit}", self.title),
        };
        Chart {
            description: format!(
                "{title}, over 24 hours: {}. At most {}. The table of figures by hour says the \
                 same.",
                names.join(", "),
                shown(greatest),
            ),
            grid: (0..=4)
                .map(|quarter| f64::from(quarter) / 4.0)
                .map(|part| (place(y_of(part)), shown(top * part)))
                .collect(),
            hours: self.hours(),
            releases: self.marks(),
            lines: self.lines.iter().map(|line| (line.label, self.path(line, top))).collect(),
            id: self.id,
            title,
        }
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        let values = self.lines.iter().flat_map(|line| line.values.iter().flatten());
        values.copied().filter(|value| value.is_finite())
    }

    fn span(&self) -> f64 {
        let points = self.lines.iter().map(|line| line.values.len()).max().unwrap_or(0);
        (points.max(2) - 1) as f64 * self.step as f64
    }

    fn x(&self, at: i64) -> Option<f64> {
        let part = (at - self.start) as f64 / self.span();
        (0.0..=1.0).contains(&part).then_some(LEFT + part * (WIDTH - LEFT - RIGHT))
    }

    fn marks(&self) -> Vec<Mark> {
        let mut named = f64::INFINITY;
        let mut marks = Vec::new();
        // The last of several that are close is the one that people look for.
        for (at, version, description) in self.releases.iter().rev() {
            // One of the last minutes is behind the last point's beginning.
            let Some(x) = self.x(*at).or_else(|| self.x(at - self.step)) else { continue };
            let is_named = named - x >= NAME_WIDTH;
            if is_named {
                named = x;
            }
            let (version, description) = (version.clone(), description.clone());
            marks.push(Mark { x: place(x), version, description, is_named });
        }
        marks.reverse();
        marks
    }

    /// Every fourth whole hour, UTC.
    fn hours(&self) -> Vec<(String, String)> {
        let end = self.start.saturating_add(self.span() as i64);
        let first = self.start.div_euclid(HOURS) * HOURS;
        let all = (0..).map(|number| first + number * HOURS).take_while(|at| *at <= end);
        let hour = |at: i64| format!("{:02}:00", at.rem_euclid(86_400) / 3600);
        all.filter_map(|at| Some((place(self.x(at)?), hour(at)))).collect()
    }

    fn path(&self, line: &Line, top: f64) -> String {
        let mut path = String::new();
        let mut pen_down = false;
        let times = (0..).map(|index| self.start + index * self.step);
        let nexts = line.values.iter().skip(1).copied().chain([None]);
        for ((at, value), next) in times.zip(&line.values).zip(nexts) {
            let found = value.filter(|value| value.is_finite()).zip(self.x(at));
            let Some((value, x)) = found else {
                pen_down = false;
                continue;
            };
            let (x, y) = (place(x), place(y_of((value / top).clamp(0.0, 1.0))));
            // A value by itself is a ring, which is seen where a release is drawn, too; and one of
            // nothing a dot: a line of no length with round ends. Writing to memory can't fail.
            let is_alone = !pen_down && next.is_none();
            let _ = match pen_down {
                true => write!(path, "L{x} {y}"),
                false if is_alone && value > 0.0 => write!(path, "M{x} {y}m-3 0{RING}"),
                false => write!(path, "M{x} {y}h0"),
            };
            pen_down = true;
        }
        path
    }
}

fn y_of(part: f64) -> f64 {
    HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)
}

fn place(number: f64) -> String {
    format!("{number:.1}")
}

/// The next of 1, 2, 4, 5, 8 and their tens at or above a value.
fn nice(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let ten = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 8.0, 10.0];
    let step = steps.into_iter().find(|step| value <= step * ten * 1.000_001);
    step.unwrap_or(10.0) * ten
}

/// Without zeros that say nothing.
fn shown(number: f64) -> String {
    let decimals = if number.abs() < 0.1 { 3 } else { 2 };
    let text = format!("{number:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: Vec<Option<f64>>) -> Chart {
        let release = |at, version: &str| (at, version.to_string(), "Deploy 1234".to_string());
        let given = Given {
            id: "p95".to_string(),
            title: "Response time",
            unit: "ms",
            start: 1_700_000_000,
            step: 600,
            lines: vec![Line { label: "p95", values }],
            releases: vec![
                release(0, "v1"),
                release(1_700_000_600, "v3"),
                release(1_700_000_601, "v4"),
                release(1_700_002_300, "v5"),
            ],
        };
        given.chart()
    }

    #[test]
    fn lines_stop_where_nothing_was_measured_and_releases_are_marked_once_they_are_in_the_day() {
        let chart = chart(vec![Some(10.0), None, Some(90.0), Some(100.0)]);
        let (name, path) = &chart.lines[0];
        assert_eq!(*name, "p95");
        assert_eq!(path.matches('M').count(), 2, "{path}");
        assert!(path.ends_with("L432.0 18.0"), "100 of 100 is at the top, at the end: {path}");
        assert_eq!(chart.grid[4].1, "100");
        let marks: Vec<_> =
            chart.releases.iter().map(|mark| (mark.version.as_str(), mark.is_named)).collect();
        assert_eq!(marks, [("v3", false), ("v4", true), ("v5", true)]);
        assert!(path.contains(RING), "the first value is seen by itself: {path}");
        assert!(chart.description.contains("At most 100."), "{}", chart.description);
    }

    #[test]
    fn nothing_and_odd_numbers_are_drawn_as_nothing() {
        for values in [vec![], vec![None, None], vec![Some(f64::NAN), Some(f64::INFINITY)]] {
            let chart = chart(values);
            assert_eq!(chart.lines[0].1, "");
            assert_eq!(chart.grid[4].1, "1");
        }
        assert_eq!(
            [nice(0.0), nice(0.3), nice(41.0), nice(100.0), nice(930.0)],
            [1.0, 0.4, 50.0, 100.0, 1000.0]
        );
        assert_eq!(
            [0.0, 0.0125, 0.5, 100.0, 1250.0].map(shown),
            ["0", "0.013", "0.5", "100", "1250"]
        );
    }
}
