//! The kernel's own account of the machine's memory, `/proc/meminfo`.

/// One figure of it in bytes, such as `MemAvailable`; `None` where the kernel does not tell.
pub fn bytes(name: &str) -> Option<i64> {
    figure(&std::fs::read_to_string("/proc/meminfo").ok()?, name)
}

/// `MemAvailable:   22000000 kB`, in bytes.
fn figure(text: &str, name: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kilobytes: i64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kilobytes.saturating_mul(1 << 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_read_by_its_whole_name() {
        let text = "MemTotal:       24680000 kB\nMemAvailable:   22000000 kB\n";
        assert_eq!(figure(text, "MemTotal"), Some(24_680_000 << 10));
        assert_eq!(figure(text, "Mem"), None);
        assert_eq!(figure(text, "SwapTotal"), None);
        assert!(bytes("MemTotal") > bytes("MemAvailable"));
    }
}
