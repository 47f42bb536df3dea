//! How values are written: times, sizes, shell words, lists of keys and values, and tables that
//! fit the terminal.

use super::failure::Result;
use super::ui::Ui;
use chrono::{DateTime, Local};

/// `2026/11/21 09:40:12 +0000 (~ 2m ago)`, in the user's time zone.
pub fn ago(rfc3339: &str) -> String {
    ago_at(rfc3339, chrono::Utc::now().timestamp())
}

fn ago_at(rfc3339: &str, now: i64) -> String {
    let Ok(at) = DateTime::parse_from_rfc3339(rfc3339) else { return clean(rfc3339) };
    let text = at.with_timezone(&Local).format("%Y/%m/%d %H:%M:%S %z");
    match (now - at.timestamp()).max(0) {
        seconds @ 0..60 => format!("{text} (~ {seconds}s ago)"),
        seconds @ 60..3600 => format!("{text} (~ {}m ago)", seconds / 60),
        seconds @ 3600..90_000 => format!("{text} (~ {}h ago)", seconds / 3600),
        _ => text.to_string(),
    }
}

/// `12 MB`, in steps of 1,024 without decimals.
pub fn size(bytes: i64) -> String {
    let mut value = bytes.max(0) as f64;
    let mut units = ["B", "KB", "MB", "GB", "TB"].iter();
    let mut unit = units.next().unwrap_or(&"");
    while value.round() >= 1024.0 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1024.0, next);
    }
    format!("{value:.0} {unit}")
}

/// A value as one word of a shell, in quotes only where it needs them.
pub fn shell_word(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./%+~".contains(c);
    match !value.is_empty() && value.chars().all(plain) {
        true => value.to_string(),
        false => format!("'{}'", value.replace('\'', r"'\''")),
    }
}

/// Text from elsewhere for a terminal: what would move the cursor is shown instead of obeyed.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// `Key:   value` lines, values below each other. Those without values are left out.
pub fn object(ui: &Ui, pairs: &[(&str, Vec<String>)]) -> Result {
    let shown = || pairs.iter().filter(|(_, values)| !values.is_empty());
    let width = shown().map(|(key, _)| key.chars().count()).max().unwrap_or(0) + 2;
    for (key, values) in shown() {
        for (index, value) in values.iter().enumerate() {
            let head = if index == 0 { format!("{key}:") } else { String::new() };
            let pad = " ".repeat(width.saturating_sub(head.chars().count()));
            ui.line(format!("{}{pad}{value}", ui.bold(&head)))?;
        }
    }
    Ok(())
}

/// A table without lines. On a terminal that is too narrow the widest columns lose their ends;
/// in a pipe nothing does.
pub fn table(ui: &Ui, head: &[&str], rows: &[Vec<String>]) -> Result {
    table_within(ui, ui.width, head, rows)
}

/// The same in so many columns, or in all that it takes.
pub fn table_within(
    ui: &Ui,
    columns: Option<usize>,
    head: &[&str],
    rows: &[Vec<String>],
) -> Result {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()).collect();
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    if let Some(columns) = columns {
        shrink(&mut widths, columns);
    }
    if head.iter().any(|cell| !cell.is_empty()) {
        let head: Vec<String> = head.iter().map(|cell| cell.to_string()).collect();
        ui.line(ui.bold(&row_text(&head, &widths)))?;
        let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
        ui.line(ui.dim(&row_text(&rule, &widths)))?;
    }
    for row in &rows {
        ui.line(row_text(row, &widths))?;
    }
    Ok(())
}

/// The gap between two columns.
const GAP: usize = 2;
/// A column is not made narrower than this.
const NARROWEST: usize = 8;

fn shrink(widths: &mut [usize], columns: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > columns {
        match widths.iter_mut().max() {
            Some(widest) if *widest > NARROWEST => *widest -= 1,
            _ => return,
        }
    }
}

fn row_text(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
        let length = cell.chars().count();
        if length > *width {
            line.extend(cell.chars().take(width.saturating_sub(1)));
            line.push('…');
        } else {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - length));
        }
        if index + 1 < row.len() {
            line.extend(std::iter::repeat_n(' ', GAP));
        }
    }
    line.trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_heroku_tells_them() {
        let now = DateTime::parse_from_rfc3339("2026-11-21T10:00:00Z").unwrap().timestamp();
        for (at, end) in [
            ("2026-11-21T09:59:50Z", "(~ 10s ago)"),
            ("2026-11-21T09:40:00Z", "(~ 20m ago)"),
            ("2026-11-20T10:00:00Z", "(~ 24h ago)"),
            ("2026-11-21T10:00:09Z", "(~ 0s ago)"),
        ] {
            assert!(ago_at(at, now).ends_with(end), "{at}: {}", ago_at(at, now));
        }
        assert!(!ago_at("2026-11-01T10:00:00Z", now).contains("ago"));
        assert_eq!(ago_at("never", now), "never");
    }

    #[test]
    fn sizes_and_shell_words() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(5_000_000), "5 MB");
        assert_eq!(size(1_048_575), "1 MB");
        assert_eq!(shell_word("plain-1.0/x"), "plain-1.0/x");
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("a b$c"), "'a b$c'");
        assert_eq!(shell_word("it's\n"), "'it'\\''s\n'");
    }

    #[test]
    fn a_table_fits_the_terminal_by_its_widest_column() {
        let mut widths = vec![3, 60, 20];
        shrink(&mut widths, 60);
        assert_eq!(widths, [3, 33, 20]);
        let row: Vec<String> = ["v12", &"x".repeat(60), "me@example.com"].map(String::from).into();
        assert_eq!(row_text(&row, &widths).chars().count(), 3 + 2 + 33 + 2 + 14);
        assert!(row_text(&row, &widths).contains("x…  me@"));
        let mut tiny = vec![20, 20];
        shrink(&mut tiny, 4);
        assert_eq!(tiny, [8, 8]);
    }

    #[test]
    fn what_moves_a_cursor_is_shown_and_not_obeyed() {
        assert_eq!(clean("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
