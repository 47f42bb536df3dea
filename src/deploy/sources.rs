//! Sources that were uploaded to be built: an address is given out, a tar is put there once, and
//! one build takes it. The address is secret; only its hash is kept, as the name of a file.

use crate::config::ServerSettings;
use crate::error::{Context, Error, Kind, Result};
use crate::model::UserId;
use crate::{limits, secrets};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Nothing has been put there yet.
const OPEN: &str = "open";
/// What somebody is putting there now.
const PART: &str = "part";
/// What was put there.
const WHOLE: &str = "tar";
/// What a build has taken.
const TAKEN: &str = "build";

#[derive(Clone)]
pub struct Sources(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    bytes_max: u64,
    disk_reserve: u64,
    /// Who asked for which address, by their names; held while addresses are counted and made, and
    /// while files are swept.
    owners: Mutex<BTreeMap<String, UserId>>,
}

/// A source on its way in. Dropped before its end, the address is open again.
pub struct Upload {
    sources: Sources,
    name: String,
    file: File,
    bytes: u64,
    whole: bool,
}

/// A source that a build has: its file lies there until the build has ended.
pub struct Taken(PathBuf);

impl Sources {
    pub fn open(settings: &ServerSettings) -> Result<Self> {
        let dir = settings.data_dir.join("sources");
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.context(format!("{} cannot be made", dir.display()))?;
        // What a server that died had begun.
        for (path, _, state) in files(&dir)? {
            if state == PART {
                fs::remove_file(path).context("remove a source that was cut short")?;
            }
        }
        Ok(Self(Arc::new(Inner {
            dir,
            bytes_max: settings.source_megabytes << 20,
            disk_reserve: settings.disk_reserve << 20,
            owners: Mutex::default(),
        })))
    }

    /// A new address's secret. Of a user who has many, the oldest that nothing was put to goes.
    pub fn create(&self, user: UserId) -> Result<String> {
        let mut owners = self.0.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let mut files = files(&self.0.dir)?;
        owners.retain(|name, _| files.iter().any(|(path, ..)| is_of(path, name)));
        let is_own =
            |path: &Path| owners.iter().any(|(name, owner)| *owner == user && is_of(path, name));
        let mut own: Vec<_> = files.iter().filter(|(path, ..)| is_own(path)).cloned().collect();
        if own.len() >= limits::SOURCE_UPLOADS_PER_USER {
            own.retain(|(.., state)| state == OPEN);
            let oldest = own.into_iter().min_by_key(|(_, modified, _)| *modified);
            let (path, ..) = oldest.ok_or_else(too_many)?;
            fs::remove_file(&path).context("remove an address that was not used")?;
            files.retain(|(other, ..)| *other != path);
        }
        if files.len() >= limits::SOURCE_UPLOADS {
            return Err(too_many());
        }
        let secret = secrets::random_hex::<32>();
        let name = name(&secret);
        new_file(&self.path(&name, OPEN)).context("make a source's address")?;
        owners.insert(name, user);
        Ok(secret)
    }

    /// Begins an upload; each address takes one.
    pub fn upload(&self, secret: &str) -> Result<Upload> {
        let name = name(secret);
        if fs::rename(self.path(&name, OPEN), self.path(&name, PART)).is_err() {
            return Err(match self.path(&name, WHOLE).exists() {
                true => Error::conflict("A source has been uploaded there already"),
                false => Error::not_found("source"),
            });
        }
        let options = File::options().write(true).open(self.path(&name, PART));
        let file = options.context("open a source's file")?;
        Ok(Upload { sources: self.clone(), name, file, bytes: 0, whole: false })
    }

    /// The file that was put at an address.
    pub fn find(&self, secret: &str) -> Option<PathBuf> {
        let path = self.path(&name(secret), WHOLE);
        path.exists().then_some(path)
    }

    /// What was put at an address, for a build: the address ends.
    pub fn take(&self, secret: &str) -> Result<Taken> {
        let name = name(secret);
        let taken = self.path(&name, TAKEN);
        match fs::rename(self.path(&name, WHOLE), &taken) {
            Ok(()) => Ok(Taken(taken)),
            Err(_) => Err(Error::invalid(
                "source_blob.url has no source: nothing was uploaded there, or it has been built \
                 already, or an hour is over. Ask for new addresses with POST /sources",
            )),
        }
    }

