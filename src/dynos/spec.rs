//! A dyno's container: the one specification that formation, release phase and one-offs share,
//! and the directory on a tmpfs that gives it its config vars, its start script and its quota.

use super::plan::{Generation, Target};
use crate::engine::{
    ContainerSpec, LABEL_APP, LABEL_DYNO, LABEL_EGRESS, LABEL_KIND, LABEL_RELEASE, Labels, Mount,
};
use crate::error::{Context, Result};
use crate::model::{AppId, AppImage, ConfigVars, DynoName, Egress, Size};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use uuid::Uuid;

pub const LABEL_DYNO_ID: &str = "senryu.dyno-id";
pub const LABEL_VERSION: &str = "senryu.version";
pub const LABEL_EPOCH: &str = "senryu.epoch";
pub const LABEL_SIZE: &str = "senryu.size";
pub const LABEL_PORT: &str = "senryu.port";

/// The user of every dyno and build: `heroku` in the stack.
pub const USER_ID: u32 = 1000;
/// Where the dyno finds what we give it.
const INSIDE: &str = "/run/senryu";
const CGROUP_V1_MEMORY: &str = "/sys/fs/cgroup/memory/memory.limit_in_bytes";

/// One dyno that is about to be made.
pub struct DynoSpec<'a> {
    pub id: Uuid,
    pub app: AppId,
    pub app_name: &'a str,
    pub app_host: &'a str,
    pub name: &'a DynoName,
    pub target: &'a Target,
    pub generation: &'a Generation,
    pub command: &'a str,
    pub port: u16,
    pub egress: &'a Egress,
    /// The limits of the generation's size.
    pub size: Size,
}

