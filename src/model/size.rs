//! Dyno sizes: Heroku's names, and what a dyno of each is limited to. The operator may change the
//! figures, never the names.

use crate::error::{Error, Result};
use crate::limits;

const MIB: i64 = 1024 * 1024;

/// What a dyno of one size may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Mixed case, as the API returns it.
    pub name: &'static str,
    /// What the app may use, bytes; R14 above it.
    pub memory_bytes: i64,
    /// Where it is killed, bytes; R15.
    pub memory_limit_bytes: i64,
    /// Relative CPU weight; 1024 is 1x.
    pub cpu_shares: i64,
    /// Processes and threads.
    pub pids: i64,
    /// Open files and sockets of each process.
    pub open_files: i64,
    /// What it may write outside its slug, bytes.
    pub disk_bytes: i64,
    /// Heroku's virtual processors, for clients that show them.
    pub compute: i64,
}

impl Size {
    /// What a process type gets when nobody chose.
    pub const DEFAULT: &'static str = "Standard-1X";

    /// What a build is limited to, with changes such as `memory=4096,processes=8192`.
    pub fn build(changes: &str) -> Result<Self, String> {
        let mut size = Self {
            name: "build",
            memory_bytes: limits::BUILD_MEMORY_BYTES,
            memory_limit_bytes: limits::BUILD_MEMORY_BYTES,
            cpu_shares: limits::BUILD_CPU_SHARES,
            pids: limits::BUILD_PIDS,
            open_files: limits::BUILD_OPEN_FILES,
            disk_bytes: limits::BUILD_VOLUME_BYTES,
            compute: 1,
        };
        for figure in changes.split(',').map(str::trim).filter(|figure| !figure.is_empty()) {
            if figure.starts_with("kill") {
                return Err("kill is no limit of builds: memory is where they end".to_string());
            }
            set(&mut size, figure)?;
        }
        if size.disk_bytes < limits::BUILD_VOLUME_MIN_BYTES {
            let least = limits::BUILD_VOLUME_MIN_BYTES / MIB;
            return Err(format!("disk: a build needs at least {least} MB"));
        }
        size.memory_limit_bytes = size.memory_bytes;
        Ok(size)
    }

    /// Whether it has processors of its own on Heroku; here it only weighs more.
    pub fn is_dedicated(&self) -> bool {
        self.name.starts_with("Performance")
    }
}

/// Name, quota and limit in MB, CPU weight, processes, Heroku's processors.
const HEROKU: [(&str, i64, i64, i64, i64, i64); 9] = [
    ("Eco", 512, 1024, 1, 256, 1),
    ("Basic", 512, 1024, 1, 256, 1),
    ("Standard-1X", 512, 1024, 1, 256, 1),
    ("Standard-2X", 1024, 2048, 2, 512, 2),
    ("Performance-M", 2560, 5120, 12, 16384, 2),
    ("Performance-L", 14 * 1024, 28 * 1024, 50, 32768, 8),
    ("Performance-L-RAM", 30 * 1024, 36 * 1024, 24, 24576, 4),
    ("Performance-XL", 62 * 1024, 74 * 1024, 50, 32768, 8),
    ("Performance-2XL", 126 * 1024, 151 * 1024, 100, 65536, 16),
];

/// All sizes, with the operator's changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes(Vec<Size>);

impl Default for Sizes {
    fn default() -> Self {
        let size =
            |(name, memory, limit, cpu, pids, compute): (&'static str, _, _, _, _, _)| Size {
                name,
                memory_bytes: memory * MIB,
                memory_limit_bytes: limit * MIB,
                cpu_shares: cpu * 1024,
                pids,
                open_files: limits::OPEN_FILES,
                disk_bytes: limits::DYNO_DISK_BYTES,
                compute,
            };
        Self(HEROKU.map(size).to_vec())
    }
}

