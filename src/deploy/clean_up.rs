//! What nobody needs any more goes by itself: slugs of old releases, images that no slug knows,
//! outputs without a build and old ones beyond their bound, and everything outside the database of
//! apps that were destroyed.

use super::{Deploy, Repos};
use crate::clock::Timestamp;
use crate::engine::{LABEL_APP, LABEL_KIND, LABEL_SLUG};
use crate::error::Result;
use crate::model::{AppId, SlugId};
use crate::{limits, store, tasks};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;

impl Deploy {
    /// One round. What fails is tried again in the next.
    pub(super) async fn clean_up(&self, repos: &dyn Repos) {
        for result in [
            self.expire_slugs().await,
            self.remove_strays().await,
            self.remove_layers().await,
            self.remove_stray_builds().await,
            self.remove_cut_short().await,
            self.clear_destroyed(repos).await,
            self.remove_outputs().await,
            self.remove_sources().await,
        ] {
            if let Err(error) = result {
                tracing::warn!(error = error.chain(), "clean-up is not complete");
            }
        }
    }

    async fn expire_slugs(&self) -> Result<()> {
        let settings = &self.parts().settings;
        let (keep, days) = (settings.keep_releases, i64::from(settings.keep_release_days));
        let now = Timestamp::now();
        let since = Timestamp(now.0 - days * DAY_MICROS);
        let old =
            self.parts().store.write(move |db| store::slugs::expire(db, keep, since, now)).await?;
        for slug in &old {
            tracing::info!(slug = %slug.id, "a slug has expired");
        }
        Ok(())
    }

    /// Slug images that no row knows. A build that runs has one before its row is stored, so
    /// images of its app wait.
    async fn remove_strays(&self) -> Result<()> {
        // In this order: a build that ends in between is at work still, or its slug is stored.
        let engine = &self.parts().engine;
        let images = engine.images("slug").await?;
        let building = self.apps_at_work();
        let slugs = self.parts().store.read(store::slugs::all).await?;
        let wanted: BTreeSet<SlugId> = slugs.into_iter().map(|slug| slug.id).collect();
        for image in images {
            let app = image.labels.get(LABEL_APP).and_then(|id| id.parse::<AppId>().ok());
            let slug = image.labels.get(LABEL_SLUG).and_then(|id| id.parse::<SlugId>().ok());
            if slug.is_some_and(|slug| wanted.contains(&slug))
                || app.is_some_and(|app| building.contains(&app))
            {
                continue;
            }
            // A dyno may still use it: then it goes in a later round.
            match engine.remove_image(&image.id).await {
                Ok(()) => tracing::info!(image = image.id, "an image was removed"),
                Err(error) => tracing::debug!(error = error.chain(), "an image is still used"),
            }
        }
        Ok(())
    }

    /// Files of layers that no slug has any more.
    async fn remove_layers(&self) -> Result<()> {
        let files = self.parts().slugs.files().clone();
        files.begin_sweep();
        let slugs = self.parts().store.read(store::slugs::all).await?;
        let mut wanted = BTreeSet::new();
        for slug in slugs {
            wanted.extend(slug.layers);
            wanted.extend(slug.images.into_values().flat_map(|own| own.layers));
        }
        let sweep = move || files.sweep(&wanted);
        let removed = tasks::blocking("remove layers of slugs", sweep).await?;
        if removed > 0 {
            tracing::info!(removed, "layers that no slug needs were removed");
        }
        Ok(())
    }

    /// Build containers that a server which died had asked for, and that came to be after the
    /// next one had looked.
    async fn remove_stray_builds(&self) -> Result<()> {
        let engine = &self.parts().engine;
        let containers = engine.list().await?;
        // In this order: a build that begins after the list is not in it.
        let building = self.apps_at_work();
        for container in containers {
            let label = |key| container.labels.get(key);
            let app = label(LABEL_APP).and_then(|id| id.parse::<AppId>().ok());
            let is_build = label(LABEL_KIND).is_some_and(|kind| kind == "build");
            let busy = app.is_some_and(|app| building.contains(&app));
            if is_build && !busy && !self.parts().builder.stands_by(&container.name) {
                engine.remove(&container.id).await?;
                tracing::info!(container = container.id, "a build's container was removed");
            }
        }
        Ok(())
    }

