//! From a request to a container: the serving release's slug and config vars, the command, its
//! size, and how long it may live.

use super::register::{Entry, Kind, OneOff};
use crate::cgroup::Freezer;
use crate::clock::Timestamp;
use crate::dynos::Dyno;
use crate::dynos::execute::{removed, spec_gone};
use crate::dynos::plan::{Generation, Target};
use crate::dynos::reconciler::{Dynos, DynosParts, target};
use crate::dynos::room::{self, Promise};
use crate::dynos::spec::DynoSpec;
use crate::engine::{self, Input};
use crate::error::{Context, Error, Result};
use crate::logs::{Follow, LogLine};
use crate::model::{
    App, ConfigVars, Formation, ProcessType, Release, Size, Slug, User, WindowSize,
};
use crate::{limits, store, tasks};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The label that tells a one-off from a dyno of the formation.
pub const LABEL_ONE_OFF: &str = "senryu.one-off";
/// Microseconds since 1970: a server that starts keeps the time limit.
pub const LABEL_ENDS_AT: &str = "senryu.ends-at";

/// What a user wants to run.
#[derive(Debug, Default)]
pub struct RunRequest {
    pub command: String,
    pub attach: bool,
    /// Added to the config vars, for this dyno only.
    pub env: Vec<(String, String)>,
    pub force_no_tty: bool,
    pub size: Option<String>,
    /// The process type that it is named after; `run` unless given.
    pub process: Option<String>,
    pub time_to_live: Option<Duration>,
}

/// A one-off that has been made: how it shows, and the secret that its client attaches with.
pub struct Run {
    pub dyno: Dyno,
    pub secret: Option<String>,
}

/// All that a one-off is made of.
pub(super) struct Recipe<'a> {
    pub app: &'a App,
    pub kind: Kind,
    pub process: ProcessType,
    pub target: Target,
    pub size: String,
    /// What `ps` shows.
    pub shown: String,
    /// What bash gets.
    pub command: String,
    pub config: ConfigVars,
    pub input: Input,
    pub life: Duration,
}

/// A one-off and its container, which does not run yet.
pub(super) struct Made {
    pub parts: Arc<DynosParts>,
    pub one_off: Entry,
    pub container: String,
    pub input: Input,
}

impl Dynos {
    /// Makes a one-off. A detached one runs when this returns, an attached one waits for its
    /// client. In a task of its own: a caller that leaves leaves nothing half made.
    pub async fn run(&self, app: &App, user: &User, request: RunRequest) -> Result<Run> {
        let (answer, run) = oneshot::channel();
        let (dynos, app, user) = (self.clone(), app.clone(), user.clone());
        tasks::spawn("make a one-off", async move {
            let _ = answer.send(dynos.made_to_run(&app, &user, request).await);
        });
        run.await.context("make a one-off")?
    }

    async fn made_to_run(&self, app: &App, user: &User, request: RunRequest) -> Result<Run> {
        let (release, slug, formation) = self.serving(app).await?;
        let process = ProcessType::parse(request.process.as_deref().unwrap_or("run"))?;
        if process.is_release() {
            return Err(Error::invalid("Type release is for release commands: choose another"));
        }
        let settings = &self.parts.settings;
        let size = match &request.size {
            Some(name) => settings.dyno_sizes.parse(name)?.name.to_string(),
            None => size_of(&process, &formation),
        };
        let shown = substituted(&request.command, &slug)?;
        let (window, env) = terminal(&request);
        let config = self.parts.releases.config_of(release.id).await?;
        let config = config.changed(&env.into_iter().map(|(k, v)| (k, Some(v))).collect())?;
        let longest = Duration::from_secs(settings.run_timeout);
        let recipe = Recipe {
            app,
            kind: if request.attach { Kind::Attached } else { Kind::Detached },
            process,
            target: target((release, slug)),
            size,
            command: match window {
                Some(size) => sized(&shown, size),
                None => shown.clone(),
            },
            shown,
            config,
            input: match (request.attach, window) {
                (false, _) => Input::Nowhere,
                (true, None) => Input::Pipe,
                (true, Some(_)) => Input::Terminal,
            },
            life: request.time_to_live.map_or(longest, |life| life.min(longest)),
        };
        let made = self.make(recipe).await?;
        let (command, email) = (&request.command, &user.email);
        let started = format!("Starting process with command `{command}` by user {email}");
        self.parts.logs.write(app.id, vec![LogLine::api(started)]).await;
        let dyno = made.one_off.dyno();
        let secret = if request.attach {
            let (secret, client) = self.one_offs.await_client(window.is_some(), app.id, user.id);
            made.say(["State changed from starting to up", "Awaiting client"]).await;
            made.one_off.up.store(true, Ordering::Relaxed);
            tasks::spawn("attached dyno", made.serve(client));
            Some(secret)
        } else {
            made.detach().await?;
            None
        };
        Ok(Run { dyno, secret })
    }