impl Sizes {
    /// Heroku's table with changes such as `Standard-1X:memory=768,kill=1536;Eco:processes=128`.
    pub fn with_changes(changes: &str) -> Result<Self, String> {
        let mut sizes = Self::default();
        for change in changes.split(';').map(str::trim).filter(|change| !change.is_empty()) {
            let (name, figures) = change.split_once(':').ok_or_else(|| {
                format!("{change} is not in the form SIZE:LIMIT=NUMBER,LIMIT=NUMBER")
            })?;
            let position = sizes.position(name.trim()).ok_or_else(|| sizes.unknown(name))?;
            for figure in figures.split(',') {
                set(&mut sizes.0[position], figure)?;
            }
            let size = &sizes.0[position];
            if size.memory_limit_bytes < size.memory_bytes {
                return Err(format!("kill must not be below memory for {}", size.name));
            }
        }
        Ok(sizes)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Size> {
        self.0.iter()
    }

    /// Finds a size by its name in any case; the error names the ones there are.
    pub fn parse(&self, name: &str) -> Result<&Size> {
        let position = self.position(name).ok_or_else(|| Error::invalid(self.unknown(name)))?;
        Ok(&self.0[position])
    }

    /// The size stored for a formation; one that this version no longer knows falls back.
    pub fn stored(&self, name: &str) -> Size {
        let position = self.position(name).or_else(|| self.position(Size::DEFAULT));
        self.0[position.unwrap_or(0)]
    }

    fn position(&self, name: &str) -> Option<usize> {
        // Heroku's older names, which scripts still use, and those of its private spaces, which
        // have the same figures.
        let lower = name.to_ascii_lowercase();
        let private = ["private-", "shield-"].iter().find_map(|start| lower.strip_prefix(start));
        let same = private.map(|size| format!("Performance-{size}"));
        let name = match lower.as_str() {
            "1x" => "Standard-1X",
            "2x" | "private-s" | "shield-s" => "Standard-2X",
            "px" => "Performance-L",
            "free" => "Eco",
            "hobby" => "Basic",
            _ => same.as_deref().unwrap_or(name),
        };
        self.0.iter().position(|size| size.name.eq_ignore_ascii_case(name))
    }

    fn unknown(&self, name: &str) -> String {
        let names: Vec<_> = self.0.iter().map(|size| size.name).collect();
        let shown: String = name.chars().take(64).collect();
        format!("Size {shown} is unknown; choose one of {}", names.join(", "))
    }
}

/// One `LIMIT=NUMBER`.
fn set(size: &mut Size, figure: &str) -> Result<(), String> {
    let (key, number) = figure.split_once('=').unwrap_or((figure, ""));
    let (key, number) = (key.trim(), number.trim());
    let wrong = |range: &std::ops::RangeInclusive<i64>| {
        format!("{key}={number}: must be a whole number from {} to {}", range.start(), range.end())
    };
    let within = |range: std::ops::RangeInclusive<i64>| {
        number.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| wrong(&range))
    };
    match key {
        "memory" => size.memory_bytes = within(16..=4_194_304)? * MIB,
        "kill" => size.memory_limit_bytes = within(16..=4_194_304)? * MIB,
        "disk" => size.disk_bytes = within(1..=67_108_864)? * MIB,
        "cpu" => size.cpu_shares = within(2..=262_144)?,
        "processes" => size.pids = within(8..=4_194_304)?,
        "files" => size.open_files = within(64..=1_048_576)?,
        _ => {
            return Err(format!(
                "{key} is no limit; there are memory, kill and disk (MB), cpu (1024 is 1x), \
                 processes and files"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_in_any_case_and_the_old_ones_too() {
        let sizes = Sizes::default();
        for (name, found) in [
            ("standard-2x", "Standard-2X"),
            ("ECO", "Eco"),
            ("2X", "Standard-2X"),
            ("PX", "Performance-L"),
            ("Private-S", "Standard-2X"),
            ("private-l-ram", "Performance-L-RAM"),
            ("Shield-M", "Performance-M"),
        ] {
            assert_eq!(sizes.parse(name).unwrap().name, found);
        }
        assert!(sizes.parse("Private-Huge").is_err() && sizes.parse("Private-").is_err());
        let error = sizes.parse("huge").unwrap_err().to_string();
        assert!(error.contains("huge") && error.contains("Performance-2XL"), "{error}");
        assert_eq!(sizes.stored("Gone").name, Size::DEFAULT);
    }

    #[test]
    fn an_operator_changes_figures() {
        let sizes =
            Sizes::with_changes("standard-1x: memory=768, kill=800,processes=99; eco:disk=5")
                .unwrap();
        let size = sizes.stored("Standard-1X");
        assert_eq!((size.memory_bytes, size.memory_limit_bytes), (768 * MIB, 800 * MIB));
        assert_eq!((size.pids, size.cpu_shares), (99, 1024));
        assert_eq!(sizes.stored("Eco").disk_bytes, 5 * MIB);
        assert_eq!(Sizes::with_changes(""), Ok(Sizes::default()));
        for (wrong, word) in [
            ("Huge:memory=1", "Huge"),
            ("Eco", "SIZE:LIMIT"),
            ("Eco:memory", "memory"),
            ("Eco:memory=-1", "whole number"),
            ("Eco:memory=4096", "kill"),
            ("Eco:speed=9", "speed is no limit"),
        ] {
            let error = Sizes::with_changes(wrong).unwrap_err();
            assert!(error.contains(word), "{wrong}: {error}");
        }
        let build = Size::build("memory=100, disk=2048").unwrap();
        assert_eq!((build.memory_limit_bytes, build.disk_bytes), (100 * MIB, 2048 * MIB));
        assert!(Size::build("disk=1").is_err() && Size::build("kill=9").is_err());
    }
}
