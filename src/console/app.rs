//! An app's own page: its processes, scaled by a form each, its dynos, maintenance, and what to
//! type to deploy.

use super::form::Act;
use super::frame::{self, Frame, Place};
use super::guard::On;
use super::oops::{Oops, belongs_on_the_page};
use super::signed::Signed;
use super::words::{self, Mark};
use super::{Console, Page, State};
use crate::actions::{AppChange, WhichDynos};
use crate::apps::access::{Action, Entry};
use crate::clock::Timestamp;
use crate::dynos::formation::{Quantity, Update};
use crate::dynos::{Dyno, Progress};
use crate::error::{Error, Result};
use crate::limits;
use crate::model::{App, DynoState, Formation};
use crate::store;
use askama::Template;
use axum::extract::{self, Query};
use serde::Deserialize;

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
            (Tab::Settings, "Settings", "/settings", Action::See),
        ];
        let shown = all.into_iter().filter(|(.., action)| self.entry.may(*action));
        shown.map(|(tab, name, rest, _)| (name, rest, tab == self.at)).collect()
    }

    pub fn may(&self, action: Action) -> bool {
        self.entry.may(action)
    }
}

/// To one of the app's pages, after something was done.
pub fn back(app: &App, rest: &str) -> Page {
    Err(Oops::Go(format!("/console/apps/{}{rest}", app.name)))
}

/// The error, if it belongs on the page; else it is the page.
pub fn refuse_or_fail(error: Error) -> std::result::Result<Error, Oops> {
    if belongs_on_the_page(&error) { Ok(error) } else { Err(error.into()) }
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
        let rows = wanted.iter().filter(|row| !row.process.is_release());
        Ok(Self {
            app: app.name.to_string(),
            token: token.to_string(),
            may_restart: entry.may(Action::Restart),
            mark: words::of_app(app.maintenance, seen, &wanted),
            failing,
            processes: rows.map(|row| process(row, command(row), &dynos)).collect(),
            dynos: dynos.iter().map(dyno_row).collect(),
        })
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
}

#[derive(Deserialize)]
pub struct Asked {
    done: Option<String>,
}

pub async fn show(
    extract::State(console): State,
    signed: Signed,
    On(entry): On,
    Query(asked): Query<Asked>,
) -> Page {
    let said = match asked.done.as_deref() {
        Some("created") => Some("The app is there. Now deploy your code."),
        Some("scaled") => Some("Scaled. The dynos below show how far it is."),
        Some("restarted") => Some("Restarting. Each dyno is replaced by a new one."),
        Some("maintenance-on") => Some("Maintenance mode is on: visitors see a notice."),
        Some("maintenance-off") => Some("Maintenance mode is off: visitors reach the app."),
        _ => None,
    };
    page(&console, &signed, &entry, said, None).await
}

async fn page(
    console: &Console,
    signed: &Signed,
    entry: &Entry,
    said: Option<&str>,
    refused: Option<&Error>,
) -> Page {
    let app = &entry.app;
    let name = app.name.to_string();
    let frame = Frame::new(&*name, Place::Apps, signed).saying(said).refusing(refused);
    let live = Live::of(console, entry, &frame.token).await?;
    let settings = &console.platform.settings;
    let url = settings.control_url();
    let view = View {
        tab: Here::at(Tab::Overview, entry),
        web_url: settings.web_url(&name),
        maintenance: app.maintenance,
        is_new: live.processes.is_empty(),
        push: Push { git_url: format!("{url}/{name}.git"), is_usual_url: url == USUAL_URL, url },
        sizes: settings.dyno_sizes.iter().map(|size| size.name.to_string()).collect(),
        most: limits::DYNOS_PER_TYPE,
        app: name,
        live,
        frame,
    };
    frame::render(view.frame.status(), &view)
}

/// Back to the page after a change, or the page with the reason why there was none.
async fn done<T>(
    console: &Console,
    signed: &Signed,
    entry: &Entry,
    result: Result<T>,
    what: &str,
) -> Page {
    match result {
        Ok(_) => back(&entry.app, &format!("?done={what}")),
        Err(error) => page(console, signed, entry, None, Some(&refuse_or_fail(error)?)).await,
    }
}

pub async fn scale(
    extract::State(console): State,
    On(entry): On,
    Act { signed, fields }: Act,
) -> Page {
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
        console.platform.scale(&signed.caller, &entry.app, vec![update]).await
    };
    done(&console, &signed, &entry, scaled.await, "scaled").await
}

/// One dyno that is named, or all.
pub async fn restart(
    extract::State(console): State,
    On(entry): On,
    Act { signed, fields }: Act,
) -> Page {
    let which = match fields.get("dyno") {
        "" => WhichDynos::All,
        dyno => WhichDynos::One(dyno),
    };
    let restarted = console.platform.restart(&signed.caller, &entry.app, which).await;
    done(&console, &signed, &entry, restarted, "restarted").await
}

pub async fn maintenance(
    extract::State(console): State,
    On(entry): On,
    Act { signed, fields }: Act,
) -> Page {
    let on = fields.get("on") == "yes";
    let change = AppChange { maintenance: Some(on), ..AppChange::default() };
    let changed = console.platform.update_app(&signed.caller, &entry.app, change).await;
    let what = if on { "maintenance-on" } else { "maintenance-off" };
    done(&console, &signed, &entry, changed, what).await
}
