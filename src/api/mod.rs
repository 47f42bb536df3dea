//! Heroku's Platform API v3: the route table, grouped as Heroku's reference is. Each route has its
//! rule here, which is enforced before the handler runs.

mod accept;
mod account;
mod acm;
mod addons;
mod apps;
mod attach;
mod audit;
mod auth;
mod body;
mod buildpack_registry;
mod buildpacks;
mod builds;
mod collaborators;
mod config_vars;
mod domains;
mod drift;
mod dyno_sizes;
mod dynos;
mod egress;
mod error;
mod features;
mod formation;
mod guard;
mod https;
pub mod internal;
pub mod json;
mod log_drains;
mod logs;
mod metrics;
mod one_offs;
mod range;
mod releases;
mod rendezvous;
mod rollout;
mod sni_endpoints;
mod sources;
mod stacks;
mod streams;
mod users;

#[cfg(test)]
pub mod testing;
#[cfg(test)]
pub mod tests;

use crate::apps::access::Action::{self, *};
use crate::limits;
use axum::Router;
use guard::Rule::{Account, Admin, AnyOf, App, Login, NewPassword, Open, Secret, SelfOr};
use guard::Table;
use std::sync::Arc;

/// What handlers need; each gets a clone of the `Arc`.
pub use crate::actions::Platform as Api;

type Shared = axum::extract::State<Arc<Api>>;

/// All routes that clients reach through the router.
pub fn routes(api: Arc<Api>) -> Router {
    table(api.clone())
        .router
        .fallback(error::no_route)
        .method_not_allowed_fallback(error::no_route)
        .layer(axum::middleware::from_fn(accept::conventions))
        .layer(axum::extract::DefaultBodyLimit::max(limits::API_BODY_BYTES))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(error::panicked))
        .with_state(api)
}

fn table(api: Arc<Api>) -> Table {
    let table = account_routes(Table::new(api));
    build_routes(runtime_routes(app_routes(table)))
}

/// Accounts and tokens, and what is the same for all apps.
fn account_routes(table: Table) -> Table {
    table
        .get("/account", Account, account::show)
        .patch("/account", NewPassword, account::update)
        .get("/account/features", Account, features::list)
        .get("/account/features/{feature}", Account, features::show)
        .get("/oauth/authorizations", Account, account::authorizations)
        .post("/oauth/authorizations", Login, account::authorize)
        .get("/oauth/authorizations/{id}", Account, account::authorization)
        .delete("/oauth/authorizations/{id}", Account, account::revoke)
        .delete("/oauth/sessions/~", Account, account::end_session)
        .get("/users", Admin, users::list)
        .post("/users", Admin, users::create)
        .get("/users/{user}/apps", Account, users::apps)
        .delete("/users/{user}", Admin, users::remove)
        .delete("/users/{user}/second-factor", Admin, users::remove_second_factor)
        .get("/dyno-sizes", Account, dyno_sizes::list)
        .get("/dyno-sizes/{size}", Account, dyno_sizes::show)
        .get("/stacks", Account, stacks::list)
        .get("/stacks/{stack}", Account, stacks::show)
        .get("/regions", Account, stacks::regions)
        .get("/regions/{region}", Account, stacks::region)
        .get("/teams", Account, addons::none)
        .get("/spaces", Account, addons::none)
        .get("/pipelines", Account, addons::none)
        .get("/teams/permissions", Account, collaborators::permissions)
        .get("/addons", Account, addons::none)
        .get("/addon-attachments", Account, addons::none)
        .get("/drift", Account, drift::show)
        .get("/audit", Admin, audit::list)
        .get("/audit/verify", Admin, audit::verify)
}

