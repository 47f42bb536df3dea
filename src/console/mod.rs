//! The web console: pages that the server renders, at the control host under `/console`. Each
//! change is a form that any browser can send; what moves by itself is a stream of the same
//! pieces. It does what it does by `actions`, as the API does.

mod account;
mod app;
mod apps;
mod assets;
mod at;
mod audit;
mod builds;
mod chart;
mod code;
mod config;
mod cookie;
mod domains;
mod form;
mod frame;
mod guard;
mod host;
mod live;
mod logs;
mod metrics;
mod oops;
mod password;
mod people;
mod releases;
mod second_factor;
mod settings;
mod sharing;
mod sign_in;
mod signed;
mod tab;
mod words;

#[cfg(test)]
mod tests;

use crate::actions::Platform;
use crate::apps::access::Action::*;
use crate::apps::sessions::Sessions;
use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use guard::Rule::{Admin, App, Open, SignedIn};
use guard::Table;
use std::sync::Arc;

/// What pages need; each gets a clone of the `Arc`.
struct Console {
    platform: Arc<Platform>,
    sessions: Sessions,
}

type State = axum::extract::State<Arc<Console>>;
type Page = std::result::Result<Response, oops::Oops>;

/// All pages.
pub fn routes(platform: Arc<Platform>) -> Router {
    table(console(platform)).finish()
}

fn console(platform: Arc<Platform>) -> Arc<Console> {
    let sessions = Sessions::new(platform.store.clone());
    Arc::new(Console { platform, sessions })
}

fn table(console: Arc<Console>) -> Table {
    app_routes(account_routes(Table::new(console)))
        .get("/console/assets/{version}/{file}", Open, assets::serve)
        .get("/console", Open, home)
        .get("/console/", Open, home)
        .get("/", Open, home)
}

/// Who one is, and what is the platform's as a whole.
fn account_routes(table: Table) -> Table {
    table
        .get("/console/sign-in", Open, sign_in::show)
        .post("/console/sign-in", Open, sign_in::enter)
        .get("/console/sign-in/code", Open, code::show)
        .post("/console/sign-in/code", Open, code::enter)
        .post("/console/sign-out", SignedIn, sign_in::leave)
        .get("/console/password", SignedIn, password::show)
        .post("/console/password", SignedIn, password::change)
        .get("/console/account", SignedIn, account::show)
        .post("/console/account/sessions", SignedIn, account::end)
        .post("/console/account/tokens", SignedIn, account::revoke)
        .get("/console/account/second-factor", SignedIn, second_factor::show)
        .post("/console/account/second-factor", SignedIn, second_factor::begin)
        .post("/console/account/second-factor/on", SignedIn, second_factor::switch_on)
        .post("/console/account/second-factor/change", SignedIn, second_factor::change)
        .get("/console/host", Admin, host::show)
        .get("/console/people", Admin, people::list)
        .post("/console/people", Admin, people::create)
        .post("/console/people/remove", Admin, people::remove)
        .post("/console/people/second-factor", Admin, people::remove_second_factor)
        .get("/console/audit", Admin, audit::all)
        .get("/console/apps", SignedIn, apps::list)
        .get("/console/new-app", SignedIn, apps::new)
        .post("/console/new-app", SignedIn, apps::create)
}

fn app_routes(table: Table) -> Table {
    table
        .get("/console/apps/{app}", App(See), app::show)
        .post("/console/apps/{app}/scale", App(Scale), app::scale)
        .post("/console/apps/{app}/restart", App(Restart), app::restart)
        .post("/console/apps/{app}/maintenance", App(SetMaintenance), app::maintenance)
        .get("/console/apps/{app}/live", App(See), live::stream)
        .get("/console/apps/{app}/releases", App(See), releases::list)
        .post("/console/apps/{app}/releases", App(RollBack), releases::roll_back)
        .get("/console/apps/{app}/config", App(ReadConfig), config::show)
        .post("/console/apps/{app}/config", App(WriteConfig), config::save)
        .get("/console/apps/{app}/builds", App(See), builds::list)
        .get("/console/apps/{app}/builds/{build}", App(See), builds::show)
        .get("/console/apps/{app}/builds/{build}/output", App(See), builds::stream)
        .post("/console/apps/{app}/builds/{build}/cancel", App(Build), builds::cancel)
        .get("/console/apps/{app}/logs", App(ReadLogs), logs::show)
        .get("/console/apps/{app}/logs/stream", App(ReadLogs), logs::stream)
        .get("/console/apps/{app}/metrics", App(ReadMetrics), metrics::show)
        .get("/console/apps/{app}/domains", App(See), domains::list)
        .post("/console/apps/{app}/domains", App(SetDomains), domains::add)
        .post("/console/apps/{app}/domains/remove", App(SetDomains), domains::remove)
        .post("/console/apps/{app}/domains/certificates", App(SetCerts), domains::auto)
        .get("/console/apps/{app}/access", App(See), sharing::list)
        .post("/console/apps/{app}/access", App(SetAccess), sharing::save)
        .post("/console/apps/{app}/access/remove", App(SetAccess), sharing::remove)
        .get("/console/apps/{app}/audit", App(ReadAudit), audit::of_app)
        .get("/console/apps/{app}/settings", App(See), settings::show)
        .post("/console/apps/{app}/settings/name", App(Rename), settings::rename)
        .post("/console/apps/{app}/settings/delete", App(Destroy), settings::destroy)
}

async fn home() -> Response {
    Redirect::to("/console/apps").into_response()
}
