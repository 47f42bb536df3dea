//! Dyno sizes: Heroku's names and what they are limited to.

use crate::error::{Error, Result};

const MIB: i64 = 1024 * 1024;

/// A dyno size as Heroku's table has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Mixed case, as the API returns it.
    pub name: &'static str,
    /// What the app may use, bytes; R14 above it.
    pub memory_bytes: i64,
    /// Where it is killed, bytes; R15.
    pub memory_limit_bytes: i64,
    /// Relative CPU weight; 1024 is 1x.
    pub cpu_shares: i64,
    /// Processes and threads.
    pub pids: i64,
}

const SIZES: [Size; 8] = [
    Size {
        name: "Eco",
        memory_bytes: 512 * MIB,
        memory_limit_bytes: 1024 * MIB,
        cpu_shares: 1024,
        pids: 256,
    },
    Size {
        name: "Basic",
        memory_bytes: 512 * MIB,
        memory_limit_bytes: 1024 * MIB,
        cpu_shares: 1024,
        pids: 256,
    },
    Size {
        name: "Standard-1X",
        memory_bytes: 512 * MIB,
        memory_limit_bytes: 1024 * MIB,
        cpu_shares: 1024,
        pids: 256,
    },
    Size {
        name: "Standard-2X",
        memory_bytes: 1024 * MIB,
        memory_limit_bytes: 2048 * MIB,
        cpu_shares: 2048,
        pids: 512,
    },
    Size {
        name: "Performance-M",
        memory_bytes: 2560 * MIB,
        memory_limit_bytes: 5120 * MIB,
        cpu_shares: 12 * 1024,
        pids: 16384,
    },
    Size {
        name: "Performance-L",
        memory_bytes: 14 * 1024 * MIB,
        memory_limit_bytes: 28 * 1024 * MIB,
        cpu_shares: 50 * 1024,
        pids: 32768,
    },
    Size {
        name: "Performance-L-RAM",
        memory_bytes: 30 * 1024 * MIB,
        memory_limit_bytes: 36 * 1024 * MIB,
        cpu_shares: 24 * 1024,
        pids: 24576,
    },
    Size {
        name: "Performance-XL",
        memory_bytes: 62 * 1024 * MIB,
        memory_limit_bytes: 74 * 1024 * MIB,
        cpu_shares: 50 * 1024,
        pids: 32768,
    },
];

impl Size {
    /// What a process type gets when nobody chose.
    pub const DEFAULT: &'static str = "Standard-1X";

    /// Finds a size by its name in any case; the error names the ones there are.
    pub fn parse(name: &str) -> Result<&'static Size> {
        SIZES.iter().find(|size| size.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
            let names: Vec<_> = SIZES.iter().map(|size| size.name).collect();
            Error::invalid(format!("Size {name} is unknown; choose one of {}", names.join(", ")))
        })
    }

    /// The size stored for a formation; one that this version no longer knows falls back.
    pub fn stored(name: &str) -> &'static Size {
        SIZES.iter().find(|size| size.name == name).unwrap_or(&SIZES[2])
    }
}
