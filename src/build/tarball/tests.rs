//! Tarballs by hand, since no proper program makes what attackers send.

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

struct Fixture {
    dir: tempfile::TempDir,
    tar: Vec<u8>,
}

impl Fixture {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), tar: Vec::new() }
    }

    /// An entry as it stands in the archive, whatever it claims.
    fn entry(mut self, kind: EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(if name.ends_with(".sh") { 0o755 } else { 0o600 });
        header.set_mtime(1_000_000);
        header.set_cksum();
        self.tar.extend_from_slice(header.as_bytes());
        self.tar.extend_from_slice(content);
        self.tar.resize(self.tar.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, name, "", content)
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, target, b"")
    }

    fn hard(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name, target, b"")
    }

    fn packed(&self) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&self.tar).unwrap();
        gzip.write_all(&[0; 1024]).unwrap();
        gzip.finish().unwrap()
    }

    fn unpack_bytes(&self, bytes: &[u8], sum: Option<&str>) -> Result<PathBuf, String> {
        let (path, work) = (self.dir.path().join("tar"), self.dir.path().join("work"));
        let root = work.join("build");
        fs::write(&path, bytes).unwrap();
        fs::create_dir_all(&root).unwrap();
        let out = OutputSink::create(&self.dir.path().join("said")).unwrap();
        match unpack(File::open(path).unwrap(), sum, &root, &out) {
            Ok(()) => Ok(root),
            Err(BuildFailure::Source(reason)) => Err(reason),
            Err(other) => Err(format!("a fault of ours: {other}")),
        }
    }

    fn unpack(&self) -> Result<PathBuf, String> {
        self.unpack_bytes(&self.packed(), None)
    }

    #[track_caller]
    fn is_refused(&self, words: &str) {
        let reason = self.unpack().unwrap_err();
        assert!(reason.contains(words), "{words:?} is not in {reason:?}");
    }
}

#[test]
fn files_modes_times_and_links_arrive() {
    let fixture = Fixture::new()
        .entry(EntryType::Directory, "./", "", b"")
        .file("./a", b"first")
        .file("bin/run.sh", b"#!/bin/sh")
        .entry(EntryType::Directory, "empty/", "", b"")
        .link("link", "bin/run.sh")
        .link("log", "/tmp/log")
        .link("bin/up", "../../../x")
        .link("passwords", "/etc/shadow")
        .hard("twin", "./a")
        .file("a", b"second")
        .file(".git/config", b"[core]");
    let root = fixture.unpack().unwrap();
    assert_eq!(fs::read(root.join("a")).unwrap(), b"second", "the last one counts, as for tar");
    assert_eq!(fs::read(root.join("twin")).unwrap(), b"first");
    assert_eq!(fs::read_link(root.join("link")).unwrap(), Path::new("bin/run.sh"));
    assert_eq!(fs::read_link(root.join("passwords")).unwrap(), Path::new("/etc/shadow"));
    assert_eq!(fs::read_link(root.join("bin/up")).unwrap(), Path::new("../../../x"));
    let meta = |name: &str| fs::symlink_metadata(root.join(name)).unwrap();
    assert_eq!((meta("a").mode() & 0o777, meta("bin/run.sh").mode() & 0o777), (0o644, 0o755));
    for name in ["a", "bin", "empty", "link", "twin"] {
        assert_eq!((meta(name).mtime(), meta(name).uid()), (1_000_000, 1000), "{name}");
    }
    assert!(!root.join(".git").exists());
    // Without gzip it is a tar all the same.
    let plain = Fixture::new().file("x", b"x");
    assert!(plain.unpack_bytes(&plain.tar, None).unwrap().join("x").exists());
}

#[test]
fn one_directory_around_everything_is_taken_off_and_slugignore_holds() {
    let fixture = Fixture::new()
        .file("repo-1a2b/.slugignore", b"*.psd\n/docs/\n")
        .file("repo-1a2b/a.psd", b"x")
        .file("repo-1a2b/docs/x", b"x")
        .file("repo-1a2b/src/x", b"x");
    let root = fixture.unpack().unwrap();
    assert!(root.join("src/x").exists());
    assert!(!root.join("a.psd").exists() && !root.join("docs").exists());
}

#[test]
fn files_that_git_lfs_has_elsewhere_are_named() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    let fixture = Fixture::new().file("logo.psd", pointer).file("a", b"version 1");
    fixture.unpack().unwrap();
    let said = fs::read_to_string(fixture.dir.path().join("said")).unwrap();
    assert!(said.contains("1 file is a Git LFS pointer: logo.psd\n"), "{said}");
}

