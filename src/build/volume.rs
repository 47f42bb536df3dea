//! Each app's build volume: a sparse file of fixed size with ext4 in it, mounted through a loop
//! device, so that no build can fill the host's disk. In `work` it holds what a build sees, beside
//! it, out of every build's sight, our own notes.
//!
//! What it holds can be made again, so one that was not unmounted cleanly (a power cut) is thrown
//! away, and may be mounted without barriers: half-written dependencies would be worse than none.
//! It has a journal all the same: without one ext4 does not reuse the inodes of files removed a
//! minute ago, and looks at each of them for every new file (8,000 files: 32 s instead of 1.3 s).
//! It is mounted without `discard`, which makes removing ten times slower; a volume that has freed
//! much is trimmed in the background instead.

use crate::error::{Context, Error, Result};
use crate::model::AppId;
use crate::{limits, tasks};
use nix::mount::{MntFlags, umount2};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedMutexGuard;

/// User and group inside build containers and dynos.
pub const USER: u32 = 1000;
/// What builds see. It belongs to root, so that no build can put a link in the place of one of
/// the directories in it, and it is one mount, so that builds can rename and link between them.
pub const WORK: &str = "work";
/// Emptied for every build.
const PER_BUILD: [&str; 4] = ["build", "app", "tmp", "result"];
/// Kept from build to build: the buildpacks' own cache, and what was fetched of buildpacks and
/// submodules.
pub const KEPT: [&str; 3] = ["cache", "buildpacks", "submodules"];
const TRASH: &str = "trash";
/// A note that what is kept takes too much of the volume.
const OUTGROWN: &str = "outgrown";

/// All apps' volumes.
pub struct Volumes {
    /// Bytes of one that is made from now on.
    bytes: u64,
    images: PathBuf,
    mounts: PathBuf,
    slots: Mutex<HashMap<AppId, Slot>>,
}

struct Slot {
    state: Arc<tokio::sync::Mutex<State>>,
    used: u64,
}

#[derive(Debug, Default)]
struct State {
    mounted: bool,
    /// The per-build directories are empty.
    fresh: bool,
}

/// One app's volume, mounted and empty but for its cache. Nobody else has it meanwhile.
pub struct Volume {
    pub app: AppId,
    root: PathBuf,
    image: PathBuf,
    state: OwnedMutexGuard<State>,
}

/// A mounted volume that no build has.
pub struct Idle {
    pub root: PathBuf,
    _state: OwnedMutexGuard<State>,
}

impl Volumes {
    pub fn new(data_dir: &Path, bytes: i64) -> Self {
        Self {
            bytes: bytes.unsigned_abs(),
            images: data_dir.join("volumes"),
            mounts: data_dir.join("mounts"),
            slots: Mutex::new(HashMap::new()),
        }
    }

    /// Takes over what the last server left mounted, and drops volumes of apps that are gone.
    pub async fn recover(&self, apps: &[AppId]) -> Result<()> {
        let (images, mounts) = (self.images.clone(), self.mounts.clone());
        let apps = apps.to_vec();
        let mounted = tasks::blocking("recover build volumes", move || {
            for dir in [&images, &mounts] {
                private_dir(dir)?;
            }
            let mut mounted = mounted_apps(&mounts)?;
            for app in file_apps(&images)? {
                if !apps.contains(&app) {
                    unmount(&mounts.join(app.to_string()))?;
                    remove_file(&image_path(&images, app))?;
                    mounted.retain(|other| *other != app);
                }
            }
            Ok(mounted)
        })
        .await?;
        for app in mounted {
            let state = self.slot(app);
            state.lock().await.mounted = true;
        }
        Ok(())
    }

    /// Waits until the app's volume is free, and mounts and empties it if need be.
    pub async fn acquire(&self, app: AppId) -> Result<Volume> {
        let mut state = self.slot(app).lock_owned().await;
        self.evict().await;
        let root = self.mounts.join(app.to_string());
        let image = image_path(&self.images, app);
        let State { mounted, fresh } = *state;
        let (at, file, bytes) = (root.clone(), image.clone(), self.bytes);
        tasks::blocking("mount a build volume", move || {
            if !mounted {
                mount(&file, &at, bytes)?;
            }
            if !(mounted && fresh) {
                freshen(&at)?;
            }
            Ok(())
        })
        .await?;
        *state = State { mounted: true, fresh: true };
        Ok(Volume { app, root, image, state })
    }

