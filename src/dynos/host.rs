//! What the host has and uses, as its kernel tells: for whoever shows it.

use crate::config::ServerSettings;

/// The host's own figures, in bytes, processors and processes that want one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Host {
    pub memory_bytes: i64,
    /// What could be given out, without the reserve.
    pub available_bytes: i64,
    pub reserve_bytes: i64,
    pub processors: usize,
    /// Over the last minute.
    pub load: f64,
}

/// Looks at the host now. What the kernel does not tell is 0.
pub fn look(settings: &ServerSettings) -> Host {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let (memory, load) = (read("/proc/meminfo"), read("/proc/loadavg"));
    let reserve = i64::try_from(settings.memory_reserve).unwrap_or(0).saturating_mul(1 << 20);
    Host {
        memory_bytes: bytes(&memory, "MemTotal:"),
        available_bytes: bytes(&memory, "MemAvailable:"),
        reserve_bytes: reserve,
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        load: load.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default(),
    }
}

fn bytes(meminfo: &str, key: &str) -> i64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    let kilobytes: i64 = line.trim().trim_end_matches("kB").trim().parse().unwrap_or(0);
    kilobytes << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_and_missing_ones_are_0() {
        let text = "MemTotal:       24680000 kB\nMemAvailable:   22000000 kB\n";
        assert_eq!(bytes(text, "MemTotal:"), 24_680_000 << 10);
        assert_eq!(bytes(text, "SwapTotal:"), 0);
        let host = look(&ServerSettings::for_tests(&[]));
        assert!(host.memory_bytes > host.available_bytes && host.processors > 0, "{host:?}");
    }
}
