//! Log drains, which are not there yet: an app has none, and whoever adds one hears what to do
//! instead.

use super::error::Result;
use super::guard::OnApp;
use crate::error::Error;

pub async fn create(OnApp { app, .. }: OnApp) -> Result {
    let message = format!(
        "Log drains are not there yet, so none was added. Follow the log instead, and pipe it to \
         where it shall go: senryu logs --tail --app {}",
        app.name
    );
    Err(Error::invalid(message).into())
}

pub async fn remove() -> Result {
    Err(Error::not_found("drain").into())
}
