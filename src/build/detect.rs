//! Which buildpacks a build tries, and the words that say so.

use super::BuildFailure;
use super::buildpacks::Buildpacks;
use super::output::OutputSink;

/// What the driver in the container is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Chosen ones must fit; otherwise the first that fits is taken.
    pub chosen: bool,
    /// Names of bundled buildpacks.
    pub names: Vec<String>,
}

/// The configured buildpack (by the user, or pinned by an earlier build), else all candidates.
pub fn choose(
    buildpacks: &Buildpacks,
    configured: Option<&str>,
    out: &OutputSink,
) -> Result<Choice, BuildFailure> {
    let Some(configured) = configured else {
        out.headline("Determining which buildpack to use for this app");
        return Ok(Choice { chosen: false, names: buildpacks.candidates() });
    };
    let name = buildpacks
        .find(configured)
        .ok_or_else(|| BuildFailure::UnknownBuildpack { buildpack: configured.to_string() })?;
    out.headline(&format!("Using buildpack: heroku/{name}"));
    Ok(Choice { chosen: true, names: vec![name.to_string()] })
}
