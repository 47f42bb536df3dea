//! The routing table, a pure function of the dynos: which host name is which app, and which dynos
//! answer for it.

use super::router_line;
use crate::config::ServerSettings;
use crate::dynos::{AppDynos, Published, Web};
use crate::link::{RoutedApp, RoutedState, RouterLog, Snapshot, WebTarget};
use crate::logs::LogLine;
use crate::model::AppId;

pub fn snapshot(state: &Published, settings: &ServerSettings) -> Snapshot {
    let mut snapshot = Snapshot {
        control_hosts: settings.domain.iter().flat_map(|domain| control_hosts(domain)).collect(),
        ..Snapshot::default()
    };
    for (id, app) in &state.apps {
        snapshot.hosts.insert(settings.app_host(&app.name).to_ascii_lowercase(), id.0);
        snapshot.apps.push(routed(*id, app));
    }
    snapshot
}

fn control_hosts(domain: &str) -> Vec<String> {
    ["api", "git", "dashboard"].iter().map(|name| format!("{name}.{domain}")).collect()
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
