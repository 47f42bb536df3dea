//! Changing one's own password: of one's own will, or because the first one has been on a screen.

use super::form::Act;
use super::frame::{self, Frame, Place};
use super::oops::{Oops, refused};
use super::signed::Signed;
use super::{Page, State};
use crate::error::Error;
use crate::limits;
use askama::Template;
use axum::extract;
use axum::http::HeaderMap;

#[derive(Template)]
#[template(path = "console/password.html", config = "web/askama.toml")]
struct View {
    frame: Frame,
    is_first: bool,
    least: usize,
}

pub async fn show(signed: Signed) -> Page {
    form(&signed, None)
}

fn form(signed: &Signed, refused: Option<&Error>) -> Page {
    let is_first = signed.session.must_change_password;
    let title = if is_first { "Choose a password" } else { "Change password" };
    let frame = Frame::new(title, Place::Account, signed).refusing(refused);
    let status = frame.status();
    frame::render(status, &View { frame, is_first, least: limits::PASSWORD_CHARS })
}

pub async fn change(
    extract::State(console): State,
    headers: HeaderMap,
    Act { signed, fields }: Act,
) -> Page {
    let changed = async {
        if fields.get("new") != fields.get("again") {
            return Err(Error::invalid("The new password is not the same in both fields."));
        }
        let (old, new) = (fields.get("current"), fields.get("new"));
        let (access, from) = (&console.platform.access, signed.origin(&headers));
        let keep = Some(signed.session.id);
        access.change_password(&signed.caller.user, old, new, keep, &from).await
    };
    match refused(changed.await)? {
        Ok(()) => Err(Oops::go("/console/apps?done=password")),
        Err(error) => form(&signed, Some(&error)),
    }
}
