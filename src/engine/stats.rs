//! What a container uses, out of the engine's statistics, which have one form for each version of
//! control groups.

use super::Usage;
use bollard::models::{ContainerMemoryStats, ContainerStatsResponse};

/// `None` when it does not run: then the statistics are empty.
pub fn usage(stats: ContainerStatsResponse) -> Option<Usage> {
    let memory = memory(&stats.memory_stats?)?;
    let processes = stats.pids_stats.and_then(|pids| pids.current).unwrap_or(0);
    let cpu_nanos = stats.cpu_stats.and_then(|cpu| cpu.cpu_usage?.total_usage).unwrap_or(0);
    Some(Usage { cpu_nanos, memory_bytes: whole(memory), processes: whole(processes) })
}

/// Without pages of files that were only read or written once: the kernel takes those back before
/// it kills anything. Version 1 of control groups counts them as `total_inactive_file`, with those
/// of groups below; version 2 as `inactive_file`.
fn memory(memory: &ContainerMemoryStats) -> Option<u64> {
    let stats = memory.stats.as_ref();
    let of = |key: &str| stats.and_then(|stats| stats.get(key)).copied();
    let files = of("total_inactive_file").or_else(|| of("inactive_file")).unwrap_or(0);
    Some(memory.usage?.saturating_sub(files))
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from Docker 20.10 with version 1, shortened.
    const V1: &str = r#"{
        "read": "2026-11-21T12:00:00Z",
        "pids_stats": { "current": 13, "limit": 256 },
        "cpu_stats": { "cpu_usage": { "total_usage": 5000000 }, "online_cpus": 2 },
        "memory_stats": {
            "usage": 60000000, "max_usage": 70000000, "limit": 1073741824,
            "stats": {
                "cache": 21000000, "rss": 35000000, "inactive_file": 9, "active_file": 1000000,
                "total_cache": 21000000, "total_inactive_file": 20000000
            }
        }
    }"#;

    /// Docker with version 2: other names, and no totals.
    const V2: &str = r#"{
        "read": "2026-11-21T12:00:00Z",
        "pids_stats": { "current": 7, "limit": 256 },
        "memory_stats": {
            "usage": 50000000, "limit": 1073741824,
            "stats": { "anon": 35000000, "file": 14000000, "inactive_file": 10000000 }
        }
    }"#;

    /// Of a container that does not run.
    const ENDED: &str =
        r#"{ "read": "0001-01-01T00:00:00Z", "pids_stats": {}, "memory_stats": {} }"#;

    fn parsed(text: &str) -> Option<Usage> {
        usage(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn both_versions_of_control_groups_are_read() {
        assert_eq!(
            parsed(V1),
            Some(Usage { cpu_nanos: 5_000_000, memory_bytes: 40_000_000, processes: 13 })
        );
        assert_eq!(
            parsed(V2),
            Some(Usage { cpu_nanos: 0, memory_bytes: 40_000_000, processes: 7 })
        );
        assert_eq!(parsed(ENDED), None);
    }
}
