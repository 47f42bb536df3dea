//! Role by role access to every route, from the route table itself: a route is in here without
//! being written down again.

use crate::api::guard::{Route, Rule};
use crate::api::testing::{Answer, Person, Stage};
use crate::apps::access::Action;
use crate::model::Permissions;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

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

/// The path with something in each place; what is not the app is nowhere.
fn filled(route: &Route) -> String {
    let parts = route.path.split('/').map(|part| match part {
        "{app}" => APP,
        part if part.starts_with('{') => "nowhere",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// What makes a request one of each of the actions that its body may stand for.
fn bodies(route: &Route) -> Vec<(Action, Value)> {
    match (&route.method, route.path) {
        (&Method::PATCH, "/apps/{app}") => vec![
            (Action::Rename, json!({ "name": APP })),
            (Action::SetMaintenance, json!({ "maintenance": false })),
            (Action::SetStack, json!({ "build_stack": "heroku-24" })),
        ],
        _ => panic!("say here which bodies {} {} tells apart", route.method, route.path),
    }
}

fn is_missing_app(answer: &Answer) -> bool {
    answer.status == StatusCode::NOT_FOUND && answer.body["resource"] == "app"
}

fn is_let_in(answer: &Answer) -> bool {
    let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
    !refused.contains(&answer.status) && !is_missing_app(answer)
}

/// Whether the answer is the one that the rule has for somebody with these permissions.
fn is_right(rule: Rule, action: Option<Action>, email: &str, held: &str, answer: &Answer) -> bool {
    let held = Permissions::parse(held).unwrap();
    let forbidden = answer.status == StatusCode::FORBIDDEN && answer.body["id"] == "forbidden";
    match (rule, action) {
        (Rule::Secret | Rule::Open | Rule::Login | Rule::NewPassword | Rule::Account, _) => {
            is_let_in(answer)
        }
        (Rule::Admin, _) if email == "admin@x.org" => is_let_in(answer),
        (Rule::Admin, _) => forbidden,
        _ if held.is_none() => is_missing_app(answer),
        (Rule::App(action) | Rule::SelfOr(action), _) | (Rule::AnyOf(_), Some(action))
            if action.is_allowed(held) =>
        {
            is_let_in(answer)
        }
        _ => {
            let message = answer.body["message"].as_str().unwrap_or_default();
            forbidden && message.starts_with("You do not have access to the app shop")
        }
    }
}

async fn roles(stage: &Stage) -> Vec<(Person, &'static str)> {
    let mut people = Vec::new();
    for (email, held) in ROLES {
        people.push((stage.person(email, email == "admin@x.org").await, held));
    }
    people
}

/// The app anew, with everybody's permissions, whatever the last request did to it.
async fn reset(stage: &Stage, people: &[(Person, &str)]) {
    let owner = &people.iter().find(|(one, _)| one.user.email == "owner@x.org").unwrap().0;
    let path = format!("/apps/{APP}");
    stage.ask(Some(owner), &Method::DELETE, &path, None).await;
    let app = stage.app(owner, APP).await;
    for (person, held) in people {
        if !held.is_empty() && person.user.id != app.owner && !person.user.admin {
            stage.share(&app, person, held).await;
        }
    }
}

#[tokio::test]
async fn each_route_lets_in_whom_its_rule_names_and_nobody_else() {
    let stage = Stage::new().await;
    let people = roles(&stage).await;
    reset(&stage, &people).await;
    let mut asked = 0;
    for route in stage.table() {
        let of_app = matches!(route.rule, Rule::App(_) | Rule::AnyOf(_) | Rule::SelfOr(_));
        assert_eq!(route.path.contains("{app}"), of_app, "{} has the wrong rule", route.path);
        let tries: Vec<(Option<Action>, Option<Value>)> = match route.rule {
            Rule::AnyOf(actions) => {
                let bodies = bodies(&route);
                assert!(actions.iter().all(|one| bodies.iter().any(|(action, _)| action == one)));
                bodies.into_iter().map(|(action, body)| (Some(action), Some(body))).collect()
            }
            _ => vec![(None, None)],
        };
        for (action, body) in tries {
            for (person, held) in &people {
                let path = filled(&route);
                let answer = stage.ask(Some(person), &route.method, &path, body.clone()).await;
                let email = &person.user.email;
                assert!(
                    is_right(route.rule, action, email, held, &answer),
                    "{email} ({held}): {} {path} {body:?} answers {} {}, by {:?}",
                    route.method,
                    answer.status,
                    answer.body,
                    route.rule,
                );
                asked += 1;
                if matches!(route.rule, Rule::App(Action::Destroy)) {
                    reset(&stage, &people).await;
                }
            }
            let answer = stage.ask(None, &route.method, &filled(&route), body).await;
            let open = matches!(route.rule, Rule::Secret | Rule::Open);
            assert_eq!(answer.status != StatusCode::UNAUTHORIZED, open, "{}", route.path);
        }
    }
    assert!(asked > 400, "only {asked} requests");
}

#[test]
fn the_table_of_rules_is_the_one_that_users_are_told() {
    let mut table = String::new();
    for action in Action::ALL {
        let takes: Vec<&str> = action.takes().iter().map(|one| one.as_str()).collect();
        table.push_str(&format!("{}: {}\n", action.words(), takes.join(" or ")));
        assert!(action.is_allowed(Permissions::ALL) && !action.is_allowed(Permissions::NONE));
    }
    let readme = include_str!("../../../README.md");
    for line in table.lines() {
        let (words, takes) = line.split_once(": ").unwrap();
        let row = format!("| {words} | {takes} |");
        assert!(readme.contains(&row), "README.md lacks: {row}\n{table}");
    }
}

#[tokio::test]
async fn lists_show_what_is_ones_own_or_shared() {
    let stage = Stage::new().await;
    let people = roles(&stage).await;
    reset(&stage, &people).await;
    let viewer = &people[0].0;
    let own = stage.app(viewer, "mine").await;
    let names = async |person: &Person, path: &str| {
        let answer = stage.ask(Some(person), &Method::GET, path, None).await;
        let list = answer.body.as_array().unwrap().clone();
        let mut names: Vec<String> =
            list.iter().map(|app| app["name"].as_str().unwrap().to_string()).collect();
        names.sort();
        names
    };
    assert_eq!(names(viewer, "/apps").await, ["mine", "shop"]);
    assert_eq!(names(viewer, "/users/~/apps").await, ["mine", "shop"]);
    let admin = &people[5].0;
    assert_eq!(names(admin, "/apps").await, ["mine", "shop"]);
    assert!(names(admin, "/users/~/apps").await.is_empty());
    assert_eq!(names(admin, "/users/viewer@x.org/apps").await, ["mine", "shop"]);
    let stranger = &people[6].0;
    assert!(names(stranger, "/apps").await.is_empty());
    let others = stage.ask(Some(stranger), &Method::GET, "/users/viewer@x.org/apps", None).await;
    assert_eq!(others.status, StatusCode::NOT_FOUND);
    // Who has left sees the app no more.
    let path = format!("/apps/{APP}/collaborators/viewer@x.org");
    let left = stage.ask(Some(viewer), &Method::DELETE, &path, None).await;
    assert_eq!(left.status, StatusCode::OK);
    assert_eq!(names(viewer, "/apps").await, [own.name.as_str()]);
}
