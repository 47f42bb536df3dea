//! Who goes when the host's disk is short: whoever fills it, by what each has written since it was
//! last not short. What lies there for long fills nothing, and ending it would help nobody.

use crate::config::ServerSettings;
use crate::engine::{Engine, FreeDisk};
use crate::error::Result;
use crate::limits;
use std::collections::BTreeMap;

/// What is left of Docker's disk, which dynos write to, and of that of the data directory, which
/// has the volumes of builds. They may be one.
#[derive(Debug, Clone, Copy)]
pub struct Free {
    pub dynos: FreeDisk,
    pub builds: FreeDisk,
}

impl Free {
    pub fn look(engine: &dyn Engine, settings: &ServerSettings) -> Result<Self> {
        let dynos = engine.free_disk()?;
        // A data directory that cannot be looked at is told of by those who write to it.
        let builds = FreeDisk::at(&settings.data_dir).unwrap_or(dynos);
        Ok(Self { dynos, builds })
    }

    /// Of the one that has less.
    pub fn bytes(&self) -> u64 {
        self.dynos.bytes.min(self.builds.bytes)
    }

    pub fn is_short(&self, reserve: u64) -> bool {
        self.dynos.is_short(reserve) || self.builds.is_short(reserve)
    }
}

/// How things were when the disk was last not short, or somebody was last ended for it.
#[derive(Debug)]
pub struct Before {
    free: Free,
    /// Bytes that each container had written.
    written: BTreeMap<String, u64>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Culprit<'a> {
    /// The dyno's container, and the bytes that it has written since.
    Dyno(&'a str, u64),
    Build,
}

impl Before {
    /// Of those that are known, and could not be measured, no growth can be told.
    pub fn new(
        free: Free,
        known: impl Iterator<Item = String>,
        written: BTreeMap<String, u64>,
    ) -> Self {
        let mut all: BTreeMap<String, u64> = known.map(|container| (container, u64::MAX)).collect();
        all.extend(written);
        Self { free, written: all }
    }

    /// A dyno of those that have written so much by now, or a build, if one runs; nobody when the
    /// disk is filled by somebody else.
    pub fn culprit<'a>(
        &self,
        free: Free,
        reserve: u64,
        written: &'a BTreeMap<String, u64>,
        build_runs: bool,
    ) -> Option<Culprit<'a>> {
        // One that was not there before has written all that it has since.
        let before = |container: &str| self.written.get(container).copied().unwrap_or(0);
        let grown = written
            .iter()
            .map(|(container, bytes)| (container.as_str(), bytes.saturating_sub(before(container))))
            .filter(|_| free.dynos.is_short(reserve));
        let all: u64 = grown.clone().map(|(_, bytes)| bytes).sum();
        let most = grown.max_by_key(|(_, bytes)| *bytes);
        let most = most.filter(|(_, bytes)| *bytes >= limits::DISK_CULPRIT_BYTES);
        // What is gone and was not written by dynos is taken for the build's.
        let by_others = self.free.builds.bytes.saturating_sub(free.builds.bytes);
        let by_others = by_others.saturating_sub(all);
        let build = build_runs && free.builds.is_short(reserve);
        match most {
            Some((container, bytes)) if !build || bytes >= by_others => {
                Some(Culprit::Dyno(container, bytes))
            }
            _ => build.then_some(Culprit::Build),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const RESERVE: u64 = 2048;

    fn disk(megabytes: u64) -> FreeDisk {
        FreeDisk { bytes: megabytes * MIB, files: 1 << 20 }
    }

    /// One disk for both.
    fn one(megabytes: u64) -> Free {
        Free { dynos: disk(megabytes), builds: disk(megabytes) }
    }

    fn before(free: Free, dynos: &[(&str, u64)]) -> Before {
        Before::new(free, ["unmeasured".to_string()].into_iter(), written(dynos))
    }

    fn written(dynos: &[(&str, u64)]) -> BTreeMap<String, u64> {
        dynos.iter().map(|(name, megabytes)| (name.to_string(), megabytes * MIB)).collect()
    }

    /// The one that had written most went first, whoever filled the disk, and then the next.
    #[test]
    fn who_has_not_grown_is_never_ended() {
        let before = before(one(9000), &[("old", 6000), ("new", 100)]);
        let now = written(&[("old", 6000), ("new", 100), ("unmeasured", 500)]);
        assert_eq!(before.culprit(one(100), RESERVE, &now, false), None, "somebody else did it");
        let build = before.culprit(one(100), RESERVE, &now, true);
        assert_eq!(build, Some(Culprit::Build));
        let now = written(&[("old", 6050), ("new", 900), ("newest", 700)]);
        let grown = before.culprit(one(100), RESERVE, &now, false);
        assert_eq!(grown, Some(Culprit::Dyno("new", 800 * MIB)));
        let now = written(&[("old", 6001), ("newest", 700)]);
        let grown = before.culprit(one(2000), RESERVE, &now, false);
        assert_eq!(grown, Some(Culprit::Dyno("newest", 700 * MIB)));
    }

    #[test]
    fn of_a_build_and_a_dyno_that_grow_the_one_goes_that_grows_more() {
        let before = before(one(9000), &[("web", 10)]);
        let now = written(&[("web", 1010)]);
        assert_eq!(before.culprit(one(100), RESERVE, &now, true), Some(Culprit::Build));
        let now = written(&[("web", 6010)]);
        let most = before.culprit(one(100), RESERVE, &now, true);
        assert_eq!(most, Some(Culprit::Dyno("web", 6000 * MIB)));
    }

    /// A short disk of the data directory alone was seen by nobody.
    #[test]
    fn on_two_disks_each_is_filled_by_those_who_write_to_it() {
        let before = before(one(9000), &[("web", 10)]);
        let now = written(&[("web", 6010)]);
        let volumes = Free { dynos: disk(9000), builds: disk(100) };
        assert!(volumes.is_short(RESERVE) && volumes.bytes() == 100 * MIB);
        assert_eq!(before.culprit(volumes, RESERVE, &now, true), Some(Culprit::Build));
        assert_eq!(before.culprit(volumes, RESERVE, &now, false), None);
        let docker = Free { dynos: disk(100), builds: disk(9000) };
        let dyno = before.culprit(docker, RESERVE, &now, true);
        assert_eq!(dyno, Some(Culprit::Dyno("web", 6000 * MIB)));
        assert!(!one(9000).is_short(RESERVE));
    }
}
