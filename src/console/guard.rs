//! The rule of a page: each is in the route table, and enforced before the page's code runs, which
//! learns of an app only by a rule that let the reader in. No other way leads to a page.

use super::oops::{self, Oops};
use super::signed::Signed;
use super::{Console, frame};
use crate::apps::access::{Action, Entry};
use crate::error::{Error, Result};
use crate::{limits, tasks};
use axum::extract::{DefaultBodyLimit, FromRequestParts, RawPathParams, Request, State};
use axum::handler::Handler;
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodFilter, any, on};
use axum::{RequestPartsExt, Router};
use std::sync::Arc;

/// Who may see a page, or send its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Anybody.
    Open,
    /// Whoever is signed in.
    SignedIn,
    /// The platform's admins.
    Admin,
    /// Whoever may do this to the app that the path names.
    App(Action),
}

/// One line of the route table.
#[derive(Debug, Clone)]
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub rule: Rule,
}

/// The route table while it is written down: the pages, and their rules for whoever checks them.
pub struct Table {
    console: Arc<Console>,
    router: Router<Arc<Console>>,
    #[cfg(test)]
    pub routes: Vec<Route>,
}

impl Table {
    pub fn new(console: Arc<Console>) -> Self {
        Self {
            console,
            router: Router::new(),
            #[cfg(test)]
            routes: Vec::new(),
        }
    }

    pub fn get<H, T>(self, path: &'static str, rule: Rule, page: H) -> Self
    where
        H: Handler<T, Arc<Console>>,
        T: 'static,
    {
        self.on(MethodFilter::GET, Route { method: Method::GET, path, rule }, page)
    }

    pub fn post<H, T>(self, path: &'static str, rule: Rule, form: H) -> Self
    where
        H: Handler<T, Arc<Console>>,
        T: 'static,
    {
        self.on(MethodFilter::POST, Route { method: Method::POST, path, rule }, form)
    }

    fn on<H, T>(mut self, filter: MethodFilter, route: Route, handler: H) -> Self
    where
        H: Handler<T, Arc<Console>>,
        T: 'static,
    {
        let enforced = from_fn_with_state((self.console.clone(), route.clone()), enforce);
        let handler = on(filter, handler).route_layer(enforced);
        self.router = self.router.route(route.path, handler);
        #[cfg(test)]
        self.routes.push(route);
        self
    }

    /// All of it, with what is around every page. An address below that is none's says so.
    pub fn finish(self) -> Router {
        self.router
            .route("/console/{*rest}", any(oops::no_page))
            .layer(from_fn(frame::finish))
            .layer(DefaultBodyLimit::max(limits::FORM_BYTES))
            .layer(tower_http::catch_panic::CatchPanicLayer::custom(oops::panicked))
            .with_state(self.console)
    }
}

/// Lets in whom the rule names. What a form changes is changed in the name of whoever sent it.
async fn enforce(
    State((console, route)): State<(Arc<Console>, Route)>,
    request: Request,
    next: Next,
) -> Result<Response, Oops> {
    if route.rule == Rule::Open {
        return Ok(next.run(request).await);
    }
    let (mut parts, body) = request.into_parts();
    let signed = Signed::required(&parts, &console).await?;
    match route.rule {
        Rule::Open | Rule::SignedIn => {}
        Rule::Admin => signed.admin()?,
        Rule::App(action) => {
            let name = named_app(&route, &mut parts).await?;
            parts.extensions.insert(On(signed.enter(&console, &name, action).await?));
        }
    }
    let origin = (parts.method != Method::GET).then(|| signed.origin(&parts.headers));
    parts.extensions.insert(signed);
    let request = Request::from_parts(parts, body);
    let Some(origin) = origin else { return Ok(next.run(request).await) };
    // A change is made whole, with its entry in the audit, whether or not its browser waits.
    let whole = tasks::to_its_end("change", next.run(request));
    let answer = origin.scope(whole).await;
    answer.ok_or_else(|| Error::internal("answer a form", "its handler panicked").into())
}

async fn named_app(route: &Route, parts: &mut Parts) -> Result<String> {
    let params = parts.extract::<RawPathParams>().await.ok();
    let found = params.iter().flat_map(RawPathParams::iter).find(|(key, _)| *key == "app");
    let missing = || {
        let what = format!("the rule of {} {}", route.method, route.path);
        Error::internal(what, "the path has no {app}")
    };
    found.map(|(_, name)| name.to_string()).ok_or_else(missing)
}

/// The app that the path names, and what its reader may do there: the rule of the page has let
/// them do what the page does.
#[derive(Clone)]
pub struct On(pub Entry);

fn forgotten<T>() -> Result<T, Oops> {
    Err(Error::internal("take who asks", "the page's rule does not tell").into())
}

impl FromRequestParts<Arc<Console>> for On {
    type Rejection = Oops;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Console>) -> Result<Self, Oops> {
        parts.extensions.get::<Self>().cloned().map_or_else(forgotten, Ok)
    }
}

impl FromRequestParts<Arc<Console>> for Signed {
    type Rejection = Oops;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Console>) -> Result<Self, Oops> {
        parts.extensions.get::<Self>().cloned().map_or_else(forgotten, Ok)
    }
}
