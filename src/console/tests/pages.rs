//! What pages say, without a browser: script in every field comes out as text, and each page shows
//! what it is about.

use super::*;
use crate::api::testing::slug;
use crate::limits;
use crate::logs::LogLine;
use crate::model::{
    App, AutoState, Build, BuildId, BuildStatus, ConfigVars, Domain, DomainId, Hostname, Slug,
    SourceBlob,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Ends an attribute and a piece of text, and is a tag.
const HOSTILE: &str = "\"' onfocus=hacked=1 <img src=x onerror=hacked=1>";
/// How its tag looks where it is text.
const AS_TEXT: &str = "&#60;img src=x onerror=hacked=1&#62;";

/// Where what was stored, or sent, must be seen.
const PAGES: [&str; 21] = [
    "GET /console/apps",
    "GET /console/people",
    "GET /console/account",
    "GET /console/audit",
    "GET /console/host",
    "GET /console/apps/{app}",
    "GET /console/apps/{app}/releases",
    "GET /console/apps/{app}/builds",
    "GET /console/apps/{app}/builds/{build}",
    "GET /console/apps/{app}/config",
    "GET /console/apps/{app}/logs",
    "GET /console/apps/{app}/access",
    "GET /console/apps/{app}/audit",
    "GET /console/apps/{app}/settings",
    "POST /console/sign-in",
    "POST /console/new-app",
    "POST /console/people",
    "POST /console/apps/{app}/config",
    "POST /console/apps/{app}/domains",
    "POST /console/apps/{app}/access",
    "POST /console/apps/{app}/settings/name",
];

pub(super) struct Reader<'a> {
    desk: &'a Desk,
    cookie: String,
}

impl<'a> Reader<'a> {
    async fn new(desk: &'a Desk, person: &Person) -> Self {
        Self::of(desk, &desk.cookie(person).await)
    }

    /// Of a session that there is.
    pub(super) fn of(desk: &'a Desk, cookie: &str) -> Self {
        Self { desk, cookie: cookie.to_string() }
    }

    async fn ask(&self, request: axum::http::request::Builder, body: Body) -> (StatusCode, String) {
        let request = request.header(header::COOKIE, &self.cookie);
        let request = request.header("x-request-id", "a-request");
        let request = request.header("x-forwarded-for", "192.0.2.7").body(body).unwrap();
        let response = self.desk.router.clone().oneshot(request).await.unwrap();
        let (status, to) = (response.status(), response.headers().get(header::LOCATION).cloned());
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 22).await.unwrap();
        let to = to.map(|to| to.to_str().unwrap().to_string());
        (status, to.unwrap_or_else(|| String::from_utf8(bytes.to_vec()).unwrap()))
    }

    async fn get(&self, path: &str) -> String {
        let (status, text) = self.ask(Request::get(path), Body::empty()).await;
        assert!(!status.is_server_error(), "{path}: {status}");
        text
    }

    /// Sends a form: where it leads, or the page that says why not.
    pub(super) async fn send(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let token = self.desk.token(&self.cookie).await;
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let fields = [("token", token.as_str())].into_iter().chain(fields.iter().copied());
        let body: Vec<String> =
            fields.map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        let request = Request::post(path)
            .header("sec-fetch-site", "same-origin")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let (status, text) = self.ask(request, Body::from(body.join("&"))).await;
        assert!(!status.is_server_error(), "{path}: {status}");
        text
    }
}

