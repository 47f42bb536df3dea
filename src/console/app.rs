//! An app's own page: its processes, scaled by a form each, its dynos, maintenance, and what to
//! type to deploy.

use super::at::{At, Done, FormAt, Note};
use super::frame::{self, Frame, Place};
use super::oops::refused;
use super::words::{self, Mark};
use super::{Console, Page};
use crate::actions::{AppChange, WhichDynos};
use crate::apps::access::{Action, Entry};
use crate::clock::Timestamp;
use crate::dynos::formation::{Quantity, Update};
use crate::dynos::{Dyno, Progress};
use crate::error::{Error, Result};
use crate::limits;
use crate::model::{DynoState, Formation};
use crate::store;
use askama::Template;
use axum::extract::Query;

/// The pages of an app, in the order of its tabs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    Overview,
    Releases,
    Builds,
    Config,
    Logs,
    Metrics,
    Domains,
    Access,
    Audit,
    Settings,
}

/// Which page of an app this is, and what its reader may do there: what they may not is not shown.
pub struct Here {
    at: Tab,
    entry: Entry,
}

impl Here {
    pub fn at(at: Tab, entry: &Entry) -> Self {
        Self { at, entry: entry.clone() }
    }

    /// The tabs: what each is called, where it is below the app's own page, and whether it is this.
    pub fn shown(&self) -> Vec<(&'static str, &'static str, bool)> {
        let all = [
            (Tab::Overview, "Overview", "", Action::See),
            (Tab::Logs, "Logs", "/logs", Action::ReadLogs),
            (Tab::Metrics, "Metrics", "/metrics", Action::ReadMetrics),
            (Tab::Releases, "Releases", "/releases", Action::See),
            (Tab::Builds, "Builds", "/builds", Action::See),
            (Tab::Config, "Config vars", "/config", Action::ReadConfig),
            (Tab::Domains, "Domains", "/domains", Action::See),
            (Tab::Access, "Access", "/access", Action::See),
            (Tab::Audit, "Audit", "/audit", Action::ReadAudit),
            (Tab::Settings, "Settings", "/settings", Action::See),
        ];
        let shown = all.into_iter().filter(|(.., action)| self.entry.may(*action));
        shown.map(|(tab, name, rest, _)| (name, rest, tab == self.at)).collect()
    }

    pub fn may(&self, action: Action) -> bool {
        self.entry.may(action)
    }
}

/// One process type, with the form that scales it.
struct Process {
    name: String,
    command: String,
    quantity: u32,
    size: String,
    up: usize,
    share: String,
}

struct DynoRow {
    name: String,
    mark: Mark,
    size: String,
    version: i64,
    since: String,
    command: String,
    is_one_off: bool,
}

/// What changes by itself, and is sent again whenever it has.
#[derive(Template)]
#[template(path = "console/live.html", config = "web/askama.toml")]
pub struct Live {
    app: String,
    token: String,
    may_restart: bool,
    mark: Mark,
    maintenance: bool,
    /// Why it does not come up.
    failing: Option<String>,
    processes: Vec<Process>,
    dynos: Vec<DynoRow>,
}

impl Live {
    pub async fn of(console: &Console, entry: &Entry, token: &str) -> Result<Self> {
        let id = entry.app.id;
        let (wanted, app, slug) = console
            .platform
            .store
            .read(move |db| {
                let release = store::releases::current_release(db, id)?;
                let slug = release.and_then(|release| release.slug);
                let slug = slug.map(|slug| store::slugs::by_id(db, slug)).transpose()?.flatten();
                Ok((store::formations::of_app(db, id)?, store::apps::by_id(db, id)?, slug))
            })
            .await?;
        let app = app.ok_or_else(|| Error::not_found("app"))?;
        let published = console.platform.dynos.published();
        let seen = published.apps.get(&id);
        let dynos = console.platform.dynos.of_app(id);
        let command = |row: &Formation| {
            let types = slug.as_ref().map(|slug| &slug.process_types);
            types.and_then(|types| types.command(&row.process)).unwrap_or_default().to_string()
        };
        let failing = seen.and_then(|seen| match &seen.progress {
            Progress::Failing(why) => Some(why.clone()),
            _ => None,
        });
        let outage = published.outage().map(|outage| format!("{outage}: this was last known"));
        let failing = outage.or(failing);
        let rows = wanted.iter().filter(|row| !row.process.is_release());
        Ok(Self {
            app: app.name.to_string(),
            token: token.to_string(),
            may_restart: entry.may(Action::Restart),
            mark: words::of_app(app.maintenance, seen, &wanted),
            maintenance: app.maintenance,
            failing,
            processes: rows.map(|row| process(row, command(row), &dynos)).collect(),
            dynos: dynos.iter().map(dyno_row).collect(),
        })
    }
}

