//! The rule of a route: each is in the route table, and enforced before its handler runs, so that
//! a handler learns of an app only by a rule that let the caller in.

use super::Api;
use super::accept::RequestId;
use super::auth::{self, Auth};
use super::error::ApiError;
use crate::apps::access::{Action, Entry};
use crate::apps::sign_in::EntryBy;
use crate::error::{Error, Kind, Result};
use crate::model::{App, Caller};
use crate::origin::{Origin, Via};
use crate::tasks;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::handler::Handler;
use axum::http::request::Parts;
use axum::http::{Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use axum::{RequestPartsExt, Router};
use percent_encoding::percent_decode_str;
use std::sync::Arc;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Whoever has the address: it is a secret of its own, as on Heroku.
    Secret,
    /// Whoever asks: the answer says nothing about anybody.
    Open,
    /// Whoever has a token, or e-mail and password.
    Login,
    /// The same, be it a password that is good for nothing else than choosing another.
    NewPassword,
    /// Whoever has a token.
    Account,
    /// The platform's admins.
    Admin,
    /// Whoever may do this to the app that the path names.
    App(Action),
    /// The one whom `{user}` in the path names, or whoever may do this to the app.
    SelfOr(Action),
    /// Whoever may do one of these to it. The body says which it is, and the handler asks again.
    AnyOf(&'static [Action]),
}

/// One line of the route table.
#[derive(Debug, Clone)]
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub rule: Rule,
}

/// The route table while it is written down: the routes, and their rules for whoever checks them.
pub struct Table {
    api: Arc<Api>,
    pub router: Router<Arc<Api>>,
    #[cfg(test)]
    pub routes: Vec<Route>,
}

impl Table {
    pub fn new(api: Arc<Api>) -> Self {
        Self {
            api,
            router: Router::new(),
            #[cfg(test)]
            routes: Vec::new(),
        }
    }

    fn on<H, T>(mut self, filter: MethodFilter, route: Route, handler: H) -> Self
    where
        H: Handler<T, Arc<Api>>,
        T: 'static,
    {
        let enforced = from_fn_with_state((self.api.clone(), route.clone()), enforce);
        let handler = on(filter, handler).route_layer(enforced);
        self.router = self.router.route(route.path, handler);
        #[cfg(test)]
        self.routes.push(route);
        self
    }
}

macro_rules! methods {
    ($($name:ident $method:ident),+) => {
        impl Table {$(
            pub fn $name<H, T>(self, path: &'static str, rule: Rule, handler: H) -> Self
            where
                H: Handler<T, Arc<Api>>,
                T: 'static,
            {
                let route = Route { method: Method::$method, path, rule };
                self.on(MethodFilter::$method, route, handler)
            }
        )+}
    };
}

methods!(get GET, post POST, put PUT, patch PATCH, delete DELETE);

async fn enforce(
    State((api, route)): State<(Arc<Api>, Route)>,
    request: Request,
    next: Next,
) -> std::result::Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    if percent_decode_str(parts.uri.path()).decode_utf8().is_err() {
        return Err(Error::bad_request("The request's path is not UTF-8").into());
    }
    match route.rule {
        Rule::Secret | Rule::Open => {}
        Rule::Login => {
            let caller = auth::by_login(&parts, &api, EntryBy::OwnPassword).await?;
            parts.extensions.insert(Auth(caller));
        }
        Rule::NewPassword => {
            let caller = auth::by_login(&parts, &api, EntryBy::AnyPassword).await?;
            parts.extensions.insert(Auth(caller));
        }
        Rule::Account | Rule::Admin => {
            let caller = auth::by_token(&parts, &api).await?;
            if route.rule == Rule::Admin && !caller.user.admin {
                let message = "You do not have access to this: it is for the platform's admins.";
                return Err(Error::new(Kind::Forbidden, message).into());
            }
            parts.extensions.insert(Auth(caller));
        }
        Rule::App(action) => {
            let entry = enter(&api, &route, &mut parts).await?;
            entry.entry.require(action)?;
            parts.extensions.insert(entry);
        }
        Rule::SelfOr(action) => {
            let on = enter(&api, &route, &mut parts).await?;
            let user = param(&mut parts, "user").await.unwrap_or_default();
            let own = &on.caller.user;
            if !user.eq_ignore_ascii_case(&own.email) && user != own.id.to_string() {
                on.entry.require(action)?;
            }
            parts.extensions.insert(on);
        }
        Rule::AnyOf(actions) => {
            let entry = enter(&api, &route, &mut parts).await?;
            if !actions.iter().any(|action| entry.entry.may(*action))
                && let Some(first) = actions.first()
            {
                entry.entry.require(*first)?;
            }
            parts.extensions.insert(entry);
        }
    }
    let request = Request::from_parts(parts, body);
    match origin(&request) {
        Some(origin) => answered(&route, origin, request, next).await,
        None => Ok(next.run(request).await),
    }
}

