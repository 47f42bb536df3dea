//! Every message that a failing build shows, in Heroku's words where Heroku has some.

use super::output::OutputSink;
use crate::error::{Error, Kind};
use crate::limits::STEP_FILES;

/// Why a build made no slug. `Display` is one sentence for the log and the build's row; what the
/// user reads in the push is [`BuildFailure::show`].
#[derive(Debug, thiserror::Error)]
pub enum BuildFailure {
    #[error("no buildpack fits this app")]
    NothingDetected,
    #[error("the app is not compatible with buildpack {buildpack}")]
    NotCompatible { buildpack: String },
    #[error("{0}")]
    Buildpack(String),
    #[error("buildpack {buildpack} could not be fetched")]
    NotFetched { buildpack: String },
    #[error("the git submodules could not be installed")]
    Submodules,
    #[error("bin/compile of {language} failed")]
    Compile { language: String },
    #[error("bin/release of {language} is not usable: {reason}")]
    Release { language: String, reason: String },
    #[error("the build took longer than {minutes} minutes")]
    TimedOut { language: String, minutes: u64, processes: Option<i64> },
    #[error("the build ran out of memory")]
    OutOfMemory { megabytes: i64 },
    #[error("the build ran into its limit of {count} processes")]
    Processes { count: i64 },
    #[error("the build's disk is full")]
    DiskFull { megabytes: i64 },
    #[error("the slug is too large: {bytes} bytes")]
    SlugTooLarge { bytes: u64 },
    #[error("{0}")]
    Procfile(String),
    #[error("the Procfile can't be used")]
    ProcfileRefused,
    #[error("heroku.yml can't be used: {}", .0.join("; "))]
    Manifest(Vec<String>),
    #[error("the source has neither a heroku.yml nor a Dockerfile")]
    NoManifest,
    #[error("an image could not be built: {reason}")]
    Image { reason: String },
    #[error("an image could not be built: {reason}")]
    StepKilled { reason: String, megabytes: i64 },
    #[error("a step of a Dockerfile wrote too much")]
    StepDisk { megabytes: u64 },
    #[error("an image is too large: {bytes} bytes")]
    ImageTooLarge { bytes: u64 },
    #[error("the source can't be used: {0}")]
    Source(String),
    #[error("the build was cancelled")]
    Cancelled,
    /// Our fault or the engine's, not the app's: trying again makes sense.
    #[error("the platform could not build: {0}")]
    Platform(#[from] Error),
}

impl BuildFailure {
    /// Writes what the user reads, down to ` !     Push failed`.
    pub fn show(&self, out: &OutputSink) {
        for line in self.lines() {
            out.line(&line);
        }
        out.line("");
        out.warning("Push failed");
    }

    /// What the app's log says of a build that ran into a limit, in the form of Heroku's errors.
    pub fn limit(&self) -> Option<String> {
        match self {
            Self::TimedOut { minutes, .. } => Some(format!(
                "Error S14 (Build time limit) -> The build took longer than {minutes} minutes: make \
                 it faster, or have the server's --build-timeout raised"
            )),
            Self::OutOfMemory { megabytes } => Some(format!(
                "Error S15 (Build memory limit) -> The build needed more than {megabytes}M: make \
                 it use less, for example with fewer parallel workers"
            )),
            Self::StepKilled { megabytes, .. } => Some(format!(
                "Error S15 (Build memory limit) -> A step was killed (status 137), as one is that \
                 needs more than {megabytes}M: make it use less, for example with fewer parallel \
                 workers"
            )),
            Self::StepDisk { megabytes } => Some(format!(
                "Error S16 (Build disk limit) -> A step wrote more than {megabytes}M, or more than \
                 {STEP_FILES} files: make it write less, or remove in the same step what the image \
                 does not need"
            )),
            Self::DiskFull { megabytes } => Some(format!(
                "Error S16 (Build disk limit) -> Source, build and cache needed more than \
                 {megabytes}M: purge the cache or make the app smaller"
            )),
            _ => None,
        }
    }

    /// Whether no buildpack has touched anything yet.
    pub(super) fn before_compile(&self) -> bool {
        let before_it_ran = matches!(self, Self::NotCompatible { .. } | Self::NotFetched { .. });
        before_it_ran || matches!(self, Self::NothingDetected | Self::Submodules)
    }

    /// A full disk hides behind many other failures of ours.
    pub(super) fn or_disk_full(self, megabytes: i64) -> Self {
        match self {
            Self::Platform(_) => Self::DiskFull { megabytes },
            other => other,
        }
    }

