//! The cookie that names a session. Over HTTPS its name begins with `__Host-`, which keeps apps
//! on neighbouring host names from setting one for us.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};

fn name(secure: bool) -> &'static str {
    if secure { "__Host-senryu" } else { "senryu_session" }
}

/// Whether the browser reached the router by HTTPS, as the router says.
pub fn is_secure(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|scheme| scheme.as_bytes() == b"https")
}

/// The secret of the session, if the browser sent one.
pub fn secret(parts: &Parts) -> Option<String> {
    let name = name(is_secure(&parts.headers));
    let cookies = parts.headers.get_all(header::COOKIE).iter();
    let pairs = cookies.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = values.find(|(key, _)| *key == name)?;
    // Ours are 64 hexadecimal digits; nothing else is looked up.
    let fits = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| value.to_string())
}

/// For a session that has just begun; it ends with the browser's own, or when the server says so.
pub fn set(headers: &HeaderMap, secret: &str) -> HeaderValue {
    let secure = is_secure(headers);
    let mark = if secure { "; Secure" } else { "" };
    let text = format!("{}={secret}; Path=/; HttpOnly; SameSite=Lax{mark}", name(secure));
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

pub fn clear(headers: &HeaderMap) -> HeaderValue {
    let secure = is_secure(headers);
    let mark = if secure { "; Secure" } else { "" };
    let text = format!("{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax{mark}", name(secure));
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
        let set = set(&headers, &own);
        let expected = format!("__Host-senryu={own}; Path=/; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(set, expected);
    }
}
