//! A worker that numbers its lines, and the log store's files read for each number: once, and in
//! order.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

pub const APP: &str = "numbers";

pub fn files(lines_a_second: u64) -> Vec<(&'static str, String)> {
    let worker = format!(
        r#"// Writes numbered lines at a steady rate: whoever reads them sees whether one is missing.
"use strict";
const run = require("node:crypto").randomBytes(4).toString("hex");
const start = Date.now();
let written = 0;
setInterval(() => {{
  const due = Math.floor(((Date.now() - start) * {lines_a_second}) / 1000);
  let text = "";
  while (written < due) {{
    written += 1;
    text += `soak ${{run}} ${{String(written).padStart(10, "0")}} end\n`;
  }}
  process.stdout.write(text);
}}, 20);
"#
    );
    vec![("Procfile", "worker: node worker.js\n".to_string()), ("worker.js", worker)]
}

/// What the log holds of the numbered lines.
#[derive(Debug, Default)]
pub struct Count {
    pub newest: u64,
    pub missing: u64,
    pub twice: u64,
    pub out_of_order: u64,
    pub runs: usize,
    pub first_missing: Option<u64>,
    pub first_twice: Option<u64>,
}

impl Count {
    pub fn is_whole(&self) -> bool {
        self.missing == 0 && self.twice == 0 && self.out_of_order == 0 && self.runs <= 1
    }
}

/// Reads an app's segments; `logs` is the store's directory. Call it while the server rests from
/// a start: a torn end that a later start cuts off would be counted.
pub fn count(logs: &Path, app_id: &str) -> Result<Count> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(logs.join(app_id))
        .context("the worker's log")?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .collect();
    paths.sort();
    let mut seen: Vec<u8> = Vec::new();
    let mut count = Count::default();
    let mut runs = std::collections::BTreeSet::new();
    for path in paths {
        let bytes = std::fs::read(&path)?;
        for (run, number) in whole_frames(&bytes).iter().flat_map(|frame| lines(frame)) {
            runs.insert(run.to_vec());
            if number < count.newest {
                count.out_of_order += 1;
            }
            count.newest = count.newest.max(number);
            let index = usize::try_from(number)?;
            if seen.len() <= index {
                seen.resize(index + 1, 0);
            }
            seen[index] = seen[index].saturating_add(1);
        }
    }
    for (number, times) in (0_u64..).zip(&seen).skip(1) {
        match times {
            0 => {
                count.missing += 1;
                count.first_missing.get_or_insert(number);
            }
            1 => {}
            _ => {
                count.twice += 1;
                count.first_twice.get_or_insert(number);
            }
        }
    }
    count.runs = runs.len();
    Ok(count)
}

/// The records of each frame that is there in full.
fn whole_frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    bytes = bytes.get(8..).unwrap_or_default();
    while let Some(length) = bytes.first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some(frame) = bytes.get(8..8 + length) else { break };
        frames.push(frame);
        bytes = &bytes[8 + length..];
    }
    frames
}

/// `soak RUN 0000000001 end`
fn lines(frame: &[u8]) -> Vec<(&[u8], u64)> {
    const BEFORE: &[u8] = b"soak ";
    const LENGTH: usize = 5 + 8 + 1 + 10 + 4;
    let mut found = Vec::new();
    let mut at = 0;
    while at + LENGTH <= frame.len() {
        let line = &frame[at..at + LENGTH];
        let number = std::str::from_utf8(&line[14..24]).ok().and_then(|text| text.parse().ok());
        match number {
            Some(number) if line.starts_with(BEFORE) && line.ends_with(b" end") => {
                found.push((&line[5..13], number));
                at += LENGTH;
            }
            _ => at += 1,
        }
    }
    found
}