/// An app of somebody whose very name is hostile, with that in all that can be stored for it.
async fn fill(desk: &Desk, owner: &Person) -> (App, BuildId) {
    let app = desk.stage.app(owner, APP).await;
    let (id, user, now) = (app.id, owner.user.clone(), Timestamp::now());
    let hostile = || Some(HOSTILE.to_string());
    let slug = Slug {
        commit: hostile(),
        commit_description: hostile(),
        buildpack_provided_description: hostile(),
        ..slug(&app, &[("web", HOSTILE), ("clock", HOSTILE)])
    };
    let changes = [("KEY".to_string(), hostile())].into_iter().collect();
    let config = ConfigVars::default().changed(&changes).unwrap();
    desk.stage.release(owner, slug, HOSTILE, config).await;
    let build = Build {
        id: BuildId::random(),
        app: id,
        user: user.id,
        user_email: user.email.clone(),
        status: BuildStatus::Pending,
        commit: hostile(),
        git_ref: hostile(),
        blob: SourceBlob { url: hostile(), checksum: None, version_description: hostile() },
        slug: None,
        release: None,
        stack: HOSTILE.to_string(),
        buildpacks: Vec::new(),
        buildpack_millis: None,
        total_millis: None,
        created_at: now,
        updated_at: now,
    };
    let made = build.id;
    let stored = desk.stage.api.store.write(move |db| {
        store::releases::insert_build(db, &build)?;
        store::audit::note(db, HOSTILE, Some(id), &[(HOSTILE, HOSTILE)])
    });
    stored.await.unwrap();
    let out = desk.console.platform.deploy.output(made).unwrap();
    out.line(HOSTILE);
    desk.console.platform.deploy.outputs().finish(made.0);
    let line = LogLine::heroku(HOSTILE.to_string(), HOSTILE);
    desk.console.platform.logs.write(id, vec![line]).await;
    (app, made)
}

#[tokio::test]
async fn script_in_any_field_comes_out_as_text_on_every_page() {
    let desk = Desk::new().await;
    let admin = desk.person("admin@x.org", true).await;
    let owner = desk.person(HOSTILE, true).await;
    let (app, build) = fill(&desk, &owner).await;
    desk.stage.share(&app, &admin, "view").await;
    let sessions = &desk.console.sessions;
    sessions.open(&admin.user, None, &Origin::server(), HOSTILE).await.unwrap();
    desk.stage.api.access.authorize(&admin.user, HOSTILE, None).await.unwrap();
    let mut shown = Vec::new();
    // The admin comes last: who removes the hostile one ends the other sessions.
    for person in [&owner, &admin] {
        let reader = Reader::new(&desk, person).await;
        for route in table(desk.console.clone()).routes {
            let path = filled(route.path).replace("builds/nowhere", &format!("builds/{build}"));
            // A stream has no end; what it sends is the same as on its page.
            let is_stream = ["/live", "/stream", "/output"].iter().any(|end| path.ends_with(end));
            let text = match route.method {
                Method::GET if is_stream => continue,
                Method::GET => {
                    let asked = utf8_percent_encode(HOSTILE, NON_ALPHANUMERIC).to_string();
                    let names = ["q", "to", "dyno", "process", "source", "show", "before", "done"];
                    let query = names.map(|name| format!("{name}={asked}")).join("&");
                    reader.get(&path).await + &reader.get(&format!("{path}?edit=all&{query}")).await
                }
                // Where that ends the session the rest would be the same page.
                _ if path == "/console/sign-out" => continue,
                _ => {
                    let names = "email password code to name hostname permission user session \
                                 quantity process size dyno on release was mark key value confirm \
                                 current new again admin is_new do offer authorization";
                    let fields: Vec<_> =
                        names.split_whitespace().map(|name| (name, HOSTILE)).collect();
                    reader.send(&path, &fields).await
                }
            };
            for raw in ["<img src=x", "\"' onfocus"] {
                assert!(!text.contains(raw), "{} {path} says {raw}:\n{text}", route.method);
            }
            if text.contains(AS_TEXT) {
                shown.push(format!("{} {}", route.method, route.path));
            }
        }
    }
    for page in PAGES {
        assert!(shown.iter().any(|one| one == page), "{page} shows none of it: {shown:#?}");
    }
}

