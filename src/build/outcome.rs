//! What a buildpack's work came to, for as long as it would come to the same. One that comes with
//! us says in `cache/.senryu-outcome` what decided about it: `reads PATH`, a file of the source, or
//! a path where there was none; and `writes PATH`, a small file that it made beside the
//! directories that are kept. While those files, the config vars, the stack and the buildpack
//! itself stay as they are, a build takes its outcome again, and needs no container.

use super::cache::{self, KEEP_LIST, forget_file, make_parents, open_beneath, read_small};
use super::compile::{Compiled, results};
use super::detect::{Choice, Origin};
use super::layers::hex;
use super::volume::{USER, Volume};
use super::{BuildFailure, BuildInput, Builder, OutputSink, submodules, with};
use crate::clock::Timestamp;
use crate::error::{Context, Result};
use crate::limits;
use crate::model::Buildpack;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const DECLARED: &str = ".senryu-outcome";
/// Where it is noted, out of the builds' sight.
const NOTE: &str = "outcome.json";
/// What the driver tells of a buildpack's work.
const RESULTS: [&str; 4] = ["buildpack", "detected", "release", "procfile"];
const ABSENT: &str = "absent";

#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// A digest of all that decides about it besides the source.
    circumstances: String,
    /// Microseconds since 1970. After a while a buildpack may find newer versions that fit.
    made: i64,
    /// What was found at each path of the source that decides.
    reads: BTreeMap<PathBuf, String>,
    writes: BTreeMap<PathBuf, Written>,
    results: BTreeMap<String, Vec<u8>>,
    /// The list of the directories that are kept.
    keeps: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    mode: u32,
    /// Seconds since 1970: with another, the same file would be another layer.
    modified: u64,
    content: Vec<u8>,
}

impl Builder {
    /// What the buildpacks would make, where the last build tells; `back` is what it kept.
    pub(super) async fn outcome_again(
        &self,
        input: &BuildInput,
        volume: &Arc<Volume>,
        choice: &Choice,
        back: Vec<PathBuf>,
        out: &OutputSink,
    ) -> Result<Option<Compiled>, BuildFailure> {
        if !choice.chosen || !Outcome::is_noted(volume) {
            return Ok(None);
        }
        let buildpacks: Vec<_> = choice.packs.iter().map(|pack| pack.buildpack.clone()).collect();
        let circumstances = match self.circumstances(input, &buildpacks).await {
            Ok(Some(circumstances)) => circumstances,
            Ok(None) => return Ok(None),
            Err(error) => {
                tracing::warn!(build = %input.build, error = error.chain(), "no outcome is looked for");
                return Ok(None);
            }
        };
        let found = with(volume, "look for the last outcome", move |volume| {
            let found = Outcome::find(&volume, &back, &circumstances, Timestamp::now());
            found.map(|outcome| outcome.put(&volume)).transpose()
        });
        if found.await?.is_none() {
            return Ok(None);
        }
        let compiled = results(volume, choice)?;
        out.headline(&format!("{} app detected", compiled.language));
        out.headline("Restoring cache");
        out.detail("Nothing has changed since the last build that the buildpack looks at: what it");
        out.detail("made then is used again. \"builds:cache:purge\" makes it run.");
        Ok(Some(compiled))
    }

    /// For the next build.
    pub(super) async fn note_outcome(
        &self,
        input: &BuildInput,
        volume: &Arc<Volume>,
        buildpacks: &[Buildpack],
    ) {
        let noted = async {
            if !volume.cache().join(DECLARED).exists() {
                return Ok(());
            }
            let Some(circumstances) = self.circumstances(input, buildpacks).await? else {
                return Ok(());
            };
            let note = with(volume, "note the outcome", |volume| {
                Outcome::of(&volume, circumstances).map_or(Ok(()), |outcome| outcome.note(&volume))
            });
            note.await
        };
        if let Err(error) = noted.await {
            tracing::warn!(build = %input.build, error = error.chain(), "no outcome is noted");
        }
    }

    /// A digest of what decides about a build besides its source; none where it is not for us to
    /// say what does.
    async fn circumstances(
        &self,
        input: &BuildInput,
        buildpacks: &[Buildpack],
    ) -> Result<Option<String>> {
        let (bundled, [buildpack]) = (self.buildpacks()?, buildpacks) else { return Ok(None) };
        let origin = bundled.origin(buildpack, &self.settings.buildpack_source);
        let Origin::Bundled(name) = origin else { return Ok(None) };
        let Some((image, _)) = self.engine.image_layers(&self.settings.build_image).await? else {
            return Ok(None);
        };
        let mirror = self.settings.python_mirror.clone().unwrap_or_default();
        let mut hash = Sha256::new();
        let fixed = [&bundled.version(), &name, &input.stack, &image, &mirror];
        let config = input.config.iter().flat_map(|(key, value)| [key, value]);
        for text in fixed.into_iter().map(String::as_str).chain(config) {
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        }
        Ok(Some(hex(&hash.finalize())))
    }
}

