//! Role by role access to every page and form, from the route table itself: a page is in here
//! without being written down again.

mod changes;
mod pages;

use super::guard::{Route, Rule};
use super::*;
use crate::api::testing::{Person, Stage};
use crate::apps::access::Action;
use crate::clock::Timestamp;
use crate::model::Permissions;
use crate::origin::Origin;
use crate::store;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use tower::ServiceExt as _;

const APP: &str = "shop";
/// Who has which permissions on the app; owner and admin have all without a row.
const ROLES: [(&str, &str); 7] = [
    ("viewer@x.org", "view"),
    ("deployer@x.org", "deploy"),
    ("operator@x.org", "operate"),
    ("manager@x.org", "manage"),
    ("owner@x.org", "view,deploy,operate,manage"),
    ("admin@x.org", "view,deploy,operate,manage"),
    ("stranger@x.org", ""),
];

/// What a page is to somebody.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    In,
    /// Led to a page where something has to be done first.
    Led(String),
    /// There is no such app.
    NoApp,
    Forbidden,
    /// Not a form of ours.
    Foreign,
}

struct Desk {
    stage: Stage,
    console: Arc<Console>,
    router: Router,
}

impl Desk {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With settings of its own.
    async fn with(flags: &[&str]) -> Self {
        let stage = Stage::with(flags).await;
        let console = console(stage.api.clone());
        let router = table(console.clone()).finish();
        Self { stage, console, router }
    }

    /// Somebody who has chosen a password, or still has to.
    async fn person(&self, email: &str, has_chosen: bool) -> Person {
        let mut person = self.stage.person(email, email == "admin@x.org").await;
        let id = person.user.id;
        if has_chosen {
            let now = Timestamp::now();
            let chosen =
                self.stage.api.store.write(move |db| {
                    store::console_sessions::set_password(db, id, "-", false, now)
                });
            chosen.await.unwrap();
            person.user.updated_at = now;
        }
        person
    }

    /// The cookie of a new session.
    async fn cookie(&self, person: &Person) -> String {
        let sessions = &self.console.sessions;
        let secret = sessions.open(&person.user, None, &Origin::server(), "").await.unwrap();
        format!("senryu_session={secret}")
    }

    /// The token that a form of this session has.
    async fn token(&self, cookie: &str) -> String {
        let request = Request::builder().header(header::COOKIE, cookie).body(()).unwrap();
        let (parts, ()) = request.into_parts();
        signed::Signed::read(&parts, &self.console).await.unwrap().unwrap().token()
    }

    /// Asks for a page, or sends its form with this token and nothing else.
    async fn see(&self, route: &Route, cookie: &str, token: &str) -> Seen {
        self.see_from("same-origin", route, cookie, token).await
    }

    /// The same from a page of this place, of a neighbour or of somebody else.
    async fn see_from(&self, site: &str, route: &Route, cookie: &str, token: &str) -> Seen {
        let request = Request::builder()
            .method(&route.method)
            .uri(filled(route.path))
            .header(header::COOKIE, cookie)
            .header("sec-fetch-site", site)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let body = match route.method {
            Method::POST => Body::from(format!("token={token}")),
            _ => Body::empty(),
        };
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status();
        assert!(!status.is_server_error(), "{} {}: {status}", route.method, route.path);
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{}: {policy}", route.path);
        assert_eq!(response.headers()["x-frame-options"], "DENY", "{}", route.path);
        let to = response.headers().get(header::LOCATION).map(|to| to.to_str().unwrap());
        if let Some(to) = to.filter(|to| to.starts_with("/console/sign-in") || is_password(to)) {
            return Seen::Led(to.split('?').next().unwrap_or(to).to_string());
        }
        // What is let in may be a stream without an end.
        if ![StatusCode::NOT_FOUND, StatusCode::FORBIDDEN].contains(&status) {
            return Seen::In;
        }
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8_lossy(&bytes);
        match () {
            () if text.contains("find that app.") => Seen::NoApp,
            () if text.contains("takes the permission") => Seen::Forbidden,
            () if text.contains("This page is for admins.") => Seen::Forbidden,
            () if text.contains("not sent from a page of this console") => Seen::Foreign,
            () => Seen::In,
        }
    }
}