    /// Whether there is one, mounted or not.
    pub fn has(&self, app: AppId) -> bool {
        image_path(&self.images, app).exists()
    }

    /// The app is gone, and so is all that its builds left.
    pub async fn forget(&self, app: AppId) -> Result<()> {
        let mut state = self.slot(app).lock_owned().await;
        let (root, image) = (self.mounts.join(app.to_string()), image_path(&self.images, app));
        tasks::blocking("remove a build volume", move || {
            unmount(&root)?;
            remove_file(&image)
        })
        .await?;
        *state = State::default();
        // Whoever waits for it holds it too, and must find it in its place.
        let mut slots = self.lock();
        if slots.get(&app).is_some_and(|slot| Arc::strong_count(&slot.state) <= 2) {
            slots.remove(&app);
        }
        Ok(())
    }

    /// At a stop: unmounts what no build uses, so that nothing of ours holds the data directory.
    pub async fn close(&self) {
        let idle: Vec<_> = self
            .lock()
            .iter()
            .filter_map(|(app, slot)| Some((*app, Arc::clone(&slot.state).try_lock_owned().ok()?)))
            .collect();
        for (app, mut state) in idle {
            let root = self.mounts.join(app.to_string());
            match tasks::blocking("unmount a build volume", move || unmount(&root)).await {
                Ok(()) => *state = State::default(),
                Err(error) => tracing::warn!(%app, error = error.chain(), "still mounted"),
            }
        }
    }

    /// What is mounted and not in use, and stays so while it is held.
    pub fn idle(&self) -> Vec<Idle> {
        let free = |(app, slot): (&AppId, &Slot)| {
            let state = Arc::clone(&slot.state).try_lock_owned().ok()?;
            let root = self.mounts.join(app.to_string());
            state.mounted.then_some(Idle { root, _state: state })
        };
        self.lock().iter().filter_map(free).collect()
    }

    /// Unmounts the volume that has been idle longest when too many are mounted.
    async fn evict(&self) {
        let idle = {
            let slots = self.lock();
            let (mut mounted, mut free) = (0, Vec::new());
            for (app, slot) in slots.iter() {
                // One that is held is mounted, or is about to be.
                let Ok(state) = Arc::clone(&slot.state).try_lock_owned() else {
                    mounted += 1;
                    continue;
                };
                if state.mounted {
                    mounted += 1;
                    free.push((slot.used, *app, state));
                }
            }
            if mounted <= limits::BUILD_VOLUMES_MOUNTED {
                return;
            }
            free.into_iter().min_by_key(|(used, ..)| *used)
        };
        let Some((_, app, mut state)) = idle else { return };
        let root = self.mounts.join(app.to_string());
        match tasks::blocking("unmount a build volume", move || unmount(&root)).await {
            Ok(()) => *state = State::default(),
            Err(error) => tracing::warn!(%app, error = error.chain(), "still mounted"),
        }
    }

