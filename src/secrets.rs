//! Encryption at rest and password hashes. Config vars are sealed with a data key, which lies in
//! the database wrapped by the master key, which lies in a file outside it: neither alone reads
//! anything.

use crate::error::{Context, Error, Result};
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chacha20poly1305::aead::{Aead, Generate, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// First byte of what is sealed: the format, so that a later one can be told apart.
const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 24;

/// Seals and opens with one key.
#[derive(Clone)]
pub struct Secrets(XChaCha20Poly1305);

impl Secrets {
    /// Reads the master key, making it if this is the first start.
    pub fn from_file(path: &Path) -> Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_text(&text).ok_or_else(|| {
                Error::unavailable(format!(
                    "{} does not hold a master key (44 characters of base64): restore it from \
                     your copy",
                    path.display()
                ))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::make_file(path),
            Err(error) => Err(Error::internal(format!("read {}", path.display()), error)),
        }
    }

    fn make_file(path: &Path) -> Result<Self> {
        let key = Key::generate();
        let what = || format!("write the master key {}", path.display());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).context(what())?;
        }
        // Written whole beside it and then renamed: a crash leaves a key or none, never half.
        let fresh = path.with_extension("new");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)
            .context(what())?;
        writeln!(file, "{}", BASE64.encode(key)).context(what())?;
        file.sync_all().context(what())?;
        std::fs::rename(&fresh, path).context(what())?;
        Ok(Self(XChaCha20Poly1305::new(&key)))
    }

    fn from_text(text: &str) -> Option<Self> {
        let bytes = BASE64.decode(text.trim()).ok()?;
        Self::from_bytes(&bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        XChaCha20Poly1305::new_from_slice(bytes).ok().map(Self)
    }

    /// A fresh data key, and its wrapped form for the database.
    pub fn new_data_key(&self) -> Result<(Self, Vec<u8>)> {
        let key = Key::generate();
        let wrapped = self.seal("data key", key.as_slice())?;
        Ok((Self(XChaCha20Poly1305::new(&key)), wrapped))
    }

    /// The data key from its wrapped form; the error says that the master key is another one.
    pub fn unwrap_data_key(&self, wrapped: &[u8]) -> Result<Self> {
        let key = self.open("data key", wrapped).map_err(|_| {
            Error::unavailable(
                "the master key does not fit this database: put back the key file that belongs to \
                 it",
            )
        })?;
        Self::from_bytes(&key).ok_or_else(|| Error::unavailable("the data key is damaged"))
    }

    /// Seals `plain`; it opens only under the same `name`.
    pub fn seal(&self, name: &str, plain: &[u8]) -> Result<Vec<u8>> {
        let nonce = XNonce::generate();
        let payload = Payload { msg: plain, aad: name.as_bytes() };
        let sealed =
            self.0.encrypt(&nonce, payload).map_err(|_| Error::internal("seal", "cipher"))?;
        let mut out = Vec::with_capacity(1 + NONCE_BYTES + sealed.len());
        out.push(FORMAT);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    pub fn open(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let damaged = || Error::internal(format!("open the sealed {name}"), "damaged or foreign");
        let (format, rest) = sealed.split_first().ok_or_else(damaged)?;
        let nonce: [u8; NONCE_BYTES] = rest
            .get(..NONCE_BYTES)
            .and_then(|bytes| bytes.try_into().ok())
            .filter(|_| *format == FORMAT)
            .ok_or_else(damaged)?;
        let payload = Payload { msg: &rest[NONCE_BYTES..], aad: name.as_bytes() };
        self.0.decrypt(&XNonce::from(nonce), payload).map_err(|_| damaged())
    }
}

/// argon2id with the crate's defaults (19 MiB, 2 passes). Takes about 70 ms: off the async
/// threads, please.
pub fn hash_password(password: &str) -> Result<String> {
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| Error::internal("hash a password", error.to_string()))
}

pub fn verify_password(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// A new API token in Heroku's form, and the hash that is stored.
pub fn new_token() -> (String, Vec<u8>) {
    let token = format!("HRKU-{}", random_hex::<32>());
    let hash = hash_token(&token);
    (token, hash)
}

pub fn hash_token(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// `N` random bytes in hexadecimal.
pub fn random_hex<const N: usize>() -> String {
    let mut bytes = [0u8; N];
    rand::fill(&mut bytes);
    bytes.iter().fold(String::with_capacity(2 * N), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_text_opens_only_under_its_name_and_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let master = Secrets::from_file(&path).unwrap();
        let (data, wrapped) = master.new_data_key().unwrap();
        let sealed = data.seal("release 1", b"secret").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        let again = Secrets::from_file(&path).unwrap().unwrap_data_key(&wrapped).unwrap();
        assert_eq!(again.open("release 1", &sealed).unwrap(), b"secret");
        assert!(again.open("release 2", &sealed).is_err());
        let other = Secrets::from_file(&dir.path().join("other.key")).unwrap();
        let error = other.unwrap_data_key(&wrapped).err().unwrap();
        assert!(error.to_string().contains("master key does not fit"));
    }

    #[test]
    fn passwords_verify() {
        let hash = hash_password("pässword").unwrap();
        assert!(verify_password("pässword", &hash));
        assert!(!verify_password("password", &hash));
        assert!(!verify_password("password", "nonsense"));
    }
}
