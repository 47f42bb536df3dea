//! Whether the host has memory for one more dyno. What is not there is refused, or waits, with a
//! reason: otherwise the kernel would end something that runs. What one has been promised and not
//! taken yet is nobody else's.

use crate::config::ServerSettings;
use crate::error::{Error, Result};
use crate::meminfo;
use crate::model::Size;
use tokio::time::Instant;

/// Bytes that dynos may still take: what the kernel could give out, without the reserve.
/// Unlimited where the kernel does not say.
pub fn free(settings: &ServerSettings) -> i64 {
    let reserve =
        i64::try_from(settings.memory_reserve).unwrap_or(i64::MAX).saturating_mul(1 << 20);
    let available = meminfo::bytes("MemAvailable");
    available.map_or(i64::MAX, |available| available.saturating_sub(reserve))
}

/// Memory that a dyno may take and has not taken yet: the kernel still counts it as free.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    pub bytes: i64,
    /// None before anybody knows, since it only starts.
    pub until: Option<Instant>,
}

/// Bytes that are promised now.
pub fn promised(promises: impl IntoIterator<Item = Promise>) -> i64 {
    let now = Instant::now();
    let open = promises.into_iter().filter(|promise| promise.until.is_none_or(|until| until > now));
    open.map(|promise| promise.bytes).fold(0, i64::saturating_add)
}

/// Why there is no room for a dyno of this size, beside what is promised to others.
pub fn shortage(settings: &ServerSettings, size: &Size, promised: i64) -> Option<String> {
    let free = free(settings).saturating_sub(promised);
    (free < size.memory_bytes).then(|| {
        format!(
            "it needs {}M of memory, and the host has {}M for dynos beside its reserve of {}M{}",
            size.memory_bytes >> 20,
            free.max(0) >> 20,
            settings.memory_reserve,
            for_others(promised)
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

/// Refuses what would need more memory than there is beside what is promised to others.
pub fn check(settings: &ServerSettings, what: &str, bytes: i64, promised: i64) -> Result<()> {
    let free = free(settings).saturating_sub(promised).max(0);
    if bytes <= 0 || bytes <= free {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "The host has no memory for this: {what} needs {}M, and {}M are left for dynos beside the \
         host's reserve of {}M{}. Nothing has changed. Scale something down, take a smaller size, \
         or add memory",
        bytes >> 20,
        free >> 20,
        settings.memory_reserve,
        for_others(promised)
    )))
}

/// The figures of other tools do not show it.
fn for_others(promised: i64) -> String {
    match promised >> 20 {
        0 => String::new(),
        megabytes => format!(" and {megabytes}M for what has just started"),
    }
}
