//! Create, rename and destroy an app. What lies outside the database (repository, volume, images,
//! containers, logs) goes after the row has gone, and again at the next start if that was cut
//! short.

use crate::clock::Timestamp;
use crate::error::Result;
use crate::model::{App, AppId, AppName, Caller, Egress, Https};
use crate::store::{self, Store};
use rusqlite::Connection;

/// A new app's row. v1 and v2 are made with it, as on Heroku: `release::initial`.
pub fn new_app(caller: &Caller, name: AppName, stack: &str) -> App {
    let now = Timestamp::now();
    App {
        id: AppId::random(),
        name,
        owner: caller.user.id,
        owner_email: caller.user.email.clone(),
        stack: stack.to_string(),
        maintenance: false,
        egress: Egress::Anywhere,
        https: Https::default(),
        acm: false,
        buildpack_provided_description: None,
        repo_size: None,
        slug_size: None,
        created_at: now,
        updated_at: now,
        released_at: None,
    }
}

/// A name like Heroku's own: `quiet-harbor-04711`.
pub fn generated_name() -> String {
    const ADJECTIVES: [&str; 24] = [
        "quiet", "amber", "brisk", "calm", "clear", "cool", "dusty", "early", "fair", "gentle",
        "hidden", "hollow", "late", "lucid", "misty", "pale", "plain", "proud", "silent", "snowy",
        "still", "sunny", "warm", "young",
    ];
    const NOUNS: [&str; 24] = [
        "harbor", "meadow", "river", "forest", "field", "summit", "valley", "island", "garden",
        "bridge", "canyon", "cliff", "delta", "dune", "glade", "grove", "lagoon", "lake", "marsh",
        "orchard", "pond", "ridge", "shore", "spring",
    ];
    let pick = |words: &[&'static str; 24]| words[rand::random_range(0..words.len())];
    format!("{}-{}-{:05}", pick(&ADJECTIVES), pick(&NOUNS), rand::random_range(0..100_000))
}

pub async fn rename(store: &Store, app: AppId, name: AppName) -> Result<()> {
    store
        .write(move |db| {
            note(db, app, &[("name", name.as_str())])?;
            store::apps::rename(db, app, &name, Timestamp::now())
        })
        .await
}

pub async fn set_maintenance(store: &Store, app: AppId, on: bool) -> Result<()> {
    store
        .write(move |db| {
            note(db, app, &[("maintenance", word(on))])?;
            store::apps::set_maintenance(db, app, on, Timestamp::now())
        })
        .await
}

pub async fn set_https(store: &Store, app: AppId, https: Https) -> Result<()> {
    store
        .write(move |db| {
            note(db, app, &[("redirect", word(https.redirect)), ("hsts", word(https.hsts))])?;
            store::apps::set_https(db, app, https, Timestamp::now())
        })
        .await
}

/// Takes effect on dynos that start from now on: all are restarted.
pub async fn set_egress(store: &Store, app: AppId, egress: Egress) -> Result<()> {
    store
        .write(move |db| {
            let stored = egress.stored();
            note(db, app, &[("egress", stored.as_deref().unwrap_or("anywhere"))])?;
            store::apps::set_egress(db, app, &egress, Timestamp::now())?;
            store::formations::restart(db, app, None)
        })
        .await
}

/// For the next build; what runs stays as it is.
pub async fn set_stack(store: &Store, app: AppId, stack: &'static str) -> Result<()> {
    store
        .write(move |db| {
            note(db, app, &[("stack", stack)])?;
            store::apps::set_stack(db, app, stack, Timestamp::now())
        })
        .await
}

/// Removes the rows. The caller then clears what lies outside, and `forgotten` ends it.
pub async fn destroy(store: &Store, app: AppId) -> Result<()> {
    store
        .write(move |db| {
            store::audit::note(db, "app:destroy", Some(app), &[])?;
            store::apps::destroy(db, app, Timestamp::now())
        })
        .await
}

fn note(db: &Connection, app: AppId, details: &[(&str, &str)]) -> Result<()> {
    store::audit::note(db, "app:update", Some(app), details)
}

fn word(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

pub async fn forgotten(store: &Store, app: AppId) -> Result<()> {
    store.write(move |db| store::apps::forget_destroyed(db, app)).await
}
