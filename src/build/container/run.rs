//! How images are run: which process types there are, what each executes, and as which user.

use super::manifest::{ImageSource, Manifest, Run};
use super::{Runs, compile};
use crate::build::volume::USER;
use crate::build::{BuildFailure, BuildInput, Builder, OutputSink};
use crate::engine::{ContainerSpec, Ended, ImageFacts, LABEL_APP, LABEL_KIND, Labels, Output};
use crate::limits;
use crate::model::{AppImage, ProcessType, Procfile};
use std::collections::BTreeMap;
use tokio::sync::mpsc;

/// Says as whom it runs, with nothing but a shell.
const WHO: &str = "while read -r key value rest; do case $key in Uid:|Gid:) echo \"$key$value\";; \
                   esac; done </proc/self/status";

/// An image that was built, and as whom it runs.
struct Made<'a> {
    process: &'a ProcessType,
    reference: &'a str,
    facts: &'a ImageFacts,
    user: String,
}

impl Builder {
    /// Process types and what they execute: by `run`, else by the Procfile, else by the images'
    /// own commands.
    pub(super) async fn runs(
        &self,
        input: &BuildInput,
        manifest: &Manifest,
        procfile: Option<Vec<u8>>,
        made: &[(ImageSource, String, ImageFacts)],
        out: &OutputSink,
    ) -> Result<Runs, BuildFailure> {
        let mut images = Vec::new();
        for (source, reference, facts) in made {
            let process = &source.process;
            let user = self.user_of(input, process, reference, facts, out).await?;
            images.push(Made { process, reference, facts, user });
        }
        let mut runs: BTreeMap<ProcessType, Run> = manifest.run.clone();
        if let (true, Some(bytes)) = (runs.is_empty(), &procfile) {
            let procfile = Procfile::parse(bytes);
            let procfile = procfile.map_err(|error| BuildFailure::Procfile(error.to_string()))?;
            for (process, command) in procfile.iter() {
                let command = Some(command.to_string());
                runs.insert(process.clone(), Run { command, image: None });
            }
        }
        // Types with an image of their own run what that says.
        for image in &images {
            runs.entry(image.process.clone()).or_default();
        }
        if let (Some(release), Ok(process)) = (&manifest.release, ProcessType::parse("release")) {
            runs.insert(process, release.clone());
        }
        let mut commands = BTreeMap::new();
        let mut run_images = BTreeMap::new();
        for (process, run) in runs {
            let found = image_of(&process, &run, &images)?;
            let (shown, argv) = argv(&process, &run, found)?;
            commands.insert(process.clone(), shown);
            let working_dir = match found.facts.working_dir.as_str() {
                "" => "/".to_string(),
                dir => dir.to_string(),
            };
            let (image, user) = (found.reference.to_string(), found.user.clone());
            let (env, layers) = (found.facts.env.clone(), Vec::new());
            let image = AppImage { image, user, working_dir, argv, env, layers };
            run_images.insert(process, image);
        }
        out.line("");
        out.headline("Discovering process types");
        let types: Vec<String> = commands.keys().map(ToString::to_string).collect();
        out.detail(&format!("Declared types -> {}", types.join(", ")));
        Ok((Procfile::from_map(commands), run_images))
    }

    /// As whom an image runs, in numbers. One that would run as root runs as an ordinary user.
    async fn user_of(
        &self,
        input: &BuildInput,
        process: &ProcessType,
        reference: &str,
        facts: &ImageFacts,
        out: &OutputSink,
    ) -> Result<String, BuildFailure> {
        let ordinary = format!("{USER}:{USER}");
        let is_root = |user: &str| matches!(user.split(':').next(), Some("" | "0" | "root"));
        let user = if is_root(&facts.user) { &ordinary } else { &facts.user };
        let found = self.who(input, process, reference, user).await?;
        if is_root(&facts.user) || is_root(&found) {
            out.warning(&format!(
                "The image of {process} names no user but root: it runs as user {ordinary} here, \
                 without any capability."
            ));
            out.warning(
                "What it writes must belong to that user, and $PORT is above 1024: give the \
                 Dockerfile a USER to be sure.",
            );
            return Ok(ordinary);
        }
        Ok(found)
    }

