//! One's own second factor: switched on with a phone in hand, new recovery codes, switched off.
//! What is shown once is in the answer to the form: no other page has it.

use super::form::{Act, Fields};
use super::frame::{self, Frame, Place};
use super::oops::{Oops, refused};
use super::signed::Signed;
use super::words;
use super::{Console, Page, State};
use crate::apps::second_factor::Offer;
use crate::clock::Timestamp;
use crate::error::{Context, Error, Result};
use askama::Template;
use axum::extract;
use axum::http::HeaderMap;
use qrcode::{Color, EcLevel, QrCode};

/// White around the picture, which readers of it want, in its own squares.
const MARGIN: usize = 4;

/// What a phone has to learn.
struct Shown {
    sealed: String,
    secret: String,
    link: String,
    picture: Picture,
}

/// A QR code as the path of an SVG: each dark square one unit wide.
struct Picture {
    size: usize,
    path: String,
}

struct Now {
    since: String,
    recovery_codes: usize,
}

#[derive(Template)]
#[template(path = "console/second_factor.html", config = "web/askama.toml")]
struct View {
    frame: Frame,
    /// The second factor, if it is on.
    on: Option<Now>,
    /// What a phone has to learn before it can be.
    offer: Option<Shown>,
    /// New recovery codes, shown this once.
    codes: Vec<String>,
}

pub async fn show(extract::State(console): State, signed: Signed) -> Page {
    page(&console, &signed, None, None, Vec::new()).await
}

async fn page(
    console: &Console,
    signed: &Signed,
    refused: Option<&Error>,
    offer: Option<Offer>,
    codes: Vec<String>,
) -> Page {
    let user = &signed.caller.user;
    let found = console.platform.access.second_factor(user).await?;
    let on = found.map(|found| Now {
        since: words::ago(found.created_at, Timestamp::now()),
        recovery_codes: found.recovery_codes,
    });
    let offer = offer.filter(|_| on.is_none());
    let offer = offer.map(|offer| shown(console, &user.email, offer)).transpose()?;
    let frame = Frame::new("Second factor", Place::Account, signed).refusing(refused);
    let view = View { on, offer, codes, frame };
    frame::render(view.frame.status(), &view)
}

fn shown(console: &Console, email: &str, offer: Offer) -> Result<Shown> {
    let url = console.platform.settings.control_url();
    let host = url.split_once("://").map_or(&*url, |(_, host)| host);
    let link = offer.link(&format!("Senryu {host}"), email);
    let (secret, picture) = (offer.typed(), picture(&link)?);
    Ok(Shown { secret, picture, link, sealed: offer.sealed })
}

/// Row by row, each run of dark squares a rectangle.
fn picture(text: &str) -> Result<Picture> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).context("draw a QR code")?;
    let (width, colors) = (code.width(), code.to_colors());
    let mut path = String::new();
    for (y, row) in colors.chunks(width).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|one, next| one == next) {
            if run.first() == Some(&Color::Dark) {
                let (x, y, length) = (x + MARGIN, y + MARGIN, run.len());
                path.push_str(&format!("M{x} {y}h{length}v1h-{length}z"));
            }
            x += run.len();
        }
    }
    Ok(Picture { size: width + 2 * MARGIN, path })
}

/// The password and the code of a form.
fn proof(fields: &Fields) -> [&str; 2] {
    [fields.get("password"), fields.get("code")]
}

/// Shows a new secret; nothing is changed yet.
pub async fn begin(extract::State(console): State, Act { signed, .. }: Act) -> Page {
    let offer = console.platform.access.offer(&signed.session)?;
    page(&console, &signed, None, Some(offer), Vec::new()).await
}

/// Switches it on; who mistypes sees the same secret again.
pub async fn switch_on(
    extract::State(console): State,
    headers: HeaderMap,
    Act { signed, fields }: Act,
) -> Page {
    let access = &console.platform.access;
    let (session, from) = (&signed.session, signed.origin(&headers));
    let offer = match access.offered(session, fields.get("offer")) {
        Ok(offer) => offer,
        Err(error) => return page(&console, &signed, Some(&error), None, Vec::new()).await,
    };
    match refused(access.switch_on(session, &offer, proof(&fields), &from).await)? {
        Ok(codes) => page(&console, &signed, None, None, codes).await,
        Err(error) => page(&console, &signed, Some(&error), Some(offer), Vec::new()).await,
    }
}

/// New recovery codes, or the end of it all.
pub async fn change(
    extract::State(console): State,
    headers: HeaderMap,
    Act { signed, fields }: Act,
) -> Page {
    let (access, from) = (&console.platform.access, signed.origin(&headers));
    let (user, proof) = (&signed.caller.user, proof(&fields));
    let changed = match fields.get("do") {
        "off" => access.switch_off(user, proof, &from).await.map(|()| None),
        _ => access.renew_recovery_codes(user, proof, &from).await.map(Some),
    };
    match refused(changed)? {
        Ok(None) => Err(Oops::go("/console/account?done=second-factor-off")),
        Ok(Some(codes)) => page(&console, &signed, None, None, codes).await,
        Err(error) => page(&console, &signed, Some(&error), None, Vec::new()).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_the_code_square_by_square() {
        let text = "otpauth://totp/Senryu:ada%40example%2Ecom?secret=GEZDGNBVGY3TQOJQ";
        let picture = picture(text).unwrap();
        let code = QrCode::with_error_correction_level(text, EcLevel::M).unwrap();
        let mut drawn = vec![vec![Color::Light; picture.size]; picture.size];
        for run in picture.path.split('M').skip(1) {
            let numbers: Vec<usize> = run
                .split(|c: char| !c.is_ascii_digit())
                .filter_map(|number| number.parse().ok())
                .collect();
            let [x, y, length, ..] = numbers[..] else { panic!("{run}") };
            drawn[y][x..x + length].fill(Color::Dark);
        }
        let inner = MARGIN..picture.size - MARGIN;
        let rows = drawn[inner.clone()].iter().flat_map(|row| row[inner.clone()].to_vec());
        assert_eq!(rows.collect::<Vec<_>>(), code.to_colors());
        assert_eq!(&picture.path[..10], "M4 4h7v1h-", "the corner that readers look for");
    }
}