impl Outcome {
    /// The last build's, if it would be this one's too. `back` are the directories that have come
    /// back from it. Blocking.
    pub fn find(
        volume: &Volume,
        back: &[PathBuf],
        circumstances: &str,
        now: Timestamp,
    ) -> Option<Self> {
        let note = fs::read(volume.path(NOTE)).ok()?;
        let outcome = serde_json::from_slice::<Self>(&note).ok()?;
        let root = volume.build();
        let written = states(&root, outcome.writes.keys().cloned());
        let free = written.is_some_and(|found| found.values().all(|state| state == ABSENT));
        let made = Timestamp(outcome.made);
        let holds = outcome.circumstances == circumstances
            && (made..made.after(limits::OUTCOME_AGE)).contains(&now)
            && !has_submodules(volume)
            && cache::parse(&outcome.keeps).iter().all(|path| back.contains(path))
            && states(&root, outcome.reads.keys().cloned()).as_ref() == Some(&outcome.reads)
            && free;
        holds.then_some(outcome)
    }

    /// Puts everything where the buildpack would have put it. Blocking.
    pub fn put(&self, volume: &Volume) -> Result<()> {
        for (path, written) in &self.writes {
            written.put(&volume.build(), path).context("write what a buildpack wrote")?;
        }
        for (name, content) in &self.results {
            let path = volume.work("result").join(name);
            write_new(&path, content).context("write what a buildpack said")?;
        }
        write_new(&volume.cache().join(KEEP_LIST), &self.keeps).context("list what is kept")
    }

    /// What the build that has just ended came to, if its buildpack said enough about it. To be
    /// asked before what is kept is moved away. Blocking.
    pub fn of(volume: &Volume, circumstances: String) -> Option<Self> {
        let declared = read_small(&volume.cache().join(DECLARED)).ok()?;
        let keeps = read_small(&volume.cache().join(KEEP_LIST)).unwrap_or_default();
        let root = volume.build();
        let (mut reads, mut writes) = (Vec::new(), BTreeMap::new());
        let mut room = limits::BUILD_RESULT_BYTES;
        if has_submodules(volume) {
            return None;
        }
        for line in std::str::from_utf8(&declared).ok()?.lines().chain(["reads Procfile"]) {
            match line.split_once(' ')? {
                ("reads", path) => reads.push(plain(path)?),
                ("writes", path) => {
                    let path = plain(path)?;
                    let written = Written::read(&root, &path, room).ok()?;
                    room = room.saturating_sub(written.content.len() as u64);
                    writes.insert(path, written);
                }
                _ => return None,
            }
            if reads.len() + writes.len() > limits::OUTCOME_PATHS {
                return None;
            }
        }
        let reads = states(&root, reads)?;
        let result = |name: &str| {
            let content = read_small(&volume.work("result").join(name)).ok()?;
            Some((name.to_string(), content))
        };
        let mut results: BTreeMap<_, _> = RESULTS.into_iter().filter_map(result).collect();
        results.insert("micros".to_string(), b"0\n".to_vec());
        let made = Timestamp::now().0;
        Some(Self { circumstances, made, reads, writes, results, keeps })
    }

    /// Blocking.
    pub fn note(&self, volume: &Volume) -> Result<()> {
        let note = serde_json::to_vec(self).context("note a build's outcome")?;
        fs::write(volume.path(NOTE), note).context("note a build's outcome")
    }

    /// Before a buildpack runs, and where the cache goes. Blocking.
    pub fn forget(volume: &Volume) -> Result<()> {
        forget_file(&volume.path(NOTE))?;
        forget_file(&volume.cache().join(DECLARED))
    }

    /// Whether there is one, so that the next build may need no container.
    pub fn is_noted(volume: &Volume) -> bool {
        volume.path(NOTE).exists()
    }
}

impl Written {
    /// A file of so many bytes at most.
    fn read(root: &Path, path: &Path, most: u64) -> io::Result<Self> {
        let Some(file) = open(root, path)? else { return Err(io::ErrorKind::NotFound.into()) };
        let meta = file.metadata()?;
        if meta.len() > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut content = Vec::new();
        file.take(most).read_to_end(&mut content)?;
        let modified = u64::try_from(meta.mtime()).unwrap_or(0);
        Ok(Self { mode: meta.mode() & 0o777, modified, content })
    }

    fn put(&self, root: &Path, path: &Path) -> io::Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        make_parents(root, parent)?;
        let directory = open_beneath(root, parent)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, name, flags, Mode::from_raw_mode(0o600))?;
        let mut file = File::from(file);
        file.write_all(&self.content)?;
        fchown(&file, Some(USER), Some(USER))?;
        file.set_permissions(Permissions::from_mode(self.mode))?;
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(self.modified))
    }
}