    /// Of apps with Dockerfiles, in the form that Heroku has for those.
    fn image_lines(&self) -> Vec<String> {
        let warn = |text: &str| format!(" !     {text}");
        match self {
            Self::Manifest(wrong) => {
                let first = "=!= Your heroku.yml manifest is invalid. Please correct the \
                             following issues:";
                let wrong = wrong.iter().map(|sentence| format!("=!= {sentence}"));
                std::iter::once(first.to_string()).chain(wrong).collect()
            }
            Self::NoManifest => vec![
                "=!= Your app includes neither a heroku.yml build manifest nor a Dockerfile."
                    .to_string(),
                "=!= To deploy it, add one of them, or change its stack: senryu stack:set \
                 heroku-24"
                    .to_string(),
            ],
            Self::Image { reason } => {
                let newer = ["BuildKit", "Unknown flag"].iter().any(|word| reason.contains(word));
                let hint = "Docker's classic builder makes the images here: what needs BuildKit \
                            (RUN --mount, COPY --link, here-documents) it can't do.";
                let first = warn(&format!("The image could not be built: {reason}"));
                std::iter::once(first).chain(newer.then(|| warn(hint))).collect()
            }
            Self::StepKilled { reason, megabytes } => vec![
                warn(&format!("The image could not be built: {reason}")),
                warn(&format!(
                    "So ends a step that is killed, as one is that needs more than {megabytes} MB \
                     of memory."
                )),
            ],
            Self::StepDisk { megabytes } => vec![
                warn(&format!(
                    "A step wrote more than {megabytes} MB, or more than {STEP_FILES} files, and \
                     was ended."
                )),
                warn("Make it write less, or remove in the same step what the image doesn't need."),
            ],
            Self::ImageTooLarge { bytes } => vec![warn(&format!(
                "The image has {} or more and is too large (max is {}M).",
                super::output::megabytes(*bytes),
                crate::limits::APP_IMAGE_BYTES / (1024 * 1024)
            ))],
            _ => Vec::new(),
        }
    }

    fn lines(&self) -> Vec<String> {
        match self {
            Self::NothingDetected => vec![
                warn("No default language could be detected for this app."),
                "\t\t\tHINT: This occurs when Senryu cannot detect the buildpack to use for this \
                 application automatically."
                    .to_string(),
                "\t\t\tIt looks for these files at the root of the repository: package.json \
                 (Node.js), requirements.txt, pyproject.toml or Pipfile (Python), go.mod (Go), \
                 static.json (a static site)."
                    .to_string(),
                "\t\t\tOther buildpacks are chosen with: senryu buildpacks:set".to_string(),
            ],
            Self::NotCompatible { buildpack } => vec![
                format!("-----> App not compatible with buildpack: {buildpack}"),
                "       Its bin/detect does not recognise the files at the root of the repository."
                    .to_string(),
            ],
            Self::Buildpack(reason) => vec![warn(reason)],
            // Its reason has been said by what fetched it.
            Self::NotFetched { buildpack } => {
                vec![warn(&format!("Push rejected, error fetching custom buildpack {buildpack}"))]
            }
            // In Heroku's words; what went wrong has been said.
            Self::Submodules => vec!["!\tPush rejected, submodule install failed".to_string()],
            Self::Compile { language } => {
                vec![warn(&format!("Push rejected, failed to compile {language} app."))]
            }
            Self::Release { language, reason } => vec![
                warn(&format!("The {language} buildpack's bin/release failed: {reason}")),
                warn(&format!("Push rejected, failed to compile {language} app.")),
            ],
            Self::TimedOut { language, minutes, processes } => {
                timed_out(language, *minutes, *processes)
            }
            Self::OutOfMemory { megabytes } => vec![
                warn(&format!("The build needed more than its {megabytes} MB of memory.")),
                warn("Make the build use less, for example with fewer parallel workers."),
            ],
            Self::Processes { count } => vec![
                warn(&format!("The build ran into its limit of {count} processes and threads.")),
                warn("Make the build use fewer, for example with fewer parallel workers."),
            ],
            Self::DiskFull { megabytes } => vec![
                warn(&format!(
                    "The build's disk is full: source, build and cache share \
                     {megabytes} MB."
                )),
                warn("Purge the build cache or make the app smaller, and push again."),
            ],
            Self::SlugTooLarge { bytes } => vec![warn(&format!(
                "Compiled slug size: {} is too large (max is {}M).",
                super::output::megabytes(*bytes),
                crate::limits::SLUG_BYTES / (1024 * 1024)
            ))],
            Self::Procfile(reason) => vec![warn(reason)],
            Self::ProcfileRefused => vec![warn("Push rejected, the Procfile can't be used.")],
            Self::Manifest(_)
            | Self::NoManifest
            | Self::Image { .. }
            | Self::StepKilled { .. }
            | Self::StepDisk { .. }
            | Self::ImageTooLarge { .. } => self.image_lines(),
            Self::Source(reason) => vec![warn(reason)],
            Self::Cancelled => vec![warn("The build was cancelled.")],
            Self::Platform(error) => platform(error),
        }
    }
}

fn warn(text: &str) -> String {
    format!(" !     {text}")
}

/// `processes` is the limit that it was at.
fn timed_out(language: &str, minutes: u64, processes: Option<i64>) -> Vec<String> {
    let plural = if minutes == 1 { "" } else { "s" };
    let first = warn(&format!("Timed out compiling {language} app ({minutes} minute{plural})"));
    let crowded = processes
        .map(|count| warn(&format!("It was at its limit of {count} processes and threads.")));
    let last = warn("The server's setting --build-timeout is the limit.");
    [Some(first), crowded, Some(last)].into_iter().flatten().collect()
}

fn platform(error: &Error) -> Vec<String> {
    if crate::engine::docker::is_away(error) {
        return vec![
            " !     The container engine is away, so nothing can be built right now.".to_string(),
            " !     Nothing has changed: push again in a moment.".to_string(),
        ];
    }
    if is_full(error) {
        return vec![
            " !     The server's disk is full, so this cannot be built.".to_string(),
            " !     Nothing has changed: push again once there is room on it.".to_string(),
        ];
    }
    if error.kind() == Kind::Unavailable {
        return vec![
            format!(" !     {}.", error.public_message().trim_end_matches('.')),
            " !     The fault is not in the app. Nothing has changed.".to_string(),
        ];
    }
    vec![
        " !     The platform could not build this: the fault is not in the app.".to_string(),
        " !     The server's log says more. Nothing has changed: push again.".to_string(),
    ]
}

fn is_full(error: &Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|error| error.kind() == std::io::ErrorKind::StorageFull) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(failure: &BuildFailure) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("output");
        failure.show(&OutputSink::create(&path).unwrap());
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn herokus_words_where_heroku_has_some() {
        let language = "Node.js".to_string();
        for (failure, words) in [
            (
                BuildFailure::NothingDetected,
                " !     No default language could be detected for this app.\n\t\t\tHINT: ",
            ),
            (
                BuildFailure::NotCompatible { buildpack: "heroku/nodejs".to_string() },
                "-----> App not compatible with buildpack: heroku/nodejs\n       ",
            ),
            (
                BuildFailure::Compile { language: language.clone() },
                " !     Push rejected, failed to compile Node.js app.\n\n !     Push failed\n",
            ),
            (
                BuildFailure::TimedOut { language, minutes: 15, processes: Some(512) },
                " !     Timed out compiling Node.js app (15 minutes)\n !     It was at its limit of \
                 512 processes and threads.\n",
            ),
            (
                BuildFailure::SlugTooLarge { bytes: 3 << 30 },
                " !     Compiled slug size: 3072.0M is too large (max is 2048M).\n",
            ),
        ] {
            let shown = shown(&failure);
            assert!(shown.starts_with(words), "{shown}");
            assert!(shown.ends_with("\n\n !     Push failed\n"), "{shown}");
        }
    }

