//! Whether the host has memory for one more dyno. What is not there is refused, or waits, with a
//! reason: otherwise the kernel would end something that runs.

use crate::config::ServerSettings;
use crate::error::{Error, Result};
use crate::meminfo;
use crate::model::Size;

/// Bytes that dynos may still take: what the kernel could give out, without the reserve.
/// Unlimited where the kernel does not say.
pub fn free(settings: &ServerSettings) -> i64 {
    let reserve =
        i64::try_from(settings.memory_reserve).unwrap_or(i64::MAX).saturating_mul(1 << 20);
    let available = meminfo::bytes("MemAvailable");
    available.map_or(i64::MAX, |available| available.saturating_sub(reserve))
}

/// Why there is no room for a dyno of this size, beside those that are just starting and have not
/// taken their memory yet.
pub fn shortage(settings: &ServerSettings, size: &Size, starting: i64) -> Option<String> {
    let free = free(settings).saturating_sub(starting);
    (free < size.memory_bytes).then(|| {
        format!(
            "it needs {}M of memory, and the host has {}M for dynos beside its reserve of {}M",
            size.memory_bytes >> 20,
            free.max(0) >> 20,
            settings.memory_reserve
        )
    })
}

/// What the log says of who waits for that reason.
pub fn waits(who: &str, reason: &str) -> String {
    format!(
        "Error S17 (No memory on the host) -> {who} waits: {reason}. Scale something down, take a \
         smaller size, or add memory"
    )
}

/// Refuses what would need more memory than there is.
pub fn check(settings: &ServerSettings, what: &str, bytes: i64) -> Result<()> {
    let free = free(settings).max(0);
    if bytes <= 0 || bytes <= free {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "The host has no memory for this: {what} needs {}M, and {}M are left for dynos beside the \
         host's reserve of {}M. Nothing has changed. Scale something down, take a smaller size, or \
         add memory",
        bytes >> 20,
        free >> 20,
        settings.memory_reserve
    )))
}
