//! Certificates for tests, made by the `openssl` program: a root and what it signs. The end-to-end
//! tests have this file, too.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A directory in which certificates are made.
pub struct Authority {
    dir: tempfile::TempDir,
}

/// PEM of a certificate and its key.
pub struct Made {
    pub chain: String,
    pub key: String,
}

impl Authority {
    /// A root of its own, whose certificate is valid from now on for some days.
    pub fn create() -> Self {
        let authority = Self { dir: tempfile::tempdir().unwrap() };
        authority.self_signed("root", "/CN=Test Root", &[]);
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn root(&self) -> String {
        self.read("root.crt")
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap()
    }

    fn openssl(&self, words: &[&str]) {
        openssl(self.dir.path(), words);
    }

    pub fn self_signed(&self, name: &str, subject: &str, more: &[&str]) -> Made {
        let (key, crt) = (format!("{name}.key"), format!("{name}.crt"));
        let mut words = vec!["req", "-x509", "-newkey", "ec", "-pkeyopt"];
        words.extend(["ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", subject]);
        words.extend(["-keyout", &key, "-out", &crt]);
        words.extend(more);
        self.openssl(&words);
        Made { chain: self.read(&crt), key: self.read(&key) }
    }

    /// A certificate for host names, signed by the root or another that was made here.
    pub fn sign(&self, name: &str, hosts: &[&str], by: &str) -> Made {
        let names: Vec<String> = hosts.iter().map(|host| format!("DNS:{host}")).collect();
        let extension = format!("subjectAltName={}", names.join(","));
        self.signed(name, &format!("/CN={name}"), &extension, by)
    }

    /// One that may sign others.
    pub fn intermediate(&self, name: &str) -> Made {
        let may_sign = "basicConstraints=critical,CA:TRUE";
        self.signed(name, &format!("/CN=Test {name}"), may_sign, "root")
    }

    fn signed(&self, name: &str, subject: &str, extension: &str, by: &str) -> Made {
        let [key, csr, crt] = ["key", "csr", "crt"].map(|kind| format!("{name}.{kind}"));
        let (ca, ca_key) = (format!("{by}.crt"), format!("{by}.key"));
        let mut words = vec!["req", "-new", "-newkey", "ec", "-pkeyopt"];
        words.extend(["ec_paramgen_curve:P-256", "-nodes", "-subj", subject]);
        words.extend(["-addext", extension, "-keyout", &key, "-out", &csr]);
        self.openssl(&words);
        let mut words = vec!["x509", "-req", "-in", &csr, "-CA", &ca, "-CAkey", &ca_key];
        words.extend(["-CAcreateserial", "-days", "20", "-copy_extensions", "copyall"]);
        words.extend(["-out", &crt]);
        self.openssl(&words);
        Made { chain: self.read(&crt), key: self.read(&key) }
    }

    /// The key of something made here under a passphrase.
    pub fn locked_key(&self, name: &str) -> String {
        let key = format!("{name}.key");
        let words = ["pkey", "-in", &key, "-aes256", "-passout", "pass:word", "-out", "locked.key"];
        self.openssl(&words);
        self.read("locked.key")
    }
}

fn openssl(dir: &Path, words: &[&str]) {
    let mut command = Command::new("openssl");
    let output = command.args(words).current_dir(dir).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {words:?}: {said}");
}
