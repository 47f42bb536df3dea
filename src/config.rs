//! Every setting of `senryu server` and `senryu router`: flag, variable, default, meaning. Read
//! once, whole, before any port is bound. Flags beat `SENRYU_*` variables, which beat
//! `/etc/senryu/senryu.toml`.

use crate::limits;
use crate::model::{Size, Sizes};
use clap::Args;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Settings of the server. `--help` prints this table.
// Numbers may be negative for clap, so that it takes `-1` for a wrong value and names the setting,
// not for a flag that there is not.
#[derive(Debug, Clone, Args)]
pub struct ServerSettings {
    /// State: database, repositories, logs, build volumes
    #[arg(long, env = "SENRYU_DATA_DIR", default_value = "/var/lib/senryu", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Sockets between server and router, and the dynos' config vars: on a tmpfs
    #[arg(long, env = "SENRYU_RUN_DIR", default_value = "/run/senryu", value_name = "DIR")]
    pub run_dir: PathBuf,
    /// Public address of the router
    #[arg(long, env = "SENRYU_LISTEN", default_value = "127.0.0.1:5757", value_name = "ADDR:PORT")]
    pub listen: SocketAddr,
    /// Address of the router for HTTPS; without it there is none
    #[arg(long, env = "SENRYU_TLS_LISTEN", value_name = "ADDR:PORT")]
    pub tls_listen: Option<SocketAddr>,
    /// Certificate for the platform's own names, with its chain, in PEM: api.DOMAIN, *.DOMAIN. Read
    /// again when the files change
    #[arg(long, env = "SENRYU_TLS_CERTIFICATE_FILE", value_name = "FILE")]
    pub tls_certificate_file: Option<PathBuf>,
    /// Its private key
    #[arg(long, env = "SENRYU_TLS_KEY_FILE", value_name = "FILE")]
    pub tls_key_file: Option<PathBuf>,
    /// Directory of the certificate authority that certificates come from by themselves (ACME);
    /// without it none do. By naming one you agree to its terms
    #[arg(long, env = "SENRYU_ACME_DIRECTORY", value_name = "URL")]
    pub acme_directory: Option<String>,
    /// Where it writes to about certificates that end
    #[arg(long, env = "SENRYU_ACME_EMAIL", value_name = "EMAIL")]
    pub acme_email: Option<String>,
    /// CA certificates in PEM by which it is trusted itself, beside this machine's
    #[arg(long, env = "SENRYU_ACME_ROOT", value_name = "FILE")]
    pub acme_root: Option<PathBuf>,
    /// How it is shown that a name leads here: over HTTP, at port 80, or in a TLS handshake, at
    /// port 443
    #[arg(long, env = "SENRYU_ACME_CHALLENGE", default_value = "http-01", value_name = "KIND")]
    pub acme_challenge: ChallengeKind,
    /// Allow a listener without TLS that is not loopback: passwords and tokens cross the network
    /// in the clear
    #[arg(long, env = "SENRYU_INSECURE_HTTP", default_value_t = false)]
    pub insecure_http: bool,
    /// The platform's domain: apps are at APP.DOMAIN, the API at api.DOMAIN. Without it apps are
    /// at APP.localhost
    #[arg(long, env = "SENRYU_DOMAIN", value_parser = lower_case, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// The master key that wraps the key of all config vars. Made on the first start. Without it
    /// the config vars in the database cannot be read again: keep a copy elsewhere
    #[arg(
        long,
        env = "SENRYU_MASTER_KEY_FILE",
        default_value = "/etc/senryu/master.key",
        value_name = "FILE"
    )]
    pub master_key_file: PathBuf,
    /// User that the router runs as; it needs no rights
    #[arg(long, env = "SENRYU_ROUTER_USER", default_value = "senryu-router", value_name = "USER")]
    pub router_user: String,
    /// Docker's socket
    #[arg(
        long,
        env = "SENRYU_DOCKER_SOCKET",
        default_value = "/var/run/docker.sock",
        value_name = "SOCKET"
    )]
    pub docker_socket: PathBuf,
    /// Image that dynos run in
    #[arg(
        long,
        env = "SENRYU_RUN_IMAGE",
        default_value = "senryu/stack:run",
        value_name = "IMAGE"
    )]
    pub run_image: String,
    /// Image that builds run in
    #[arg(
        long,
        env = "SENRYU_BUILD_IMAGE",
        default_value = "senryu/stack:build",
        value_name = "IMAGE"
    )]
    pub build_image: String,
    /// Archive of both images, which scripts/stack keeps: from it they come back when Docker has
    /// lost them
    #[arg(
        long,
        env = "SENRYU_STACK_ARCHIVE",
        default_value = "/var/lib/senryu/stack.tar.gz",
        value_name = "FILE"
    )]
    pub stack_archive: PathBuf,
    /// CA bundle given to build containers, for networks behind an inspecting proxy
    #[arg(
        long,
        env = "SENRYU_BUILD_CA_FILE",
        default_value = "/etc/ssl/certs/ca-certificates.crt",
        value_name = "FILE"
    )]
    pub build_ca_file: PathBuf,
    /// Git address of buildpacks that are given as heroku/NAME or heroku-community/NAME and are not
    /// bundled; {name} stands for the NAME
    #[arg(
        long,
        env = "SENRYU_BUILDPACK_SOURCE",
        default_value = "https://github.com/heroku/heroku-buildpack-{name}",
        value_name = "URL"
    )]
    pub buildpack_source: String,
    /// Where builds get versions of Python that the stack does not have: the address of a mirror of
    /// CPython's builds, unless an app's UV_PYTHON_INSTALL_MIRROR names another
    #[arg(long, env = "SENRYU_PYTHON_MIRROR", value_name = "URL")]
    pub python_mirror: Option<String>,
    /// Seconds a web dyno has to listen on $PORT
    #[arg(
        long,
        env = "SENRYU_BOOT_TIMEOUT",
        default_value_t = limits::BOOT_TIMEOUT.as_secs(),
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    pub boot_timeout: u64,
    /// Seconds from SIGTERM to SIGKILL
    #[arg(
        long,
        env = "SENRYU_STOP_GRACE",
        default_value_t = limits::STOP_GRACE.as_secs(),
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    pub stop_grace: u64,
    /// Seconds that begun requests get before a replaced dyno is sent SIGTERM
    #[arg(
        long,
        env = "SENRYU_DRAIN_TIMEOUT",
        default_value_t = limits::DRAIN_TIMEOUT.as_secs(),
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    pub drain_timeout: u64,
    /// Seconds a build may take
    #[arg(
        long,
        env = "SENRYU_BUILD_TIMEOUT",
        default_value_t = limits::BUILD_TIMEOUT.as_secs(),
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    pub build_timeout: u64,
    /// Seconds for which a build container stands by after a deploy, so that the app's next push
    /// need not wait for its start; 0 is none
    #[arg(
        long,
        env = "SENRYU_BUILD_STANDBY",
        default_value_t = limits::STANDBY_AFTER_DEPLOY.as_secs(),
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    pub build_standby: u64,
    /// Other limits for dyno sizes than Heroku's, as SIZE:LIMIT=NUMBER,...;SIZE:... with the limits
    /// memory, kill and disk in MB, cpu (1024 is 1x), processes and files (open in one process)
    #[arg(long, env = "SENRYU_DYNO_SIZES", default_value = "", value_parser = Sizes::with_changes, value_name = "LIMITS")]
    pub dyno_sizes: Sizes,
    /// Other limits for builds, as LIMIT=NUMBER,... A new disk limit holds for new apps
    #[arg(long, env = "SENRYU_BUILD_LIMITS", default_value = "", value_parser = Size::build, value_name = "LIMITS")]
    pub build_limits: Size,
    /// Seconds between two measurements of each dyno
    #[arg(
        long,
        env = "SENRYU_SAMPLE_PERIOD",
        default_value_t = limits::SAMPLE_PERIOD.as_secs(),
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    pub sample_period: u64,
    /// Megabytes kept free on the disk: below it the dyno or the build that fills it is ended, and
    /// no build begins
    #[arg(
        long,
        env = "SENRYU_DISK_RESERVE",
        default_value_t = limits::DISK_RESERVE_MEGABYTES,
        value_name = "MB",
        allow_negative_numbers = true
    )]
    pub disk_reserve: u64,
    /// Megabytes of memory that dynos leave to the host: one that would take them waits, and a
    /// request for it is refused
    #[arg(
        long,
        env = "SENRYU_MEMORY_RESERVE",
        default_value_t = limits::MEMORY_RESERVE_MEGABYTES,
        value_name = "MB",
        allow_negative_numbers = true
    )]
    pub memory_reserve: u64,
    /// Seconds a release command may take
    #[arg(
        long,
        env = "SENRYU_RELEASE_TIMEOUT",
        default_value_t = limits::RELEASE_PHASE_TIMEOUT.as_secs(),
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    pub release_timeout: u64,
    /// Seconds a one-off dyno (`run`) may live
    #[arg(
        long,
        env = "SENRYU_RUN_TIMEOUT",
        default_value_t = limits::ONE_OFF_LIFE.as_secs(),
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    pub run_timeout: u64,
    /// Megabytes that a source's archive may have, uploaded or fetched
    #[arg(
        long,
        env = "SENRYU_SOURCE_MEGABYTES",
        default_value_t = limits::SOURCE_UPLOAD_MEGABYTES,
        value_parser = clap::value_parser!(u64).range(1..=1_048_576),
        value_name = "MB",
        allow_negative_numbers = true
    )]
    pub source_megabytes: u64,
    /// Builds that run side by side
    #[arg(
        long,
        env = "SENRYU_PARALLEL_BUILDS",
        default_value_t = limits::PARALLEL_BUILDS,
        value_name = "N",
        allow_negative_numbers = true
    )]
    pub parallel_builds: usize,
    /// Seconds that SIGTERM waits for running builds
    #[arg(
        long,
        env = "SENRYU_SHUTDOWN_TIMEOUT",
        default_value_t = 600,
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    pub shutdown_timeout: u64,
    /// Newest releases of an app whose slugs are kept
    #[arg(
        long,
        env = "SENRYU_KEEP_RELEASES",
        default_value_t = limits::KEEP_RELEASES,
        value_name = "N",
        allow_negative_numbers = true
    )]
    pub keep_releases: u32,
    /// Days that a release's slug is kept in any case
    #[arg(
        long,
        env = "SENRYU_KEEP_RELEASE_DAYS",
        default_value_t = limits::KEEP_RELEASE_DAYS,
        value_name = "DAYS",
        allow_negative_numbers = true
    )]
    pub keep_release_days: u32,
    /// Megabytes of log kept for each app
    #[arg(
        long,
        env = "SENRYU_LOG_MEGABYTES",
        default_value_t = 64,
        value_name = "MB",
        allow_negative_numbers = true
    )]
    pub log_megabytes: u64,
}

