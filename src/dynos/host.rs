//! What the host has and uses, as its kernel tells: for whoever shows it.

use crate::config::ServerSettings;
use crate::meminfo;

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
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let reserve = i64::try_from(settings.memory_reserve).unwrap_or(0).saturating_mul(1 << 20);
    Host {
        memory_bytes: meminfo::bytes("MemTotal").unwrap_or(0),
        available_bytes: meminfo::bytes("MemAvailable").unwrap_or(0),
        reserve_bytes: reserve,
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        load: load.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_figures_are_read() {
        let host = look(&ServerSettings::for_tests(&[]));
        assert!(host.memory_bytes > host.available_bytes && host.processors > 0, "{host:?}");
    }
}
