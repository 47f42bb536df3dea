//! Somebody with an account, for tests of how people come in.

use super::access::Access;
use super::sessions::{Session, Sessions};
use super::sign_in::EntryBy;
use crate::error::Result;
use crate::model::{AuditEntry, Caller, User};
use crate::origin::{Origin, Via};
use crate::secrets::Secrets;
use crate::store::{self, Store};

pub const PASSWORD: &str = "four random words here";

pub struct Stage {
    dir: tempfile::TempDir,
    pub store: Store,
    pub access: Access,
    pub sessions: Sessions,
    pub user: User,
}

impl Stage {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state.db")).unwrap();
        let secrets = Secrets::from_file(&dir.path().join("key")).unwrap();
        let access = Access::new(store.clone(), secrets);
        let (user, first) = access.create_user("ada@example.com", true).await.unwrap();
        let mut stage = Self { dir, sessions: Sessions::new(store.clone()), store, access, user };
        let session = stage.session().await;
        let (first, from) = (first.unwrap(), stage.from());
        let (access, keep) = (&stage.access, Some(session.id));
        access.change_password(&stage.user, &first, PASSWORD, keep, &from).await.unwrap();
        stage.sessions.end(&stage.user, session.id).await.unwrap();
        stage.user = stage.access.user("ada@example.com").await.unwrap();
        stage
    }

    /// Whence the person comes.
    pub fn from(&self) -> Origin {
        Origin { address: Some("192.0.2.1".to_string()), ..Origin::of(&self.user, Via::Console) }
    }

    pub async fn session(&self) -> Session {
        assert!(self.dir.path().exists());
        let secret = self.sessions.open(&self.user, None, &self.from(), "Browser").await.unwrap();
        self.sessions.find(&secret).await.unwrap().unwrap()
    }

    pub async fn sign_in(&self, code: Option<&str>) -> Result<Caller> {
        let (entry, from) = (EntryBy::OwnPassword, self.from());
        self.access.sign_in("ada@example.com", PASSWORD, code, entry, &from).await
    }

    /// The entries of the audit about that, as soon as there are so many.
    pub async fn audit(&self, action: &'static str, count: usize) -> Vec<AuditEntry> {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            let mut all = self.store.read(|db| store::audit::last(db, None, 1000)).await.unwrap();
            all.retain(|entry| entry.action == action);
            if all.len() >= count {
                return all;
            }
            assert!(std::time::Instant::now() < deadline, "{} of {count} {action}", all.len());
            tokio::task::yield_now().await;
        }
    }
}
