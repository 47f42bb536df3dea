//! What Docker's builder gets to see: a directory of the source as a tar, without what
//! `.dockerignore` names. No link is followed.

use super::{adds, bases};
use crate::build::{BuildFailure, cache, slugignore::parts_match};
use crate::error::{Context as _, Result};
use crate::{limits, tasks};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};
use tokio::sync::mpsc;

/// A directory that is sent to the builder.
#[derive(Debug)]
pub struct BuildContext {
    dir: PathBuf,
    /// The Dockerfile's name in it, which is sent whatever is ignored.
    pub dockerfile: String,
    /// Images that its stages begin from.
    pub bases: BTreeSet<String>,
    ignore: DockerIgnore,
}

impl BuildContext {
    /// Of a Dockerfile by its path in the source, which gets these values of ARG. Blocking.
    pub fn open(
        root: &Path,
        dockerfile: &str,
        args: &[(String, String)],
    ) -> Result<Self, BuildFailure> {
        let path = Path::new(dockerfile);
        let above = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let missing =
            || BuildFailure::Manifest(vec![format!("There is no file {dockerfile} in the source")]);
        // No part of the path is a link, and nobody writes here meanwhile.
        cache::open_beneath(root, above).map_err(|_| missing())?;
        let dir = root.join(above);
        let file = cache::read_small(&dir.join(&name)).map_err(|_| missing())?;
        if file.len() as u64 >= limits::BUILD_RESULT_BYTES {
            return Err(BuildFailure::Manifest(vec![format!("{dockerfile} is too long")]));
        }
        let bases = match adds::refused(&file) {
            Some(fault) => Err(fault),
            None => bases::named(&file, args),
        };
        let bases = bases
            .map_err(|fault| BuildFailure::Image { reason: format!("{dockerfile}: {fault}") })?;
        let ignore = cache::read_small(&dir.join(".dockerignore")).unwrap_or_default();
        Ok(Self { dir, dockerfile: name, bases, ignore: DockerIgnore::parse(&ignore) })
    }

    /// The tar, made while it is read. What can't be read ends it early, and the builder refuses
    /// it as cut short.
    pub fn stream(self) -> BoxStream<'static, Bytes> {
        let (send, receive) = mpsc::channel(limits::OUTPUT_QUEUE);
        tasks::spawn("send a build's context", async move {
            let packed = tasks::blocking("pack a build's context", move || {
                let to = io::BufWriter::with_capacity(limits::SOURCE_PIECE_BYTES, Pieces(send));
                let mut tar = tar::Builder::new(to);
                self.pack(&mut tar, &self.dir, &mut Vec::new())?;
                let mut to = tar.into_inner().context("end a build's context")?;
                to.flush().context("end a build's context")
            });
            if let Err(error) = packed.await {
                tracing::info!(error = error.chain(), "a build's context is cut short");
            }
        });
        tokio_stream::wrappers::ReceiverStream::new(receive).boxed()
    }

    fn pack<W: Write>(
        &self,
        tar: &mut tar::Builder<W>,
        dir: &Path,
        path: &mut Vec<u8>,
    ) -> Result<()> {
        let mut entries: Vec<_> = fs::read_dir(dir)
            .and_then(Iterator::collect::<io::Result<_>>)
            .context("list a build's context")?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let above = path.len();
            if above > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(entry.file_name().as_bytes());
            self.entry(tar, &entry.path(), path)?;
            path.truncate(above);
        }
        Ok(())
    }

    fn entry<W: Write>(
        &self,
        tar: &mut tar::Builder<W>,
        at: &Path,
        path: &mut Vec<u8>,
    ) -> Result<()> {
        let what = || format!("pack {} for the builder", at.display());
        let meta = fs::symlink_metadata(at).context(what())?;
        let kept = path == self.dockerfile.as_bytes() || path == b".dockerignore";
        let ignored = !kept && self.ignore.matches(path);
        // Inside a directory that is left out something may be an exception.
        if ignored && !(meta.is_dir() && self.ignore.has_exceptions) {
            return Ok(());
        }
        let name = PathBuf::from(std::ffi::OsStr::from_bytes(path));
        let mut header = Header::new_gnu();
        header.set_mode(meta.permissions().mode() & 0o7777);
        header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
        header.set_size(0);
        if meta.is_dir() {
            if !ignored {
                header.set_entry_type(EntryType::Directory);
                tar.append_data(&mut header, &name, io::empty()).context(what())?;
            }
            return self.pack(tar, at, path);
        }
        if meta.is_symlink() {
            let target = fs::read_link(at).context(what())?;
            header.set_entry_type(EntryType::Symlink);
            return tar.append_link(&mut header, &name, target).context(what());
        }
        if !meta.is_file() {
            return Ok(());
        }
        let file = fs::File::open(at).context(what())?;
        header.set_size(meta.len());
        header.set_entry_type(EntryType::Regular);
        tar.append_data(&mut header, &name, file).context(what())
    }
}

