//! A tarball that somebody uploaded, or that lies somewhere on the net, becomes files in the build
//! directory. Every size that it claims is counted, and what does not belong into a source is
//! refused by its name.

use super::lfs::{self, Pointers};
use super::output::OutputSink;
use super::slugignore::SlugIgnore;
use super::source::set_time;
use super::tree::{Parts, Tree, Wrong, parts};
use super::{BuildFailure, cache};
use crate::error::{Context, Error};
use crate::limits;
use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};
use std::fs::{self, File, FileTimes};
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};
use tar::{Archive, EntryType, Header, PaxExtensions};

type Outcome<T = ()> = Result<T, BuildFailure>;

/// Writes the source into `root`, which is there and empty, and whose parent is nobody else's.
/// Blocking.
pub fn unpack(mut tar: File, sha256: Option<&str>, root: &Path, out: &OutputSink) -> Outcome {
    if let Some(wanted) = sha256 {
        check_sum(&mut tar, wanted)?;
    }
    let mut unpacking = Unpacking {
        tree: Tree::new(root),
        entries: 0,
        bytes: 0,
        newest: 0,
        pointers: Pointers::default(),
    };
    unpacking.all(reader(tar)?)?;
    unpacking.pointers.tell(out);
    if unpacking.entries == 0 {
        return Err(refused("The source's archive is empty."));
    }
    strip(root).context("take the source out of its directory")?;
    let ignore = cache::read_small(&root.join(".slugignore")).unwrap_or_default();
    if ignore.len() > limits::SLUGIGNORE_BYTES {
        return Err(refused(format!(
            "The .slugignore has {} bytes, which is too much.",
            ignore.len()
        )));
    }
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(unpacking.newest);
    let ignore = SlugIgnore::parse(&ignore);
    tidy(root, &ignore, time, &mut Vec::new()).context("tidy the source")?;
    Ok(())
}

fn check_sum(tar: &mut File, wanted: &str) -> Outcome {
    let mut hash = Sha256::new();
    let mut piece = vec![0; limits::LAYER_PIECE_BYTES];
    loop {
        match tar.read(&mut piece).context("read the source's archive")? {
            0 => break,
            read => hash.update(&piece[..read]),
        }
    }
    tar.rewind().context("read the source's archive")?;
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    match found.eq_ignore_ascii_case(wanted) {
        true => Ok(()),
        false => Err(refused(format!(
            "The source's checksum is SHA256:{found}, and SHA256:{wanted} was expected."
        ))),
    }
}

/// What is inside: a tar, most often packed by gzip.
fn reader(mut tar: File) -> Outcome<Box<dyn Read>> {
    let mut head = [0; 262];
    let mut filled = 0;
    while filled < head.len() {
        match tar.read(&mut head[filled..]).context("read the source's archive")? {
            0 => break,
            read => filled += read,
        }
    }
    tar.rewind().context("read the source's archive")?;
    let kind = match &head[..filled] {
        [0x1f, 0x8b, ..] => {
            let unpacked = MultiGzDecoder::new(BufReader::new(tar));
            return Ok(Box::new(unpacked.take(limits::SOURCE_TAR_BYTES)));
        }
        [b'P', b'K', ..] => "a zip file",
        [0xfd, b'7', b'z', ..] => "packed by xz",
        [b'B', b'Z', b'h', ..] => "packed by bzip2",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "packed by zstd",
        head if head.ends_with(b"ustar") => {
            return Ok(Box::new(BufReader::new(tar.take(limits::SOURCE_TAR_BYTES))));
        }
        _ => "no tar archive",
    };
    Err(refused(format!(
        "The source is {kind}: it must be a tar archive packed by gzip (.tar.gz)."
    )))
}

struct Unpacking {
    tree: Tree,
    entries: u64,
    bytes: u64,
    /// Seconds since 1970 of the newest entry.
    newest: u64,
    pointers: Pointers,
}

