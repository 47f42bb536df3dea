//! Heroku's Platform API v3: the route table, grouped as Heroku's reference is. Every handler
//! checks the caller by taking a [`auth::Auth`]; what goes without one says so here.

mod accept;
mod account;
mod apps;
mod attach;
mod auth;
mod body;
mod buildpacks;
mod builds;
mod config_vars;
mod domains;
mod drift;
mod dyno_sizes;
mod dynos;
mod egress;
mod error;
mod formation;
mod https;
pub mod internal;
pub mod json;
mod logs;
mod one_offs;
mod range;
mod releases;
mod rollout;
mod sni_endpoints;
mod sources;
mod stacks;
mod streams;

use crate::limits;
use axum::Router;
use axum::routing::{delete, get, post};
use std::sync::Arc;

/// What handlers need; each gets a clone of the `Arc`.
pub use crate::actions::Platform as Api;

type Shared = axum::extract::State<Arc<Api>>;

/// All routes that clients reach through the router.
pub fn routes(api: Arc<Api>) -> Router {
    Router::new()
        // Account and tokens. POST /oauth/authorizations also takes e-mail and password.
        .route("/account", get(account::show))
        .route("/oauth/authorizations", get(account::authorizations).post(account::authorize))
        .route("/oauth/authorizations/{id}", delete(account::revoke))
        .route("/oauth/sessions/~", delete(account::end_session))
        // Apps.
        .route("/apps", get(apps::list).post(apps::create))
        .route("/apps/{app}", get(apps::show).patch(apps::update).delete(apps::destroy))
        .route("/apps/{app}/config-vars", get(config_vars::list).patch(config_vars::update))
        .route("/apps/{app}/domains", get(domains::list).post(domains::create))
        .route(
            "/apps/{app}/domains/{domain}",
            get(domains::show).patch(domains::update).delete(domains::destroy),
        )
        .route("/apps/{app}/sni-endpoints", get(sni_endpoints::list).post(sni_endpoints::create))
        .route(
            "/apps/{app}/sni-endpoints/{endpoint}",
            get(sni_endpoints::show).patch(sni_endpoints::update).delete(sni_endpoints::destroy),
        )
        .route("/apps/{app}/https", get(https::show).patch(https::update))
        .route("/apps/{app}/egress", get(egress::show).patch(egress::update))
        .route("/apps/{app}/formation", get(formation::list).patch(formation::batch))
        .route("/apps/{app}/formation/{type}", get(formation::show).patch(formation::update))
        .route("/apps/{app}/formations/{type}", delete(dynos::restart_type))
        .route("/apps/{app}/formations/{type}/actions/stop", post(dynos::stop_type))
        .route(
            "/apps/{app}/dynos",
            get(dynos::list).post(one_offs::create).delete(dynos::restart_all),
        )
        .route("/apps/{app}/dynos/{dyno}", get(dynos::show).delete(dynos::restart))
        .route("/apps/{app}/dynos/{dyno}/actions/stop", post(dynos::restart))
        .route("/apps/{app}/available-dyno-sizes", get(dyno_sizes::of_app))
        .route("/dyno-sizes", get(dyno_sizes::list))
        .route("/dyno-sizes/{size}", get(dyno_sizes::show))
        .route("/stacks", get(stacks::list))
        .route("/stacks/{stack}", get(stacks::show))
        .route("/apps/{app}/available-stacks", get(stacks::of_app))
        // Builds and releases.
        .route(
            "/apps/{app}/buildpack-installations",
            get(buildpacks::list).put(buildpacks::replace),
        )
        .route("/sources", post(sources::create))
        .route("/apps/{app}/sources", post(sources::create_for_app))
        .route("/apps/{app}/builds", get(builds::list).post(builds::create))
        .route("/apps/{app}/builds/{build}", get(builds::show).delete(builds::cancel))
        .route("/apps/{app}/build-cache", delete(builds::purge_cache))
        .route("/apps/{app}/slugs/{slug}", get(builds::slug))
        .route("/apps/{app}/releases", get(releases::list).post(releases::create))
        .route("/apps/{app}/releases/{release}", get(releases::show))
        .route("/apps/{app}/releases/{release}/config-vars", get(config_vars::of_release))
        .route("/apps/{app}/rollout", get(rollout::show))
        .route("/drift", get(drift::show))
        // Logs.
        .route("/apps/{app}/log-sessions", post(logs::create))
        // Without a token: the address itself is the secret, as on Heroku.
        .route("/sources/{secret}", get(sources::download).put(sources::upload))
        .route("/streams/logs/{token}", get(logs::stream))
        .route("/streams/outputs/{id}", get(streams::output))
        .route("/streams/attach/{secret}", get(attach::attach))
        .fallback(error::no_route)
        .method_not_allowed_fallback(error::no_route)
        .layer(axum::middleware::from_fn(accept::conventions))
        .layer(axum::extract::DefaultBodyLimit::max(limits::API_BODY_BYTES))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(error::panicked))
        .with_state(api)
}
