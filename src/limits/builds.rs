//! Limits of builds beyond their own resources, which are settings.

use std::time::Duration;

/// So many servers begin a build again that an earlier one left: one that brings each of them down
/// must end some time.
pub const BUILD_BEGUN_AGAIN: u32 = 5;
/// Per cent of an app's build volume that what is kept between builds may take: the rest is for
/// the source and the build itself. With more it is emptied before the next build.
pub const BUILD_CACHE_PERCENT: u64 = 50;
/// Build containers that stand by at one time: each is a shell and Docker's shim, some 10 MB. Of
/// the apps that have been deployed the last ones have them.
pub const STANDBYS: usize = 3;
/// One that an announced push has not taken by then goes: the push was refused, or had nothing new.
pub const STANDBY_ANNOUNCED: Duration = Duration::from_secs(20);
/// So long after a deploy one stands by for the next, unless a setting says otherwise: whoever
/// tries something out pushes again within minutes.
pub const STANDBY_AFTER_DEPLOY: Duration = Duration::from_secs(300);
/// It is started when the deploy's first dyno has been, or after this: there may be none.
pub const STANDBY_LATEST: Duration = Duration::from_secs(10);
/// None is started in the first seconds of a server, which belong to what its start brings back;
/// one that is killed again and again leaves none behind.
pub const STANDBY_SETTLED: Duration = Duration::from_secs(30);
/// A dismissed one has gone by then; Docker starts and removes one in a second.
pub const STANDBY_GONE: Duration = Duration::from_secs(30);
/// Between two looks for it.
pub const STANDBY_GONE_RETRY: Duration = Duration::from_millis(20);
/// The end of a build's output has so long to come after the end of its last process.
pub const BUILD_LAST_OUTPUT: Duration = Duration::from_secs(20);
/// A load that begins with its build is given up after this, and made anew when it is needed: a
/// process of Docker's waits meanwhile.
pub const LOAD_AHEAD: Duration = Duration::from_secs(5);

/// Standing in line for less than that is not worth a word at the end of a push.
pub const WAIT_NOTICED: Duration = Duration::from_secs(1);

/// Bytes of the outputs of an app's builds and release commands that are kept together; the oldest
/// go first. Most have some kilobytes, a runaway one fills a quarter of this.
pub const OUTPUTS_OF_APP_BYTES: u64 = 512 << 20;
/// What a file takes of the disk at least.
pub const OUTPUT_LEAST_BYTES: u64 = 4096;
