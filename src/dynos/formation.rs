//! Scale, resize, restart: the verbs that change the desired formation. The reconciler makes it
//! true.

use crate::clock::Timestamp;
use crate::config::ServerSettings;
use crate::error::{Error, Result};
use crate::limits;
use crate::model::{AppId, DynoName, Formation};
use crate::store::{self, Store};
use std::sync::Arc;

/// One wanted change: quantity and size are kept where none is given.
#[derive(Debug, Clone)]
pub struct Update {
    pub process: String,
    pub quantity: Option<Quantity>,
    pub size: Option<String>,
}

/// A number of dynos, or more or fewer than now (`"+1"`, `"-2"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    Absolute(i64),
    Relative(i64),
}

/// Applies all updates or none, and returns the rows that were named. `promised` bytes of memory
/// are other dynos', who have not taken them yet.
pub async fn scale(
    store: &Store,
    settings: &Arc<ServerSettings>,
    promised: i64,
    app: AppId,
    updates: Vec<Update>,
) -> Result<Vec<Formation>> {
    let settings = settings.clone();
    store
        .write(move |db| {
            let now = Timestamp::now();
            let rows = store::formations::of_app(db, app)?;
            let mut changed = Vec::new();
            let (sizes, mut more) = (&settings.dyno_sizes, 0);
            let takes = |quantity: u32, size: &str| {
                sizes.stored(size).memory_bytes.saturating_mul(i64::from(quantity))
            };
            for update in &updates {
                let row = rows
                    .iter()
                    .find(|row| {
                        row.process.as_str() == update.process
                            || row.id.to_string() == update.process
                    })
                    .ok_or_else(|| unknown_type(&update.process))?;
                let quantity = match update.quantity {
                    None => row.quantity,
                    Some(wanted) => resolve(wanted, row)?,
                };
                let size = match &update.size {
                    None => row.size.clone(),
                    Some(name) => sizes.parse(name)?.name.to_string(),
                };
                more += takes(quantity, &size) - takes(row.quantity, &row.size);
                store::formations::scale(db, app, &row.process, quantity, &size, now)?;
                let quantities = format!("{} -> {quantity}", row.quantity);
                let sizes = format!("{} -> {size}", row.size);
                let details = [
                    ("type", row.process.as_str()),
                    ("quantity", quantities.as_str()),
                    ("size", sizes.as_str()),
                ];
                store::audit::note(db, "formation:update", Some(app), &details)?;
                changed.push(Formation { quantity, size, updated_at: now, ..row.clone() });
            }
            super::room::check(&settings, &describe(&changed), more, promised)?;
            Ok(changed)
        })
        .await
}

fn unknown_type(process: &str) -> Error {
    let shown: String = process.chars().take(128).collect();
    Error::new(crate::error::Kind::NotFound, format!("Couldn't find that process type ({shown})."))
}

fn resolve(wanted: Quantity, row: &Formation) -> Result<u32> {
    let number = match wanted {
        Quantity::Absolute(number) => number,
        Quantity::Relative(step) => i64::from(row.quantity).saturating_add(step),
    };
    if row.process.is_release() && number != 0 {
        return Err(Error::invalid(
            "Quantity of the release type must be 0: it runs once for every release",
        ));
    }
    u32::try_from(number).ok().filter(|number| *number <= limits::DYNOS_PER_TYPE).ok_or_else(|| {
        Error::invalid(format!(
            "Quantity must be between 0 and {} for {}",
            limits::DYNOS_PER_TYPE,
            row.process
        ))
    })
}

/// Restarts every dyno of an app, or those of one type.
pub async fn restart(store: &Store, app: AppId, process: Option<String>) -> Result<()> {
    store
        .write(move |db| {
            let process = match process {
                None => None,
                Some(text) => {
                    let known = store::formations::of_app(db, app)?
                        .into_iter()
                        .find(|row| row.process.as_str() == text)
                        .ok_or_else(|| unknown_type(&text))?;
                    Some(known.process)
                }
            };
            let dynos = process.as_ref().map_or("all", |process| process.as_str());
            store::audit::note(db, "dyno:restart", Some(app), &[("dynos", dynos)])?;
            store::formations::restart(db, app, process.as_ref())
        })
        .await
}

/// Restarts one dyno; one that the formation doesn't have is 404.
pub async fn restart_one(store: &Store, app: AppId, dyno: DynoName) -> Result<()> {
    store
        .write(move |db| {
            let exists = store::formations::of_app(db, app)?.into_iter().any(|row| {
                row.process == dyno.process && (1..=row.quantity).contains(&dyno.number)
            });
            if !exists {
                return Err(Error::not_found("dyno"));
            }
            let details = [("dynos", &dyno.to_string()[..])];
            store::audit::note(db, "dyno:restart", Some(app), &details)?;
            store::formations::restart_one(db, app, &dyno)
        })
        .await
}

/// `web@2:Standard-1X worker@0:Standard-1X`, as `Scaled to …` lines have it.
pub fn describe(rows: &[Formation]) -> String {
    let parts: Vec<String> =
        rows.iter().map(|row| format!("{}@{}:{}", row.process, row.quantity, row.size)).collect();
    parts.join(" ")
}