/// It is the container that fetches them.
fn has_submodules(volume: &Volume) -> bool {
    fs::symlink_metadata(volume.work("result").join(submodules::FOUND)).is_ok()
}

/// A file where builds write, too: never through a link that one might have left.
fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    File::options().write(true).create_new(true).open(path)?.write_all(content)
}

/// A path of a declaration: relative, and nowhere up.
fn plain(path: &str) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    (!plain.as_os_str().is_empty()).then_some(plain)
}

/// What is at each of the paths: nothing, or a file and what is in it. None if one is something
/// else, which can change without looking changed, or if there is too much to read.
fn states(
    root: &Path,
    paths: impl IntoIterator<Item = PathBuf>,
) -> Option<BTreeMap<PathBuf, String>> {
    let mut room = limits::OUTCOME_READ_BYTES;
    let mut states = BTreeMap::new();
    for path in paths {
        let state = match open(root, &path) {
            Ok(file) => {
                let content = read(file?, &mut room).ok()?;
                hex(&Sha256::digest(&content))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => ABSENT.to_string(),
            Err(_) => return None,
        };
        states.insert(path, state);
    }
    Some(states)
}

/// A file with whether it can be executed.
fn read(mut file: File, room: &mut u64) -> io::Result<Vec<u8>> {
    let meta = file.metadata()?;
    *room = room.checked_sub(meta.len()).ok_or(io::ErrorKind::FileTooLarge)?;
    let mut content = (meta.mode() & 0o111).to_le_bytes().to_vec();
    file.read_to_end(&mut content)?;
    Ok(content)
}

/// A regular file below `root`, without following any link; none if it is something else.
fn open(root: &Path, path: &Path) -> io::Result<Option<File>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = open_beneath(root, parent)?;
    let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(&directory, name, flags, Mode::empty()) {
        Ok(file) => Ok(Some(File::from(file))),
        Err(Errno::LOOP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A volume after a build of a small Python app.
    struct Built {
        _dir: tempfile::TempDir,
        volume: Volume,
    }

    const DECLARATION: &str = "reads requirements.txt\nreads bin/hook\nwrites .profile.d/p.sh\n";

    impl Built {
        fn new(declaration: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let volume = Volume::unmounted(dir.path().to_path_buf());
            let built = Self { _dir: dir, volume };
            built.source();
            let root = built.volume.build();
            fs::create_dir(root.join(".profile.d")).unwrap();
            fs::write(root.join(".profile.d/p.sh"), "export P=1\n").unwrap();
            fs::write(built.volume.cache().join(KEEP_LIST), ".heroku/python\n").unwrap();
            fs::write(built.volume.cache().join(DECLARED), declaration).unwrap();
            for (name, text) in [("detected", "Python\n"), ("procfile", "web: x\n")] {
                fs::write(built.volume.work("result").join(name), text).unwrap();
            }
            built
        }

        fn source(&self) {
            let root = self.volume.build();
            fs::write(root.join("requirements.txt"), "flask\n").unwrap();
            fs::write(root.join("Procfile"), "web: x\n").unwrap();
            fs::write(root.join("app.py"), "1\n").unwrap();
        }

        fn note(&self) {
            Outcome::of(&self.volume, "here".to_string()).unwrap().note(&self.volume).unwrap();
        }

        /// The next build's source, in an empty directory.
        fn again(&self) {
            for name in ["build", "result"] {
                fs::remove_dir_all(self.volume.work(name)).unwrap();
                fs::create_dir(self.volume.work(name)).unwrap();
            }
            let _ = fs::remove_file(self.volume.cache().join(KEEP_LIST));
            self.source();
        }

        fn find(&self, circumstances: &str, now: Timestamp) -> Option<Outcome> {
            Outcome::find(&self.volume, &[".heroku/python".into()], circumstances, now)
        }

        fn found(&self) -> bool {
            self.find("here", Timestamp::now()).is_some()
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.volume.build().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn what_decides_is_as_it_was_so_the_outcome_is_too() {
        let built = Built::new(DECLARATION);
        assert!(!Outcome::is_noted(&built.volume));
        built.note();
        assert!(Outcome::is_noted(&built.volume));
        built.again();
        built.write("app.py", "2\n");
        // Owned by the build's user, which only root can say.
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let found = built.find("here", Timestamp::now()).unwrap();
        found.put(&built.volume).unwrap();
        let read = |path: PathBuf| fs::read_to_string(path).unwrap();
        let profile = built.volume.build().join(".profile.d/p.sh");
        assert_eq!(fs::metadata(&profile).unwrap().uid(), USER);
        assert_eq!(read(profile), "export P=1\n");
        assert_eq!(read(built.volume.work("result").join("detected")), "Python\n");
        assert_eq!(read(built.volume.work("result").join("procfile")), "web: x\n");
        assert_eq!(read(built.volume.work("result").join("micros")), "0\n");
        assert_eq!(read(built.volume.cache().join(KEEP_LIST)), ".heroku/python\n");
        assert_eq!(read(built.volume.build().join("app.py")), "2\n");
        fs::remove_file(built.volume.cache().join(KEEP_LIST)).unwrap();
        fs::remove_file(built.volume.build().join(".profile.d/p.sh")).unwrap();
        for name in found.results.keys() {
            fs::remove_file(built.volume.work("result").join(name)).unwrap();
        }
        let outside = built.volume.path("outside");
        symlink(&outside, built.volume.cache().join(KEEP_LIST)).unwrap();
        assert!(found.put(&built.volume).is_err() && !outside.exists(), "not through a link");
    }

    #[test]
    fn a_change_of_anything_that_decides_is_seen() {
        let built = Built::new(DECLARATION);
        built.note();
        built.again();
        assert!(built.found());
        let now = Timestamp::now();
        for (circumstances, now, holds) in [
            ("here", now, true),
            ("there", now, false),
            ("here", now.after(limits::OUTCOME_AGE), false),
            ("here", Timestamp(0), false),
        ] {
            assert_eq!(built.find(circumstances, now).is_some(), holds, "{circumstances} {now:?}");
        }
        let changes: [(&str, &str); 4] = [
            ("requirements.txt", "flask\ndjango\n"),
            ("Procfile", "web: y\n"),
            ("bin/hook", "echo\n"),
            (".profile.d/p.sh", "of the source"),
        ];
        for (path, text) in changes {
            built.again();
            built.write(path, text);
            assert!(!built.found(), "{path}");
        }
        built.again();
        fs::remove_file(built.volume.build().join("requirements.txt")).unwrap();
        assert!(!built.found());
        symlink("app.py", built.volume.build().join("requirements.txt")).unwrap();
        assert!(!built.found(), "a link can lead anywhere");
        built.again();
        symlink("/etc", built.volume.build().join("bin")).unwrap();
        assert!(!built.found());
        built.again();
        let executable = Permissions::from_mode(0o755);
        fs::set_permissions(built.volume.build().join("requirements.txt"), executable).unwrap();
        assert!(!built.found());
        built.again();
        assert!(built.found());
        let nothing_back = Outcome::find(&built.volume, &[], "here", now);
        assert!(nothing_back.is_none());
        Outcome::forget(&built.volume).unwrap();
        assert!(!built.found());
    }

    #[test]
    fn a_declaration_that_says_too_little_or_too_much_is_none() {
        let many: String = (0..=limits::OUTCOME_PATHS).map(|n| format!("reads f{n}\n")).collect();
        let wrong = [
            "reads ../../secret\n",
            "reads /etc/passwd\n",
            "writes .\n",
            "writes missing\n",
            "writes ../../note\n",
            "reads .profile.d\n",
            "forgets x\n",
            "\n",
            &many,
        ];
        for declaration in wrong {
            let built = Built::new(declaration);
            assert!(Outcome::of(&built.volume, String::new()).is_none(), "{declaration}");
        }
        let built = Built::new(DECLARATION);
        let list = built.volume.work("result").join(submodules::FOUND);
        fs::write(&list, "1").unwrap();
        assert!(Outcome::of(&built.volume, String::new()).is_none());
        fs::remove_file(&list).unwrap();
        built.note();
        built.again();
        assert!(built.found());
        fs::write(&list, "1").unwrap();
        assert!(!built.found(), "somebody has to fetch them");
        fs::remove_file(built.volume.cache().join(DECLARED)).unwrap();
        assert!(Outcome::of(&built.volume, String::new()).is_none());
        let large = Built::new("writes one\nwrites two\n");
        let half = "x".repeat(usize::try_from(limits::BUILD_RESULT_BYTES).unwrap() / 2);
        large.write("one", &half);
        large.write("two", &half);
        assert!(Outcome::of(&large.volume, String::new()).is_some());
        large.write("two", &format!("{half}more"));
        assert!(Outcome::of(&large.volume, String::new()).is_none());
        let odd = Built::new("reads ./requirements.txt\n");
        odd.note();
        assert!(odd.found());
    }

    #[test]
    fn a_note_that_was_cut_short_is_as_good_as_none() {
        let built = Built::new(DECLARATION);
        built.note();
        let note = fs::read(built.volume.path(NOTE)).unwrap();
        fs::write(built.volume.path(NOTE), &note[..note.len() / 2]).unwrap();
        assert!(!built.found());
    }
}
