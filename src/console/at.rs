//! At an app: what every page and every form of one begins with, once its rule has let somebody in.

use super::form::{Act, Fields};
use super::frame::{Frame, Place};
use super::guard::On;
use super::oops::Oops;
use super::signed::Signed;
use super::tab::{Here, Tab};
use super::{Console, Page};
use crate::actions::Platform;
use crate::apps::access::Entry;
use crate::error::Error;
use crate::model::{App, Caller};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use serde::Deserialize;
use std::sync::Arc;

/// The app that an address names, and who looks at it.
pub struct At {
    pub console: Arc<Console>,
    pub signed: Signed,
    pub entry: Entry,
}

/// A form of one of the app's pages.
pub struct FormAt {
    pub at: At,
    pub fields: Fields,
}

impl At {
    pub fn app(&self) -> &App {
        &self.entry.app
    }

    pub fn caller(&self) -> &Caller {
        &self.signed.caller
    }

    pub fn platform(&self) -> &Platform {
        &self.console.platform
    }

    pub fn name(&self) -> String {
        self.entry.app.name.to_string()
    }

    pub fn tab(&self, tab: Tab) -> Here {
        Here::at(tab, &self.entry)
    }

    /// Of a page that is called like this and what was said to be done, or refused.
    pub fn frame(&self, title: impl Into<String>, note: Note<'_>) -> Frame {
        let frame = Frame::new(title, Place::Apps, &self.signed);
        match note {
            Note::Nothing => frame,
            Note::Done(said) => frame.saying(Some(said)),
            Note::Refused(error) => frame.refusing(Some(error)),
        }
    }

    /// To one of the app's pages, after something was done.
    pub fn back(&self, rest: &str) -> Page {
        back(self.app(), rest)
    }
}

pub fn back(app: &App, rest: &str) -> Page {
    Err(Oops::Go(format!("/console/apps/{}{rest}", app.name)))
}

/// What stands at the head of a page.
#[derive(Clone, Copy)]
pub enum Note<'a> {
    Nothing,
    Done(&'static str),
    Refused(&'a Error),
}

/// What a page says was done: a form leads back to it with a word for that in the address.
#[derive(Deserialize)]
pub struct Done {
    done: Option<String>,
}

impl Done {
    pub fn note(&self, words: &[(&str, &'static str)]) -> Note<'static> {
        let said = words.iter().find(|(word, _)| self.done.as_deref() == Some(word));
        said.map_or(Note::Nothing, |(_, said)| Note::Done(said))
    }
}

impl FromRequestParts<Arc<Console>> for At {
    type Rejection = Oops;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Oops> {
        let signed = Signed::from_request_parts(parts, console).await?;
        let On(entry) = On::from_request_parts(parts, console).await?;
        Ok(Self { console: console.clone(), signed, entry })
    }
}

impl FromRequest<Arc<Console>> for FormAt {
    type Rejection = Oops;

    async fn from_request(request: Request, console: &Arc<Console>) -> Result<Self, Oops> {
        let (mut parts, body) = request.into_parts();
        let at = At::from_request_parts(&mut parts, console).await?;
        let Act { fields, .. } =
            Act::from_request(Request::from_parts(parts, body), console).await?;
        Ok(Self { at, fields })
    }
}
