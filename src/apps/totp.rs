//! One-time passwords by time, as every such app makes them (RFC 6238: SHA-1, six digits, thirty
//! seconds), and how a secret gets into an app.

use crate::clock::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;
use subtle::ConstantTimeEq;

/// Seconds that one code is for. Apps do without being told.
const STEP_SECONDS: i64 = 30;
const DIGITS: usize = 6;
/// A phone's clock may be so many steps before or behind ours.
const DRIFT: i64 = 1;
/// Bytes of a secret: as many as SHA-1 has.
pub const SECRET_BYTES: usize = 20;

pub fn step_at(time: Timestamp) -> i64 {
    time.0.div_euclid(STEP_SECONDS * 1_000_000)
}

/// The number that a code is the last digits of (RFC 4226, 5.3).
fn number(secret: &[u8], step: i64) -> u32 {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let bytes = tag.as_ref();
    let at = usize::from(bytes.last().copied().unwrap_or_default() & 0xf);
    let four = bytes.iter().skip(at).take(4);
    four.fold(0, |number, byte| (number << 8) | u32::from(*byte)) & 0x7fff_ffff
}

pub fn code(secret: &[u8], step: i64) -> String {
    format!("{:06}", number(secret, step) % 1_000_000)
}

/// The step whose code was typed: one about now, and later than the one that was used last.
pub fn matching_step(secret: &[u8], typed: &str, now: i64, used: i64) -> Option<i64> {
    if typed.len() != DIGITS {
        return None;
    }
    let is_right = |step: &i64| code(secret, *step).as_bytes().ct_eq(typed.as_bytes()).into();
    // All are computed: how long it takes tells nothing.
    let right: Vec<i64> = (now - DRIFT..=now + DRIFT).filter(is_right).collect();
    right.into_iter().find(|step| *step > used)
}

/// As apps take it when it is typed: base32 in capitals (RFC 4648), without padding.
pub fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1));
    let bits: Vec<u8> = bits.collect();
    let letter = |five: &[u8]| {
        let value = five.iter().fold(0, |value, bit| value << 1 | usize::from(*bit));
        char::from(ALPHABET[value << (5 - five.len())])
    };
    bits.chunks(5).map(letter).collect()
}

/// What the picture says, and what a phone opens its app with.
pub fn link(issuer: &str, email: &str, secret: &[u8]) -> String {
    let plain = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let (issuer, email, secret) = (plain(issuer), plain(email), base32(secret));
    format!("otpauth://totp/{issuer}:{email}?secret={secret}&issuer={issuer}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8; SECRET_BYTES] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_rfc_6238() {
        for (seconds, expected) in [
            (59, 94_287_082),
            (1_111_111_109, 7_081_804),
            (1_111_111_111, 14_050_471),
            (1_234_567_890, 89_005_924),
            (2_000_000_000, 69_279_037),
            (20_000_000_000, 65_353_130),
        ] {
            let step = step_at(Timestamp(seconds * 1_000_000));
            assert_eq!(number(SECRET, step) % 100_000_000, expected, "{seconds}");
        }
        assert_eq!(code(SECRET, 1), "287082");
        assert_eq!(code(SECRET, step_at(Timestamp(1_111_111_109_000_000))), "081804");
    }

    #[test]
    fn a_code_is_good_one_step_early_and_late_and_once() {
        let typed = code(SECRET, 100);
        for now in 99..=101 {
            assert_eq!(matching_step(SECRET, &typed, now, 0), Some(100), "at {now}");
        }
        assert_eq!(matching_step(SECRET, &typed, 98, 0), None);
        assert_eq!(matching_step(SECRET, &typed, 102, 0), None);
        assert_eq!(matching_step(SECRET, &typed, 100, 99), Some(100));
        assert_eq!(matching_step(SECRET, &typed, 100, 100), None, "used");
        assert_eq!(matching_step(SECRET, &typed, 100, 101), None, "older than one that was used");
        for odd in ["", "12345", "1234567", "abcdef", "１２３"] {
            assert_eq!(matching_step(SECRET, odd, 100, 0), None, "{odd}");
        }
    }

    #[test]
    fn a_secret_is_written_as_apps_take_it() {
        assert_eq!(base32(b"foobar"), "MZXW6YTBOI");
        assert_eq!(base32(SECRET), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(
            link("Senryu example.com", "ada@example.com", SECRET),
            "otpauth://totp/Senryu%20example%2Ecom:ada%40example%2Ecom\
             ?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Senryu%20example%2Ecom"
        );
    }
}