    /// Runs the image's shell, which must be there: it loads the config vars at each start.
    async fn who(
        &self,
        input: &BuildInput,
        process: &ProcessType,
        reference: &str,
        user: &str,
    ) -> Result<String, BuildFailure> {
        let limits = &self.settings.build_limits;
        let spec = ContainerSpec {
            name: format!("{}-{process}", compile::container_name(input)),
            image: reference.to_string(),
            command: ["/bin/sh", "-c", WHO].map(str::to_string).to_vec(),
            user: user.to_string(),
            labels: Labels::from([
                (LABEL_KIND.to_string(), "build".to_string()),
                (LABEL_APP.to_string(), input.app.to_string()),
            ]),
            memory_bytes: limits.memory_limit_bytes,
            cpu_shares: limits.cpu_shares,
            pids: limits.pids,
            open_files: limits.open_files,
            read_only_root: true,
            working_dir: "/".to_string(),
            background: true,
            ..ContainerSpec::default()
        };
        let (send, mut receive) = mpsc::channel::<Output>(limits::OUTPUT_QUEUE);
        let ended = self.engine.run(&spec, send, limits::IMAGE_PROBE);
        let mut said = Vec::new();
        let mut gather = async || {
            while let Some(output) = receive.recv().await {
                if said.len() < limits::IMAGE_PROBE_BYTES {
                    said.extend_from_slice(&output.bytes);
                }
            }
        };
        let (ended, ()) = tokio::join!(ended, gather());
        let said = String::from_utf8_lossy(&said).into_owned();
        let id = |key: &str| said.lines().find_map(|line| line.strip_prefix(key)?.parse().ok());
        let ids: (Option<u32>, Option<u32>) = (id("Uid:"), id("Gid:"));
        match (ended, ids) {
            (Ok(Ended::Exited { code: 0, .. }), (Some(user), Some(group))) => {
                Ok(format!("{user}:{group}"))
            }
            (Err(error), _) if crate::engine::docker::is_away(&error) => Err(error.into()),
            (ended, _) => {
                tracing::info!(?ended, said, "an image can't be run");
                Err(BuildFailure::Image {
                    reason: format!(
                        "the image of {process} can't be started as user {user}: it needs a shell \
                         at /bin/sh, which loads the config vars, and a user that it knows"
                    ),
                })
            }
        }
    }
}

/// The image that a type names, else its own, else the only one, else that of `web`.
fn image_of<'a>(
    process: &ProcessType,
    run: &Run,
    images: &'a [Made<'a>],
) -> Result<&'a Made<'a>, BuildFailure> {
    let of = |wanted: &ProcessType| images.iter().find(|image| image.process == wanted);
    let found = match &run.image {
        Some(named) => of(named),
        None => of(process)
            .or_else(|| (images.len() == 1).then(|| images.first()).flatten())
            .or_else(|| images.iter().find(|image| image.process.is_web())),
    };
    found.ok_or_else(|| {
        BuildFailure::Manifest(vec![format!(
            "{process} has no image: name one in run.{process}.image of heroku.yml"
        )])
    })
}

/// What is shown and what is executed. A command of the user's goes through a shell; the image's
/// entrypoint comes before either, as on Heroku.
fn argv(
    process: &ProcessType,
    run: &Run,
    image: &Made<'_>,
) -> Result<(String, Vec<String>), BuildFailure> {
    let mut argv = image.facts.entrypoint.clone();
    if let Some(command) = &run.command {
        argv.extend(["/bin/sh", "-c", command].map(str::to_string));
        return Ok((command.clone(), argv));
    }
    argv.extend(image.facts.command.iter().cloned());
    if argv.is_empty() {
        return Err(BuildFailure::Manifest(vec![format!(
            "{process} has no command: give the Dockerfile a CMD, or run.{process} in heroku.yml"
        )]));
    }
    let shown = match argv.as_slice() {
        // How a CMD without brackets is kept.
        [shell, flag, command] if shell == "/bin/sh" && flag == "-c" => command.clone(),
        argv => shlex::try_join(argv.iter().map(String::as_str)).map_err(|_| {
            BuildFailure::Manifest(vec![format!("{process} has a command that is no text")])
        })?,
    };
    Ok((shown, argv))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(entrypoint: &[&str], command: &[&str]) -> ImageFacts {
        let own = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        ImageFacts { entrypoint: own(entrypoint), command: own(command), ..ImageFacts::default() }
    }

    #[test]
    fn commands_are_the_users_else_the_images_own() {
        let web = ProcessType::parse("web").unwrap();
        let job = ProcessType::parse("job").unwrap();
        let run = |command: Option<&str>| Run { command: command.map(str::to_string), image: None };
        for (entrypoint, own, given, shown, executed) in [
            (&[][..], &["serve", "a b"][..], None, "serve 'a b'", &["serve", "a b"][..]),
            (
                &[],
                &["/bin/sh", "-c", "serve $PORT"],
                None,
                "serve $PORT",
                &["/bin/sh", "-c", "serve $PORT"],
            ),
            (&["/init"], &["serve"], None, "/init serve", &["/init", "serve"]),
            (&["/init"], &["serve"], Some("x"), "x", &["/init", "/bin/sh", "-c", "x"]),
        ] {
            let facts = facts(entrypoint, own);
            let made = Made { process: &web, reference: "r", facts: &facts, user: String::new() };
            let (said, argv) = argv(&web, &run(given), &made).unwrap();
            assert_eq!(
                (said.as_str(), argv),
                (shown, executed.iter().map(ToString::to_string).collect())
            );
        }
        let facts = facts(&[], &[]);
        let made = || Made { process: &web, reference: "r", facts: &facts, user: String::new() };
        assert!(argv(&web, &run(None), &made()).is_err());
        let one = [made()];
        assert!(image_of(&job, &run(Some("x")), &one).is_ok(), "the only image is everybody's");
        let named = Run { image: Some(job.clone()), ..Run::default() };
        assert!(image_of(&web, &named, &one).is_err());
    }
}
