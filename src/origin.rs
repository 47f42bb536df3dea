//! Who a piece of work is for, and from where: carried by the task that does it, to every task
//! that it spawns and into every write of the store, so that the audit can say it. Work that
//! nobody asked for is the server's own.

use crate::model::{User, UserId};
use std::future::Future;

/// How somebody came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    Api,
    Cli,
    Git,
    Console,
    /// Root, over the socket that only root opens.
    Root,
    Server,
}

impl Via {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Cli => "cli",
            Self::Git => "git",
            Self::Console => "console",
            Self::Root => "root",
            Self::Server => "server",
        }
    }

    /// A client of the API by its `User-Agent`: a command line, or anything else.
    pub fn of_agent(agent: &str) -> Self {
        let is_cli = ["senryu-cli/", "heroku-cli/"].iter().any(|name| agent.starts_with(name));
        if is_cli { Self::Cli } else { Self::Api }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub actor: Option<(UserId, String)>,
    pub via: Via,
    /// The client's address, as the router saw it.
    pub address: Option<String>,
    /// The request's id, which its reply has as well.
    pub request: Option<String>,
}

tokio::task_local! {
    static ORIGIN: Origin;
}

impl Origin {
    pub fn server() -> Self {
        Self { actor: None, via: Via::Server, address: None, request: None }
    }

    pub fn of(user: &User, via: Via) -> Self {
        let actor = Some((user.id, user.email.clone()));
        Self { actor, via, address: None, request: None }
    }

    /// Somebody who has not proved who they are.
    pub fn stranger(via: Via, headers: &http::HeaderMap) -> Self {
        Self { address: Self::address(headers), via, ..Self::server() }
    }

    /// The client's address: the router adds the one that it sees, behind whatever was sent.
    pub fn address(headers: &http::HeaderMap) -> Option<String> {
        let last = headers.get_all("x-forwarded-for").iter().next_back()?;
        let last = last.to_str().ok()?.rsplit(',').next()?.trim();
        last.parse::<std::net::IpAddr>().ok().map(|address| address.to_string())
    }

    /// That of the work at hand.
    pub fn current() -> Self {
        ORIGIN.try_with(Clone::clone).unwrap_or_else(|_| Self::server())
    }

    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        ORIGIN.scope(self, work).await
    }

    pub fn sync_scope<T>(self, work: impl FnOnce() -> T) -> T {
        ORIGIN.sync_scope(self, work)
    }
}
