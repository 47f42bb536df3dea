//! What dynos and one-offs are bounded by, beside what has always stood in `limits.rs`.

use std::time::Duration;

/// Heroku's client ends piped input by a character that may be data as well. It is the end when
/// nothing follows for so long: the pieces of a pipe follow each other faster.
pub const RENDEZVOUS_END: Duration = Duration::from_millis(300);
/// Bytes of a release command's output that are kept, on disk: migrations of large databases say
/// more than builds, and nobody can run one again to read what it said.
pub const RELEASE_OUTPUT_BYTES: u64 = 128 * 1024 * 1024;
/// A dyno has taken the memory that it starts with so long after its start: until then nobody
/// else is promised what it has not taken yet.
pub const MEMORY_SETTLES: Duration = Duration::from_secs(10);
/// Bytes of a record of the kernel's log, which gives out none that is longer …
pub const KERNEL_RECORD_BYTES: usize = 8 * 1024;
/// … and so many of them are read at most: a log of several megabytes.
pub const KERNEL_RECORDS: u32 = 65_536;
