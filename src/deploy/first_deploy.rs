//! What a buildpack wants an app to have from its first deploy on, by its `bin/release`: config
//! vars, which become a release of their own before the deploy's, and add-ons, which there are not.

use super::Deploy;
use crate::build::FirstDeploy;
use crate::error::Result;
use crate::model::{App, BuildId, ConfigVars, User};
use crate::release::NewRelease;
use crate::store;
use std::collections::BTreeMap;

const NOTE: &str = "first deploy";

type Note = (BTreeMap<String, String>, Vec<String>);

impl Deploy {
    /// For the build's row: the release may be another server's to make.
    pub(super) fn first_deploy_note(
        &self,
        build: BuildId,
        first: FirstDeploy,
    ) -> Result<Option<Vec<u8>>> {
        if first == FirstDeploy::default() {
            return Ok(None);
        }
        let note: Note = (first.config_vars, first.addons);
        self.parts().releases.seal_of_build(build, NOTE, &note).map(Some)
    }

    /// The caller has the app's turn, and makes the release of its first slug next.
    pub(super) async fn first_deploy(&self, app: &App, user: &User, build: BuildId) -> Result<()> {
        let (id, releases) = (app.id, &self.parts().releases);
        let sealed = self.parts().store.read(move |db| store::build_notes::first_deploy(db, build));
        let Some(sealed) = sealed.await? else { return Ok(()) };
        let (wanted, addons): Note = releases.open_of_build(build, NOTE, &sealed)?;
        if let (Some(out), false) = (self.running_output(build), addons.is_empty()) {
            out.warning(&format!("The buildpack asks for add-ons: {}.", addons.join(", ")));
            out.warning("There are none here: set the config vars that they would set yourself.");
        }
        let before = releases.config(id).await?;
        let (after, refused) = with_wanted(&before, wanted);
        for why in refused {
            self.say(id, format!("A config var of the buildpack is not set: {why}")).await;
        }
        let Some(description) = crate::release::describe(&before, &after) else { return Ok(()) };
        let new = NewRelease {
            app: id,
            slug: None,
            config: after,
            description: description.clone(),
            user: user.clone(),
        };
        let releases = releases.clone();
        let made = self.parts().store.write(move |db| releases.insert(db, &new)).await?;
        self.say(id, format!("{description} by user {}", user.email)).await;
        self.made_current(app, &made).await;
        Ok(())
    }
}

/// What the app has stays as it is. What can't be a config var is left out, with the reason.
fn with_wanted(before: &ConfigVars, wanted: BTreeMap<String, String>) -> (ConfigVars, Vec<String>) {
    let (mut after, mut refused) = (before.clone(), Vec::new());
    for (key, value) in wanted {
        if after.get(&key).is_some() {
            continue;
        }
        match after.changed(&vec![(key, Some(value))]) {
            Ok(changed) => after = changed,
            Err(error) => refused.push(error.public_message().to_string()),
        }
    }
    (after, refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_app_has_set_is_not_overridden() {
        let map = |vars: &[(&str, &str)]| {
            vars.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
        };
        let before = ConfigVars::from_map(map(&[("LANG", "C")]));
        let wanted = map(&[("A", "1"), ("HEROKU_APP_ID", "x"), ("LANG", "de"), ("Z", "2")]);
        let (after, refused) = with_wanted(&before, wanted);
        let after: Vec<_> = after.iter().collect();
        assert_eq!(after, [("A", "1"), ("LANG", "C"), ("Z", "2")]);
        assert_eq!(refused.len(), 1, "{refused:?}");
    }
}
