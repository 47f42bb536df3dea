//! An app's config vars are those of its newest release.

use super::create::{Releases, seal_name};
use crate::error::{Context, Error, Result};
use crate::model::{AppId, ConfigVars, Egress, ReleaseId};
use crate::store;
use std::collections::BTreeMap;

impl Releases {
    /// The app's config vars as the next release would have them.
    pub async fn config(&self, app: AppId) -> Result<ConfigVars> {
        let newest = self
            .store
            .read(move |db| store::releases::newest_release(db, app))
            .await?
            .ok_or_else(|| Error::not_found("app"))?;
        self.config_of(newest.id).await
    }

    /// The config vars of one release.
    pub async fn config_of(&self, release: ReleaseId) -> Result<ConfigVars> {
        let sealed = self
            .store
            .read(move |db| store::releases::sealed_config(db, release))
            .await?
            .ok_or_else(|| Error::not_found("release"))?;
        let plain = self.secrets.open(&seal_name(release), &sealed)?;
        let map: BTreeMap<String, String> =
            serde_json::from_slice(&plain).context("read config vars")?;
        Ok(ConfigVars::from_map(map))
    }

    /// Where the app's dynos may connect to: like config vars it is asked for at each start.
    pub async fn egress_of(&self, app: AppId) -> Result<Egress> {
        self.store.read(move |db| store::apps::egress(db, app)).await
    }
}

/// `Set FOO, BAR config vars`, `Remove FOO config vars`, or both, as Heroku's releases say.
pub fn describe(before: &ConfigVars, after: &ConfigVars) -> Option<String> {
    let set: Vec<&str> = after
        .iter()
        .filter(|(key, value)| before.get(key) != Some(*value))
        .map(|(key, _)| key)
        .collect();
    let removed: Vec<&str> =
        before.iter().filter(|(key, _)| after.get(key).is_none()).map(|(key, _)| key).collect();
    match (set.is_empty(), removed.is_empty()) {
        (true, true) => None,
        (false, true) => Some(format!("Set {} config vars", set.join(", "))),
        (true, false) => Some(format!("Remove {} config vars", removed.join(", "))),
        (false, false) => Some(format!(
            "Set {} config vars and remove {} config vars",
            set.join(", "),
            removed.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_described_in_herokus_words() {
        let before =
            ConfigVars::from_map([("A".into(), "1".into()), ("B".into(), "2".into())].into());
        let change = |changes: Vec<(&str, Option<&str>)>| {
            let changes =
                changes.into_iter().map(|(k, v)| (k.into(), v.map(str::to_string))).collect();
            describe(&before, &before.changed(&changes).unwrap())
        };
        assert_eq!(change(vec![("A", Some("1"))]), None);
        assert_eq!(change(vec![("X", None)]), None);
        assert_eq!(
            change(vec![("C", Some("3")), ("A", Some("9"))]).unwrap(),
            "Set A, C config vars"
        );
        assert_eq!(change(vec![("B", None)]).unwrap(), "Remove B config vars");
    }
}
