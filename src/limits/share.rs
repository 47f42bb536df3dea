//! Limits of what those who misbehave may take from the others: processor and log.

use std::time::Duration;

/// How nice the router's threads are: it answers for every app.
pub const ROUTER_NICE: i32 = -10;
/// How nice the log thread is: it may work as much as it likes, after everybody else.
pub const LOG_NICE: i32 = 10;
/// Relative CPU weight of a build while it is not in the idle class: as a Standard-1X dyno.
pub const BUILD_CPU_SHARES: i64 = 1024;
/// Between two looks at whether a build in the idle class gets anything at all.
pub const BACKGROUND_PERIOD: Duration = Duration::from_millis(500);
/// Per cent of one core below which a build starves, if …
pub const STARVING_PERCENT: u64 = 10;
/// … less than this, per cent of all cores, was idle meanwhile.
pub const BUSY_IDLE_PERCENT: u64 = 5;
/// A build that starved is out of the idle class for so many looks.
pub const STARVED_PERIODS: u32 = 60;

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

/// Pieces of a build's output that are taken in a second for long, and at one time. More of them
/// come together to fewer and larger ones.
pub const BUILD_PIECES_PER_SECOND: f64 = 200.0;
pub const BUILD_PIECES_BURST: f64 = 2000.0;
/// Bytes of it: five thousand lines a second, and what long builds print in all.
pub const BUILD_BYTES_PER_SECOND: f64 = 512.0 * 1024.0;
pub const BUILD_PACE_BURST: f64 = 4.0 * 1024.0 * 1024.0;