impl DynoSpec<'_> {
    pub fn directory(&self, run_dir: &Path) -> PathBuf {
        directory(run_dir, self.id)
    }

    pub fn container(&self, run_dir: &Path, keep_log: bool) -> ContainerSpec {
        let size = self.size;
        let short = self.id.simple().to_string();
        let directory = self.directory(run_dir);
        let mut mounts =
            vec![Mount { source: directory.clone(), target: INSIDE.to_string(), read_only: true }];
        if Path::new(CGROUP_V1_MEMORY).exists() {
            // Buildpacks compute WEB_CONCURRENCY from this file: it shows the quota, not the
            // limit above it at which the kernel kills.
            mounts.push(Mount {
                source: directory.join("quota"),
                target: CGROUP_V1_MEMORY.to_string(),
                read_only: true,
            });
        }
        let stacks = (&self.target.image, "/bin/bash", "/app");
        let (image, shell, working_dir) = match self.own_image() {
            Some(own) => (&own.image, "/bin/sh", own.working_dir.as_str()),
            None => stacks,
        };
        let (user, group) = self.user();
        ContainerSpec {
            name: format!("senryu-{}-{}-{}", self.app_name, self.name, &short[..12]),
            image: image.clone(),
            command: vec![shell.to_string(), format!("{INSIDE}/launch")],
            user: format!("{user}:{group}"),
            working_dir: working_dir.to_string(),
            env: Vec::new(),
            labels: self.labels(),
            mounts,
            memory_bytes: size.memory_limit_bytes,
            cpu_shares: size.cpu_shares,
            pids: size.pids,
            open_files: size.open_files,
            read_only_root: false,
            keep_log,
            ..ContainerSpec::default()
        }
    }

    /// The image that the app's Dockerfile made for this process type; a one-off without one runs
    /// in that of `web`, or in any.
    fn own_image(&self) -> Option<&AppImage> {
        let images = &self.target.images;
        let web = || images.iter().find(|(process, _)| process.is_web());
        let found = images.get_key_value(&self.name.process).or_else(web);
        found.or_else(|| images.iter().next()).map(|(_, image)| image)
    }

    /// As whom it runs, in numbers.
    fn user(&self) -> (u32, u32) {
        let own = self.own_image().and_then(|own| {
            let (user, group) = own.user.split_once(':')?;
            Some((user.parse().ok()?, group.parse().ok()?))
        });
        own.filter(|(user, _)| *user != 0).unwrap_or((USER_ID, USER_ID))
    }

    fn labels(&self) -> Labels {
        let mut labels = Labels::new();
        for (key, value) in [
            (LABEL_KIND, "dyno".to_string()),
            (LABEL_APP, self.app.to_string()),
            (LABEL_DYNO, self.name.to_string()),
            (LABEL_RELEASE, self.generation.release.to_string()),
            (LABEL_DYNO_ID, self.id.to_string()),
            (LABEL_VERSION, self.target.version.to_string()),
            (LABEL_EPOCH, self.generation.epoch.to_string()),
            (LABEL_SIZE, self.generation.size.clone()),
            (LABEL_PORT, self.port.to_string()),
        ] {
            labels.insert(key.to_string(), value);
        }
        if let Some(list) = self.egress.stored() {
            labels.insert(LABEL_EGRESS.to_string(), list);
        }
        labels
    }

    /// Writes the start script, which holds the config vars, readable by the dyno's user only.
    pub fn write_directory(&self, run_dir: &Path, config: &ConfigVars) -> Result<()> {
        let directory = self.directory(run_dir);
        let what = || format!("write {}", directory.display());
        std::fs::DirBuilder::new().mode(0o500).recursive(true).create(&directory).context(what())?;
        let quota = self.size.memory_bytes;
        let (user, group) = self.user();
        let write =
            |name: &str, text: &str| write_private(&directory.join(name), text, user, group);
        write("launch", &self.launch(config, quota)).context(what())?;
        write("quota", &format!("{quota}\n")).context(what())?;
        std::os::unix::fs::chown(&directory, Some(user), Some(group)).context(what())
    }

    /// The start procedure of Heroku's dynos: config vars, then `/etc/profile.d`, `.profile.d` and
    /// `.profile`, then the command through bash.
    fn launch(&self, config: &ConfigVars, quota: i64) -> String {
        let mut script = String::new();
        let export = |script: &mut String, key: &str, value: &str| {
            let _ = writeln!(script, "export {key}={}", quoted(value));
        };
        let own = self.own_image();
        if own.is_none() {
            export(&mut script, "PATH", "/usr/local/bin:/usr/bin:/bin");
            export(&mut script, "HOME", "/app");
        }
        for (key, value) in self.metadata() {
            export(&mut script, key, &value);
        }
        if !Path::new(CGROUP_V1_MEMORY).exists() {
            export(&mut script, "MEMORY_AVAILABLE", &(quota / (1024 * 1024)).to_string());
        }
        for (key, value) in config.iter() {
            export(&mut script, key, value);
        }
        export(&mut script, "PORT", &self.port.to_string());
        export(&mut script, "DYNO", &self.name.to_string());
        script.push_str("unset TINI_KILL_PROCESS_GROUP\n");
        if let Some(own) = own {
            let own_command = self.target.commands.command(&self.name.process);
            let argv = match own_command == Some(self.command) {
                true => own.argv.clone(),
                false => ["/bin/sh", "-c", self.command].map(str::to_string).to_vec(),
            };
            let words: Vec<String> = argv.iter().map(|word| quoted(word)).collect();
            let _ = writeln!(script, "exec {}", words.join(" "));
            return script;
        }
        script.push_str("cd /app || exit 1\n");
        script.push_str(
            "for __senryu in /etc/profile.d/*.sh /app/.profile.d/*.sh /app/.profile; do\n  \
             if [ -r \"$__senryu\" ]; then . \"$__senryu\"; fi\ndone\nunset __senryu\n",
        );
        let _ = writeln!(script, "exec /bin/bash -c {}", quoted(self.command));
        script
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        let mut metadata = vec![
            ("HEROKU_APP_ID", self.app.to_string()),
            ("HEROKU_APP_NAME", self.app_name.to_string()),
            ("HEROKU_APP_DEFAULT_DOMAIN_NAME", self.app_host.to_string()),
            ("HEROKU_DYNO_ID", self.id.to_string()),
            ("HEROKU_RELEASE_CREATED_AT", self.target.created_at.api()),
            ("HEROKU_RELEASE_VERSION", format!("v{}", self.target.version)),
            ("HEROKU_SLUG_DESCRIPTION", self.target.description.clone()),
        ];
        if let Some(commit) = &self.target.commit {
            metadata.push(("HEROKU_SLUG_COMMIT", commit.clone()));
        }
        metadata
    }
}

pub fn directory(run_dir: &Path, dyno: Uuid) -> PathBuf {
    run_dir.join("dynos").join(dyno.to_string())
}

fn write_private(path: &Path, text: &str, user: u32, group: u32) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o400)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    std::os::unix::fs::chown(path, Some(user), Some(group))
}

/// A word for bash: in single quotes nothing is expanded, and a single quote itself is closed,
/// escaped and opened again.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bash_reads_back_what_was_quoted() {
        for value in ["plain", "a'b", "$HOME `id` \\ \"x\"", "two\nlines\n", "", "'", "é ☃"] {
            let script = format!("printf %s {}", quoted(value));
            let output =
                std::process::Command::new("bash").arg("-c").arg(&script).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), value);
        }
    }
}
