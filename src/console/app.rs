//! An app's own page: its processes, scaled by a form each, its dynos, maintenance, and what to
//! type to deploy.

use super::Page;
use super::at::{At, Done, FormAt, Note};
use super::frame::{self, Frame, Place};
use super::live::Live;
use super::oops::refused;
use super::tab::{Here, Tab};
use crate::actions::{AppChange, WhichDynos};
use crate::apps::access::Action;
use crate::dynos::formation::{Quantity, Update};
use crate::error::{Error, Result};
use crate::limits;
use askama::Template;
use axum::extract::Query;

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