    /// What answers requests now, else what shall.
    async fn serving(&self, app: &App) -> Result<(Release, Slug, Vec<Formation>)> {
        let id = app.id;
        let found = self.parts.store.read(move |db| {
            let release = match store::releases::serving_release(db, id)? {
                Some(release) => Some(release),
                None => store::releases::current_release(db, id)?,
            };
            let slug = match release.as_ref().and_then(|release| release.slug) {
                Some(slug) => store::slugs::by_id(db, slug)?,
                None => None,
            };
            Ok((release, slug, store::formations::of_app(db, id)?))
        });
        match found.await? {
            (Some(release), Some(slug), formation) => Ok((release, slug, formation)),
            _ => Err(Error::invalid(format!(
                "App {} has no code to run yet. Push some with git push senryu main",
                app.name
            ))),
        }
    }

    pub(super) async fn make(&self, recipe: Recipe<'_>) -> Result<Made> {
        let now = Timestamp::now();
        let life = i64::try_from(recipe.life.as_micros()).unwrap_or(i64::MAX);
        let app = recipe.app;
        let settings = &self.parts.settings;
        let bytes = settings.dyno_sizes.stored(&recipe.size).memory_bytes;
        let others = room::promised(self.published().promises.iter().copied());
        let room = |promised: i64| match recipe.kind {
            // It has waited for its memory.
            Kind::Release => Ok(()),
            _ => room::check(settings, "a one-off dyno", bytes, promised.saturating_add(others)),
        };
        let until = Some(Instant::now() + limits::MEMORY_SETTLES);
        let one_off =
            self.one_offs.add(app.id, recipe.kind, &recipe.process, room, |name| OneOff {
                id: Uuid::new_v4(),
                app: app.id,
                name,
                kind: recipe.kind,
                release: recipe.target.release,
                version: recipe.target.version,
                size: recipe.size.clone(),
                command: recipe.shown.clone(),
                since: now,
                ends_at: Timestamp(now.0.saturating_add(life)),
                up: false.into(),
                memory: Promise { bytes, until },
                stop: CancellationToken::new(),
                starved: CancellationToken::new(),
            })?;
        let container = match self.create(&one_off, &recipe).await {
            Ok(container) => container,
            Err(error) => {
                spec_gone(&self.parts.settings, one_off.id);
                return Err(error);
            }
        };
        Ok(Made { parts: self.parts.clone(), one_off, container, input: recipe.input })
    }

    async fn create(&self, one_off: &OneOff, recipe: &Recipe<'_>) -> Result<String> {
        let settings = &self.parts.settings;
        let app_host = settings.app_host(recipe.app.name.as_str());
        let generation =
            Generation { release: one_off.release, epoch: 0, size: one_off.size.clone() };
        let egress = self.parts.releases.egress_of(one_off.app).await?;
        let dyno = DynoSpec {
            id: one_off.id,
            app: one_off.app,
            app_name: recipe.app.name.as_str(),
            app_host: &app_host,
            name: &one_off.name,
            target: &recipe.target,
            generation: &generation,
            command: &recipe.command,
            port: rand::random_range(limits::DYNO_PORTS),
            egress: &egress,
            size: settings.dyno_sizes.stored(&one_off.size),
        };
        dyno.write_directory(&settings.run_dir, &recipe.config)?;
        super::recover::note_command(settings, one_off)?;
        let mut container = dyno.container(&settings.run_dir, one_off.kind != Kind::Attached);
        container.input = recipe.input;
        for (key, value) in [
            (LABEL_ONE_OFF, one_off.kind.as_str().to_string()),
            (LABEL_ENDS_AT, one_off.ends_at.0.to_string()),
        ] {
            container.labels.insert(key.to_string(), value);
        }
        self.parts.engine.create(&container).await
    }
}

impl Made {
    pub(super) async fn say<const N: usize>(&self, messages: [&str; N]) {
        let lines = messages.into_iter().map(|message| self.one_off.line(message)).collect();
        self.parts.logs.write(self.one_off.app, lines).await;
    }

    /// Runs it with its output in the log.
    pub(super) async fn detach(self) -> Result<()> {
        let command = format!("Starting process with command `{}`", self.one_off.command);
        self.say([&command]).await;
        if let Err(error) = self.parts.engine.start(&self.container).await {
            self.say(["State changed from starting to complete: it could not be started"]).await;
            self.clear().await;
            return Err(error);
        }
        self.one_off.up.store(true, Ordering::Relaxed);
        self.say(["State changed from starting to up"]).await;
        tasks::spawn("detached dyno", self.live_detached());
        Ok(())
    }

    /// Follows its output until it has ended, and removes what is left.
    pub(super) async fn live_detached(self) {
        self.follow().await;
        self.live(&CancellationToken::new()).await;
        self.clear().await;
    }