#[test]
fn long_names_arrive_and_endless_ones_do_not() {
    let long = format!("{}/file", "d".repeat(200));
    let pax = format!("path={long}\n");
    // A record begins with its own length.
    let pax = format!("{} {pax}", pax.len() + 4);
    let gnu =
        Fixture::new().entry(EntryType::GNULongName, "x", "", long.as_bytes()).file("x", b"1");
    let posix = Fixture::new().entry(EntryType::XHeader, "x", "", pax.as_bytes()).file("x", b"1");
    for fixture in [gnu, posix] {
        let fixture = fixture.file("other", b"");
        let root = fixture.unpack().unwrap();
        assert!(root.join(&long).is_file());
    }
    let endless = vec![b'x'; usize::try_from(limits::SOURCE_NAME_BYTES).unwrap() + 1];
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
        Fixture::new().entry(kind, "x", "", &endless).is_refused("a name or an attribute of");
    }
}

#[test]
fn what_leads_out_is_refused_and_nothing_is_written() {
    Fixture::new().file("/etc/evil", b"x").is_refused("/etc/evil is an absolute path");
    Fixture::new().file("a/../../evil", b"x").is_refused("leads out of the source (..)");
    Fixture::new().hard("h", "/etc/passwd").is_refused("a hard link out of the source");
    Fixture::new().hard("h", "../tar").is_refused("a hard link out of the source");
    Fixture::new().hard("h", "missing").is_refused("which is no file of the source");
    let through = Fixture::new().link("out", "/tmp").file("out/senryu-evil", b"x");
    through.is_refused("lies below something that is no directory");
    assert!(!Path::new("/tmp/senryu-evil").exists() && !Path::new("/etc/evil").exists());
    let linked = Fixture::new().link("a", "/tmp/x").hard("b", "a");
    linked.is_refused("which is no file of the source");
}

#[test]
fn devices_pipes_and_odd_entries_are_refused() {
    for (kind, words) in [
        (EntryType::Char, "is a device"),
        (EntryType::Block, "is a device"),
        (EntryType::Fifo, "is a named pipe"),
        (EntryType::GNUSparse, "sparse"),
        (EntryType::new(b'V'), "is neither a file, a directory nor a link"),
    ] {
        Fixture::new().entry(kind, "odd", "", b"").is_refused(words);
    }
    Fixture::new().file("a", b"").file("a/b", b"").is_refused("no directory");
    Fixture::new().file("a/b", b"").file("a", b"").is_refused("as a directory");
    Fixture::new().is_refused("empty");
}

#[test]
fn a_bomb_is_refused_before_it_fills_the_disk() {
    // What it claims is believed, so that not a byte of it need be unpacked.
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..1].copy_from_slice(b"b");
    header.set_entry_type(EntryType::Regular);
    header.set_size(limits::SOURCE_BYTES + 1);
    header.set_cksum();
    let mut bomb = Fixture::new();
    bomb.tar.extend_from_slice(header.as_bytes());
    bomb.is_refused("larger than 1024 MB when it is unpacked");
    assert!(!bomb.dir.path().join("work/build/b").exists());
    // Directories inside directories, and copies of copies.
    let deep = format!("{}x", "d/".repeat(45));
    let mut record = String::new();
    for _ in 0..10 {
        record.push_str(&deep[..90]);
    }
    Fixture::new()
        .entry(EntryType::GNULongName, "x", "", record.as_bytes())
        .file("x", b"")
        .is_refused("too deep");
}

#[test]
fn what_is_no_tar_is_called_by_its_name() {
    let fixture = Fixture::new();
    for (bytes, words) in [
        (&b"PK\x03\x04zip"[..], "a zip file"),
        (b"\xfd7zXZ\0", "packed by xz"),
        (b"BZh91AY", "packed by bzip2"),
        (b"\x28\xb5\x2f\xfdx", "packed by zstd"),
        (b"<html>not found</html>", "no tar archive"),
        (b"", "no tar archive"),
        (b"\x1f\x8bnonsense", "broken"),
    ] {
        let reason = fixture.unpack_bytes(bytes, None).unwrap_err();
        assert!(reason.contains(words), "{reason}");
    }
    let whole = Fixture::new().file("a", &[b'x'; 5000]).packed();
    let half = Fixture::new().unpack_bytes(&whole[..whole.len() / 2], None).unwrap_err();
    assert!(half.contains("broken or cut short"), "{half}");
}

#[test]
fn a_checksum_must_fit() {
    let fixture = Fixture::new().file("a", b"x");
    let bytes = fixture.packed();
    let sum: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02X}")).collect();
    assert!(fixture.unpack_bytes(&bytes, Some(&sum)).is_ok());
    let reason = Fixture::new().unpack_bytes(&bytes, Some(&"0".repeat(64))).unwrap_err();
    assert!(reason.contains("checksum"), "{reason}");
}
