//! SQLite: one writer thread with group commit, a few readers. A write is a closure that runs in
//! the writer's transaction and returns when that is on disk; closures that wait together share
//! one commit, each in a savepoint of its own, so that one that fails takes no other with it.

pub mod app_list;
pub mod apps;
pub mod audit;
pub mod auto_certificates;
pub mod build_notes;
pub mod buildpacks;
pub mod collaborators;
pub mod console_sessions;
pub mod desired;
pub mod domains;
pub mod formations;
pub mod meta;
pub mod metrics;
pub mod releases;
mod row;
pub mod second_factors;
pub mod slugs;
pub mod sni_endpoints;
pub mod users;

use crate::error::{Context, Error, Result};
use crate::limits;
use crate::origin::Origin;
use rusqlite::{Connection, OpenFlags, Transaction};
use rusqlite_migration::{M, Migrations};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

const MIGRATIONS: &[M<'static>] = &[
    M::up(include_str!("migrations/001_platform.sql")),
    M::up(include_str!("migrations/002_slug_layers.sql")),
    M::up(include_str!("migrations/003_buildpacks.sql")),
    M::up(include_str!("migrations/004_domains.sql")),
    M::up(include_str!("migrations/005_source_blobs.sql")),
    M::up(include_str!("migrations/006_egress.sql")),
    M::up(include_str!("migrations/007_app_images.sql")),
    M::up(include_str!("migrations/008_sni_endpoints.sql")),
    M::up(include_str!("migrations/009_https.sql")),
    M::up(include_str!("migrations/010_collaborators.sql")),
    M::up(include_str!("migrations/011_console_sessions.sql")),
    M::up(include_str!("migrations/012_audit.sql")),
    M::up(include_str!("migrations/013_auto_certificates.sql")),
    M::up(include_str!("migrations/014_second_factors.sql")),
    M::up(include_str!("migrations/015_build_notes.sql")),
    M::up(include_str!("migrations/016_token_use.sql")),
];