    fn slot(&self, app: AppId) -> Arc<tokio::sync::Mutex<State>> {
        let mut slots = self.lock();
        let newest = slots.values().map(|slot| slot.used).max().unwrap_or(0);
        let slot = slots.entry(app).or_insert_with(|| Slot { state: Arc::default(), used: 0 });
        slot.used = newest + 1;
        Arc::clone(&slot.state)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<AppId, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Volume {
    /// A plain directory in the place of a volume.
    #[cfg(test)]
    pub fn unmounted(root: PathBuf) -> Self {
        freshen(&root).unwrap();
        let state = Arc::new(tokio::sync::Mutex::new(State::default()));
        let state = state.try_lock_owned().unwrap();
        Self { app: AppId::random(), image: root.join("image"), root, state }
    }

    /// A note of ours.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// One of the directories that builds see.
    pub fn work(&self, name: &str) -> PathBuf {
        self.root.join(WORK).join(name)
    }

    pub fn build(&self) -> PathBuf {
        self.work("build")
    }

    pub fn cache(&self) -> PathBuf {
        self.work("cache")
    }

    /// From here on the directories are in use, and must be emptied before the next build.
    pub fn begin(&mut self) {
        self.state.fresh = false;
    }

    /// How large it is.
    pub fn megabytes(&self) -> i64 {
        let bytes = fs::metadata(&self.image).map_or(0, |image| image.len());
        i64::try_from(bytes >> 20).unwrap_or(i64::MAX)
    }

    /// Whether the volume has no room left for a file of any size.
    pub fn is_full(&self) -> bool {
        nix::sys::statvfs::statvfs(&self.root).is_ok_and(|stat| {
            let free = stat.blocks_available() * stat.fragment_size();
            free < limits::BUILD_VOLUME_FULL_BYTES || stat.files_available() == 0
        })
    }

    /// Whether what is kept has to go before this build; that is said once.
    pub fn has_outgrown(&self) -> bool {
        fs::remove_file(self.root.join(OUTGROWN)).is_ok()
    }

    /// Empties the directories of this build in the background, so that the next one need not.
    pub fn release(self) {
        let was_full = self.is_full();
        let Self { app, root, image, mut state } = self;
        let lock = Arc::clone(OwnedMutexGuard::mutex(&state));
        tasks::spawn("empty a build volume", async move {
            let at = root.clone();
            let emptied = tasks::blocking("empty a build volume", move || freshen(&at)).await;
            state.fresh = emptied.is_ok();
            // What has been set aside is removed without the lock: the next build may begin, if
            // there is room for it.
            let state = was_full.then_some(state);
            let at = root.clone();
            let removed =
                tasks::blocking("remove old builds", move || remove_trash(&root, &image)).await;
            // What is there now is what is kept, unless the next build has begun.
            let alone = state.or_else(|| lock.try_lock_owned().ok());
            if let Some(_alone) = alone.filter(|state| state.mounted) {
                let looked = tasks::blocking("look at a build cache", move || {
                    note_outgrown(&at, was_full).context("note that a build cache is too large")
                });
                if let Err(error) = looked.await {
                    tracing::warn!(app = %app, error = error.chain(), "no limit of the cache");
                }
            }
            for result in [emptied, removed] {
                if let Err(error) = result {
                    tracing::warn!(app = %app, error = error.chain(), "build volume not emptied");
                }
            }
        });
    }
}

/// Sets last build's directories aside (a rename each) and makes empty ones.
fn freshen(root: &Path) -> Result<()> {
    let (work, trash) = (root.join(WORK), root.join(TRASH));
    let make = || -> io::Result<()> {
        fs::create_dir_all(&trash)?;
        fs::create_dir_all(&work)?;
        for name in PER_BUILD {
            let dir = work.join(name);
            if fs::symlink_metadata(&dir).is_ok() {
                fs::rename(&dir, trash.join(format!("{name}-{}", uuid::Uuid::new_v4())))?;
            }
        }
        for name in PER_BUILD.iter().chain(&KEPT) {
            user_dir(&work.join(name))?;
        }
        Ok(())
    };
    make().context("empty a build volume")
}

/// A directory that belongs to the build's user. One that is there stays as it is.
pub fn user_dir(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => std::os::unix::fs::lchown(path, Some(USER), Some(USER)),
    }
}

/// A build that ran out of disk may have done so for its cache.
fn note_outgrown(root: &Path, was_full: bool) -> io::Result<()> {
    let stat = nix::sys::statvfs::statvfs(root)?;
    let used = stat.blocks() - stat.blocks_free();
    match was_full || used * 100 > stat.blocks() * limits::BUILD_CACHE_PERCENT {
        true => fs::write(root.join(OUTGROWN), ""),
        false => Ok(()),
    }
}

fn remove_trash(root: &Path, image: &Path) -> Result<()> {
    let remove = || -> io::Result<()> {
        for entry in fs::read_dir(root.join(TRASH))? {
            fs::remove_dir_all(entry?.path())?;
        }
        Ok(())
    };
    match remove() {
        // Unmounted meanwhile, or another build's end removes the same.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => other.context("remove old builds")?,
    }
    trim(root, image)
}

/// Gives blocks that the volume no longer uses back to the host, when they are many.
fn trim(root: &Path, image: &Path) -> Result<()> {
    let Ok(stat) = nix::sys::statvfs::statvfs(root) else { return Ok(()) };
    let used = (stat.blocks() - stat.blocks_free()) * stat.fragment_size();
    let held = fs::metadata(image).map_or(0, |image| image.blocks() * 512);
    if held.saturating_sub(used) < limits::BUILD_VOLUME_TRIM_BYTES {
        return Ok(());
    }
    run(Command::new("fstrim").arg("--minimum").arg("64k").arg(root), "trim a build volume")
}

fn image_path(images: &Path, app: AppId) -> PathBuf {
    images.join(format!("{app}.img"))
}

fn mount(image: &Path, root: &Path, bytes: u64) -> Result<()> {
    private_dir(root)?;
    if !is_clean(image) {
        make(image, bytes)?;
    }
    if attach(image, root).is_ok() {
        return Ok(());
    }
    // Whatever is wrong with it, a new one is right.
    make(image, bytes)?;
    attach(image, root)
}

fn attach(image: &Path, root: &Path) -> Result<()> {
    run(
        Command::new("mount")
            .args(["-t", "ext4", "-o", "loop,nosuid,nodev,noatime,noinit_itable,barrier=0"])
            .arg(image)
            .arg(root),
        "mount a build volume",
    )
}

/// Whether the file holds an ext4 that was unmounted cleanly: by its magic number, the state "clean,
/// no errors", and no journal that waits to be replayed.
fn is_clean(image: &Path) -> bool {
    let mut block = [0; 1024];
    let read = File::open(image).and_then(|file| file.read_exact_at(&mut block, 1024));
    let magic = block[0x38..0x3a] == [0x53, 0xef];
    read.is_ok() && magic && block[0x3a] & 3 == 1 && block[0x60] & 4 == 0
}

/// Makes the file and the file system in it: 30 ms, 5 MB on the disk.
fn make(image: &Path, bytes: u64) -> Result<()> {
    remove_file(image)?;
    let mut options = File::options();
    let file = options.write(true).create_new(true).mode(0o600).open(image);
    let file = file.context("make the file of a build volume")?;
    file.set_len(bytes).context("size the file of a build volume")?;
    run(
        // An inode for every 8 KB: dependencies come in small files.
        Command::new("mkfs.ext4")
            .args(["-q", "-F", "-m", "0", "-i", "8192", "-J", "size=16"])
            .args(["-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"])
            .arg(image),
        "make a build volume",
    )
}

fn unmount(root: &Path) -> Result<()> {
    match umount2(root, MntFlags::UMOUNT_NOFOLLOW) {
        // Something still looks at it: it goes when that has gone.
        Err(nix::Error::EBUSY) => {
            umount2(root, MntFlags::MNT_DETACH).context("unmount a build volume")?;
        }
        Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
        Err(error) => return Err(Error::internal("unmount a build volume", error)),
    }
    match fs::remove_dir(root) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::internal("remove a build volume's mount point", error))
        }
        _ => Ok(()),
    }
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::internal("remove a build volume's file", error))
        }
        _ => Ok(()),
    }
}