/// How a name is proved to be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ChallengeKind {
    #[value(name = "http-01")]
    Http01,
    #[value(name = "tls-alpn-01")]
    TlsAlpn01,
}

/// Names of the server itself, below the platform's domain.
pub const CONTROL_NAMES: [&str; 3] = ["api", "git", "dashboard"];

/// Settings of the router process. It never sees the database, the engine or a key.
#[derive(Debug, Clone, Args)]
pub struct RouterSettings {
    /// Directory of the router's own socket and its last snapshot
    #[arg(
        long,
        env = "SENRYU_ROUTER_DIR",
        default_value = "/run/senryu/router",
        value_name = "DIR"
    )]
    pub router_dir: PathBuf,
    /// The server's socket, to which the control host's requests go
    #[arg(
        long,
        env = "SENRYU_SERVER_SOCKET",
        default_value = "/run/senryu/server.sock",
        value_name = "SOCKET"
    )]
    pub server_socket: PathBuf,
    /// Threads that route requests; 0 is one for each core
    #[arg(
        long,
        env = "SENRYU_ROUTER_THREADS",
        default_value_t = 0,
        value_name = "N",
        allow_negative_numbers = true
    )]
    pub router_threads: usize,
}

impl ServerSettings {
    /// Checks what single values can't: the error names the setting.
    pub fn check(&self) -> Result<(), String> {
        if !self.listen.ip().is_loopback() && !self.insecure_http && !self.has_own_https() {
            return Err(format!(
                "--listen {} is not loopback and there is no certificate: give --domain and --tls-listen with a certificate or \
                 --acme-directory, or add --insecure-http to accept the risk",
                self.listen
            ));
        }
        if self.tls_certificate_file.is_some() != self.tls_key_file.is_some() {
            return Err("--tls-certificate-file and --tls-key-file belong together".to_string());
        }
        if self.tls_certificate_file.is_some() && self.tls_listen.is_none() {
            return Err("--tls-certificate-file needs --tls-listen".to_string());
        }
        if let Some(directory) = &self.acme_directory {
            if self.tls_listen.is_none() {
                return Err("--acme-directory needs --tls-listen".to_string());
            }
            if !directory.starts_with("https://") {
                return Err(format!("--acme-directory {directory} is no https:// address"));
            }
        }
        for (flag, path) in [("--data-dir", &self.data_dir), ("--run-dir", &self.run_dir)] {
            if !path.is_absolute() {
                return Err(format!("{flag} {} is not an absolute path", path.display()));
            }
        }
        if let Some(domain) = &self.domain {
            let label = |label: &str| {
                !label.is_empty()
                    && label.len() <= 63
                    && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            };
            if !domain.split('.').all(label) {
                return Err(format!("--domain {domain} is not a host name"));
            }
        }
        for (flag, value) in [
            ("--boot-timeout", self.boot_timeout),
            ("--build-timeout", self.build_timeout),
            ("--release-timeout", self.release_timeout),
            ("--run-timeout", self.run_timeout),
            ("--parallel-builds", self.parallel_builds as u64),
            ("--keep-releases", u64::from(self.keep_releases)),
            ("--log-megabytes", self.log_megabytes),
            ("--sample-period", self.sample_period),
        ] {
            if value == 0 {
                return Err(format!("{flag} must be at least 1"));
            }
        }
        Ok(())
    }