/// Of the database of metrics.
const METRICS_MIGRATIONS: &[M<'static>] = &[M::up(include_str!("migrations/metrics_001.sql"))];

/// Gets the transaction, or why there is none.
type Job = Box<dyn FnOnce(Result<&mut Transaction<'_>, String>) -> Answer + Send>;
/// Tells the waiting caller, once the commit has succeeded or failed.
type Answer = Box<dyn FnOnce(Result<(), String>) + Send>;

/// A handle on the state; clones share the writer and the readers.
#[derive(Clone)]
pub struct Store {
    writer: mpsc::Sender<Job>,
    readers: Arc<Readers>,
}

struct Readers {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Store {
    /// Opens the database and brings it up to date. One made by a newer version is refused.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, MIGRATIONS)
    }

    /// Opens the database of metrics, which the state never waits for.
    pub fn open_metrics(path: &Path) -> Result<Self> {
        Self::open_with(path, METRICS_MIGRATIONS)
    }

    fn open_with(path: &Path, migrations: &[M<'static>]) -> Result<Self> {
        let mut connection = connect(path, false)?;
        Migrations::from_slice(migrations).to_latest(&mut connection).map_err(
            |error| match error {
                rusqlite_migration::Error::MigrationDefinition(
                    rusqlite_migration::MigrationDefinitionError::DatabaseTooFarAhead,
                ) => Error::unavailable(format!(
                    "{} was written by a newer version of senryu: install that version, or \
                     restore a backup",
                    path.display()
                )),
                other => Error::internal(format!("bring {} up to date", path.display()), other),
            },
        )?;
        let readers =
            (0..limits::STORE_READERS).map(|_| connect(path, true)).collect::<Result<Vec<_>>>()?;
        let (writer, jobs) = mpsc::channel(limits::STORE_QUEUE);
        std::thread::Builder::new()
            .name("store-writer".to_string())
            .spawn(move || write_loop(connection, jobs))
            .context("start the store's writer")?;
        Ok(Self {
            writer,
            readers: Arc::new(Readers {
                permits: Arc::new(Semaphore::new(readers.len())),
                idle: Mutex::new(readers),
            }),
        })
    }

    /// Runs `change` in the writer's transaction; what it returned is on disk when this returns.
    /// A change that fails is rolled back alone.
    pub async fn write<T, F>(&self, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        let (done, answer) = oneshot::channel();
        let origin = Origin::current();
        let stored = |text: String| Error::internal("the change could not be stored", text);
        let job: Job = Box::new(move |transaction| {
            let result = match transaction {
                Ok(transaction) => origin.sync_scope(|| in_savepoint(transaction, change)),
                Err(text) => Err(stored(text)),
            };
            Box::new(move |commit| {
                let _ = done.send(match commit {
                    Ok(()) => result,
                    Err(text) => Err(stored(text)),
                });
            })
        });
        let gone = || Error::unavailable("the server is stopping; try again");
        self.writer.send(job).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?.map_err(with_full_disk)
    }

    /// Runs `query` on one of the readers, off the async threads.
    pub async fn read<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let readers = self.readers.clone();
        let permit = readers.permits.clone().acquire_owned().await.context("wait for a reader")?;
        let connection = readers.idle().pop();
        let reader = Reader { readers, connection, _permit: permit };
        crate::tasks::blocking("a query", move || match &reader.connection {
            Some(connection) => query(connection),
            None => Err(Error::unavailable("no reader is left")),
        })
        .await
    }
}

impl Readers {
    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A connection and the permit to use it. Both go back together, and the connection first, however
/// the query ends and whether or not anybody waits for it.
struct Reader {
    readers: Arc<Readers>,
    connection: Option<Connection>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.readers.idle().extend(self.connection.take());
    }
}

fn connect(path: &Path, read_only: bool) -> Result<Connection> {
    let flags = if read_only {
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
    };
    let what = || format!("open {}", path.display());
    let connection = Connection::open_with_flags(path, flags).context(what())?;
    connection.busy_timeout(limits::STORE_BUSY_TIMEOUT).context(what())?;
    if !read_only {
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
            .context(what())?;
    }
    connection.execute_batch("PRAGMA foreign_keys = ON;").context(what())?;
    Ok(connection)
}

/// A full disk is nobody's fault but the machine's, and who asks may be told.
fn with_full_disk(error: Error) -> Error {
    const SQLITE_SAYS: &str = "database or disk is full";
    match error.chain().contains(SQLITE_SAYS) {
        true => {
            tracing::error!(error = error.chain(), "the disk is full");
            Error::unavailable(
                "The server's disk is full, so nothing was changed. Free some space on it \
                 (senryu doctor says where), then try again",
            )
        }
        false => error,
    }
}

fn in_savepoint<T>(
    transaction: &mut Transaction<'_>,
    change: impl FnOnce(&Transaction<'_>) -> Result<T>,
) -> Result<T> {
    transaction.execute_batch("SAVEPOINT one").context("begin a change")?;
    let result = change(transaction);
    let end = if result.is_ok() { "RELEASE one" } else { "ROLLBACK TO one; RELEASE one" };
    transaction.execute_batch(end).context("end a change")?;
    result
}

fn write_loop(mut connection: Connection, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.blocking_recv() {
        let begun = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate);
        let mut transaction = match begun {
            Ok(transaction) => transaction,
            Err(error) => {
                first(Err(error.to_string()))(Ok(()));
                continue;
            }
        };
        let mut answers = vec![first(Ok(&mut transaction))];
        while answers.len() < limits::STORE_GROUP {
            let Ok(job) = jobs.try_recv() else { break };
            answers.push(job(Ok(&mut transaction)));
        }
        let outcome = transaction.commit().map_err(|error| error.to_string());
        for answer in answers {
            answer(outcome.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_change_takes_no_other_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state.db")).unwrap();
        let good = store.write(|tx| {
            tx.execute("INSERT INTO meta (key, value) VALUES ('a', 'x')", []).context("insert")?;
            Ok(())
        });
        let bad = store.write(|tx| {
            tx.execute("INSERT INTO meta (key, value) VALUES ('b', 'x')", []).context("insert")?;
            Err::<(), _>(Error::invalid("no"))
        });
        let (good, bad) = tokio::join!(good, bad);
        good.unwrap();
        assert_eq!(bad.unwrap_err().to_string(), "no");
        let keys = store
            .read(|db| {
                let mut query = db.prepare("SELECT key FROM meta").context("prepare")?;
                let rows = query.query_map([], |row| row.get::<_, String>(0)).context("query")?;
                rows.collect::<rusqlite::Result<Vec<_>>>().context("read")
            })
            .await
            .unwrap();
        assert_eq!(keys, ["a"]);
    }

    #[tokio::test]
    async fn readers_come_back_from_queries_that_panic_or_that_nobody_waits_for() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state.db")).unwrap();
        for _ in 0..limits::STORE_READERS + 1 {
            let panics = store.read(|_| -> Result<()> { panic!("a bug") });
            assert!(panics.await.is_err());
        }
        // Each is begun, and then left.
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        for _ in 0..limits::STORE_READERS {
            let held = held.clone();
            let slow = store.read(move |_| {
                let _ = held.lock().unwrap().recv();
                Ok(())
            });
            assert!(futures_util::poll!(Box::pin(slow)).is_pending());
        }
        let next = store.read(|_| Ok(7));
        tokio::pin!(next);
        assert!(futures_util::poll!(&mut next).is_pending(), "it waits for one of them");
        drop(hold);
        assert_eq!(next.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_newer_database_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        drop(Store::open(&path).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 9999).unwrap();
        let error = Store::open(&path).err().unwrap();
        assert!(error.to_string().contains("newer version of senryu"), "{error}");
    }
}
