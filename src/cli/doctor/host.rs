//! The machine itself: disk, memory, clock and names.

use super::{Finding, output_of};
use crate::cli::format::size;
use crate::config::ServerSettings;
use crate::limits;
use crate::meminfo;
use std::path::Path;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// The nearest folder that exists: where `path` is, or will be made.
pub(super) fn existing(path: &Path) -> &Path {
    path.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"))
}

pub(super) fn disk(data_dir: &Path) -> Finding {
    let what = "disk";
    let place = data_dir.display();
    let stat = match nix::sys::statvfs::statvfs(existing(data_dir)) {
        Ok(stat) => stat,
        Err(error) => {
            let mend = format!("mkdir -p {place}, or choose another with --data-dir");
            return Finding::fail(what, format!("{place}: {error}"), &mend);
        }
    };
    let free = stat.blocks_available() as u64 * stat.fragment_size() as u64;
    let (all, left) = (stat.files() as u64, stat.files_available() as u64);
    judged_disk(&place.to_string(), free, all, left)
}

fn judged_disk(place: &str, free: u64, all_inodes: u64, free_inodes: u64) -> Finding {
    let message = format!(
        "{place}: {} free, {free_inodes} inodes free",
        size(i64::try_from(free).unwrap_or(i64::MAX))
    );
    let mend = format!(
        "see what takes it: du -xh -d2 {place} | sort -h | tail; caches of builds go with senryu \
         builds:cache:purge -a APP, or move all of it with --data-dir"
    );
    // Some file systems have no fixed number of inodes, and say zero.
    let few = |share: u64| all_inodes > 0 && free_inodes < all_inodes / share;
    if free < limits::DOCTOR_DISK_FAIL || few(100) {
        Finding::fail("disk", message, &mend)
    } else if free < limits::DOCTOR_DISK_WARN || few(20) {
        Finding::warn("disk", message, &mend)
    } else {
        Finding::ok("disk", message)
    }
}

/// Of the memory that could be had now.
pub(super) fn memory() -> Finding {
    match (meminfo::bytes("MemTotal"), meminfo::bytes("MemAvailable")) {
        (Some(total), Some(free)) => judged_memory(total, free),
        _ => Finding::warn("memory", "/proc/meminfo can't be read", "mount -t proc proc /proc"),
    }
}

fn judged_memory(total: i64, free: i64) -> Finding {
    let message = format!("{} of {} can be had", size(free), size(total));
    let mend = "see what takes it with senryu ps and top; scale down, or add memory";
    if free < limits::DOCTOR_MEMORY_FAIL {
        Finding::fail("memory", message, mend)
    } else if free < limits::DOCTOR_MEMORY_WARN {
        Finding::warn("memory", message, mend)
    } else {
        Finding::ok("memory", message)
    }
}

/// The kernel's table of connections, which requests to dynos need as well.
pub(super) fn connections() -> Finding {
    let figure = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/netfilter/nf_conntrack_{name}"));
        text.ok()?.trim().parse::<u64>().ok()
    };
    judged_connections(figure("count").unwrap_or(0), figure("max").unwrap_or(0))
}

/// Where there is no table, nobody can fill it.
fn judged_connections(count: u64, max: u64) -> Finding {
    let what = "connections";
    let message = format!("the kernel keeps track of {count}, of at most {max}");
    match max > 0 && count > max / 5 * 4 {
        true => {
            let mend = format!("sysctl -w net.netfilter.nf_conntrack_max={}", max * 2);
            Finding::warn(what, message, &mend)
        }
        false => Finding::ok(what, message),
    }
}

/// Whether somebody sets the clock, and whether it has gone back since the server last wrote.
pub(super) async fn clock(database: &Path) -> Finding {
    let what = "clock";
    let written = std::fs::metadata(database).and_then(|meta| meta.modified()).ok();
    let ahead = written.and_then(|at| at.duration_since(SystemTime::now()).ok());
    if let Some(ahead) = ahead.filter(|ahead| *ahead > limits::DOCTOR_CLOCK_BACK) {
        let message = format!("it is {} behind the last write of the server", whole(ahead));
        return Finding::fail(
            what,
            message,
            "set it: chronyc makestep, or timedatectl set-ntp true",
        );
    }
    if Path::new("/run/systemd/timesync/synchronized").exists() {
        return Finding::ok(what, "set over the network by systemd-timesyncd");
    }
    let tells = |text: &str| text.contains("Leap status") && text.contains("Normal");
    if output_of("chronyc", &["tracking"]).await.is_some_and(|text| tells(&text)) {
        return Finding::ok(what, "set over the network by chrony");
    }
    let shown = output_of("timedatectl", &["show", "-p", "NTPSynchronized", "--value"]).await;
    if shown.is_some_and(|text| text.trim() == "yes") {
        return Finding::ok(what, "set over the network");
    }
    let message = "nothing says that it is set over the network: certificates and logs need it";
    Finding::warn(
        what,
        message,
        "apt-get install chrony (not where the machine's host sets its clock)",
    )
}

