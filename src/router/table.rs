//! The routing table: a snapshot made fit for look-ups. Targets that stay keep their counters.

use super::backlog::Backlog;
use super::target::{Drains, Target};
use crate::link::{RoutedApp, RoutedState, Snapshot};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

#[derive(Default)]
pub struct Table {
    pub version: u64,
    hosts: HashMap<String, Arc<App>>,
    has_wildcards: bool,
    apps_domain: String,
    control_hosts: HashSet<String>,
    /// Where clients find the listener with TLS.
    pub https_port: Option<u16>,
    /// The server is for those only who come by TLS or from this machine.
    pub control_by_https: bool,
    apps: HashMap<Uuid, Arc<App>>,
    targets: HashMap<String, Arc<Target>>,
}

pub struct App {
    pub id: Uuid,
    pub state: RoutedState,
    pub starting: bool,
    pub targets: Vec<Arc<Target>>,
    pub error_page_url: Option<String>,
    pub maintenance_page_url: Option<String>,
    pub https_redirect: bool,
    pub hsts: bool,
    pub backlog: Arc<Backlog>,
}

/// Where a host name leads.
pub enum Route {
    Control,
    App(Arc<App>),
    Unknown,
}

impl Table {
    /// Makes the table of a snapshot. Counters, quarantines and waiting requests of `previous`
    /// live on in it.
    pub fn build(snapshot: Snapshot, previous: &Table, drains: &Arc<Drains>) -> Self {
        let mut table = Self { version: snapshot.version, ..Self::default() };
        for app in snapshot.apps {
            let known = previous.apps.get(&app.id);
            let backlog = known.map(|app| app.backlog.clone()).unwrap_or_default();
            let app = Arc::new(table.app(app, backlog, previous, drains));
            table.apps.insert(app.id, app);
        }
        for (host, id) in snapshot.hosts {
            if let Some(app) = table.apps.get(&id) {
                table.has_wildcards |= host.starts_with("*.");
                table.hosts.insert(host.to_ascii_lowercase(), app.clone());
            }
        }
        table.apps_domain = snapshot.apps_domain;
        table.https_port = snapshot.https_port;
        table.control_by_https = snapshot.control_by_https;
        table.control_hosts =
            snapshot.control_hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        table
    }

    fn app(
        &mut self,
        app: RoutedApp,
        backlog: Arc<Backlog>,
        previous: &Table,
        drains: &Arc<Drains>,
    ) -> App {
        let mut targets = Vec::with_capacity(app.targets.len());
        for web in app.targets {
            let target = match previous.targets.get(&web.id) {
                Some(known) if known.addr == web.addr && !known.is_retired() => known.clone(),
                _ => {
                    let (backlog, drains) = (backlog.clone(), drains.clone());
                    Arc::new(Target::new(web.id, web.dyno, web.addr, backlog, drains))
                }
            };
            self.targets.insert(target.id.clone(), target.clone());
            targets.push(target);
        }
        App {
            id: app.id,
            state: app.state,
            starting: app.starting,
            targets,
            error_page_url: app.error_page_url,
            maintenance_page_url: app.maintenance_page_url,
            https_redirect: app.https_redirect,
            hsts: app.hsts,
            backlog,
        }
    }

    /// Targets of `self` that `next` does not have.
    pub fn removed_by<'a>(&'a self, next: &'a Table) -> impl Iterator<Item = &'a Arc<Target>> {
        self.targets.values().filter(|target| {
            next.targets.get(&target.id).is_none_or(|other| other.key != target.key)
        })
    }

    pub fn has_target(&self, id: &str) -> bool {
        self.targets.contains_key(id)
    }

    pub fn backlogs(&self) -> impl Iterator<Item = &Arc<Backlog>> {
        self.apps.values().map(|app| &app.backlog)
    }

    pub fn app_by_id(&self, id: Uuid) -> Option<&Arc<App>> {
        self.apps.get(&id)
    }

    /// Looks up a host name without port, in lower case.
    pub fn route(&self, host: &str) -> Route {
        if is_always_control(host) || self.control_hosts.contains(host) {
            return Route::Control;
        }
        match self.hosts.get(host).or_else(|| self.wildcard(host)) {
            Some(app) => Route::App(app.clone()),
            None => Route::Unknown,
        }
    }

    /// The nearest `*.` entry above a name, but none from beyond the apps' own domain.
    fn wildcard(&self, host: &str) -> Option<&Arc<App>> {
        if !self.has_wildcards {
            return None;
        }
        let mut rest = host;
        while let Some((_, parent)) = rest.split_once('.') {
            if rest == self.apps_domain || parent == self.apps_domain {
                return None;
            }
            if let Some(app) = self.hosts.get(&format!("*.{parent}")) {
                return Some(app);
            }
            rest = parent;
        }
        None
    }
}

/// The server is always at these names, whatever the port.
fn is_always_control(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(hosts: &[&str]) -> Snapshot {
        let id = Uuid::new_v4();
        let app = RoutedApp {
            id,
            name: "sample".into(),
            state: RoutedState::Blank,
            starting: false,
            targets: Vec::new(),
            error_page_url: None,
            maintenance_page_url: None,
            https_redirect: false,
            hsts: false,
        };
        Snapshot {
            version: 1,
            apps: vec![app],
            hosts: hosts.iter().map(|host| ((*host).to_string(), id)).collect(),
            apps_domain: "paas.example.com".into(),
            control_hosts: vec!["api.example.com".into()],
            https_port: None,
            control_by_https: false,
        }
    }

    #[test]
    fn an_exact_host_wins_and_a_wildcard_covers_deeper_names() {
        let hosts = ["sample.localhost", "*.example.com"];
        let table = Table::build(snapshot(&hosts), &Table::default(), &Arc::default());
        assert!(matches!(table.route("sample.localhost"), Route::App(_)));
        assert!(matches!(table.route("a.b.example.com"), Route::App(_)));
        assert!(matches!(table.route("example.com"), Route::Unknown));
        assert!(matches!(table.route("api.example.com"), Route::Control));
        assert!(matches!(table.route("[::1]"), Route::Control));
        assert!(matches!(table.route("sample"), Route::Unknown));
    }

    #[test]
    fn a_wildcard_takes_no_name_of_an_app_that_is_not_there() {
        let hosts = ["*.example.com", "shop.paas.example.com"];
        let table = Table::build(snapshot(&hosts), &Table::default(), &Arc::default());
        assert!(matches!(table.route("shop.paas.example.com"), Route::App(_)));
        assert!(matches!(table.route("gone.paas.example.com"), Route::Unknown));
        assert!(matches!(table.route("a.gone.paas.example.com"), Route::Unknown));
        assert!(matches!(table.route("paas.example.com"), Route::Unknown));
        assert!(matches!(table.route("mypaas.example.com"), Route::App(_)));
    }
}