    /// Its output goes to the log from now on, from where an earlier server left off.
    pub(super) async fn follow(&self) {
        match self.parts.engine.inspect(&self.container).await {
            Ok(found) => {
                let freezer = found.as_ref().and_then(|found| Freezer::of(found.pid, &found.id));
                if let Some(path) = found.and_then(|found| found.log_path) {
                    self.parts.logs.follow(Follow {
                        app: self.one_off.app,
                        process: self.one_off.name.to_string(),
                        container: self.container.clone(),
                        path,
                        freezer,
                    });
                }
            }
            Err(error) => tracing::warn!(error = error.chain(), "a one-off's log is not read"),
        }
    }

    /// Connects to the container, so that nothing of its output is missed, and starts it.
    pub(super) async fn begin(&self) -> Result<engine::Attached> {
        let engine = &self.parts.engine;
        let attached = engine.attach(&self.container, self.input).await?;
        engine.start(&self.container).await?;
        self.one_off.up.store(true, Ordering::Relaxed);
        Ok(attached)
    }

    /// Removes what is left of it. Its last lines have been read by then.
    pub(super) async fn clear(&self) {
        if self.one_off.kind != Kind::Attached {
            self.parts.logs.finish(&self.container).await;
        }
        if let Err(error) = self.parts.engine.remove(&self.container).await {
            tracing::warn!(error = error.chain(), "a one-off's container could not be removed");
            let (engine, container) = (self.parts.engine.clone(), self.container.clone());
            // Nobody has to wait for an engine that is away.
            tasks::spawn("remove a one-off's container", async move {
                sleep(limits::RECONCILE_PERIOD).await;
                removed(engine.as_ref(), &container).await;
            });
        }
        spec_gone(&self.parts.settings, self.one_off.id);
    }
}

/// The size of the process type that it is named after; else the web dynos' where that is one of
/// the small ones, which Heroku has for whole apps; else what everybody gets.
pub(super) fn size_of(process: &ProcessType, formation: &[Formation]) -> String {
    let own = formation.iter().find(|row| row.process == *process);
    let web = formation.iter().find(|row| row.process.is_web());
    let small = web.filter(|row| ["Eco", "Basic"].contains(&row.size.as_str()));
    own.or(small).map_or_else(|| Size::DEFAULT.to_string(), |row| row.size.clone())
}

/// A first word that names a process type stands for its command: `run worker --once`.
fn substituted(command: &str, slug: &Slug) -> Result<String> {
    let command = command.trim();
    if command.is_empty() || command.contains('\0') {
        return Err(Error::invalid("Command is required and must be text"));
    }
    let (first, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let named = ProcessType::parse(first).ok();
    let named = named.and_then(|process| slug.process_types.command(&process));
    Ok(match named {
        Some(command) => format!("{command} {rest}").trim_end().to_string(),
        None => command.to_string(),
    })
}

/// A terminal is made for an attached dyno when the client tells what its own is called. Its size
/// is the terminal's from then on: as variables it would stay what it was at first.
fn terminal(request: &RunRequest) -> (Option<WindowSize>, Vec<(String, String)>) {
    let mut env = request.env.clone();
    let get = |key: &str| env.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value);
    if !request.attach || request.force_no_tty || get("TERM").is_none() {
        return (None, env);
    }
    let number = |key: &str| get(key).and_then(|value| value.parse().ok());
    let size = WindowSize {
        columns: number("COLUMNS").unwrap_or(limits::ONE_OFF_COLUMNS),
        rows: number("LINES").unwrap_or(limits::ONE_OFF_ROWS),
    };
    env.retain(|(name, _)| name != "COLUMNS" && name != "LINES");
    (Some(size), env)
}

/// The terminal has its size before the command looks.
fn sized(command: &str, size: WindowSize) -> String {
    format!("stty columns {} rows {} 2>/dev/null\n{command}", size.columns, size.rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AppId;

    #[test]
    fn a_one_off_is_as_large_as_its_type_or_the_small_app_that_it_is_of() {
        let row = |process: &str, size: &str| Formation {
            id: Uuid::new_v4(),
            app: AppId::random(),
            process: ProcessType::parse(process).unwrap(),
            quantity: 1,
            size: size.to_string(),
            epoch: 0,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        };
        let size = |rows: &[Formation]| size_of(&ProcessType::parse("run").unwrap(), rows);
        assert_eq!(size(&[row("web", "Eco"), row("worker", "Standard-2X")]), "Eco");
        assert_eq!(size(&[row("web", "Performance-L")]), Size::DEFAULT);
        assert_eq!(size(&[row("web", "Basic"), row("run", "Standard-2X")]), "Standard-2X");
        assert_eq!(size(&[]), Size::DEFAULT);
    }
}