/// A change is made whole, with its entry in the audit, whether or not its client waits for it.
async fn answered(
    route: &Route,
    origin: Origin,
    request: Request,
    next: Next,
) -> std::result::Result<Response, ApiError> {
    // A password takes its turn to be checked: whoever leaves the queue has left it.
    if route.method == Method::GET || route.rule == Rule::Login {
        return Ok(origin.scope(next.run(request)).await);
    }
    let whole = tasks::to_its_end("change", next.run(request));
    let answer = origin.scope(whole).await;
    answer.ok_or_else(|| Error::internal("answer a request", "its handler panicked").into())
}

/// For whom and from where all is done that the request asks for.
fn origin(request: &Request) -> Option<Origin> {
    let extensions = request.extensions();
    let caller = match (extensions.get::<Auth>(), extensions.get::<OnApp>()) {
        (Some(Auth(caller)), _) => caller,
        (None, Some(on)) => &on.caller,
        (None, None) => return None,
    };
    let agent = request.headers().get(header::USER_AGENT);
    let agent = agent.and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let mut origin = Origin::of(&caller.user, Via::of_agent(agent));
    origin.address = Origin::address(request.headers());
    origin.request = extensions.get::<RequestId>().map(|id| id.0.clone());
    Some(origin)
}

/// The caller and the app that the path names, which does not exist for one who may not see it.
async fn enter(api: &Arc<Api>, route: &Route, parts: &mut Parts) -> Result<OnApp> {
    let caller = auth::by_token(parts, api).await?;
    let missing = || {
        let what = format!("the rule of {} {}", route.method, route.path);
        Error::internal(what, "the path has no {app}")
    };
    let name = match parts.extract::<RawPathParams>().await {
        Ok(params) => value(&params, "app").ok_or_else(missing)?,
        Err(_) => return Err(Error::not_found("app")),
    };
    let entry = api.access.enter(&caller, &name).await?;
    Ok(OnApp { caller, app: entry.app.clone(), entry })
}

async fn param(parts: &mut Parts, wanted: &str) -> Option<String> {
    let params = parts.extract::<RawPathParams>().await.ok()?;
    value(&params, wanted)
}

fn value(params: &RawPathParams, wanted: &str) -> Option<String> {
    params.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value.to_string())
}

/// The caller, and the app that the path names: the rule of the route has let the one do with
/// the other what the handler does.
#[derive(Clone)]
pub struct OnApp {
    pub caller: Caller,
    pub app: App,
    pub entry: Entry,
}

fn forgotten<T>() -> std::result::Result<T, ApiError> {
    Err(Error::internal("take who asks", "the route's rule does not tell").into())
}

impl FromRequestParts<Arc<Api>> for OnApp {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &Arc<Api>,
    ) -> std::result::Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().map_or_else(forgotten, Ok)
    }
}

impl FromRequestParts<Arc<Api>> for Auth {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &Arc<Api>,
    ) -> std::result::Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().map_or_else(forgotten, Ok)
    }
}
