//! `metrics`: what an app's dynos have used and how its requests fared, over the last day.

use super::Cx;
use super::app::AppArgs;
use super::client::{segment, text};
use super::failure::Result;
use super::format::{clean, size, table};
use clap::Args;
use serde_json::Value;

#[derive(Debug, Args)]
#[command(after_help = "\
CPU is in cores, memory the most that was seen, response times are those of the dynos. The lines
show the last 24 hours, scaled each to its own greatest value.")]
pub struct Metrics {
    #[command(flatten)]
    app: AppArgs,
    /// Each dyno by itself, too
    #[arg(short, long)]
    dynos: bool,
    /// Output in JSON format
    #[arg(short, long)]
    json: bool,
}

/// Points of a line on the terminal: one for each half hour.
const STEP_MINUTES: u32 = 30;

pub async fn metrics(cx: &Cx, args: Metrics) -> Result {
    let app = cx.app(&args.app)?;
    let path = format!("/apps/{}/metrics", segment(&app));
    let query = format!("{path}?step={STEP_MINUTES}&dynos={}", args.dynos || args.json);
    let answer = cx.client.get(if args.json { &path } else { &query }).await?;
    if args.json {
        return cx.ui.json(&answer);
    }
    let series: Vec<&Value> = answer["series"].as_array().into_iter().flatten().collect();
    if series.is_empty() {
        return cx.ui.line(format!("Nothing was measured of ⬢ {app} in the last 24 hours."));
    }
    for one in series {
        let name = match text(one, "/dyno") {
            "" => text(one, "/type"),
            dyno => dyno,
        };
        cx.ui.header(&clean(name))?;
        table(&cx.ui, &["", "Last", "Most", "24 hours"], &rows(one))?;
        cx.ui.line("")?;
    }
    Ok(())
}

/// A name, where its values are, and how one is shown.
type Row<'a> = (&'a str, &'a str, &'a dyn Fn(f64) -> String);

fn rows(series: &Value) -> Vec<Vec<String>> {
    let bytes = |value: f64| size(value as i64);
    let cores = |value: f64| format!("{value:.2}");
    let whole = |value: f64| format!("{value:.0}");
    let millis = |value: f64| format!("{value:.0} ms");
    let all: [Row<'_>; 9] = [
        ("CPU", "/cpu", &cores),
        ("Memory", "/memory_bytes", &bytes),
        ("Requests in 30 min", "/requests", &whole),
        ("  3xx", "/status/3xx", &whole),
        ("  4xx", "/status/4xx", &whole),
        ("  5xx", "/status/5xx", &whole),
        ("p50", "/response_ms/p50", &millis),
        ("p95", "/response_ms/p95", &millis),
        ("p99", "/response_ms/p99", &millis),
    ];
    let row = |(name, pointer, shown): Row<'_>| {
        let list = series.pointer(pointer).and_then(Value::as_array);
        let values: Vec<Option<f64>> = list.into_iter().flatten().map(Value::as_f64).collect();
        let most = values.iter().flatten().copied().fold(f64::NAN, f64::max);
        if most.is_nan() || (most == 0.0 && name.starts_with(' ')) {
            return None;
        }
        let last = values.iter().rev().flatten().next().copied().unwrap_or(most);
        Some(vec![name.to_string(), shown(last), shown(most), sparkline(&values, most)])
    };
    all.into_iter().filter_map(row).collect()
}

/// Eight heights; a space where nothing was measured.
fn sparkline(values: &[Option<f64>], most: f64) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let height = |value: f64| {
        let part = if most > 0.0 { (value / most).clamp(0.0, 1.0) } else { 0.0 };
        HEIGHTS[((part * 7.0).round() as usize).min(7)]
    };
    values.iter().map(|value| value.map_or(' ', height)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_has_a_mark_for_each_value() {
        let line = sparkline(&[Some(0.0), None, Some(50.0), Some(100.0)], 100.0);
        assert_eq!(line, "▁ ▅█");
        assert_eq!(sparkline(&[Some(0.0), Some(0.0)], 0.0), "▁▁");
    }
}