    pub fn server_socket(&self) -> PathBuf {
        self.run_dir.join("server.sock")
    }

    /// Where root's own commands reach the server.
    pub fn admin_socket(&self) -> PathBuf {
        self.run_dir.join("admin.sock")
    }

    pub fn router_dir(&self) -> PathBuf {
        self.run_dir.join("router")
    }

    pub fn database(&self) -> PathBuf {
        self.data_dir.join("state.db")
    }

    pub fn repositories(&self) -> PathBuf {
        self.data_dir.join("repos")
    }

    pub fn metrics(&self) -> PathBuf {
        self.data_dir.join("metrics.db")
    }

    pub fn logs(&self) -> PathBuf {
        self.data_dir.join("logs")
    }

    /// What the names of all apps end in.
    pub fn apps_domain(&self) -> &str {
        self.domain.as_deref().unwrap_or("localhost")
    }

    /// Host name of an app, without a port.
    pub fn app_host(&self, app: &str) -> String {
        format!("{app}.{}", self.apps_domain())
    }

    /// The defaults, but for these flags.
    #[cfg(test)]
    pub fn for_tests(flags: &[&str]) -> Self {
        use clap::FromArgMatches;
        let command = Self::augment_args(clap::Command::new("server"));
        let words = ["server"].iter().chain(flags);
        Self::from_arg_matches(&command.get_matches_from(words)).expect("these are settings")
    }

