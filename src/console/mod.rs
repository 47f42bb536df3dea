//! The web console: pages that the server renders, at the control host under `/console`. Each
//! change is a form that any browser can send; what moves by itself is a stream of the same
//! pieces. It does what it does by `actions`, as the API does.

mod account;
mod app;
mod apps;
mod assets;
mod builds;
mod chart;
mod code;
mod config;
mod cookie;
mod domains;
mod form;
mod frame;
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
mod words;

use crate::actions::Platform;
use crate::apps::sessions::Sessions;
use crate::limits;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};
use std::sync::Arc;

/// What pages need; each gets a clone of the `Arc`.
struct Console {
    platform: Arc<Platform>,
    sessions: Sessions,
}

type State = axum::extract::State<Arc<Console>>;
type Page = std::result::Result<Response, oops::Oops>;

/// All pages. What is not signed in gets the sign-in page, but for that page's own files.
pub fn routes(platform: Arc<Platform>) -> Router {
    let sessions = Sessions::new(platform.store.clone());
    let console = Arc::new(Console { platform, sessions });
    Router::new()
        .route("/console/sign-in", get(sign_in::show).post(sign_in::enter))
        .route("/console/sign-in/code", get(code::show).post(code::enter))
        .route("/console/sign-out", post(sign_in::leave))
        .route("/console/password", get(password::show).post(password::change))
        .route("/console/account", get(account::show))
        .route("/console/account/sessions", post(account::end))
        .route(
            "/console/account/second-factor",
            get(second_factor::show).post(second_factor::begin),
        )
        .route("/console/account/second-factor/on", post(second_factor::switch_on))
        .route("/console/account/second-factor/change", post(second_factor::change))
        .route("/console/host", get(host::show))
        .route("/console/people", get(people::list).post(people::create))
        .route("/console/people/remove", post(people::remove))
        .route("/console/people/second-factor", post(people::remove_second_factor))
        .route("/console/apps", get(apps::list))
        .route("/console/new-app", get(apps::new).post(apps::create))
        .route("/console/apps/{app}", get(app::show))
        .route("/console/apps/{app}/scale", post(app::scale))
        .route("/console/apps/{app}/restart", post(app::restart))
        .route("/console/apps/{app}/maintenance", post(app::maintenance))
        .route("/console/apps/{app}/live", get(live::stream))
        .route("/console/apps/{app}/releases", get(releases::list).post(releases::roll_back))
        .route("/console/apps/{app}/config", get(config::show).post(config::save))
        .route("/console/apps/{app}/builds", get(builds::list))
        .route("/console/apps/{app}/builds/{build}", get(builds::show))
        .route("/console/apps/{app}/builds/{build}/output", get(builds::stream))
        .route("/console/apps/{app}/builds/{build}/cancel", post(builds::cancel))
        .route("/console/apps/{app}/logs", get(logs::show))
        .route("/console/apps/{app}/logs/stream", get(logs::stream))
        .route("/console/apps/{app}/metrics", get(metrics::show))
        .route("/console/apps/{app}/domains", get(domains::list).post(domains::add))
        .route("/console/apps/{app}/domains/remove", post(domains::remove))
        .route("/console/apps/{app}/access", get(sharing::list).post(sharing::save))
        .route("/console/apps/{app}/access/remove", post(sharing::remove))
        .route("/console/apps/{app}/settings", get(settings::show))
        .route("/console/apps/{app}/settings/name", post(settings::rename))
        .route("/console/apps/{app}/settings/delete", post(settings::destroy))
        .route("/console/assets/{version}/{file}", get(assets::serve))
        .route("/console", get(home))
        .route("/console/", get(home))
        .route("/console/{*rest}", any(oops::no_page))
        .route("/", get(home))
        .layer(from_fn_with_state(console.clone(), signed::named))
        .layer(from_fn(frame::finish))
        .layer(DefaultBodyLimit::max(limits::FORM_BYTES))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(oops::panicked))
        .with_state(console)
}

async fn home() -> Response {
    Redirect::to("/console/apps").into_response()
}