fn app_routes(table: Table) -> Table {
    const UPDATE: &[Action] = &[Rename, SetMaintenance, SetStack];
    table
        .get("/apps", Account, apps::list)
        .post("/apps", Account, apps::create)
        .get("/apps/{app}", App(See), apps::show)
        .patch("/apps/{app}", AnyOf(UPDATE), apps::update)
        .delete("/apps/{app}", App(Destroy), apps::destroy)
        .get("/apps/{app}/addons", App(See), addons::none)
        .get("/apps/{app}/addon-attachments", App(See), addons::none)
        .get("/apps/{app}/features", App(See), features::list)
        .get("/apps/{app}/features/{feature}", App(See), features::show)
        .get("/apps/{app}/config-vars", App(ReadConfig), config_vars::list)
        .patch("/apps/{app}/config-vars", App(WriteConfig), config_vars::update)
        .get("/apps/{app}/audit", App(ReadAudit), audit::of_app)
        .get("/apps/{app}/collaborators", App(See), collaborators::list)
        .post("/apps/{app}/collaborators", App(SetAccess), collaborators::create)
        .get("/apps/{app}/collaborators/{user}", App(See), collaborators::show)
        .delete("/apps/{app}/collaborators/{user}", SelfOr(SetAccess), collaborators::remove)
        // Heroku has permissions on apps of teams only; here every app has them.
        .get("/teams/apps/{app}/collaborators", App(See), collaborators::list)
        .post("/teams/apps/{app}/collaborators", App(SetAccess), collaborators::create)
        .get("/teams/apps/{app}/collaborators/{user}", App(See), collaborators::show)
        .patch("/teams/apps/{app}/collaborators/{user}", App(SetAccess), collaborators::update)
        .delete("/teams/apps/{app}/collaborators/{user}", SelfOr(SetAccess), collaborators::remove)
        .get("/apps/{app}/domains", App(See), domains::list)
        .post("/apps/{app}/domains", App(SetDomains), domains::create)
        .get("/apps/{app}/domains/{domain}", App(See), domains::show)
        .patch("/apps/{app}/domains/{domain}", App(SetCerts), domains::update)
        .delete("/apps/{app}/domains/{domain}", App(SetDomains), domains::destroy)
        .get("/apps/{app}/sni-endpoints", App(See), sni_endpoints::list)
        .post("/apps/{app}/sni-endpoints", App(SetCerts), sni_endpoints::create)
        .get("/apps/{app}/sni-endpoints/{endpoint}", App(See), sni_endpoints::show)
        .patch("/apps/{app}/sni-endpoints/{endpoint}", App(SetCerts), sni_endpoints::update)
        .delete("/apps/{app}/sni-endpoints/{endpoint}", App(SetCerts), sni_endpoints::destroy)
        .post("/apps/{app}/acm", App(SetCerts), acm::enable)
        .patch("/apps/{app}/acm", App(SetCerts), acm::refresh)
        .delete("/apps/{app}/acm", App(SetCerts), acm::disable)
        .get("/apps/{app}/https", App(See), https::show)
        .patch("/apps/{app}/https", App(SetHttps), https::update)
        .get("/apps/{app}/egress", App(See), egress::show)
        .patch("/apps/{app}/egress", App(SetEgress), egress::update)
}

fn runtime_routes(table: Table) -> Table {
    table
        .get("/apps/{app}/formation", App(See), formation::list)
        .patch("/apps/{app}/formation", App(Scale), formation::batch)
        .get("/apps/{app}/formation/{type}", App(See), formation::show)
        .patch("/apps/{app}/formation/{type}", App(Scale), formation::update)
        .delete("/apps/{app}/formations/{type}", App(Restart), dynos::restart_type)
        .post("/apps/{app}/formations/{type}/actions/stop", App(Restart), dynos::stop_type)
        .get("/apps/{app}/dynos", App(See), dynos::list)
        .post("/apps/{app}/dynos", App(Run), one_offs::create)
        .delete("/apps/{app}/dynos", App(Restart), dynos::restart_all)
        .get("/apps/{app}/dynos/{dyno}", App(See), dynos::show)
        .delete("/apps/{app}/dynos/{dyno}", App(Restart), dynos::restart)
        .post("/apps/{app}/dynos/{dyno}/actions/stop", App(Restart), dynos::restart)
        .get("/apps/{app}/available-dyno-sizes", App(See), dyno_sizes::of_app)
        .get("/apps/{app}/available-stacks", App(See), stacks::of_app)
        .get("/apps/{app}/metrics", App(ReadMetrics), metrics::show)
        .get("/apps/{app}/rollout", App(See), rollout::show)
        .post("/apps/{app}/log-sessions", App(ReadLogs), logs::create)
        .get("/apps/{app}/log-drains", App(See), addons::none)
        .post("/apps/{app}/log-drains", App(ReadLogs), log_drains::create)
        .delete("/apps/{app}/log-drains/{drain}", App(ReadLogs), log_drains::remove)
        .get("/streams/logs/{token}", Secret, logs::stream)
        .get("/streams/attach/{secret}", Secret, attach::attach)
}

fn build_routes(table: Table) -> Table {
    table
        .get("/apps/{app}/buildpack-installations", App(See), buildpacks::list)
        .put("/apps/{app}/buildpack-installations", App(SetBuildpacks), buildpacks::replace)
        .get("/buildpacks", Open, buildpack_registry::list)
        .get("/buildpacks/{name}", Open, buildpack_registry::show)
        .get("/buildpacks/{name}/revisions", Open, buildpack_registry::revisions)
        .get("/buildpacks/{name}/readme", Open, buildpack_registry::readme)
        .post("/sources", Account, sources::create)
        .post("/apps/{app}/sources", App(Build), sources::create_for_app)
        .get("/sources/{secret}", Secret, sources::download)
        .put("/sources/{secret}", Secret, sources::upload)
        .get("/apps/{app}/builds", App(See), builds::list)
        .post("/apps/{app}/builds", App(Build), builds::create)
        .get("/apps/{app}/builds/{build}", App(See), builds::show)
        .delete("/apps/{app}/builds/{build}", App(Build), builds::cancel)
        .delete("/apps/{app}/build-cache", App(Build), builds::purge_cache)
        .get("/apps/{app}/slugs/{slug}", App(See), builds::slug)
        .get("/apps/{app}/releases", App(See), releases::list)
        .post("/apps/{app}/releases", App(RollBack), releases::create)
        .get("/apps/{app}/releases/{release}", App(See), releases::show)
        .get("/apps/{app}/releases/{release}/config-vars", App(ReadConfig), config_vars::of_release)
        .get("/streams/outputs/{id}", Secret, streams::output)
}
