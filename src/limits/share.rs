//! Limits of what those who misbehave may take from the others: processor and log.

use std::time::Duration;

/// How nice the router's threads are: it answers for every app.
pub const ROUTER_NICE: i32 = -10;
/// How nice the log thread is: it may work as much as it likes, after everybody else.
pub const LOG_NICE: i32 = 10;
/// Relative CPU weight of a build while it is not in the idle class: as a Standard-1X dyno.
pub const BUILD_CPU_SHARES: i64 = 1024;
/// How much sooner than others (0) dynos are killed when the host itself is out of memory, of at
/// most 1,000: server, router and Docker are to outlive them, …
pub const OOM_SCORE: i64 = 500;
/// … and dynos the builds, which may take much of it once they have begun.
pub const OOM_SCORE_BUILD: i64 = 900;
/// How often, and how far apart, a Dockerfile's step is looked at until it runs: containers start
/// in less than a second, but for machines that are very busy.
pub const STEP_LOOKS: u32 = 300;
pub const STEP_PERIOD: Duration = Duration::from_millis(100);
/// Between two looks at what a step has written: a walk through its files costs up to a second.
pub const STEP_DISK_PERIOD: Duration = Duration::from_secs(2);
/// Files that one step may write: each takes an entry of the host's disk.
pub const STEP_FILES: u64 = 1_000_000;
/// Between two looks at whether a build in the idle class gets anything at all.
pub const BACKGROUND_PERIOD: Duration = Duration::from_millis(500);
/// Between two looks for a build that has not started yet.
pub const BACKGROUND_RETRY: Duration = Duration::from_millis(100);
/// Per cent of one core below which a build starves, if …
pub const STARVING_PERCENT: u64 = 10;
/// … less than this, per cent of all cores, was idle meanwhile.
pub const BUSY_IDLE_PERCENT: u64 = 5;
/// A build that starved is out of the idle class for so many looks.
pub const STARVED_PERIODS: u32 = 60;

/// Connections of one dyno or build to the outside that the host keeps track of. Its table, which
/// all share, holds 65,536 on small machines; what a crawler opens at one time is below this.
pub const TRACKED_CONNECTIONS: u32 = 20_000;
/// Bytes a second that a dyno may write to its log for long: 60,000 lines of usual length. Docker
/// needs a core for ten times as much, and takes it from everybody.
pub const LOG_FLOOD_BYTES_PER_SECOND: u64 = 10_000_000;
/// Bytes that it may write at one time beyond that, as programs do when they start.
pub const LOG_FLOOD_BURST: u64 = 32_000_000;
/// A dyno that is held back runs at least this long before it is held again …
pub const LOG_FLOOD_PULSE: Duration = Duration::from_millis(5);
/// … and is held this long at most: signals reach it only afterwards.
pub const LOG_FLOOD_HOLD: Duration = Duration::from_millis(500);
/// A dyno that was held is looked at often for so long.
pub const LOG_FLOOD_WATCH: Duration = Duration::from_secs(2);
/// A flood is named this often while it goes on, as an R14 is.
pub const LOG_FLOOD_TOLD: Duration = Duration::from_secs(20);

/// How often a build's output is taken in a second for long, and how often at once: each time
/// wakes everybody on its way to whoever pushed. What nobody takes is not copied by Docker either,
/// and comes together to larger pieces. A line is late by a fiftieth of a second at most.
pub const BUILD_TAKES_PER_SECOND: f64 = 50.0;
pub const BUILD_TAKES_BURST: f64 = 10.0;
/// So many pieces wait at most, and are taken at one time; Docker sends one for each line while it
/// keeps up.
pub const BUILD_PIECES_TOGETHER: usize = 32;
/// Bytes of it that are taken in a second for long: five thousand lines. Beyond what long builds
/// print in all, which is taken faster …
pub const BUILD_BYTES_PER_SECOND: f64 = 512.0 * 1024.0;
pub const BUILD_PACE_BURST: f64 = 4.0 * 1024.0 * 1024.0;
/// … at this rate, which no compiler reaches, beyond what comes at once: faster it would take the
/// processor from everybody for as long as it lasts.
pub const BUILD_PEAK_BYTES_PER_SECOND: f64 = 2.0 * 1024.0 * 1024.0;
pub const BUILD_PEAK_BURST: f64 = 512.0 * 1024.0;
