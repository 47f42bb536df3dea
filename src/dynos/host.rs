//! What the host has and uses, as its kernel tells: for whoever shows it.

use crate::config::ServerSettings;
use crate::meminfo;

/// The host's own figures, in bytes and processors.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Host {
    pub memory_bytes: i64,
    /// What could be given out, without the reserve.
    pub available_bytes: i64,
    pub reserve_bytes: i64,
    pub processors: usize,
}

/// Looks at the host now. What the kernel does not tell is 0.
pub fn look(settings: &ServerSettings) -> Host {
    let reserve = i64::try_from(settings.memory_reserve).unwrap_or(0).saturating_mul(1 << 20);
    Host {
        memory_bytes: meminfo::bytes("MemTotal").unwrap_or(0),
        available_bytes: meminfo::bytes("MemAvailable").unwrap_or(0),
        reserve_bytes: reserve,
        processors: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// Time that the processors have spent since the machine's start, in the kernel's ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ticks {
    busy: u64,
    all: u64,
}

impl Ticks {
    pub fn now() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// The first line: user, nice, system, idle, waiting for a disk, interrupts, and what other
    /// machines on the same hardware took. Guests come after those, and are in user already.
    fn parse(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or_default();
        let times: Vec<u64> =
            line.split_whitespace().skip(1).take(8).filter_map(|text| text.parse().ok()).collect();
        let all = times.iter().sum();
        let idle: u64 = times.iter().skip(3).take(2).sum();
        Self { busy: all - idle, all }
    }

    /// How many processors of so many were busy since an earlier look.
    pub fn busy_since(self, earlier: Self, processors: usize) -> f64 {
        let all = self.all.saturating_sub(earlier.all).max(1);
        self.busy.saturating_sub(earlier.busy) as f64 / all as f64 * processors as f64
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

    #[test]
    fn processors_that_wait_for_a_disk_are_not_busy() {
        let first = Ticks::parse("cpu  100 0 50 800 50 0 0 0 7 0\ncpu0 1 2 3\n");
        assert_eq!(first, Ticks { busy: 150, all: 1000 });
        let then = Ticks::parse("cpu  150 10 60 820 150 5 5 0 9 0\n");
        let busy = then.busy_since(first, 2);
        assert!((busy - 0.8).abs() < 0.001, "{busy}");
        assert!(first.busy_since(first, 2) < 0.001);
        assert!(Ticks::now().all > 0, "the kernel's file is read");
    }
}
