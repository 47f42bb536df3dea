//! How git is run: the same environment for every process, in which nothing of the host's own
//! git configuration takes part.

use crate::limits;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// Names the push to the hook.
pub const PUSH_ID: &str = "SENRYU_PUSH_ID";
/// Where the hook finds the server; by its value the next server knows processes of this one.
pub const HOOK_SOCKET: &str = "SENRYU_HOOK_SOCKET";

/// What git reads instead of configuration files. Repositories hold only what `git init` wrote,
/// so that a new version of this table is true for all of them at once.
fn configuration(hooks: &Path) -> Vec<(&'static str, String)> {
    let big = limits::GIT_BIG_FILE_BYTES.to_string();
    let pack = limits::PUSH_PACK_BYTES.to_string();
    [
        // Repositories keep their owner when a data directory is restored from elsewhere.
        ("safe.directory", "*"),
        ("core.bigFileThreshold", big.as_str()),
        ("pack.windowMemory", "64m"),
        ("pack.deltaCacheSize", "64m"),
        ("pack.threads", "2"),
        ("gc.autoDetach", "false"),
        ("receive.maxInputSize", pack.as_str()),
        // What a ref names is on the disk before the ref is, also when the power fails.
        ("core.fsync", "committed,loose-object,reference"),
        ("core.fsyncMethod", "batch"),
        // The quarantine has the repository as its alternate, whose refs git knows already: it
        // need not start another process to list them.
        ("core.alternateRefsCommand", "true"),
        ("receive.autogc", "false"),
        ("receive.shallowUpdate", "false"),
        ("receive.denyNonFastForwards", "false"),
        ("receive.denyDeletes", "false"),
        ("receive.denyDeleteCurrent", "ignore"),
        ("receive.advertisePushOptions", "false"),
        ("receive.advertiseAtomic", "true"),
        ("uploadpack.allowFilter", "true"),
        ("advice.graftFileDeprecated", "false"),
    ]
    .into_iter()
    .map(|(key, value)| (key, value.to_string()))
    .chain([("core.hooksPath", hooks.to_string_lossy().into_owned())])
    .collect()
}

/// A git process: its environment is empty but for what is said here, its streams are pipes.
pub fn git(hooks: &Path, socket: &Path) -> Command {
    let mut command = Command::new("git");
    command.env_clear();
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    command.env("PATH", path);
    for (key, value) in [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("HOME", "/nonexistent"),
        ("LC_ALL", "C"),
        ("GIT_COMMITTER_NAME", "Senryu"),
        ("GIT_COMMITTER_EMAIL", "git@localhost"),
    ] {
        command.env(key, value);
    }
    let configuration = configuration(hooks);
    command.env("GIT_CONFIG_COUNT", configuration.len().to_string());
    for (index, (key, value)) in configuration.into_iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{index}"), key);
        command.env(format!("GIT_CONFIG_VALUE_{index}"), value);
    }
    command.env(HOOK_SOCKET, socket);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own: Ctrl-C in the server's terminal is the server's business.
    command.process_group(0);
    command.kill_on_drop(true);
    command
}

/// The value of `Git-Protocol`, if it is one that git itself sends: it becomes a variable.
pub fn protocol(header: Option<&str>) -> Option<&OsStr> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"=:.-_".contains(&b);
    header.filter(|text| text.len() <= 200 && text.bytes().all(plain)).map(OsStr::new)
}
