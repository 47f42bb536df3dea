//! What a measurement means: a pure function from limits and figures to what is said of them.
//! Heroku's R codes where Heroku has some, S codes of ours in the same form where it has none.

use super::Measured;
use crate::limits;
use crate::logs::LogLine;
use crate::model::Size;

/// What is said of a crash that was an R15.
pub const STARVED: &str = "used more memory than its limit and was killed (R15)";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// R14.
    Memory { bytes: i64, quota: i64 },
    /// S10.
    Processes { count: i64, limit: i64, is_dyno: bool },
    /// S11.
    Disk { bytes: i64, limit: i64 },
    /// S11 too.
    DiskFiles { limit: u64 },
    /// S12.
    OpenFiles { count: i64, limit: i64 },
    /// S13: the host's disk is short, and this dyno wrote most since it was not.
    HostDisk { bytes: u64, reserve: u64 },
    /// S13 of a build, whose volume grows on the same disk.
    HostDiskBuild { reserve: u64 },
}

/// Everything that is over a limit, or so near to one that the dyno runs into it. Builds have no
/// quota of memory below the limit where they end.
pub(super) fn all(size: &Size, measured: &Measured, is_dyno: bool) -> Vec<Finding> {
    let near = |count: i64, limit: i64| {
        count.saturating_mul(100) >= limit.saturating_mul(limits::NEAR_LIMIT_PERCENT)
    };
    let mut found = Vec::new();
    if is_dyno && measured.memory_bytes > size.memory_bytes {
        found.push(Finding::Memory { bytes: measured.memory_bytes, quota: size.memory_bytes });
    }
    if near(measured.processes, size.pids) {
        let (count, limit) = (measured.processes, size.pids);
        found.push(Finding::Processes { count, limit, is_dyno });
    }
    if near(measured.open_files, size.open_files) {
        found.push(Finding::OpenFiles { count: measured.open_files, limit: size.open_files });
    }
    if is_dyno && measured.disk_bytes > size.disk_bytes {
        found.push(Finding::Disk { bytes: measured.disk_bytes, limit: size.disk_bytes });
    } else if is_dyno && measured.disk_files > limits::DYNO_FILES {
        found.push(Finding::DiskFiles { limit: limits::DYNO_FILES });
    }
    found
}

impl Finding {
    /// What the app's log says.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Memory { bytes, quota } => {
                vec![running(*bytes, *quota), "Error R14 (Memory quota exceeded)".to_string()]
            }
            Self::Processes { count, limit, is_dyno } => vec![format!(
                "Error S10 (Process limit) -> {count} of at most {limit} processes and threads \
                 run, and no more can start: run fewer{}",
                if *is_dyno { ", or take a larger size with ps:resize" } else { "" }
            )],
            Self::OpenFiles { count, limit } => vec![format!(
                "Error S12 (Open files limit) -> A process has {count} of at most {limit} files \
                 and sockets open, and can open no more: close what is not used, or spread the \
                 load over more dynos"
            )],
            Self::Disk { bytes, limit } => stopped(format!(
                "Error S11 (Disk limit) -> {}M were written outside the slug, at most {}M may be: \
                 keep files in a storage service, and remove temporary ones",
                bytes >> 20,
                limit >> 20
            )),
            Self::DiskFiles { limit } => stopped(format!(
                "Error S11 (Disk limit) -> More than {limit} files were written outside the slug: \
                 keep them in a storage service, and remove temporary ones"
            )),
            Self::HostDisk { bytes, reserve } => stopped(format!(
                "Error S13 (Host disk full) -> The host keeps {reserve}M of its disk free and has \
                 less: this dyno wrote most of late, {}M, and loses it. Keep files in a storage \
                 service, and remove temporary ones",
                bytes >> 20
            )),
            Self::HostDiskBuild { reserve } => stopped(format!(
                "Error S13 (Host disk full) -> The host keeps {reserve}M of its disk free and has \
                 less: no build can go on. Free some, and push again"
            )),
        }
    }

    /// What is said of the crash of a dyno that is ended for this.
    pub fn ends(&self) -> Option<&'static str> {
        match self {
            Self::Memory { .. } | Self::Processes { .. } | Self::OpenFiles { .. } => None,
            Self::Disk { .. } | Self::DiskFiles { .. } => {
                Some("wrote more to its disk than its limit and was killed (S11)")
            }
            Self::HostDiskBuild { .. } => Some("was ended while the host's disk was full (S13)"),
            Self::HostDisk { .. } => Some("wrote most while the host's disk was full (S13)"),
        }
    }
}