fn is_password(path: &str) -> bool {
    path == "/console/password"
}

/// The path with something in each place; what is not the app is nowhere.
fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| match part {
        "{app}" => APP,
        part if part.starts_with('{') => "nowhere",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// What the rule has for somebody with these permissions.
fn expected(route: &Route, email: &str, held: &str) -> Seen {
    let held = Permissions::parse(held).unwrap();
    match (route.path, route.rule) {
        // Whoever signs out, or is half signed in with nothing to show for it, signs in next.
        ("/console/sign-out" | "/console/sign-in/code", _) => {
            Seen::Led("/console/sign-in".to_string())
        }
        (_, Rule::Open | Rule::SignedIn) => Seen::In,
        (_, Rule::Admin) if email == "admin@x.org" => Seen::In,
        (_, Rule::Admin) => Seen::Forbidden,
        (_, Rule::App(_)) if held.is_none() => Seen::NoApp,
        (_, Rule::App(action)) if action.is_allowed(held) => Seen::In,
        (_, Rule::App(_)) => Seen::Forbidden,
    }
}

#[tokio::test]
async fn each_page_lets_in_whom_its_rule_names_and_nobody_else() {
    let desk = Desk::new().await;
    let mut people = Vec::new();
    for (email, held) in ROLES {
        people.push((desk.person(email, true).await, held));
    }
    let owner = &people.iter().find(|(one, _)| one.user.email == "owner@x.org").unwrap().0;
    let app = desk.stage.app(owner, APP).await;
    for (person, held) in &people {
        if !held.is_empty() && person.user.id != app.owner && !person.user.admin {
            desk.stage.share(&app, person, held).await;
        }
    }
    let fresh = desk.person("fresh@x.org", false).await;
    let (fresh, mut asked) = (desk.cookie(&fresh).await, 0);
    for route in table(desk.console.clone()).routes {
        let name = format!("{} {}", route.method, route.path);
        let of_app = matches!(route.rule, Rule::App(_));
        assert_eq!(route.path.contains("{app}"), of_app, "{name} has the wrong rule");
        for (person, held) in &people {
            let cookie = desk.cookie(person).await;
            let token = desk.token(&cookie).await;
            let email = &person.user.email;
            let seen = desk.see(&route, &cookie, &token).await;
            assert_eq!(seen, expected(&route, email, held), "{email} ({held}): {name}");
            if route.method == Method::POST && route.rule != Rule::Open && seen == Seen::In {
                let foreign = desk.see(&route, &cookie, "").await;
                assert_eq!(foreign, Seen::Foreign, "{email}: {name} without the form's token");
            }
            for site in ["cross-site", "same-site", "none"] {
                if route.method == Method::POST && (route.rule == Rule::Open || seen == Seen::In) {
                    let foreign = desk.see_from(site, &route, &cookie, &token).await;
                    assert_eq!(foreign, Seen::Foreign, "{email}: {name} from a page {site}");
                }
            }
            asked += 1;
        }
        if route.rule == Rule::Open {
            continue;
        }
        let to_sign_in = Seen::Led("/console/sign-in".to_string());
        for nobody in ["", "senryu_session=", &format!("senryu_session={}", "0".repeat(64))] {
            assert_eq!(desk.see(&route, nobody, "").await, to_sign_in, "signed out: {name}");
        }
        if !is_password(route.path) && route.path != "/console/sign-out" {
            let seen = desk.see(&route, &fresh, "").await;
            assert_eq!(seen, Seen::Led("/console/password".to_string()), "{name}");
        }
    }
    assert!(asked > 250, "only {asked} requests");
}

#[test]
fn what_changes_an_app_takes_more_than_to_see_it() {
    // The rule of a form is never the one of the page that it stands on, where that is `See`.
    let source = include_str!("mod.rs");
    for line in source.lines().filter(|line| line.trim_start().starts_with(".post(")) {
        let seeing = [Action::See, Action::ReadLogs, Action::ReadMetrics, Action::ReadConfig];
        let weak = seeing.iter().any(|action| line.contains(&format!("App({action:?})")));
        assert!(!weak, "{line}");
    }
}
