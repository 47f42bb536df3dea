//! What the container of a build is told: config vars as files, and its order, a list of words,
//! through a FIFO that it can wait at before there is one. They lie on a tmpfs, and go with the
//! container.

use super::volume::USER;
use crate::engine::Mount;
use crate::error::{Context, Result};
use crate::tasks;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

const CONFIG: &str = "config";
const ORDER: &str = "order";
const FIFO: &str = "words";

pub(super) struct Orders {
    dir: PathBuf,
    /// Open for reading too: what is written before the container reads must not be lost.
    fifo: File,
    given: AtomicBool,
}

impl Orders {
    /// Those of one container, below `home`.
    pub fn create(home: &Path, name: &str) -> Result<Self> {
        let dir = home.join(name);
        let make = || -> std::io::Result<File> {
            private(home)?;
            DirBuilder::new().mode(0o700).create(&dir)?;
            DirBuilder::new().mode(0o700).create(dir.join(CONFIG))?;
            chown(dir.join(CONFIG), Some(USER), Some(USER))?;
            DirBuilder::new().create(dir.join(ORDER))?;
            fs::set_permissions(dir.join(ORDER), Permissions::from_mode(0o755))?;
            let fifo = dir.join(ORDER).join(FIFO);
            mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
            chown(&fifo, Some(USER), Some(USER))?;
            let nonblocking = nix::libc::O_NONBLOCK;
            File::options().read(true).write(true).custom_flags(nonblocking).open(&fifo)
        };
        let fifo = make().context("make a directory for a build's orders");
        match fifo {
            Ok(fifo) => Ok(Self { dir, fifo, given: AtomicBool::new(false) }),
            Err(error) => {
                let _ = fs::remove_dir_all(&dir);
                Err(error)
            }
        }
    }

    /// `/env` and `/order`.
    pub fn mounts(&self) -> [Mount; 2] {
        [(CONFIG, "/env"), (ORDER, "/order")].map(|(name, target)| Mount {
            source: self.dir.join(name),
            target: target.to_string(),
            read_only: true,
        })
    }

    /// One file for each config var.
    pub fn set_config<'a>(&self, config: impl Iterator<Item = (&'a str, &'a str)>) -> Result<()> {
        let dir = self.dir.join(CONFIG);
        let write = |key: &str, value: &str| -> std::io::Result<()> {
            let mut options = File::options();
            let mut file = options.write(true).create_new(true).mode(0o400).open(dir.join(key))?;
            file.write_all(value.as_bytes())?;
            fchown(&file, Some(USER), Some(USER))
        };
        for (key, value) in config {
            write(key, value).context("write the config vars for the build")?;
        }
        Ok(())
    }

    /// At most 64 KB, which a FIFO takes at once. `false` if it has been given or dismissed before.
    pub fn give(&self, words: &[String]) -> Result<bool> {
        if self.given.swap(true, Ordering::Relaxed) {
            return Ok(false);
        }
        let mut order = format!("{}\0", words.len());
        for word in words {
            // It would end the word; no environment and no argument can have one either.
            order.extend(word.chars().filter(|c| *c != '\0').chain(['\0']));
        }
        (&self.fifo).write_all(order.as_bytes()).context("tell a container what to build")?;
        Ok(true)
    }

    /// Nothing is to be done: a container that waits goes. One that has its order does not hear it.
    pub fn dismiss(&self) {
        if let Err(error) = self.give(&[]) {
            tracing::warn!(error = error.chain(), "a container that stands by is not told to go");
        }
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(%error, "the config vars of a build are still in the run directory");
        }
    }
}

fn private(home: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(home)
}

/// Makes sure that config vars of builds never reach a disk: what is not on a tmpfs gets one.
pub(super) async fn prepare_home(home: PathBuf) -> Result<()> {
    tasks::blocking("prepare the directory of config vars", move || {
        private(&home).context("make it")?;
        // Left by builds that a kill of the server cut short.
        for entry in fs::read_dir(&home).context("list it")?.flatten() {
            fs::remove_dir_all(entry.path()).context("remove old config vars")?;
        }
        let kind = nix::sys::statfs::statfs(&home).context("look at it")?.filesystem_type();
        if kind == nix::sys::statfs::TMPFS_MAGIC {
            return Ok(());
        }
        let flags = nix::mount::MsFlags::MS_NOSUID | nix::mount::MsFlags::MS_NODEV;
        nix::mount::mount(Some("tmpfs"), &home, Some("tmpfs"), flags, Some("size=64m,mode=0700"))
            .context("mount a tmpfs for config vars")
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn an_order_waits_for_its_reader_and_goes_with_its_files() {
        let home = tempfile::tempdir().unwrap();
        let orders = Orders::create(home.path(), "one").unwrap();
        orders.set_config([("KEY", "value")].into_iter()).unwrap();
        assert!(orders.give(&["stack".to_string(), String::new(), "a\0b c".to_string()]).unwrap());
        orders.dismiss();
        assert!(!orders.give(&[]).unwrap());
        let mut fifo = File::open(orders.dir.join("order/words")).unwrap();
        let mut read = [0; 64];
        let length = fifo.read(&mut read).unwrap();
        assert_eq!(&read[..length], b"3\0stack\0\0ab c\0", "and no dismissal of one that works");
        assert_eq!(fs::read(orders.dir.join("config/KEY")).unwrap(), b"value");
        drop(orders);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_second_one_of_a_name_is_refused_and_an_order_has_a_limit() {
        let home = tempfile::tempdir().unwrap();
        let orders = Orders::create(home.path(), "one").unwrap();
        assert!(orders.give(&["x".repeat(100_000)]).is_err());
    }
}