fn stopped(line: String) -> Vec<String> {
    vec![line, "Stopping process with SIGKILL".to_string()]
}

/// R15, in the order of Heroku's lines.
pub fn starved_lines(size: &Size, name: &str) -> Vec<LogLine> {
    [
        running(size.memory_limit_bytes, size.memory_bytes),
        "Error R15 (Memory quota vastly exceeded)".to_string(),
        "Stopping process with SIGKILL".to_string(),
    ]
    .map(|text| LogLine::heroku(name.to_string(), text))
    .to_vec()
}

/// `Process running mem=870M(170.1%)`.
fn running(bytes: i64, quota: i64) -> String {
    let tenths = bytes.saturating_mul(1000) / quota.max(1);
    format!("Process running mem={}M({}.{}%)", bytes >> 20, tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Sizes;

    const MIB: i64 = 1024 * 1024;

    fn lines(measured: Measured) -> Vec<String> {
        let size = Sizes::default().stored("Standard-1X");
        all(&size, &measured, true).iter().flat_map(Finding::lines).collect()
    }

    #[test]
    fn an_ordinary_dyno_is_not_mentioned() {
        let measured = Measured {
            memory_bytes: 512 * MIB,
            processes: 240,
            open_files: 9_000,
            disk_bytes: 8192 * MIB,
            disk_files: 1_000,
            ..Measured::default()
        };
        assert_eq!(lines(measured), Vec::<String>::new());
    }

    #[test]
    fn each_limit_is_named_with_its_figures_and_what_to_do() {
        let measured = Measured {
            memory_bytes: 870 * MIB,
            processes: 256,
            open_files: 9_999,
            disk_bytes: 9000 * MIB,
            disk_files: 0,
            ..Measured::default()
        };
        let lines = lines(measured);
        assert_eq!(lines[0], "Process running mem=870M(169.9%)");
        assert_eq!(lines[1], "Error R14 (Memory quota exceeded)");
        for (line, words) in lines[2..].iter().zip([
            "Error S10 (Process limit) -> 256 of at most 256 ",
            "Error S12 (Open files limit) -> A process has 9999 of at most 10000 ",
            "Error S11 (Disk limit) -> 9000M were written outside the slug, at most 8192M",
            "Stopping process with SIGKILL",
        ]) {
            assert!(line.starts_with(words), "{line}");
        }
        assert_eq!(lines.len(), 6);
    }

    #[test]
    fn builds_have_no_quota_of_memory() {
        let size = Size::build("").unwrap();
        let measured = Measured { memory_bytes: i64::MAX, processes: 4096, ..Measured::default() };
        let found = all(&size, &measured, false);
        assert_eq!(found, [Finding::Processes { count: 4096, limit: 4096, is_dyno: false }]);
        assert!(found[0].lines()[0].ends_with("no more can start: run fewer"));
    }

    #[test]
    fn r15_has_herokus_words() {
        let size = Sizes::default().stored("Eco");
        let lines: Vec<String> =
            starved_lines(&size, "web.1").into_iter().map(|line| line.message).collect();
        assert_eq!(lines[0], "Process running mem=1024M(200.0%)");
        assert_eq!(lines[1], "Error R15 (Memory quota vastly exceeded)");
    }
}