fn whole(time: Duration) -> String {
    format!("{}s", time.as_secs())
}

/// Whether names of apps lead anywhere.
pub(super) async fn names(settings: &ServerSettings) -> Finding {
    let what = "names";
    let Some(domain) = &settings.domain else {
        return match resolved("localhost").await {
            Some(_) => Finding::ok(
                what,
                "localhost resolves; APP.localhost does in browsers and curl. Others need --domain",
            ),
            None => Finding::fail(
                what,
                "localhost does not resolve",
                "echo '127.0.0.1 localhost' >>/etc/hosts",
            ),
        };
    };
    // A name that nobody has entered by itself: only a wildcard answers.
    let any = format!("senryu-doctor-{:08x}.{domain}", rand::random::<u32>());
    match (resolved(&format!("api.{domain}")).await, resolved(&any).await) {
        (Some(_), Some(address)) => {
            let message = format!("api.{domain} resolves, and so does *.{domain}: {address}");
            let own = output_of("ip", &["-o", "addr", "show"]).await.unwrap_or_default();
            match own.is_empty() || is_own(&own, address) {
                true => Finding::ok(what, message),
                false => Finding::warn(
                    what,
                    format!("{message}, which is no address of this machine"),
                    "right if something in front passes requests on; else change the DNS record",
                ),
            }
        }
        (api, _) => Finding::fail(
            what,
            match api {
                Some(_) => format!("*.{domain} does not resolve: no app has an address"),
                None => format!("api.{domain} does not resolve"),
            },
            &format!("add a DNS record *.{domain} with this machine's address (A, and AAAA)"),
        ),
    }
}

/// Is it among those that `ip addr` lists?
fn is_own(listed: &str, address: std::net::IpAddr) -> bool {
    let mut found = listed.split_whitespace().filter_map(|word| word.split('/').next());
    found.any(|word| word.parse() == Ok(address))
}

pub(super) async fn resolved(name: &str) -> Option<std::net::IpAddr> {
    let found = timeout(limits::DOCTOR_TIMEOUT, tokio::net::lookup_host((name, 80))).await;
    found.ok()?.ok()?.next().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;

    #[test]
    fn little_space_or_few_inodes_are_found() {
        let gib = 1024 * 1024 * 1024;
        let level = |free, all, left| judged_disk("/x", free, all, left).level;
        assert_eq!(level(100 * gib, 1000, 900), Level::Ok);
        assert_eq!(level(100 * gib, 0, 0), Level::Ok);
        assert_eq!(level(5 * gib, 1000, 900), Level::Warn);
        assert_eq!(level(100 * gib, 1000, 49), Level::Warn);
        assert_eq!(level(gib / 2, 1000, 900), Level::Fail);
        assert_eq!(level(100 * gib, 1000, 9), Level::Fail);
    }

    #[test]
    fn little_memory_is_found() {
        let mib = 1024 * 1024;
        let level = |free| judged_memory(4096 * mib, free * mib).level;
        assert_eq!(level(2048), Level::Ok);
        assert_eq!(level(700), Level::Warn);
        assert_eq!(level(100), Level::Fail);
    }

    #[test]
    fn a_table_of_connections_that_is_nearly_full_is_found() {
        assert_eq!(judged_connections(100, 65_536).level, Level::Ok);
        assert_eq!(judged_connections(0, 0).level, Level::Ok);
        let full = judged_connections(60_000, 65_536);
        assert_eq!(full.level, Level::Warn);
        assert_eq!(full.mend.unwrap(), "sysctl -w net.netfilter.nf_conntrack_max=131072");
    }

    #[test]
    fn a_full_disk_is_mended_where_it_is() {
        let mend = judged_disk("/srv/data", 1, 0, 0).mend.unwrap();
        assert!(mend.contains("du -xh -d2 /srv/data |"), "{mend}");
    }

    #[test]
    fn addresses_of_this_machine_are_known() {
        let listed = "1: lo    inet 127.0.0.1/8 scope host lo\n\
                      2: eth0    inet 198.51.100.7/24 brd 198.51.100.255 scope global eth0";
        assert!(is_own(listed, "198.51.100.7".parse().unwrap()));
        assert!(!is_own(listed, "198.51.100.70".parse().unwrap()));
    }

    #[tokio::test]
    async fn a_clock_that_went_back_is_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let future = SystemTime::now() + Duration::from_secs(7200);
        file.as_file().set_modified(future).unwrap();
        let finding = clock(file.path()).await;
        assert_eq!(finding.level, Level::Fail, "{finding:?}");
    }
}
