//! Debian's `docker-registry` on this machine: an image that is pushed there and removed here is
//! fetched as from any registry.

use super::docker::docker;
use super::wait::eventually;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

pub struct Registry {
    _dir: tempfile::TempDir,
    child: Child,
    address: SocketAddr,
}

impl Registry {
    /// Docker takes one without TLS at a loopback address only.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (config, log) = (dir.path().join("config.yml"), dir.path().join("log"));
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: \
             {address}\n",
            dir.path().join("images").display()
        );
        std::fs::write(&config, text).unwrap();
        let log = std::fs::File::create(log).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("Debian's package docker-registry is installed");
        let registry = Self { _dir: dir, child, address };
        eventually("the registry listens", || TcpStream::connect(address).is_ok());
        registry
    }

    /// Makes an image that is only there afterwards; its name.
    pub fn hold(&self, name: &str, label: &str, dockerfile: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("Dockerfile"), dockerfile).unwrap();
        let (name, at) = (format!("{}/{name}", self.address), dir.path().to_str().unwrap());
        docker(&["build", "-q", "-t", &name, "--label", label, at]).succeeded();
        docker(&["push", &name]).succeeded();
        docker(&["rmi", "-f", &name]).succeeded();
        name
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
