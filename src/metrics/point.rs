//! The figures of some minutes, and how those of several times or dynos become one.

/// Each bound is a quarter above the one before: a percentile is off by at most that. The last
/// takes all that is slower.
const BOUNDS: usize = 48;

fn bound(index: usize) -> f64 {
    1.25_f64.powi(i32::try_from(index).unwrap_or(i32::MAX))
}

/// How many requests took how long, by bounds that grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times([u32; BOUNDS]);

impl Default for Times {
    fn default() -> Self {
        Self([0; BOUNDS])
    }
}

impl Times {
    pub fn add(&mut self, millis: u64) {
        let millis = millis as f64;
        let index = (0..BOUNDS - 1).find(|index| millis <= bound(*index)).unwrap_or(BOUNDS - 1);
        self.0[index] = self.0[index].saturating_add(1);
    }

    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// The milliseconds within which this share of the requests was answered.
    pub fn percentile(&self, share: f64) -> Option<f64> {
        let all: u64 = self.0.iter().map(|count| u64::from(*count)).sum();
        let rank = (all as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.0.iter().enumerate() {
            seen += u64::from(*count);
            if *count > 0 && seen >= rank {
                return Some(bound(index).round());
            }
        }
        None
    }

    /// Pairs of an index and a count, for a column.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, count) in (0u8..).zip(self.0) {
            if count > 0 {
                bytes.push(index);
                bytes.extend(count.to_be_bytes());
            }
        }
        bytes
    }

    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut times = Self::default();
        for pair in bytes.chunks_exact(5) {
            if let [index, count @ ..] = pair
                && let Some(slot) = times.0.get_mut(usize::from(*index))
            {
                *slot = count.try_into().map_or(0, u32::from_be_bytes);
            }
        }
        times
    }
}

/// Of one dyno over some minutes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Point {
    /// Requests by class: 2xx (and 1xx), 3xx, 4xx, 5xx.
    pub statuses: [u32; 4],
    pub times: Times,
    /// Sum and number of samples of the CPU used, in thousandths of a core.
    pub cpu: (u64, u32),
    /// The most that was seen, in bytes; 0 where nothing was.
    pub memory_bytes: i64,
}

impl Point {
    pub fn request(&mut self, status: u16, millis: Option<u64>) {
        let class = usize::from((status / 100).clamp(2, 5)) - 2;
        self.statuses[class] = self.statuses[class].saturating_add(1);
        // A WebSocket takes as long as somebody looks at a page: that is no response time.
        if let Some(millis) = millis.filter(|_| status != 101) {
            self.times.add(millis);
        }
    }

    pub fn sample(&mut self, cpu_thousandths: Option<u64>, memory_bytes: i64) {
        if let Some(cpu) = cpu_thousandths {
            self.cpu = (self.cpu.0.saturating_add(cpu), self.cpu.1.saturating_add(1));
        }
        self.memory_bytes = self.memory_bytes.max(memory_bytes);
    }

    /// A later time of the same dyno.
    pub fn then(&mut self, later: &Self) {
        for (mine, theirs) in self.statuses.iter_mut().zip(later.statuses) {
            *mine = mine.saturating_add(theirs);
        }
        self.times.merge(&later.times);
        let (sum, count) = later.cpu;
        self.cpu = (self.cpu.0.saturating_add(sum), self.cpu.1.saturating_add(count));
        self.memory_bytes = self.memory_bytes.max(later.memory_bytes);
    }

    /// Another dyno in the same time: both use what they use at once.
    pub fn beside(&mut self, other: &Self) {
        let cpu = match (self.cpu_thousandths(), other.cpu_thousandths()) {
            (None, None) => (0, 0),
            (mine, theirs) => (mine.unwrap_or(0).saturating_add(theirs.unwrap_or(0)), 1),
        };
        let memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
        self.then(other);
        (self.cpu, self.memory_bytes) = (cpu, memory_bytes);
    }

    pub fn cpu_thousandths(&self) -> Option<u64> {
        let (sum, count) = self.cpu;
        (count > 0).then(|| sum / u64::from(count))
    }

    /// Whether there was a dyno or a request at all.
    pub fn was_seen(&self) -> bool {
        self.memory_bytes > 0 || self.cpu.1 > 0 || self.requests() > 0
    }

    pub fn requests(&self) -> u64 {
        self.statuses.iter().map(|count| u64::from(*count)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_within_a_quarter() {
        let mut times = Times::default();
        assert_eq!(times.percentile(0.5), None);
        for millis in 1..=1000 {
            times.add(millis);
        }
        for (share, exact) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0)] {
            let found = times.percentile(share).unwrap();
            assert!(found >= exact && found <= exact * 1.25 + 1.0, "{share}: {found}");
        }
        times.add(10_000_000);
        assert!(times.percentile(1.0).unwrap() > 30_000.0);
        assert_eq!(Times::from_bytes(&times.to_bytes()), times);
        assert_eq!(Times::from_bytes(&[255, 0, 0, 0, 1, 9]), Times::default());
    }

    #[test]
    fn minutes_follow_each_other_and_dynos_stand_side_by_side() {
        let mut first = Point::default();
        first.request(200, Some(10));
        first.request(503, None);
        first.sample(Some(500), 100);
        first.sample(Some(700), 90);
        let mut second = Point::default();
        second.request(101, Some(20));
        second.sample(Some(200), 50);
        let mut hour = first.clone();
        hour.then(&second);
        assert_eq!(hour.statuses, [2, 0, 0, 1]);
        assert_eq!(hour.times.percentile(1.0), first.times.percentile(1.0));
        assert_eq!((hour.cpu_thousandths(), hour.memory_bytes), (Some(466), 100));
        let mut both = first;
        both.beside(&second);
        assert_eq!((both.cpu_thousandths(), both.memory_bytes), (Some(800), 150));
        assert_eq!(both.requests(), 3);
    }
}
