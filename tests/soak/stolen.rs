//! What the host of a virtual machine gives of the processor to others: times measured meanwhile
//! tell of those, not of the platform.

/// Ticks since the start of the machine.
#[derive(Clone, Copy, Default)]
pub struct Stolen {
    taken: u64,
    all: u64,
}

impl Stolen {
    pub fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<u64> =
            line.split_whitespace().skip(1).take(8).filter_map(|tick| tick.parse().ok()).collect();
        Self { taken: ticks.get(7).copied().unwrap_or(0), all: ticks.iter().sum() }
    }

    /// Per cent of the processor since this was read.
    pub fn percent(self) -> u64 {
        let now = Self::now();
        let all = now.all.saturating_sub(self.all).max(1);
        now.taken.saturating_sub(self.taken) * 100 / all
    }
}
