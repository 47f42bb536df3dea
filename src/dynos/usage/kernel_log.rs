//! What the kernel's log says of a container of which it killed a process for memory: whether that
//! was for the container's own limit, or because the whole machine had none left. The control
//! group that counts both is gone with the container.

use crate::{limits, tasks};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

/// What is said of a crash that was the host's want of memory.
pub const HOST_SHORT: &str = "was killed because the host ran out of memory (S19)";

/// S19.
pub const HOST_SHORT_LINE: &str = "Error S19 (Host memory) -> The host ran out of memory, and its kernel killed a process of this \
     dyno, which was within its own limit: whoever runs the host adds memory, runs fewer dynos, or \
     keeps more of it free (memory_reserve)";

/// Whether the kernel killed a process of this container though it was within its own limit. What
/// the log no longer has, or does not tell, is no.
pub async fn host_was_short(container: &str) -> bool {
    // Docker's ids; nothing else is part of a path by chance.
    if container.len() != 64 {
        return false;
    }
    let container = container.to_string();
    let looked = tasks::blocking("look at the kernel's log", move || {
        let mut short = false;
        let read = records(|record| short = for_host(record, &container).unwrap_or(short));
        if let Err(error) = read {
            tracing::debug!(%error, "the kernel's log can't be read");
        }
        Ok(short)
    });
    looked.await.unwrap_or(false)
}

/// Every record that the kernel still has, oldest first.
fn records(mut each: impl FnMut(&str)) -> std::io::Result<()> {
    let mut options = File::options();
    options.read(true).custom_flags(nix::libc::O_NONBLOCK);
    let mut log = options.open("/dev/kmsg")?;
    let mut record = vec![0; limits::KERNEL_RECORD_BYTES];
    for _ in 0..limits::KERNEL_RECORDS {
        match log.read(&mut record) {
            Ok(length) => each(&String::from_utf8_lossy(&record[..length])),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // It was overwritten meanwhile, or is longer than any.
            Err(error)
                if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::InvalidInput) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether this record is of a kill in the container, and then whether for want of the host's
/// memory: `oom-kill:constraint=…,global_oom,task_memcg=/docker/ID,task=…`, or `oom_memcg=` with the
/// group whose limit was met.
fn for_host(record: &str, container: &str) -> Option<bool> {
    let (_, facts) = record.split_once("oom-kill:")?;
    let of = |key: &str| facts.split(',').find_map(|fact| fact.trim().strip_prefix(key));
    let killed = of("task_memcg=")?;
    let limit = of("oom_memcg=").unwrap_or_default();
    killed.contains(container).then(|| !limit.contains(container))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_want_of_memory_is_told_from_the_containers_own() {
        let id = "0123456789abcdef".repeat(4);
        let record = |oom: &str, group: &str| {
            format!(
                "6,172097,71414917486,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset={id},\
                 mems_allowed=0,{oom},task_memcg={group},task=node,pid=7,uid=1000\n"
            )
        };
        let (plain, scope) = (format!("/docker/{id}"), format!("/system.slice/docker-{id}.scope"));
        for group in [&plain, &scope] {
            assert_eq!(for_host(&record("global_oom", group), &id), Some(true));
            let own = format!("oom_memcg={group}");
            assert_eq!(for_host(&record(&own, group), &id), Some(false));
            assert_eq!(for_host(&record("oom_memcg=/system.slice", group), &id), Some(true));
        }
        assert_eq!(for_host(&record("global_oom", "/docker/other"), &id), None);
        assert_eq!(for_host("6,1,2,-;perl invoked oom-killer: global_oom", &id), None);
    }

    #[tokio::test]
    async fn a_container_that_nobody_killed_was_not() {
        assert!(!host_was_short(&"0".repeat(64)).await);
    }
}
