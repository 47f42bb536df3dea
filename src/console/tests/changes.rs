//! Every form leaves an entry in the audit that says who and from where, by the route table
//! itself: a new one is in here without being written down, and fails until it does.

use super::pages::Reader;
use super::*;
use crate::api::tests::scene::{self, APP, DOMAIN, Scene, Theatre};
use crate::apps::second_factor::Offer;
use crate::secrets;

/// Forms that leave none, and why that is right.
const UNTOLD: [(&str, &str); 1] = [(
    "/console/account/second-factor",
    "it shows a secret: nothing is changed before a code of that has come",
)];

const PASSWORD: &str = "four random words here";
const NEW_PASSWORD: &str = "five other random words here";
/// Stand in a field for what there is.
const PLACES: [&str; 7] =
    ["{email}", "{offer}", "{code}", "{recovery}", "{token}", "{guest}", "{neighbour}"];

/// What a form of the page must say to change something; some change one thing or another.
fn forms(path: &str) -> Vec<&'static [(&'static str, &'static str)]> {
    const CODE: (&str, &str) = ("code", "{recovery}");
    const KNOWN: (&str, &str) = ("password", PASSWORD);
    match path {
        "/console/sign-in" => vec![&[("email", "{email}"), KNOWN]],
        "/console/sign-in/code" => vec![&[CODE]],
        "/console/password" => {
            vec![&[("current", PASSWORD), ("new", NEW_PASSWORD), ("again", NEW_PASSWORD)]]
        }
        "/console/account/second-factor/on" => {
            vec![&[("offer", "{offer}"), KNOWN, ("code", "{code}")]]
        }
        "/console/account/second-factor/change" => {
            vec![&[("do", "codes"), KNOWN, CODE], &[("do", "off"), KNOWN, CODE]]
        }
        "/console/account/tokens" => vec![&[("authorization", "{token}")]],
        "/console/people" => vec![&[("email", "new@x.org")]],
        "/console/people/remove" => vec![&[("user", "{neighbour}")]],
        "/console/people/second-factor" => vec![&[("user", "{guest}")]],
        "/console/new-app" => vec![&[("name", "another")]],
        "/console/apps/{app}/scale" => vec![&[("process", "web"), ("quantity", "2")]],
        "/console/apps/{app}/restart" => vec![&[], &[("dyno", "web.1")]],
        "/console/apps/{app}/maintenance" => vec![&[("on", "yes")], &[]],
        "/console/apps/{app}/releases" => vec![&[("release", "v3")]],
        "/console/apps/{app}/config" => {
            vec![&[("was", ""), ("mark", ""), ("key", "KEY"), ("value", "value")]]
        }
        "/console/apps/{app}/domains" => vec![&[("hostname", "more.example.com")]],
        "/console/apps/{app}/domains/remove" => vec![&[("hostname", DOMAIN)]],
        "/console/apps/{app}/domains/certificates" => {
            vec![&[("do", "on")], &[("do", "again")], &[("do", "off")]]
        }
        "/console/apps/{app}/access" => {
            vec![&[("email", "{neighbour}"), ("is_new", "yes")], &[("email", "{guest}")]]
        }
        "/console/apps/{app}/access/remove" => vec![&[("email", "{guest}")]],
        "/console/apps/{app}/settings/name" => vec![&[("name", "renamed")]],
        "/console/apps/{app}/settings/delete" => vec![&[("confirm", APP)]],
        // All that it takes is in the path.
        _ => vec![&[]],
    }
}

/// An admin with a session, and what that person's phone has learnt.
struct Actor {
    person: Person,
    cookie: String,
    offer: Offer,
    recovery: String,
    /// The id of one.
    token: String,
}

