//! The routing table, a pure function of the dynos: which host name is which app, and which dynos
//! answer for it.

use super::router_line;
use crate::config::{CONTROL_NAMES, ServerSettings};
use crate::dynos::{AppDynos, Published, Web};
use crate::link::{RoutedApp, RoutedState, RouterLog, Snapshot, WebTarget};
use crate::logs::LogLine;
use crate::model::AppId;

pub fn snapshot(state: &Published, settings: &ServerSettings) -> Snapshot {
    let mut snapshot = Snapshot {
        control_hosts: settings.domain.iter().flat_map(|domain| control_hosts(domain)).collect(),
        apps_domain: settings.apps_domain().to_string(),
        control_by_https: settings.control_by_https(),
        https_port: settings.tls_listen.map(|addr| addr.port()),
        ..Snapshot::default()
    };
    for (id, app) in &state.apps {
        let custom = app.domains.iter().map(|name| (name.clone(), id.0));
        snapshot.hosts.extend(custom);
        snapshot.apps.push(routed(*id, app));
    }
    // Last, so that a name which was custom before the platform's domain was set gives way.
    for (id, app) in &state.apps {
        snapshot.hosts.insert(settings.app_host(&app.name), id.0);
    }
    snapshot
}

fn control_hosts(domain: &str) -> Vec<String> {
    CONTROL_NAMES.iter().map(|name| format!("{name}.{domain}")).collect()
}

fn routed(id: AppId, app: &AppDynos) -> RoutedApp {
    let targets = app
        .dynos
        .iter()
        .filter_map(|dyno| {
            Some(WebTarget {
                id: dyno.id.to_string(),
                dyno: dyno.name.to_string(),
                addr: dyno.routed?,
            })
        })
        .collect();
    RoutedApp {
        id: id.0,
        name: app.name.clone(),
        state: match app.web {
            _ if app.maintenance => RoutedState::Maintenance,
            Web::Blank => RoutedState::Blank,
            Web::None => RoutedState::NoWeb,
            Web::Crashed => RoutedState::Crashed,
            Web::Starting | Web::Up => RoutedState::Dynos,
        },
        starting: app.starting,
        targets,
        error_page_url: None,
        maintenance_page_url: None,
        https_redirect: app.https.redirect,
        hsts: app.https.hsts,
    }
}

pub fn log_line(entry: RouterLog) -> (AppId, LogLine) {
    match entry {
        RouterLog::Line { app, at_micros, text } => (AppId(app), router_line(at_micros, text)),
        RouterLog::Lost { app, at_micros, lines } => (
            AppId(app),
            router_line(
                at_micros,
                format!("{lines} router log lines were lost while the server was away"),
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynos::Progress;
    use crate::model::Https;

    fn app(name: &str, domains: &[&str]) -> (AppId, AppDynos) {
        let app = AppDynos {
            name: name.to_string(),
            maintenance: false,
            https: Https::default(),
            domains: domains.iter().map(|name| (*name).to_string()).collect(),
            dynos: Vec::new(),
            web: Web::Blank,
            starting: false,
            progress: Progress::Settled,
            current: None,
            serving: None,
        };
        (AppId::random(), app)
    }

    #[test]
    fn custom_domains_lead_to_their_app_and_own_names_come_first() {
        let (shop, blog) =
            (app("shop", &["*.example.com", "blog.paas.example.org"]), app("blog", &[]));
        let (shop_id, blog_id) = (shop.0, blog.0);
        let state = Published { apps: [shop, blog].into(), ..Published::default() };
        let settings = ServerSettings::for_tests(&["--domain", "paas.example.org"]);
        let snapshot = snapshot(&state, &settings);
        let host = |name: &str| snapshot.hosts.get(name).map(|id| AppId(*id));
        assert_eq!(host("*.example.com"), Some(shop_id));
        assert_eq!(host("shop.paas.example.org"), Some(shop_id));
        assert_eq!(host("blog.paas.example.org"), Some(blog_id));
        assert_eq!(snapshot.apps_domain, "paas.example.org");
    }
}
