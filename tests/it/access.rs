//! Several people: what each of them can do with one app by CLI and git, and that a removed user
//! is out at once.

use crate::support::{App, Output, Platform, eventually, run};
use serde_json::json;
use std::sync::Arc;

/// Somebody besides the admin, by a token.
struct Person {
    platform: Arc<Platform>,
    email: String,
    token: String,
}

impl Person {
    /// Made by the admin; the token comes by e-mail and password, as `login` gets one, once the
    /// first password is changed.
    fn create(platform: &Arc<Platform>, name: &str, app: &App) -> Self {
        let email = format!("{name}@{}.example.com", app.name);
        let made = platform.cli(&["users:create", &email]).succeeded();
        let first = made.stdout.trim().to_string();
        let login = |password: &str| {
            use base64::Engine as _;
            let basic = format!("{email}:{password}");
            let basic = base64::engine::general_purpose::STANDARD.encode(basic);
            let headers = [("Authorization", &*format!("Basic {basic}"))];
            platform.api_with("POST", "/oauth/authorizations", &headers, b"{}")
        };
        assert_eq!(login(&first).is(403).json()["id"], "password_change_required");
        let mut change = platform.cli_command();
        change.args(["auth:password", "--stdin", "--email", &email]).env_remove("SENRYU_API_KEY");
        let new = "four random words here";
        run(&mut change, format!("{first}\n{new}\n").as_bytes()).succeeded();
        let reply = login(new).is(201).json();
        let token = reply["access_token"]["token"].as_str().unwrap().to_string();
        Self { platform: platform.clone(), email, token }
    }

    fn cli(&self, app: &App, arguments: &[&str]) -> Output {
        let mut command = self.platform.cli_command();
        command.env("SENRYU_API_KEY", &self.token).args(arguments).args(["--app", &app.name]);
        run(&mut command, b"")
    }

    fn git(&self, app: &App, arguments: &[&str]) -> Output {
        let url = self.platform.url().replace("http://", &format!("http://x:{}@", self.token));
        let url = format!("{url}/{}.git", app.name);
        let arguments: Vec<&str> =
            arguments.iter().map(|word| if *word == "URL" { url.as_str() } else { word }).collect();
        app.git(&arguments)
    }

    fn status(&self, method: &str, path: &str) -> u16 {
        let bearer = format!("Bearer {}", self.token);
        self.platform.api_with(method, path, &[("Authorization", &bearer)], b"").status
    }
}

/// The router's lines come a moment after the requests.
fn measured(app: &App) {
    assert_eq!(app.get("/").status, 200);
    eventually("the request is counted", || {
        let figures = app.api("GET", "/metrics?step=60", None).is(200).json();
        assert_eq!(figures["step"], 3600);
        figures["series"].as_array().unwrap().iter().any(|series| {
            let mut counts = series["requests"].as_array().unwrap().iter();
            series["dyno"] == "web.1" && counts.any(|count| count.as_i64() > Some(0))
        })
    });
    assert_eq!(app.api("GET", "/metrics?step=7", None).status, 422);
    app.cli(&["metrics", "--dynos"]).succeeded().says("web.1");
}

#[test]
fn each_does_what_the_permissions_say_and_a_removed_user_nothing() {
    let platform = Platform::shared();
    let app = platform.app_from("tiny");
    let eve = Person::create(&platform, "eve", &app);
    let path = format!("/apps/{}", app.name);

    // To a stranger there is no such app, whatever is asked.
    assert_eq!(eve.status("GET", &path), 404);
    assert_eq!(eve.status("DELETE", &path), 404);
    eve.cli(&app, &["ps"]).failed(1).says("Couldn't find that app.");
    let gone = eve.git(&app, &["ls-remote", "URL"]);
    assert!(gone.status != 0 && gone.stderr.contains("There is no app"), "{}", gone.stderr);

    app.cli(&["access:add", &eve.email, "-p", "view"]).succeeded();
    let ps = eve.cli(&app, &["ps"]).succeeded();
    assert!(ps.stdout.contains("web.1"), "{}", ps.stdout);
    eve.cli(&app, &["logs", "-n", "5"]).succeeded();
    for refused in [
        &["config"][..],
        &["config:set", "A=b"],
        &["ps:scale", "web=1"],
        &["ps:restart"],
        &["maintenance:on"],
        &["run:detached", "true"],
        &["access:add", "x@example.com"],
        &["apps:rename", "other-name"],
    ] {
        eve.cli(&app, refused)
            .failed(1)
            .says("You do not have access to the app")
            .says("forbidden");
    }
    let refused = eve.git(&app, &["push", "URL", "main"]);
    assert!(refused.stderr.contains("takes the permission deploy"), "{}", refused.stderr);

    app.cli(&["access:update", &eve.email, "-p", "deploy"]).succeeded();
    app.commit("by a collaborator");
    eve.git(&app, &["push", "URL", "main"]).succeeded();
    let releases = app.api("GET", "/releases", None).is(200).json();
    let last = releases.as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["user"]["email"], eve.email.as_str(), "{last}");
    eve.cli(&app, &["config:set", "A=b"]).succeeded();
    eve.cli(&app, &["ps:scale", "web=1"]).failed(1).says("takes the permission operate");
    let table = app.cli(&["access"]).succeeded().stdout;
    assert!(table.contains(&eve.email) && table.contains("view, deploy"), "{table}");
    measured(&app);

    let remove = ["users:remove", &eve.email, "--confirm", &eve.email];
    platform.cli(&remove).succeeded();
    assert_eq!(eve.status("GET", "/account"), 401);
    let out = eve.git(&app, &["ls-remote", "URL"]);
    assert!(out.stderr.contains("Authentication failed"), "{}", out.stderr);
    let table = app.cli(&["access"]).succeeded().stdout;
    assert!(!table.contains(&eve.email), "{table}");
    // What was released by a removed user is still said to be.
    let releases = app.api("GET", "/releases", None).is(200).json();
    assert!(releases.to_string().contains(&eve.email));
    let body = json!({ "user": eve.email });
    app.api("POST", "/collaborators", Some(body)).is(422);
}