    /// `http://sample.localhost:5757/`, with the trailing slash that Heroku's API has.
    pub fn web_url(&self, app: &str) -> String {
        format!("{}/", self.url(&self.app_host(app)))
    }

    /// Where the API and git are reached: `http://localhost:5757`.
    pub fn control_url(&self) -> String {
        match &self.domain {
            Some(domain) => self.url(&format!("api.{domain}")),
            None => self.url("localhost"),
        }
    }

    /// The platform's own names have certificates, or will.
    fn has_own_https(&self) -> bool {
        let certified = self.tls_certificate_file.is_some() || self.acme_directory.is_some();
        self.domain.is_some() && self.tls_listen.is_some() && certified
    }

    /// From afar the server answers by HTTPS only: passwords and tokens come its way.
    pub fn control_by_https(&self) -> bool {
        self.has_own_https() && !self.insecure_http
    }

    /// By HTTPS where the platform's own names have a certificate.
    fn url(&self, host: &str) -> String {
        let (scheme, usual, port) = match self.tls_listen.filter(|_| self.has_own_https()) {
            Some(tls) => ("https", 443, tls.port()),
            None => ("http", 80, self.listen.port()),
        };
        match port == usual {
            true => format!("{scheme}://{host}"),
            false => format!("{scheme}://{host}:{port}"),
        }
    }
}

