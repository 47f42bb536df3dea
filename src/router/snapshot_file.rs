//! The last snapshot on disk, so that a router which starts while the server is away still
//! routes.

use crate::link::Snapshot;
use std::io;
use std::path::Path;

const NAME: &str = "snapshot.json";

/// Replaces the file in one step; a reader sees the old one or the new one.
pub fn save(router_dir: &Path, snapshot: &Snapshot) -> io::Result<()> {
    let text = serde_json::to_vec(snapshot).map_err(io::Error::other)?;
    let temporary = router_dir.join("snapshot.json.new");
    std::fs::write(&temporary, text)?;
    std::fs::rename(temporary, router_dir.join(NAME))
}

pub fn load(router_dir: &Path) -> io::Result<Option<Snapshot>> {
    match std::fs::read(router_dir.join(NAME)) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_survives_the_file() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).unwrap().is_none());
        let snapshot = Snapshot { version: 7, ..Snapshot::default() };
        save(dir.path(), &snapshot).unwrap();
        assert_eq!(load(dir.path()).unwrap(), Some(snapshot));
    }
}
