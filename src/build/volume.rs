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

mod image;

use super::standby::Standby;
use crate::engine::ahead::Ahead;
use crate::error::{Context, Result};
use crate::model::AppId;
use crate::{limits, tasks};
use image::{image_path, mount, private_dir, remove_file, trim, unmount};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
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

#[derive(Default)]
struct State {
    mounted: bool,
    /// The per-build directories are empty.
    fresh: bool,
    ready: Ready,
}

/// What the next build will find begun.
#[derive(Default)]
pub struct Ready {
    /// It sees the per-build directories: with them it comes and goes.
    pub standby: Option<Standby>,
    /// The load of the image.
    pub ahead: Option<Ahead>,
}

impl State {
    /// Before anything is unmounted: what sees it must have gone.
    async fn dismiss(&mut self) {
        if let Some(standby) = self.ready.standby.take() {
            standby.dismiss().await;
        }
    }
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
        let State { mounted, fresh, .. } = *state;
        if !(mounted && fresh) {
            state.dismiss().await;
        }
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
        (state.mounted, state.fresh) = (true, true);
        Ok(Volume { app, root, image, state })
    }

    /// Whether there is one, mounted or not.
    pub fn has(&self, app: AppId) -> bool {
        image_path(&self.images, app).exists()
    }

    /// The app is gone, and so is all that its builds left.
    pub async fn forget(&self, app: AppId) -> Result<()> {
        let mut state = self.slot(app).lock_owned().await;
        state.dismiss().await;
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
            state.dismiss().await;
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
        state.dismiss().await;
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

    /// From here on the directories are in use, and must be emptied before the next build. What
    /// has been made ready is this build's.
    pub fn begin(&mut self) -> Ready {
        self.state.fresh = false;
        std::mem::take(&mut self.state.ready)
    }

    pub fn has_ahead(&self) -> bool {
        self.state.ready.ahead.as_ref().is_some_and(Ahead::waits)
    }

    pub fn has_standby(&self) -> bool {
        self.state.ready.standby.as_ref().is_some_and(Standby::stands)
    }

    /// Leaves the volume with a container that stands by, for so long at most.
    pub fn keep_standby(mut self, standby: Standby, time: Duration) {
        let name = standby.name().to_string();
        let slot = Arc::clone(OwnedMutexGuard::mutex(&self.state));
        self.state.ready.standby = Some(standby);
        drop(self);
        tasks::spawn("end a standby", async move {
            tokio::time::sleep(time).await;
            let mut state = slot.lock().await;
            if state.ready.standby.as_ref().is_some_and(|standby| standby.name() == name) {
                state.ready.standby = None;
            }
        });
    }

    /// Leaves the volume with a load that has begun, and gives itself up in time.
    pub fn keep_ahead(mut self, ahead: Ahead) {
        self.state.ready.ahead = Some(ahead);
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

#[cfg(test)]
mod tests;
