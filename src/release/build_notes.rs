//! What a build's row has to keep and not everybody may read, under the key of config vars.

use super::create::Releases;
use crate::error::{Context, Result};
use crate::model::BuildId;
use serde::Serialize;
use serde::de::DeserializeOwned;

impl Releases {
    /// Opens only as what it was sealed as, and of the same build.
    pub fn seal_of_build(
        &self,
        build: BuildId,
        what: &str,
        note: &impl Serialize,
    ) -> Result<Vec<u8>> {
        let plain = serde_json::to_vec(note).context("write a build's note")?;
        self.secrets.seal(&format!("{what} of build {build}"), &plain)
    }

    pub fn open_of_build<T: DeserializeOwned>(
        &self,
        build: BuildId,
        what: &str,
        sealed: &[u8],
    ) -> Result<T> {
        let plain = self.secrets.open(&format!("{what} of build {build}"), sealed)?;
        serde_json::from_slice(&plain).context("read a build's note")
    }
}
