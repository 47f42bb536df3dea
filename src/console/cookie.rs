//! The cookies that name a session, or half a sign-in. Over HTTPS their names begin with `__Host-`,
//! which keeps apps on neighbouring host names from setting one for us.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};

/// Which of the two cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Session,
    /// The password was right, and a code is wanted as well.
    Half,
}

impl Which {
    fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Session, true) => "__Host-senryu",
            (Self::Session, false) => "senryu_session",
            (Self::Half, true) => "__Host-senryu-half",
            (Self::Half, false) => "senryu_half",
        }
    }
}

/// Whether the browser reached the router by HTTPS, as the router says.
pub fn is_secure(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|scheme| scheme.as_bytes() == b"https")
}

/// The secret of the session, if the browser sent one.
pub fn secret(parts: &Parts) -> Option<String> {
    let value = value(&parts.headers, Which::Session)?;
    // Ours are 64 hexadecimal digits; nothing else is looked up.
    let fits = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| value.to_string())
}

pub fn value(headers: &HeaderMap, which: Which) -> Option<&str> {
    let name = which.name(is_secure(headers));
    let cookies = headers.get_all(header::COOKIE).iter();
    let pairs = cookies.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().split_once('='));
    values.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// It ends with the browser's own session, or when the server says so.
pub fn set(headers: &HeaderMap, which: Which, value: &str) -> HeaderValue {
    written(headers, which, &format!("{value}; Path=/"))
}

pub fn clear(headers: &HeaderMap, which: Which) -> HeaderValue {
    written(headers, which, "; Path=/; Max-Age=0")
}

fn written(headers: &HeaderMap, which: Which, value: &str) -> HeaderValue {
    let secure = is_secure(headers);
    let mark = if secure { "; Secure" } else { "" };
    let text = format!("{}={value}; HttpOnly; SameSite=Lax{mark}", which.name(secure));
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn parts(scheme: &str, cookies: &str) -> Parts {
        let request = Request::builder()
            .header("x-forwarded-proto", scheme)
            .header(header::COOKIE, cookies)
            .body(())
            .unwrap();
        request.into_parts().0
    }

    #[test]
    fn over_https_only_the_name_that_neighbours_cannot_set_counts() {
        let (own, planted) = ("a".repeat(64), "b".repeat(64));
        let both = format!("senryu_session={planted}; __Host-senryu={own}");
        assert_eq!(secret(&parts("https", &both)), Some(own.clone()));
        assert_eq!(secret(&parts("http", &both)), Some(planted));
        assert_eq!(secret(&parts("https", "__Host-senryu=short")), None);
        let headers = parts("https", "").headers;
        let set = set(&headers, Which::Session, &own);
        let expected = format!("__Host-senryu={own}; Path=/; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(set, expected);
    }
}