    #[test]
    fn what_needs_a_newer_builder_is_explained() {
        let image = |reason: &str| shown(&BuildFailure::Image { reason: reason.to_string() });
        for reason in ["the --mount option requires BuildKit", "Unknown flag: link"] {
            let shown = image(reason);
            assert!(shown.contains("classic builder makes the images here"), "{shown}");
        }
        assert!(!image("pull access denied").contains("classic"));
    }

    #[test]
    fn the_log_names_a_limit_and_what_to_do() {
        let killed = BuildFailure::StepKilled {
            reason: "The command 'x' returned a non-zero code: 137".to_string(),
            megabytes: 2047,
        };
        let shown = shown(&killed);
        assert!(shown.contains("non-zero code: 137\n !     So ends a step"), "{shown}");
        let late =
            BuildFailure::TimedOut { language: "Go".to_string(), minutes: 15, processes: None };
        for (failure, words) in [
            (killed, ["Error S15 (Build memory limit)", "2047M: make it use less"]),
            (BuildFailure::StepDisk { megabytes: 512 }, ["Error S16 (Build disk limit)", "512M"]),
            (late, ["Error S14 (Build time limit)", "--build-timeout raised"]),
        ] {
            let line = failure.limit().unwrap();
            assert!(words.iter().all(|words| line.contains(words)), "{line}");
        }
    }

    #[test]
    fn a_full_disk_of_the_server_is_named() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let text = shown(&BuildFailure::Platform(Error::internal("write the rest layer", full)));
        assert!(text.contains("The server's disk is full"), "{text}");
    }

    #[test]
    fn a_fault_of_ours_is_not_described_but_says_what_to_do() {
        let error = Error::internal("mount a build volume", "mount: /secret/path: no loop device");
        let text = shown(&BuildFailure::Platform(error));
        assert!(!text.contains("/secret/path") && text.contains("push again"), "{text}");
        let away = Error::unavailable("Docker ended the wait for a container");
        let text = shown(&BuildFailure::Platform(away));
        assert!(text.contains("The container engine is away"), "{text}");
    }
}