/// What an entry of the archive says of the next one.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Unpacking {
    fn all(&mut self, reader: Box<dyn Read>) -> Outcome {
        let mut archive = Archive::new(reader);
        let mut next = Extension::default();
        // Raw: names that are longer than a header's are read here, up to a limit.
        for entry in archive.entries().map_err(broken)?.raw(true) {
            let mut entry = entry.map_err(broken)?;
            self.entries += 1;
            if self.entries + self.tree.made > limits::SOURCE_ENTRIES {
                let most = limits::SOURCE_ENTRIES;
                return Err(refused(format!(
                    "The source has more than {most} files and directories."
                )));
            }
            let header = entry.header().clone();
            match header.entry_type() {
                EntryType::GNULongName => next.path = Some(long(&mut entry, &header)?),
                EntryType::GNULongLink => next.link = Some(long(&mut entry, &header)?),
                EntryType::XHeader => next.pax(&mut entry, &header)?,
                // The commit, as git writes it.
                EntryType::XGlobalHeader => {}
                kind => self.entry(kind, &header, std::mem::take(&mut next), &mut entry)?,
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        kind: EntryType,
        header: &Header,
        said: Extension,
        content: &mut dyn Read,
    ) -> Outcome {
        let path = said.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let size = header.entry_size().map_err(broken)?;
        if said.size.is_some_and(|said| said != size) {
            return Err(too_large());
        }
        let place = place(&path)?;
        // A work tree's own repository is no part of the source.
        if place.iter().any(|part| part == b".git") {
            return Ok(());
        }
        let seconds = header.mtime().unwrap_or(0).min(limits::TIME_MAX_SECONDS);
        self.newest = self.newest.max(seconds);
        let mode = if header.mode().unwrap_or(0) & 0o111 == 0 { 0o644 } else { 0o755 };
        let link = || said.link.clone().or_else(|| Some(header.link_name_bytes()?.into_owned()));
        let is_directory = kind == EntryType::Directory || path.ends_with(b"/");
        match kind {
            _ if place.is_empty() && is_directory => Ok(()),
            EntryType::Directory | EntryType::Regular if is_directory => {
                self.tree.directory(&place).map_err(|error| failed(&path, error))
            }
            EntryType::Regular | EntryType::Continuous => {
                self.file(&place, &path, mode, seconds, size, content)
            }
            EntryType::Symlink => self.link(&place, &path, &link().unwrap_or_default(), seconds),
            EntryType::Link => self.copy(&place, &path, &link().unwrap_or_default(), seconds),
            EntryType::Char | EntryType::Block => Err(not(&path, "is a device")),
            EntryType::Fifo => Err(not(&path, "is a named pipe")),
            EntryType::GNUSparse => {
                Err(not(&path, "is packed as a sparse file: pack it without --sparse"))
            }
            _ => Err(not(&path, "is neither a file, a directory nor a link")),
        }
    }

    fn count(&mut self, size: u64) -> Outcome {
        self.bytes = self.bytes.saturating_add(size);
        match self.bytes > limits::SOURCE_BYTES {
            true => Err(too_large()),
            false => Ok(()),
        }
    }

    fn file(
        &mut self,
        place: &Parts,
        path: &[u8],
        mode: u32,
        seconds: u64,
        size: u64,
        content: &mut dyn Read,
    ) -> Outcome {
        self.count(size)?;
        let mut file = self.tree.file(place, mode).map_err(|error| failed(path, error))?;
        let mut piece = vec![0; limits::SOURCE_PIECE_BYTES];
        let mut left = size;
        let (may_point, mut small) = (size < lfs::BYTES as u64, Vec::new());
        while left > 0 {
            let most = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
            let read = content.read(&mut piece[..most]).map_err(broken)?;
            if read == 0 {
                return Err(broken(io::ErrorKind::UnexpectedEof.into()));
            }
            file.write_all(&piece[..read]).map_err(|error| failed(path, error))?;
            if may_point {
                small.extend_from_slice(&piece[..read]);
            }
            left -= read as u64;
        }
        self.pointers.look(path, &small);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let times = FileTimes::new().set_modified(time);
        file.set_times(times).map_err(|error| failed(path, error))
    }

    /// As git has them: one may lead anywhere, since none is followed by us.
    fn link(&mut self, place: &Parts, path: &[u8], target: &[u8], seconds: u64) -> Outcome {
        if target.is_empty() || target.len() > limits::LINK_BYTES || target.contains(&0) {
            return Err(not(path, "is a symbolic link to nowhere"));
        }
        self.tree.link(place, target, seconds).map_err(|error| failed(path, error))
    }

    /// A hard link, as a file of its own: what shares an inode can't be told apart afterwards.
    fn copy(&mut self, place: &Parts, path: &[u8], target: &[u8], seconds: u64) -> Outcome {
        let out = || not(path, &format!("is a hard link out of the source, to {}", shown(target)));
        let from = parts(target).map_err(|_| out())?;
        let mut from = self.tree.read(&from).map_err(|_| {
            not(
                path,
                &format!("is a hard link to {}, which is no file of the source", shown(target)),
            )
        })?;
        let meta = from.metadata().map_err(|error| failed(path, error))?;
        let mode = meta.permissions().mode() & 0o777;
        self.file(place, path, mode, seconds, meta.len(), &mut from)
    }
}

impl Extension {
    fn pax(&mut self, entry: &mut dyn Read, header: &Header) -> Outcome {
        let records = small(entry, header)?;
        for record in PaxExtensions::new(&records) {
            let record = record.map_err(broken)?;
            let value = record.value_bytes();
            match record.key_bytes() {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    self.size = Some(size.unwrap_or(u64::MAX));
                }
                key if key.starts_with(b"GNU.sparse.") => {
                    let sparse = "is packed as a sparse file: pack it without --sparse";
                    return Err(not(&header.path_bytes(), sparse));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A name that did not fit into a header; it ends with a zero byte.
fn long(entry: &mut dyn Read, header: &Header) -> Outcome<Vec<u8>> {
    let mut name = small(entry, header)?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(end);
    Ok(name)
}

fn small(entry: &mut dyn Read, header: &Header) -> Outcome<Vec<u8>> {
    let size = header.entry_size().map_err(broken)?;
    if size > limits::SOURCE_NAME_BYTES {
        return Err(refused(format!(
            "The source's archive has a name or an attribute of {size} bytes."
        )));
    }
    let mut content = Vec::new();
    entry.read_to_end(&mut content).map_err(broken)?;
    Ok(content)
}

fn place(path: &[u8]) -> Outcome<Vec<Vec<u8>>> {
    parts(path).map_err(|wrong| match wrong {
        Wrong::Absolute => not(path, "is an absolute path"),
        Wrong::Up => not(path, "leads out of the source (..)"),
        Wrong::Odd => not(path, "is no path of a file: it is too long, too deep or no name"),
    })
}

/// An archive made by a host of git repositories has one directory around everything.
fn strip(root: &Path) -> io::Result<()> {
    let mut entries = fs::read_dir(root)?;
    let (Some(only), None) = (entries.next(), entries.next()) else { return Ok(()) };
    let only = only?;
    if !only.file_type()?.is_dir() {
        return Ok(());
    }
    let beside = root.with_extension("inner");
    // Left by a server that died.
    let _ = fs::remove_dir_all(&beside);
    fs::rename(only.path(), &beside)?;
    fs::remove_dir(root)?;
    fs::rename(&beside, root)
}

/// Removes what is ignored, and dates directories. Nobody else writes here meanwhile.
fn tidy(dir: &Path, ignore: &SlugIgnore, time: SystemTime, path: &mut Vec<u8>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let is_directory = entry.file_type()?.is_dir();
        let above = path.len();
        if above > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(entry.file_name().as_bytes());
        match (ignore.matches(path, is_directory), is_directory) {
            (true, true) => fs::remove_dir_all(entry.path())?,
            (true, false) => fs::remove_file(entry.path())?,
            (false, true) => tidy(&entry.path(), ignore, time, path)?,
            (false, false) => {}
        }
        path.truncate(above);
    }
    set_time(dir, time)
}

fn shown(path: &[u8]) -> String {
    path.iter().take(200).copied().collect::<Vec<u8>>().escape_ascii().to_string()
}

fn not(path: &[u8], what: &str) -> BuildFailure {
    refused(format!("The source can't be unpacked: {} {what}.", shown(path)))
}

fn too_large() -> BuildFailure {
    let megabytes = limits::SOURCE_BYTES / (1024 * 1024);
    refused(format!("The source is larger than {megabytes} MB when it is unpacked."))
}

fn refused(reason: impl Into<String>) -> BuildFailure {
    BuildFailure::Source(reason.into())
}

fn broken(error: io::Error) -> BuildFailure {
    refused(format!("The source's archive is broken or cut short: {error}."))
}

fn failed(path: &[u8], error: io::Error) -> BuildFailure {
    // ELOOP: a link where a directory should be.
    if error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) {
        return not(path, "lies below something that is no directory");
    }
    match error.kind() {
        // Whoever sees the volume full knows its size.
        io::ErrorKind::StorageFull => Error::internal("the build's disk is full", error).into(),
        io::ErrorKind::NotADirectory => not(path, "lies below something that is no directory"),
        io::ErrorKind::IsADirectory => not(path, "is there already, as a directory"),
        io::ErrorKind::InvalidFilename => not(path, "has too long a name"),
        _ => BuildFailure::Platform(Error::internal(format!("write {}", shown(path)), error)),
    }
}

#[cfg(test)]
mod tests;
