//! Whether an app's requests are sent to HTTPS and kept there.

use super::Platform;
use crate::apps::lifecycle;
use crate::error::{Error, Result};
use crate::limits;
use crate::model::{App, Caller, Https};

impl Platform {
    pub async fn set_https(&self, caller: &Caller, app: &App, wanted: Https) -> Result<()> {
        if self.settings.tls_listen.is_none() && wanted != Https::default() {
            return Err(Error::invalid(
                "This platform does not listen for HTTPS. Whoever runs it gives senryu server a \
                 --tls-listen first.",
            ));
        }
        if app.https == wanted {
            return Ok(());
        }
        lifecycle::set_https(&self.store, app.id, wanted).await?;
        // Whoever is told that it is done may ask the router at once.
        self.dynos.routed(limits::TABLE_MARGIN).await;
        let word = |on| if on { "on" } else { "off" };
        let what = format!("HTTPS redirect {}, HSTS {}", word(wanted.redirect), word(wanted.hsts));
        self.note(app.id, caller, &what).await;
        Ok(())
    }
}
