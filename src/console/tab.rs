//! Which page of an app is open, and which others its reader gets to see.

use crate::apps::access::{Action, Entry};

/// The pages of an app, in the order of its tabs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    Overview,
    Releases,
    Builds,
    Config,
    Logs,
    Metrics,
    Domains,
    Access,
    Audit,
    Settings,
}

/// Which page of an app this is, and what its reader may do there: what they may not is not shown.
pub struct Here {
    at: Tab,
    entry: Entry,
}

impl Here {
    pub fn at(at: Tab, entry: &Entry) -> Self {
        Self { at, entry: entry.clone() }
    }

    /// The tabs: what each is called, where it is below the app's own page, and whether it is this.
    pub fn shown(&self) -> Vec<(&'static str, &'static str, bool)> {
        let all = [
            (Tab::Overview, "Overview", "", Action::See),
            (Tab::Logs, "Logs", "/logs", Action::ReadLogs),
            (Tab::Metrics, "Metrics", "/metrics", Action::ReadMetrics),
            (Tab::Releases, "Releases", "/releases", Action::See),
            (Tab::Builds, "Builds", "/builds", Action::See),
            (Tab::Config, "Config vars", "/config", Action::ReadConfig),
            (Tab::Domains, "Domains", "/domains", Action::See),
            (Tab::Access, "Access", "/access", Action::See),
            (Tab::Audit, "Audit", "/audit", Action::ReadAudit),
            (Tab::Settings, "Settings", "/settings", Action::See),
        ];
        let shown = all.into_iter().filter(|(.., action)| self.entry.may(*action));
        shown.map(|(tab, name, rest, _)| (name, rest, tab == self.at)).collect()
    }

    pub fn may(&self, action: Action) -> bool {
        self.entry.may(action)
    }
}
