//! Limits of the metrics.

use std::time::Duration;

/// Minutes that are kept, and shown: a day.
pub const METRICS_MINUTES: i64 = 24 * 60;
/// Minutes of one stored point: a day of a dyno is 144 rows of some 100 bytes.
pub const METRICS_STEP: i64 = 10;
/// What was counted is stored so often: that much of it a killed server loses.
pub const METRICS_STORE: Duration = Duration::from_secs(60);
/// Dynos whose figures are in memory until they are stored; what is beyond is not counted.
pub const METRICS_DYNOS: usize = 2000;
/// Stored points that are read for an app, the newest: a day of 300 dynos.
pub const METRICS_ROWS: usize = 300 * 144;
/// Dynos of one process type that are shown by themselves, those seen last: as many as there can
/// be at one time. One-off dynos have a new name each.
pub const METRICS_DYNOS_SHOWN: usize = 100;
/// Releases that are marked in charts: more would hide the figures.
pub const METRICS_RELEASES: usize = 50;
