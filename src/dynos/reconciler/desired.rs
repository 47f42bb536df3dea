//! Rows of the store as what the planner wants to know.

use crate::dynos::plan::{Desired, Target, Wanted};
use crate::error::Result;
use crate::store;

pub fn read(db: &rusqlite::Connection) -> Result<Vec<Desired>> {
    store::desired::read(db).map(|rows| {
        rows.into_iter()
            .map(|row| Desired {
                app: row.app.id,
                name: row.app.name.to_string(),
                maintenance: row.app.maintenance,
                domains: row.domains,
                egress: row.app.egress,
                https: row.app.https,
                current: row.current.map(target),
                serving: row.serving.map(target),
                formation: row
                    .formation
                    .into_iter()
                    .map(|formation| Wanted {
                        dyno_epochs: row
                            .dyno_epochs
                            .iter()
                            .filter(|(name, _)| name.process == formation.process)
                            .map(|(name, epoch)| (name.number, *epoch))
                            .collect(),
                        process: formation.process,
                        quantity: formation.quantity,
                        size: formation.size,
                        epoch: formation.epoch,
                    })
                    .collect(),
            })
            .collect()
    })
}

pub(in crate::dynos) fn target(
    (release, slug): (crate::model::Release, crate::model::Slug),
) -> Target {
    Target {
        release: release.id,
        version: release.version,
        image: slug.id.image(),
        commands: slug.process_types,
        images: slug.images,
        commit: slug.commit,
        description: release.description,
        created_at: release.created_at,
        served: release.served_at.is_some(),
    }
}