impl Live {
    /// What the rest of the page is made from: where this differs, another page is due.
    fn shape(&self) -> String {
        let rows = self.processes.iter();
        let rows =
            rows.map(|row| format!("{}@{}:{} {}", row.name, row.quantity, row.size, row.command));
        let rows: Vec<String> = rows.collect();
        format!("{}\n{}", self.maintenance, rows.join("\n"))
    }
}

fn process(row: &Formation, command: String, dynos: &[Dyno]) -> Process {
    let up = dynos
        .iter()
        .filter(|dyno| dyno.name.process == row.process && dyno.state == DynoState::Up)
        .filter(|dyno| dyno.size == row.size)
        .count();
    Process {
        name: row.process.to_string(),
        command,
        quantity: row.quantity,
        size: row.size.clone(),
        up,
        share: words::share(up, row.quantity),
    }
}

fn dyno_row(dyno: &Dyno) -> DynoRow {
    DynoRow {
        name: dyno.name.to_string(),
        mark: words::of_dyno(dyno.state),
        size: dyno.size.clone(),
        version: dyno.version,
        since: words::ago(dyno.since, Timestamp::now()),
        command: dyno.command.clone(),
        is_one_off: limits::ONE_OFF_NUMBERS.contains(&dyno.name.number),
    }
}

#[derive(Template)]
#[template(path = "console/app.html", config = "web/askama.toml")]
struct View {
    frame: Frame,
    app: String,
    tab: Here,
    web_url: String,
    maintenance: bool,
    /// Nothing was ever deployed: how that is done comes first.
    is_new: bool,
    push: Push,
    sizes: Vec<String>,
    most: u32,
    live: Live,
}

/// What the command line asks when it is told nothing.
const USUAL_URL: &str = "http://localhost:5757";

/// What to type, exactly.
struct Push {
    url: String,
    git_url: String,
    /// The command line asks another address unless it is told.
    is_usual_url: bool,
    /// A password alone is not enough for git.
    takes_token: bool,
}

pub async fn show(at: At, Query(done): Query<Done>) -> Page {
    let note = done.note(&[
        ("created", "The app is there. Now deploy your code."),
        ("scaled", "Scaled. The dynos below show how far it is."),
        ("restarted", "Restarting. Each dyno is replaced by a new one."),
        ("maintenance-on", "Maintenance mode is on: visitors see a notice."),
        ("maintenance-off", "Maintenance mode is off: visitors reach the app."),
    ]);
    page(&at, note).await
}

async fn page(at: &At, note: Note<'_>) -> Page {
    let frame = at.frame(at.name(), note);
    let live = Live::of(&at.console, &at.entry, &frame.token).await?;
    let settings = &at.platform().settings;
    let takes_token = at.platform().access.second_factor(&at.caller().user).await?.is_some();
    let (app, url) = (at.name(), settings.control_url());
    let is_usual_url = url == USUAL_URL;
    let push = Push { git_url: format!("{url}/{app}.git"), is_usual_url, takes_token, url };
    let view = View {
        tab: at.tab(Tab::Overview),
        web_url: settings.web_url(&app),
        maintenance: at.app().maintenance,
        is_new: live.processes.is_empty(),
        push,
        sizes: settings.dyno_sizes.iter().map(|size| size.name.to_string()).collect(),
        most: limits::DYNOS_PER_TYPE,
        app,
        live,
        frame,
    };
    frame::render(view.frame.status(), &view)
}

/// Back to the page after a change, or the page with the reason why there was none.
async fn done<T>(at: &At, result: Result<T>, what: &str) -> Page {
    match refused(result)? {
        Ok(_) => at.back(&format!("?done={what}")),
        Err(error) => page(at, Note::Refused(&error)).await,
    }
}

pub async fn scale(FormAt { at, fields }: FormAt) -> Page {
    let scaled = async {
        let quantity = fields.get("quantity").trim();
        let quantity = quantity
            .parse()
            .map_err(|_| Error::invalid(format!("Quantity {quantity:?} is not a whole number.")))?;
        let update = Update {
            process: fields.get("process").to_string(),
            quantity: Some(Quantity::Absolute(quantity)),
            size: Some(fields.get("size").to_string()).filter(|size| !size.is_empty()),
        };
        at.platform().scale(at.caller(), at.app(), vec![update]).await
    };
    done(&at, scaled.await, "scaled").await
}

/// One dyno that is named, or all.
pub async fn restart(FormAt { at, fields }: FormAt) -> Page {
    let which = match fields.get("dyno") {
        "" => WhichDynos::All,
        dyno => WhichDynos::One(dyno),
    };
    done(&at, at.platform().restart(at.caller(), at.app(), which).await, "restarted").await
}

pub async fn maintenance(FormAt { at, fields }: FormAt) -> Page {
    let on = fields.get("on") == "yes";
    let change = AppChange { maintenance: Some(on), ..AppChange::default() };
    let changed = at.platform().update_app(at.caller(), at.app(), change).await;
    done(&at, changed, if on { "maintenance-on" } else { "maintenance-off" }).await
}