    /// Steps of Dockerfiles, likewise.
    async fn remove_cut_short(&self) -> Result<()> {
        self.parts().builder.forget_cut_short().await;
        Ok(())
    }

    async fn clear_destroyed(&self, repos: &dyn Repos) -> Result<()> {
        let destroyed = self.parts().store.read(store::apps::destroyed).await?;
        if destroyed.is_empty() {
            return Ok(());
        }
        let containers = self.parts().engine.list().await?;
        for app in destroyed {
            if self.apps_at_work().contains(&app) {
                continue;
            }
            self.parts().dynos.stop_one_offs(app, None);
            repos.delete(app).await?;
            self.parts().builder.forget(app).await?;
            let id = app.to_string();
            let in_use = containers.iter().any(|container| {
                container.labels.get(LABEL_APP) == Some(&id)
                    && container.labels.contains_key(LABEL_KIND)
            });
            if in_use {
                continue;
            }
            // Its dynos' last lines have been read by now.
            self.parts().logs.forget(app).await;
            self.parts().store.write(move |db| store::apps::forget_destroyed(db, app)).await?;
        }
        Ok(())
    }

    /// Uploads that nobody has built in time, and those of builds that have ended.
    async fn remove_sources(&self) -> Result<()> {
        let sources = self.sources().clone();
        let sweep = move || sources.sweep();
        let removed = tasks::blocking("remove sources", sweep).await?;
        if removed > 0 {
            tracing::info!(removed, "sources that nobody has built were removed");
        }
        Ok(())
    }

    async fn remove_outputs(&self) -> Result<()> {
        // In this order: one that is made in between is not among the files.
        let outputs = self.outputs().clone();
        let list = move || Ok(outputs.files());
        let files = tasks::blocking("list outputs", list).await?;
        if files.is_empty() {
            return Ok(());
        }
        let known = self.parts().store.read(store::releases::outputs).await?;
        let kept = newest(&known, &files, limits::OUTPUTS_OF_APP_BYTES);
        for id in files.into_keys() {
            if !kept.contains(&id) && self.outputs().running(id).is_none() {
                self.outputs().remove(id);
            }
        }
        Ok(())
    }
}

/// Of each app's outputs, which come with the newest first, those that stay within so many bytes.
fn newest(known: &[(AppId, Uuid)], files: &BTreeMap<Uuid, u64>, most: u64) -> BTreeSet<Uuid> {
    let mut sums: BTreeMap<AppId, u64> = BTreeMap::new();
    let mut kept = BTreeSet::new();
    for (app, id) in known {
        let Some(bytes) = files.get(id) else { continue };
        let sum = sums.entry(*app).or_default();
        *sum += bytes.max(&limits::OUTPUT_LEAST_BYTES);
        if *sum <= most {
            kept.insert(*id);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_apps_outputs_the_newest_are_kept() {
        let (one, other) = (AppId::random(), AppId::random());
        let ids: Vec<Uuid> = (0..6).map(|_| Uuid::new_v4()).collect();
        let least = limits::OUTPUT_LEAST_BYTES;
        let apps = [one, one, other, one, one, other];
        let known: Vec<_> = apps.into_iter().zip(ids.iter().copied()).collect();
        // The fifth is small, but older than what fills the bound; the last has no file.
        let sizes = [2 * least, 1, 9 * least, 7 * least, 1];
        let mut files: BTreeMap<_, _> = ids.iter().copied().zip(sizes).collect();
        let strange = Uuid::new_v4();
        files.insert(strange, 1);
        let kept = newest(&known, &files, 9 * least);
        assert_eq!(kept, BTreeSet::from([ids[0], ids[1], ids[2]]));
        assert!(newest(&known, &files, 11 * least).contains(&ids[4]));
        assert!(!newest(&known, &files, u64::MAX).contains(&strange), "it is no build's");
    }
}