#[tokio::test]
async fn the_form_of_config_vars_has_as_many_rows_as_are_wanted() {
    let desk = Desk::new().await;
    let owner = desk.person("owner@x.org", true).await;
    let app = desk.stage.app(&owner, APP).await;
    let reader = Reader::new(&desk, &owner).await;
    let path = format!("/console/apps/{APP}/config");
    let row = |key, value| [("was", ""), ("mark", ""), ("key", key), ("value", value)];
    let [first, second, third] = [row("A", "1"), row("B", "two\nlines"), row("C", "3")];
    let mut typed = [first, second, third].concat();
    typed.push(("more", "yes"));
    let page = reader.send(&path, &typed).await;
    for words in
        ["value=\"A\"", "two\nlines", "Name of new config var 6", "Value of new config var 6"]
    {
        assert!(page.contains(words), "{words} is not in {page}");
    }
    assert_eq!(page.matches("autofocus").count(), 1, "what is typed next goes to the fourth");
    let config = async || desk.console.platform.releases.config(app.id).await.unwrap();
    assert_eq!(config().await.iter().count(), 0, "nothing is saved yet");

    // A form that is refused with all rows taken has some again.
    typed.pop();
    let mut wrong = typed.clone();
    wrong.extend(row("not a name", "4"));
    let page = reader.send(&path, &wrong).await;
    assert!(page.contains("role=\"alert\"") && page.contains("Name of new config var 7"), "{page}");

    typed.extend(row("D", "4"));
    assert_eq!(reader.send(&path, &typed).await, format!("{path}?done=saved"));
    assert_eq!(config().await.iter().count(), 4, "four, as one release");
    // New rows are counted from 1 beside those that are there.
    let page = reader.get(&format!("{path}?edit=all")).await;
    assert!(page.contains("Name of D") && page.contains("Name of new config var 1\""), "{page}");
    assert!(!page.contains("Name of new config var 4"), "{page}");
}

#[tokio::test]
async fn the_audit_has_a_page_for_admins_and_one_of_each_app() {
    let desk = Desk::new().await;
    let admin = desk.person("admin@x.org", true).await;
    let owner = desk.person("owner@x.org", true).await;
    let app = desk.stage.app(&owner, APP).await;
    desk.stage.app(&owner, "other").await;
    let reader = Reader::new(&desk, &owner).await;
    let of_app = format!("/console/apps/{APP}/audit");
    reader.send(&format!("/console/apps/{APP}/maintenance"), &[("on", "yes")]).await;
    let page = reader.get(&of_app).await;
    for words in ["app:update", "maintenance on", "owner@x.org", "by console from 192.0.2.7"] {
        assert!(page.contains(words), "{words} is not in {page}");
    }
    assert!(!page.contains("other") && !page.contains("Older entries"), "{page}");
    let id = app.id;
    let more = desk.stage.api.store.write(move |db| {
        let note = |at: usize| {
            let at = at.to_string();
            store::audit::note(db, "test:many", Some(id), &[("number", at.as_str())])
        };
        (0..limits::ROWS_PER_PAGE).try_for_each(note)
    });
    more.await.unwrap();
    let page = reader.get(&of_app).await;
    assert_eq!(page.matches("test:many").count(), limits::ROWS_PER_PAGE);
    let (_, rest) = page.split_once("/audit?before=").unwrap();
    let older = reader.get(&format!("{of_app}?before={}", rest.split('"').next().unwrap())).await;
    assert!(older.contains("app:update") && older.contains("Newest entries"), "{older}");
    assert!(!older.contains("test:many") && !older.contains("Older entries"), "{older}");

    let all = Reader::new(&desk, &admin).await;
    assert!(all.get("/console/audit").await.contains("number 99"));
    assert!(all.get("/console/audit?before=5").await.contains("app:create"));
    assert!(all.get("/console/audit?before=odd").await.contains("number 99"));
    assert!(all.get("/console/audit?before=0").await.contains("No entries before that one."));
}

