//! Forms: read, and refused unless they come from a page of ours. A browser says where a request
//! comes from; whoever is signed in also has a token that no other site can know.

use super::Console;
use super::oops::Oops;
use super::signed::Signed;
use crate::error::{Error, Kind, Result};
use axum::extract::{Form, FromRequest, Request};
use axum::http::{HeaderMap, Uri, header};
use std::sync::Arc;

/// The fields, in the order of the form.
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// The first field of that name, or nothing.
    pub fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A form that somebody sends who is signed in.
pub struct Act {
    pub signed: Signed,
    pub fields: Fields,
}

/// A form of somebody who is not: the sign-in.
pub struct Open {
    pub fields: Fields,
    pub headers: HeaderMap,
}

fn foreign() -> Error {
    Error::new(
        Kind::Forbidden,
        "This form was not sent from a page of this console, or that page is too old. Nothing has \
         changed: go back, load the page again and try once more.",
    )
}

/// Every browser says by one of these headers that a form comes from here. What this is called
/// stands in the request's target by HTTP/2, and in a header of its own before that.
fn check_origin(target: &Uri, headers: &HeaderMap) -> Result<()> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let site = text("sec-fetch-site");
    if site.is_some_and(|site| site != "same-origin") {
        return Err(foreign());
    }
    let host = target.authority().map(|authority| authority.as_str());
    let host = host.or_else(|| text(header::HOST.as_str())).unwrap_or_default();
    match text(header::ORIGIN.as_str()) {
        Some(origin) => {
            let place = origin.split_once("://").map(|(_, place)| place);
            if place == Some(host) { Ok(()) } else { Err(foreign()) }
        }
        None if site.is_some() => Ok(()),
        None => Err(foreign()),
    }
}

async fn fields(request: Request) -> Result<Fields> {
    let read = Form::<Vec<(String, String)>>::from_request(request, &()).await;
    read.map(|Form(fields)| Fields(fields)).map_err(|rejection| match rejection.status().as_u16() {
        413 => Error::new(Kind::TooLarge, "This form is larger than any that this page can make."),
        _ => Error::bad_request("This is not a form that a page of this console sends."),
    })
}

impl FromRequest<Arc<Console>> for Open {
    type Rejection = Oops;

    async fn from_request(request: Request, _: &Arc<Console>) -> Result<Self, Oops> {
        check_origin(request.uri(), request.headers())?;
        let headers = request.headers().clone();
        Ok(Self { fields: fields(request).await?, headers })
    }
}

impl FromRequest<Arc<Console>> for Act {
    type Rejection = Oops;

    async fn from_request(request: Request, console: &Arc<Console>) -> Result<Self, Oops> {
        use axum::extract::FromRequestParts;
        let (mut parts, body) = request.into_parts();
        check_origin(&parts.uri, &parts.headers)?;
        let signed = Signed::from_request_parts(&mut parts, console).await?;
        let fields = fields(Request::from_parts(parts, body)).await?;
        if !signed.is_token(fields.get("token")) {
            return Err(foreign().into());
        }
        Ok(Self { signed, fields })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        map.insert(header::HOST, "paas.example.com:8443".parse().unwrap());
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let of_http1 = check_origin(&Uri::from_static("/console/apps"), &map).is_ok();
        map.remove(header::HOST);
        let target = Uri::from_static("https://paas.example.com:8443/console/apps");
        assert_eq!(check_origin(&target, &map).is_ok(), of_http1, "HTTP/2, {headers:?}");
        of_http1
    }

    #[test]
    fn only_forms_of_this_very_origin_are_taken() {
        assert!(from(&[("sec-fetch-site", "same-origin")]));
        assert!(from(&[("origin", "https://paas.example.com:8443")]));
        for strange in [
            &[][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site"), ("origin", "https://paas.example.com:8443")],
            &[("sec-fetch-site", "none")],
            &[("origin", "null")],
            &[("origin", "https://paas.example.com")],
            &[("origin", "https://evil.paas.example.com:8443")],
            &[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example.com")],
        ] {
            assert!(!from(strange), "{strange:?}");
        }
    }
}
