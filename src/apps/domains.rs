//! An app's custom domains. A name belongs to one app on the whole platform, and a wildcard never
//! takes names from under an app whose domains the caller may not change.

use super::access::{Action, held};
use crate::clock::Timestamp;
use crate::config::ServerSettings;
use crate::error::{Error, Result};
use crate::limits;
use crate::model::{App, Caller, Domain, DomainId, Hostname};
use crate::store::{self, Store};

/// Adds a name to an app. One that another app has is Heroku's 422.
pub async fn add(
    store: &Store,
    settings: &ServerSettings,
    caller: &Caller,
    app: &App,
    hostname: Hostname,
) -> Result<Domain> {
    refuse_own(settings, &hostname)?;
    let now = Timestamp::now();
    let domain = Domain {
        id: DomainId::random(),
        app: app.id,
        hostname,
        sni_endpoint: None,
        acm: None,
        created_at: now,
        updated_at: now,
    };
    let user = caller.user.clone();
    store
        .write(move |db| {
            for claim in store::domains::claims(db, &domain.hostname)? {
                let is_same = claim.hostname == domain.hostname.as_str();
                if is_same && claim.app == domain.app {
                    return Err(Error::invalid("Domain already added to this app."));
                }
                let given = store::collaborators::held(db, claim.app, user.id)?;
                let held = held(&user, claim.owner, given);
                if is_same || !Action::SetDomains.is_allowed(held) {
                    let name = &domain.hostname;
                    let message = format!("{name} is currently in use by another app.");
                    return Err(Error::invalid(message));
                }
            }
            if store::domains::count(db, domain.app)? >= limits::DOMAINS_PER_APP {
                let most = limits::DOMAINS_PER_APP;
                return Err(Error::invalid(format!("An app can have at most {most} domains.")));
            }
            store::domains::insert(db, &domain)?;
            let details = [("hostname", domain.hostname.as_str())];
            store::audit::note(db, "domain:create", Some(domain.app), &details)?;
            Ok(domain)
        })
        .await
}

/// Names of the platform and of its apps are nobody's to add.
fn refuse_own(settings: &ServerSettings, hostname: &Hostname) -> Result<()> {
    let own = ["localhost", settings.apps_domain()];
    match own.into_iter().find(|base| hostname.is_within(base)) {
        None => Ok(()),
        Some(base) => Err(Error::invalid(format!(
            "Domain {hostname} is not valid: names under {base} are the platform's own, and each \
             app has one there already."
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::lifecycle::new_app;
    use crate::model::{AppName, User, UserId};

    async fn caller(store: &Store, email: &str, admin: bool) -> Caller {
        let now = Timestamp::now();
        let user = User {
            id: UserId::random(),
            email: email.to_string(),
            admin,
            created_at: now,
            updated_at: now,
        };
        let row = user.clone();
        store.write(move |db| store::users::insert(db, &row, "")).await.unwrap();
        Caller { user, authorization: None }
    }

    async fn app(store: &Store, owner: &Caller, name: &str) -> App {
        let app = new_app(owner, AppName::parse(name).unwrap(), "heroku-24");
        let row = app.clone();
        store.write(move |db| store::apps::insert(db, &row)).await.unwrap();
        app
    }

    #[tokio::test]
    async fn a_name_belongs_to_one_app_and_wildcards_respect_owners() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state.db")).unwrap();
        let settings = ServerSettings::for_tests(&["--domain", "Paas.Example.org"]);
        let (ada, eve) =
            (caller(&store, "ada@x.org", false).await, caller(&store, "eve@x.org", false).await);
        let admin = caller(&store, "root@x.org", true).await;
        let shop = app(&store, &ada, "shop").await;
        let blog = app(&store, &ada, "blog").await;
        let other = app(&store, &eve, "other").await;
        let add = async |caller: &Caller, app: &App, name: &str| {
            let name = Hostname::parse(name)?;
            add(&store, &settings, caller, app, name).await
        };

        add(&ada, &shop, "*.example.com").await.unwrap();
        add(&ada, &shop, "www.example.net").await.unwrap();
        let again = add(&ada, &shop, "WWW.example.net").await.unwrap_err();
        assert_eq!(again.to_string(), "Domain already added to this app.");
        // Her own wildcard is in nobody's way, and the exact name wins in the router.
        add(&ada, &blog, "blog.example.com").await.unwrap();
        for (who, to, name) in [
            (&ada, &blog, "www.example.net"),
            (&eve, &other, "www.example.net"),
            (&eve, &other, "evil.example.com"),
            (&eve, &other, "deeper.evil.example.com"),
            (&eve, &other, "*.example.net"),
        ] {
            let error = add(who, to, name).await.unwrap_err().to_string();
            assert_eq!(error, format!("{name} is currently in use by another app."));
        }
        add(&admin, &other, "docs.example.com").await.unwrap();
        add(&eve, &other, "example.net").await.unwrap();
        for name in
            ["x.localhost", "paas.example.org", "api.paas.example.org", "*.paas.example.org"]
        {
            let error = add(&ada, &shop, name).await.unwrap_err().to_string();
            assert!(error.contains("the platform's own"), "{name}: {error}");
        }

        let id = shop.id;
        store.write(move |db| store::apps::destroy(db, id, Timestamp::now())).await.unwrap();
        add(&eve, &other, "www.example.net").await.unwrap();
    }
}