#[tokio::test]
async fn a_domain_says_how_far_its_certificate_is_and_what_failed() {
    let desk = Desk::new().await;
    let owner = desk.person("owner@x.org", true).await;
    let app = desk.stage.app(&owner, APP).await;
    let (now, id) = (Timestamp::now(), DomainId::random());
    let domain = Domain {
        id,
        app: app.id,
        hostname: Hostname::parse("www.example.com").unwrap(),
        sni_endpoint: None,
        acm: None,
        created_at: now,
        updated_at: now,
    };
    let stored = desk.stage.api.store.write(move |db| {
        store::domains::insert(db, &domain)?;
        store::apps::set_acm(db, domain.app, true, now)?;
        let (hostname, app) = (domain.hostname.to_string(), Some(domain.app));
        let wanted = store::auto_certificates::Wanted { hostname, app, domain: Some(domain.id) };
        store::auto_certificates::insert(db, &wanted, now)?;
        let mut row = store::auto_certificates::all(db)?.remove(0);
        row.state = AutoState::Failing;
        row.reason = Some("It leads to 192.0.2.1".to_string());
        store::auto_certificates::set_state(db, &row)
    });
    stored.await.unwrap();
    let reader = Reader::new(&desk, &owner).await;
    let page = reader.get(&format!("/console/apps/{APP}/domains")).await;
    for words in ["www.example.com", "failing", "It leads to 192.0.2.1"] {
        assert!(page.contains(words), "{words} is not in {page}");
    }
    assert!(!page.contains("no certificate"), "{page}");
    let form = format!("/console/apps/{APP}/domains/certificates");
    let refused = reader.send(&form, &[("do", "on")]).await;
    assert!(refused.contains("role=\"alert\"") && refused.contains("acme"), "{refused}");
}

#[tokio::test]
async fn a_page_of_an_app_tells_when_the_rest_of_it_is_another() {
    let desk = Desk::new().await;
    let owner = desk.person("owner@x.org", true).await;
    let app = desk.stage.app(&owner, APP).await;
    let reader = Reader::new(&desk, &owner).await;
    let path = format!("/console/apps/{APP}");
    let shape = async || {
        let page = reader.get(&path).await;
        let (_, rest) = page.split_once("data-shape=\"").unwrap();
        rest.split('"').next().unwrap().to_string()
    };
    let mut shapes = vec![shape().await];
    let slug = slug(&app, &[("web", "serve")]);
    desk.stage.release(&owner, slug, "Deploy", ConfigVars::default()).await;
    shapes.push(shape().await);
    assert_eq!(shapes[1], shape().await);
    let scale = [("process", "web"), ("quantity", "0")];
    assert!(reader.send(&format!("{path}/scale"), &scale).await.ends_with("?done=scaled"));
    shapes.push(shape().await);
    reader.send(&format!("{path}/maintenance"), &[("on", "yes")]).await;
    shapes.push(shape().await);
    let different: std::collections::BTreeSet<_> = shapes.iter().collect();
    assert_eq!(different.len(), 4, "{shapes:?}");
}

#[tokio::test]
async fn a_long_list_of_apps_has_pages() {
    let desk = Desk::new().await;
    let owner = desk.person("owner@x.org", true).await;
    for number in 0..=limits::APPS_PER_PAGE {
        desk.stage.app(&owner, &format!("app-{number:03}")).await;
    }
    let reader = Reader::new(&desk, &owner).await;
    let first = reader.get("/console/apps?q=app-").await;
    assert!(first.contains("app-000") && !first.contains("app-050"), "{first}");
    let (_, rest) = first.split_once("rel=\"next\" href=\"").unwrap();
    let next = rest.split('"').next().unwrap().replace("&amp;", "&");
    let second = reader.get(&next).await;
    assert!(second.contains("app-050") && !second.contains("app-000"), "{second}");
    assert!(second.contains("page 2 of 2") && second.contains("rel=\"prev\""), "{second}");
    assert!(!second.contains("rel=\"next\""), "{second}");
}