/// Host names are compared in lower case.
fn lower_case(text: &str) -> Result<String, std::convert::Infallible> {
    Ok(text.to_ascii_lowercase())
}

/// The settings file as flags for those settings that no variable sets: `data_dir = "/x"` becomes
/// `--data-dir /x`. `known` are the flags there are; an unknown key is an error that names it.
pub fn file_flags(
    path: &Path,
    known: &[String],
    is_set: impl Fn(&str) -> bool,
) -> Result<Vec<String>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let table: toml::Table =
        text.parse().map_err(|error| format!("{}: {error}", path.display()))?;
    let mut flags = Vec::new();
    for (key, value) in table {
        let flag = key.replace('_', "-");
        if !known.contains(&flag) {
            return Err(format!("{}: there is no setting {key}", path.display()));
        }
        if is_set(&format!("SENRYU_{}", flag.replace('-', "_").to_uppercase())) {
            continue;
        }
        match value {
            toml::Value::Boolean(true) => flags.push(format!("--{flag}")),
            toml::Value::Boolean(false) => {}
            toml::Value::String(text) => flags.push(format!("--{flag}={text}")),
            other => flags.push(format!("--{flag}={other}")),
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Command;

    #[test]
    fn addresses_are_https_where_the_platform_has_a_certificate() {
        let url = |flags: &[&str]| {
            let settings = ServerSettings::for_tests(flags);
            settings.check().unwrap();
            (settings.control_url(), settings.web_url("shop"))
        };
        let both = |control: &str, web: &str| (control.to_string(), web.to_string());
        assert_eq!(url(&[]), both("http://localhost:5757", "http://shop.localhost:5757/"));
        let mut flags = vec!["--domain", "p.example", "--tls-listen", "127.0.0.1:443"];
        let plain = both("http://api.p.example:5757", "http://shop.p.example:5757/");
        assert_eq!(url(&flags), plain);
        flags.extend(["--tls-certificate-file", "/crt", "--tls-key-file", "/key"]);
        assert_eq!(url(&flags), both("https://api.p.example", "https://shop.p.example/"));
        let mut public = flags.clone();
        public.extend(["--listen", "0.0.0.0:80"]);
        let public = ServerSettings::for_tests(&public);
        public.check().unwrap();
        assert!(public.control_by_https());
        let bare = ServerSettings::for_tests(&["--listen", "0.0.0.0:80"]);
        assert!(bare.check().unwrap_err().contains("is not loopback"));
        let half = ServerSettings::for_tests(&["--tls-key-file", "/key"]);
        assert!(half.check().unwrap_err().contains("belong together"));
    }

    #[test]
    fn a_wrong_number_is_refused_by_its_setting_however_it_is_written() {
        for settings in [
            ServerSettings::augment_args(Command::new("server")),
            RouterSettings::augment_args(Command::new("router")),
        ] {
            let is_number = |arg: &&clap::Arg| {
                let default = arg.get_default_values().first().and_then(|value| value.to_str());
                default.is_some_and(|value| value.parse::<u64>().is_ok())
            };
            let numbers: Vec<_> = settings.get_arguments().filter(is_number).collect();
            assert!(!numbers.is_empty());
            for number in numbers {
                let flag = format!("--{}", number.get_long().expect("a flag"));
                for value in ["-1", "-1.5", "many", "1e99"] {
                    for words in [vec![flag.clone(), value.into()], vec![format!("{flag}={value}")]]
                    {
                        let words = [vec![settings.get_name().to_string()], words].concat();
                        let error = settings.clone().try_get_matches_from(&words).unwrap_err();
                        assert!(error.to_string().contains(&flag), "{words:?}: {error}");
                    }
                }
            }
        }
    }
}