/// Writes into a channel; a reader that has gone ends the writing.
struct Pieces(mpsc::Sender<Bytes>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Bytes::copy_from_slice(bytes));
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `.dockerignore`: patterns from the context's root, of which the last that fits decides; `!`
/// makes an exception.
#[derive(Debug, Default)]
struct DockerIgnore {
    patterns: Vec<(Vec<Vec<u8>>, bool)>,
    has_exceptions: bool,
}

impl DockerIgnore {
    fn parse(text: &[u8]) -> Self {
        let mut ignore = Self::default();
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        for line in lines.filter(|line| !line.is_empty() && line[0] != b'#') {
            let (line, exception) = match line.strip_prefix(b"!") {
                Some(line) => (line, true),
                None => (line, false),
            };
            let parts: Vec<Vec<u8>> = line
                .split(|byte| *byte == b'/')
                .filter(|part| !matches!(*part, b"" | b"."))
                .map(<[u8]>::to_vec)
                .collect();
            if !parts.is_empty() && ignore.patterns.len() < limits::IGNORE_PATTERNS {
                ignore.has_exceptions |= exception;
                ignore.patterns.push((parts, exception));
            }
        }
        ignore
    }

    /// A pattern that fits a directory fits all that is in it.
    fn matches(&self, path: &[u8]) -> bool {
        let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        let fits = |pattern: &Vec<Vec<u8>>| {
            (1..=parts.len()).any(|length| parts_match(pattern, &parts[..length]))
        };
        let last = self.patterns.iter().rev().find(|(pattern, _)| fits(pattern));
        last.is_some_and(|(_, exception)| !exception)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io::Read;

    async fn packed(dir: &Path, dockerfile: &str) -> BTreeMap<String, String> {
        let context = BuildContext::open(dir, dockerfile, &[]).unwrap();
        let bytes = context.stream().collect::<Vec<_>>().await.concat();
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            if let Some(target) = entry.link_name().unwrap() {
                content = format!("-> {}", target.display());
            }
            found.insert(entry.path().unwrap().display().to_string(), content);
        }
        found
    }

    #[tokio::test]
    async fn the_directory_of_the_dockerfile_is_sent_and_links_stay_links() {
        let dir = tempfile::tempdir().unwrap();
        let worker = dir.path().join("worker");
        fs::create_dir_all(worker.join("src")).unwrap();
        for (path, text) in [("Dockerfile", "FROM x"), ("src/a", "a"), ("secret", "s")] {
            fs::write(worker.join(path), text).unwrap();
        }
        fs::write(worker.join(".dockerignore"), "secret\nDockerfile\n").unwrap();
        fs::write(dir.path().join("outside"), "o").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", worker.join("link")).unwrap();
        let found = packed(dir.path(), "worker/Dockerfile").await;
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, [".dockerignore", "Dockerfile", "link", "src", "src/a"]);
        assert_eq!((found["src/a"].as_str(), found["link"].as_str()), ("a", "-> /etc/passwd"));
    }

    #[test]
    fn a_dockerfile_that_would_fetch_past_the_build_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("Dockerfile"), "FROM x\nADD http://169.254.169.254/ /x").unwrap();
        let refused = BuildContext::open(dir.path(), "Dockerfile", &[]).unwrap_err().to_string();
        assert!(refused.contains("Dockerfile: Line 2: ADD of an address"), "{refused}");
    }

    #[test]
    fn a_dockerfile_behind_a_link_is_none() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("Dockerfile")).unwrap();
        for path in ["etc/passwd", "Dockerfile", "missing/Dockerfile"] {
            let refused = BuildContext::open(dir.path(), path, &[]);
            assert!(matches!(refused, Err(BuildFailure::Manifest(_))), "{path}");
        }
    }

    #[test]
    fn the_last_pattern_that_fits_decides() {
        let ignore = DockerIgnore::parse(b"# x\n*.md\n!README.md\n/node_modules\n**/tmp\nlog/*\n");
        for (path, ignored) in [
            ("a.md", true),
            ("README.md", false),
            ("docs/a.md", false),
            ("node_modules/x/y", true),
            ("src/node_modules", false),
            ("a/b/tmp/c", true),
            ("log", false),
            ("log/x", true),
        ] {
            assert_eq!(ignore.matches(path.as_bytes()), ignored, "{path}");
        }
    }
}