    /// What a build took that an earlier server had begun.
    pub fn taken(&self, name: &str) -> Option<Taken> {
        let path = self.path(name, TAKEN);
        path.exists().then_some(Taken(path))
    }

    /// At start: of what builds took, only what these need stays.
    pub fn forget_taken_but(&self, names: &BTreeSet<String>) -> Result<()> {
        for (path, _, state) in files(&self.0.dir)? {
            if state == TAKEN && !names.iter().any(|name| is_of(&path, name)) {
                fs::remove_file(path).context("remove a source that was built")?;
            }
        }
        Ok(())
    }

    /// The secret in an address that may be one of ours.
    pub fn secret_of(path: &str) -> Option<&str> {
        let secret = path.strip_prefix("/sources/")?;
        let hex = secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then_some(secret)
    }

    /// Removes addresses and uploads that are too old. Blocking.
    pub fn sweep(&self) -> Result<usize> {
        let _turn = self.0.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let mut removed = 0;
        for (path, modified, state) in files(&self.0.dir)? {
            let age = SystemTime::now().duration_since(modified).unwrap_or_default();
            if (state == OPEN || state == WHOLE) && age > limits::SOURCE_VALID {
                fs::remove_file(path).context("remove an old source")?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn path(&self, name: &str, state: &str) -> PathBuf {
        self.0.dir.join(format!("{name}.{state}"))
    }

    fn check_room(&self) -> Result<()> {
        let disk = nix::sys::statvfs::statvfs(&self.0.dir).context("look at the sources' disk")?;
        match disk.blocks_available() * disk.fragment_size() < self.0.disk_reserve {
            true => Err(Error::unavailable(
                "The server's disk is almost full, so it takes no sources now",
            )),
            false => Ok(()),
        }
    }
}

impl Upload {
    /// Blocking.
    pub fn write(&mut self, piece: &[u8]) -> Result<()> {
        let before = self.bytes / limits::SOURCE_DISK_CHECK_BYTES;
        self.bytes += piece.len() as u64;
        if self.bytes > self.sources.0.bytes_max {
            let megabytes = self.sources.0.bytes_max >> 20;
            let message = format!("The source is larger than {megabytes} MB");
            return Err(Error::new(Kind::TooLarge, message));
        }
        if self.bytes == piece.len() as u64 || self.bytes / limits::SOURCE_DISK_CHECK_BYTES > before
        {
            self.sources.check_room()?;
        }
        self.file.write_all(piece).context("write a source")
    }

    /// Everything has come.
    pub fn finish(mut self) -> Result<()> {
        if self.bytes == 0 {
            return Err(Error::bad_request("The request has no body: put the .tar.gz there"));
        }
        let (from, to) = (self.path(PART), self.path(WHOLE));
        fs::rename(from, to).context("keep a source")?;
        self.whole = true;
        Ok(())
    }

    fn path(&self, state: &str) -> PathBuf {
        self.sources.path(&self.name, state)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.whole {
            return;
        }
        let emptied = self.file.set_len(0);
        if let Err(error) = emptied.and_then(|()| fs::rename(self.path(PART), self.path(OPEN))) {
            tracing::warn!(%error, "a source's address could not be opened again");
        }
    }
}

impl Taken {
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// By which a later server finds it.
    pub fn name(&self) -> String {
        self.0.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
    }

    pub fn remove(self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(%error, "a source that was built could not be removed");
        }
    }
}

fn too_many() -> Error {
    Error::new(
        Kind::RateLimit,
        "Too many sources are waiting to be uploaded or built: try again in a while",
    )
}

fn is_of(path: &Path, name: &str) -> bool {
    path.file_stem().is_some_and(|stem| stem == name)
}

fn name(secret: &str) -> String {
    Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn new_file(path: &Path) -> std::io::Result<()> {
    File::options().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

/// All files, when each was last written to, and in which state it is.
fn files(dir: &Path) -> Result<Vec<(PathBuf, SystemTime, String)>> {
    let entries = fs::read_dir(dir).context("list the sources")?;
    let found = entries.flatten().filter_map(|entry| {
        let modified = entry.metadata().ok()?.modified().ok()?;
        let state = entry.path().extension()?.to_str()?.to_string();
        Some((entry.path(), modified, state))
    });
    Ok(found.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        settings: ServerSettings,
    }

    fn sources(dir: &Path) -> Sources {
        let (data, more) =
            (dir.display().to_string(), ["--source-megabytes=1", "--disk-reserve=0"]);
        let flags = Flags::parse_from([&["senryu", "--data-dir", &data][..], &more].concat());
        Sources::open(&flags.settings).unwrap()
    }

    #[test]
    fn an_address_takes_one_upload_and_gives_it_to_one_build() {
        let dir = tempfile::tempdir().unwrap();
        let sources = sources(dir.path());
        let secret = sources.create(UserId::random()).unwrap();
        assert!(sources.find(&secret).is_none() && sources.take(&secret).is_err());
        let mut upload = sources.upload(&secret).unwrap();
        assert!(sources.upload(&secret).is_err(), "one at a time");
        upload.write(b"half").unwrap();
        drop(upload);
        let mut upload = sources.upload(&secret).unwrap();
        upload.write(b"whole").unwrap();
        upload.finish().unwrap();
        assert_eq!(fs::read(sources.find(&secret).unwrap()).unwrap(), b"whole");
        assert_eq!(sources.upload(&secret).err().unwrap().kind(), Kind::Conflict);
        let taken = sources.take(&secret).unwrap();
        assert!(sources.take(&secret).is_err() && sources.find(&secret).is_none());
        assert_eq!(sources.upload(&secret).err().unwrap().kind(), Kind::NotFound);
        taken.remove();
        assert!(files(&dir.path().join("sources")).unwrap().is_empty());
    }

    #[test]
    fn uploads_are_bounded_in_size_and_number() {
        let dir = tempfile::tempdir().unwrap();
        let sources = sources(dir.path());
        let secret = sources.create(UserId::random()).unwrap();
        let mut upload = sources.upload(&secret).unwrap();
        assert!(
            Upload::finish(sources.upload(&sources.create(UserId::random()).unwrap()).unwrap())
                .is_err()
        );
        upload.write(&vec![0; 1 << 20]).unwrap();
        assert_eq!(upload.write(b"x").unwrap_err().kind(), Kind::TooLarge);
        drop(upload);
        let full = (0..limits::SOURCE_UPLOADS)
            .find_map(|_| sources.create(UserId::random()).err())
            .unwrap();
        assert_eq!(full.kind(), Kind::RateLimit);
    }

    #[test]
    fn of_what_a_server_that_died_had_begun_only_what_builds_need_stays() {
        let dir = tempfile::tempdir().unwrap();
        let first = sources(dir.path());
        let [begun, taken, needed, whole] =
            [(); 4].map(|()| first.create(UserId::random()).unwrap());
        let upload = first.upload(&begun).unwrap();
        for secret in [&taken, &needed, &whole] {
            let mut upload = first.upload(secret).unwrap();
            upload.write(b"x").unwrap();
            upload.finish().unwrap();
        }
        let gone = first.take(&taken).unwrap().name();
        let needed = first.take(&needed).unwrap().name();
        let second = sources(dir.path());
        second.forget_taken_but(&[needed.clone()].into()).unwrap();
        assert!(second.find(&whole).is_some() && second.taken(&gone).is_none());
        assert_eq!(fs::read(second.taken(&needed).unwrap().path()).unwrap(), b"x");
        assert_eq!(files(&dir.path().join("sources")).unwrap().len(), 2);
        assert_eq!(second.sweep().unwrap(), 0);
        drop(upload);
    }

    #[test]
    fn only_addresses_of_our_kind_hold_a_secret() {
        let secret = "0a".repeat(32);
        assert_eq!(Sources::secret_of(&format!("/sources/{secret}")), Some(secret.as_str()));
        for path in ["/sources/", "/sources/../../etc/passwd", &format!("/x/sources/{secret}")] {
            assert_eq!(Sources::secret_of(path), None, "{path}");
        }
    }
}