impl Actor {
    async fn enter(desk: &Desk, hash: &str, number: usize, has_factor: bool) -> Self {
        let email = format!("admin-{number}@x.org");
        let mut person = desk.stage.person(&email, true).await;
        let (id, hash) = (person.user.id, hash.to_string());
        let chosen = desk.stage.api.store.write(move |db| {
            store::console_sessions::set_password(db, id, &hash, false, Timestamp::now())
        });
        chosen.await.unwrap();
        person.user = desk.stage.api.access.user(&email).await.unwrap();
        let cookie = desk.cookie(&person).await;
        let secret = cookie.split_once('=').unwrap().1;
        let session = desk.console.sessions.find(secret).await.unwrap().unwrap();
        let access = &desk.stage.api.access;
        let offer = access.offer(&session).unwrap();
        let token = access.authorizations(&person.user).await.unwrap().remove(0).id.to_string();
        let mut actor = Self { person, cookie, offer, recovery: String::new(), token };
        if has_factor {
            let (code, from) = (actor.offer.code(), Origin::server());
            let proof = [PASSWORD, &*code];
            let codes = access.switch_on(&session, &actor.offer, proof, &from).await.unwrap();
            actor.recovery = codes[0].clone();
            let half = access.half_in(&actor.person.user).await.unwrap();
            actor.cookie = format!("{}; senryu_half={half}", actor.cookie);
        }
        actor
    }

    fn filled(&self, text: &str, scene: &Scene) -> String {
        let code = self.offer.code();
        let email = &self.person.user.email;
        let found = [email, &self.offer.sealed, &code, &self.recovery, &self.token, &scene.guest];
        let found = found.into_iter().chain([&scene.neighbour]);
        PLACES.iter().zip(found).fold(text.to_string(), |text, (place, is)| text.replace(place, is))
    }
}

#[tokio::test]
async fn each_form_that_changes_something_says_who_did_it() {
    let (desk, theatre) = (Desk::with(&scene::FLAGS).await, Theatre::open());
    let (hash, mut told) = (secrets::hash_password(PASSWORD).unwrap(), 0);
    let routes = table(desk.console.clone()).routes;
    let forms_of = |path: &'static str| forms(path).into_iter().map(move |form| (path, form));
    let known = |path: &&str| !UNTOLD.iter().any(|(untold, _)| untold == path);
    let posts = || routes.iter().filter(|route| route.method != Method::GET);
    let paths = posts().map(|route| route.path);
    assert_eq!(paths.clone().filter(|path| !known(path)).count(), UNTOLD.len());
    for (path, form) in paths.filter(known).flat_map(forms_of) {
        let has_factor = form.iter().any(|(_, value)| *value == "{recovery}");
        let actor = Actor::enter(&desk, &hash, told, has_factor).await;
        let scene = theatre.set(&desk.stage, &actor.person).await;
        let mut asked = path.replace("{app}", APP);
        if asked.contains("{build}") {
            let build = scene.build(&desk.stage, &actor.person).await;
            asked = asked.replace("{build}", &build.to_string());
        }
        let values: Vec<_> =
            form.iter().map(|(key, value)| (*key, actor.filled(value, &scene))).collect();
        let fields: Vec<_> = values.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let reader = Reader::of(&desk, &actor.cookie);
        let before = scene::head(&desk.stage).await;
        let page = reader.send(&asked, &fields).await;
        let entries = scene::since(&desk.stage, before).await;
        assert!(
            !entries.is_empty(),
            "{path} with {fields:?} left no entry; if it is new, say in this file what it takes: \
             {page}"
        );
        for entry in entries {
            let from = (entry.actor.as_str(), entry.via.as_str(), entry.address.as_deref());
            let email = actor.person.user.email.as_str();
            assert_eq!(from, (email, "console", Some("192.0.2.7")), "{path}: {entry:?}");
            assert_eq!(entry.request_id.as_deref(), Some("a-request"), "{path}: {entry:?}");
        }
        told += 1;
        scene.strike(&desk.stage).await;
    }
    assert!(told > 30, "only {told} forms");
}
