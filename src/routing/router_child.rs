//! Starting `senryu router` as a process of its own: without privileges, out of reach of the
//! server's terminal, and reaped when it ends.

use crate::config::ServerSettings;
use crate::error::{Context, Result};
use crate::limits;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Starts a router; it makes itself known on the link's socket.
pub type Launcher = Arc<dyn Fn() -> io::Result<()> + Send + Sync>;

/// `nobody` and `nogroup`, where the router has no user of its own.
const NOBODY: (u32, u32) = (65534, 65534);

/// User and group of the router's process; `None` where the server is not root and the router is
/// the same user.
pub fn router_ids(settings: &ServerSettings) -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    match nix::unistd::User::from_name(&settings.router_user) {
        Ok(Some(user)) => Some((user.uid.as_raw(), user.gid.as_raw())),
        _ => Some(NOBODY),
    }
}

/// Makes the router's directory, and what starts a router in it.
pub fn launcher(settings: &ServerSettings) -> Result<Launcher> {
    let ids = router_ids(settings);
    let (router_dir, server_socket) = (settings.router_dir(), settings.server_socket());
    let missing = || format!("can't make {}", router_dir.display());
    std::fs::create_dir_all(&router_dir).context(missing())?;
    let mode = std::fs::Permissions::from_mode(0o750);
    std::fs::set_permissions(&router_dir, mode).context(missing())?;
    if let Some((uid, gid)) = ids {
        chown(&router_dir, Some(uid), Some(gid)).context(missing())?;
    }
    // Not in the router's directory: what it could put there the server would write through.
    let log = settings.run_dir.join("router.log");
    Ok(Arc::new(move || launch(&router_dir, &server_socket, &log, ids)))
}

fn launch(
    router_dir: &Path,
    server_socket: &Path,
    log: &Path,
    ids: Option<(u32, u32)>,
) -> io::Result<()> {
    // The running program even where its file was replaced or lies where the router's user
    // can't go.
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("senryu")
        .arg("router")
        .arg("--router-dir")
        .arg(router_dir)
        .arg("--server-socket")
        .arg(server_socket)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log_file(log)?);
    // The server's environment may hold secrets; the router needs none of it.
    let kept = ["RUST_LOG", "RUST_BACKTRACE", "PATH", "SENRYU_ROUTER_THREADS"];
    command.env_clear();
    command.envs(kept.iter().filter_map(|key| Some((key, std::env::var_os(key)?))));
    if let Some((uid, gid)) = ids {
        command.gid(gid).uid(uid);
    }
    let mut child = command.spawn()?;
    std::thread::Builder::new().name("router child".to_string()).spawn(move || {
        match child.wait() {
            Ok(status) => tracing::warn!(%status, "the router ended"),
            Err(error) => tracing::warn!(%error, "can't wait for the router"),
        }
    })?;
    Ok(())
}

/// The router's own messages; started anew once it is long, for the directory is in memory.
fn log_file(path: &Path) -> io::Result<std::fs::File> {
    let is_long = std::fs::metadata(path)
        .is_ok_and(|metadata| metadata.len() > limits::ROUTER_LOG_FILE_BYTES);
    let mut options = std::fs::File::options();
    options.create(true).write(true);
    if is_long {
        options.truncate(true)
    } else {
        options.append(true)
    };
    options.open(path)
}

/// Lets the router go before everything else that wants the processor, as far as the kernel allows
/// it: each of its threads, and its session, which the kernel may weigh as a whole.
pub fn prefer(pid: u32) {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    for task in tasks {
        let task = task.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(task) = task.and_then(rustix::process::Pid::from_raw) else { continue };
        let preferred = rustix::process::setpriority_process(Some(task), limits::ROUTER_NICE);
        if let Err(error) = preferred {
            tracing::debug!(%error, "the router's priority stays as it is");
            return;
        }
    }
    let _ = std::fs::write(format!("/proc/{pid}/autogroup"), limits::ROUTER_NICE.to_string());
}

/// Binds a public listener. It is made once and handed on.
pub fn bind(addr: SocketAddr) -> Result<TcpListener> {
    let listen = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(limits::LISTEN_BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    listen().context(format!("can't listen on {addr}"))
}