fn private_dir(path: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).context("make a directory")
}

fn file_apps(images: &Path) -> Result<Vec<AppId>> {
    let names = fs::read_dir(images).context("list build volumes")?;
    Ok(names
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".img")?.parse().ok())
        .collect())
}

fn mounted_apps(mounts: &Path) -> Result<Vec<AppId>> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("read the mount table")?;
    let app = |line: &str| {
        let at = line.split(' ').nth(4)?;
        Path::new(at).strip_prefix(mounts).ok()?.to_str()?.parse().ok()
    };
    Ok(table.lines().filter_map(app).collect())
}

/// Runs one of the system's own tools, which may live in `sbin`.
fn run(command: &mut Command, what: &str) -> Result<()> {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = command
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .env("LC_ALL", "C")
        .output()
        .context(what)?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_string();
    Err(Error::internal(what, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unmounts what a failing test leaves.
    struct Cleanup(PathBuf);

    impl Drop for Cleanup {
        fn drop(&mut self) {
            for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
                let _ = umount2(&entry.path(), MntFlags::MNT_DETACH);
            }
        }
    }

    fn volumes() -> (tempfile::TempDir, Cleanup, Volumes) {
        let data = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(data.path(), 1 << 33);
        let cleanup = Cleanup(data.path().join("mounts"));
        (data, cleanup, volumes)
    }

    #[tokio::test]
    async fn a_build_finds_its_cache_and_nothing_else_of_the_last_one() {
        let (_data, _cleanup, volumes) = volumes();
        let app = AppId::random();
        volumes.recover(&[app]).await.unwrap();
        let mut volume = volumes.acquire(app).await.unwrap();
        volume.begin();
        fs::write(volume.build().join("old"), "x").unwrap();
        fs::write(volume.cache().join("kept"), "x").unwrap();
        volume.release();
        let volume = volumes.acquire(app).await.unwrap();
        assert!(!volume.build().join("old").exists());
        assert!(volume.cache().join("kept").exists());
        assert_eq!(fs::metadata(volume.build()).unwrap().uid(), USER);
        assert_eq!(fs::metadata(volume.path(WORK)).unwrap().uid(), 0);
        drop(volume);
        volumes.forget(app).await.unwrap();
        assert_eq!(fs::read_dir(&volumes.images).unwrap().count(), 0);
        assert_eq!(fs::read_dir(&volumes.mounts).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_new_server_takes_over_mounts_and_drops_what_belongs_to_nobody() {
        let (data, _cleanup, first) = volumes();
        let (known, gone) = (AppId::random(), AppId::random());
        first.recover(&[]).await.unwrap();
        for app in [known, gone] {
            let mut volume = first.acquire(app).await.unwrap();
            volume.begin();
            fs::write(volume.build().join("half"), "x").unwrap();
            fs::write(volume.cache().join("kept"), "x").unwrap();
        }
        let second = Volumes::new(data.path(), 1 << 33);
        second.recover(&[known]).await.unwrap();
        assert_eq!(fs::read_dir(&second.images).unwrap().count(), 1);
        let volume = second.acquire(known).await.unwrap();
        assert!(!volume.build().join("half").exists());
        assert!(volume.cache().join("kept").exists());
        drop(volume);
        second.forget(known).await.unwrap();
    }

    #[tokio::test]
    async fn a_volume_that_was_not_unmounted_is_thrown_away() {
        let (_data, _cleanup, volumes) = volumes();
        volumes.recover(&[]).await.unwrap();
        let app = AppId::random();
        let volume = volumes.acquire(app).await.unwrap();
        fs::write(volume.cache().join("half"), "x").unwrap();
        let image = volume.image.clone();
        assert!(!is_clean(&image), "a mounted one has a journal that waits");
        drop(volume);
        volumes.close().await;
        assert!(is_clean(&image));
        // As a power cut leaves it.
        let file = File::options().read(true).write(true).open(&image).unwrap();
        let mut features = [0];
        file.read_exact_at(&mut features, 1024 + 0x60).unwrap();
        file.write_all_at(&[features[0] | 4], 1024 + 0x60).unwrap();
        let volume = volumes.acquire(app).await.unwrap();
        assert!(!volume.cache().join("half").exists());
        drop(volume);
        volumes.forget(app).await.unwrap();
    }

    /// Without a journal, ext4 took 10 s for these.
    #[tokio::test]
    async fn many_files_can_be_made_again_right_after_they_were_removed() {
        let (_data, _cleanup, volumes) = volumes();
        volumes.recover(&[]).await.unwrap();
        let app = AppId::random();
        let volume = volumes.acquire(app).await.unwrap();
        for round in 0..3 {
            let started = tokio::time::Instant::now();
            for n in 0..4000 {
                fs::write(volume.build().join(n.to_string()), "x").unwrap();
            }
            assert!(started.elapsed().as_secs() < 5, "round {round}: {:?}", started.elapsed());
            fs::remove_dir_all(volume.build()).unwrap();
            fs::create_dir(volume.build()).unwrap();
        }
        drop(volume);
        volumes.forget(app).await.unwrap();
    }

    #[tokio::test]
    async fn a_broken_file_is_replaced() {
        let (_data, _cleanup, volumes) = volumes();
        volumes.recover(&[]).await.unwrap();
        let app = AppId::random();
        fs::write(image_path(&volumes.images, app), "no file system").unwrap();
        let volume = volumes.acquire(app).await.unwrap();
        assert!(volume.cache().is_dir() && !volume.is_full());
        volumes.close().await;
        assert!(volume.cache().is_dir(), "what is in use stays mounted");
        drop(volume);
        volumes.close().await;
        assert_eq!(fs::read_dir(&volumes.mounts).unwrap().count(), 0);
        drop(volumes.acquire(app).await.unwrap());
        volumes.forget(app).await.unwrap();
    }
}
