//! Containers, behind one narrow trait. Everything that it makes carries our labels, and nothing
//! without the label of this installation is ever listed or touched.

pub mod ahead;
mod answers;
pub mod archive;
mod attach;
mod background;
mod body;
pub mod docker;
mod egress;
mod emptied;
#[cfg(test)]
pub mod fake;
mod firewall;
mod image_build;
pub mod network;
mod seccomp;
mod stats;
mod step;
mod written;

pub use image_build::{ImageBuild, ImageFacts, NotBuilt};
pub use written::Written;

use crate::clock::Timestamp;
use crate::error::{Context, Error, Result};
use crate::limits;
use crate::model::WindowSize;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;

pub const LABEL_INSTALLATION: &str = "senryu.installation";
pub const LABEL_APP: &str = "senryu.app";
/// One of `dyno`, `build`, `slug`, `stack`.
pub const LABEL_KIND: &str = "senryu.kind";
pub const LABEL_DYNO: &str = "senryu.dyno";
/// Where the container may connect to outside, if not anywhere: a list of destinations.
pub const LABEL_EGRESS: &str = "senryu.egress";
/// The address that such a container was given.
const LABEL_EGRESS_ADDRESS: &str = "senryu.egress-address";
pub const LABEL_RELEASE: &str = "senryu.release";
pub const LABEL_SLUG: &str = "senryu.slug";

pub type Labels = BTreeMap<String, String>;

/// The one description of a container, for dynos, builds, release phase and one-offs alike.
/// The engine adds what all of them share: no capabilities, no new privileges, an init as PID 1,
/// no restart policy, and the installation's label.
#[derive(Debug, Clone, Default)]
pub struct ContainerSpec {
    pub name: String,
    /// Image id or reference.
    pub image: String,
    pub command: Vec<String>,
    /// `uid:gid`, never root.
    pub user: String,
    pub working_dir: String,
    /// Nothing secret: Docker keeps it in plain text. Config vars go through a file on a tmpfs.
    pub env: Vec<(String, String)>,
    pub labels: Labels,
    pub mounts: Vec<Mount>,
    pub memory_bytes: i64,
    pub cpu_shares: i64,
    pub pids: i64,
    pub open_files: i64,
    pub read_only_root: bool,
    /// Whether Docker keeps the output in a log file (dynos) or only streams it (builds).
    pub keep_log: bool,
    pub input: Input,
    /// Whether it goes among those whose processes get only what others leave (builds).
    pub background: bool,
}

/// Where a container's standard input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Input {
    #[default]
    Nowhere,
    /// From whoever attaches; their end of input is its end of input.
    Pipe,
    /// A terminal for input and both outputs.
    Terminal,
}

/// A connection to a container's input and output. Dropping `input`, or shutting it down, is the
/// end of its input.
pub struct Attached {
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
    pub output: BoxStream<'static, Output>,
}

#[derive(Debug, Clone)]
pub struct Mount {
    pub source: PathBuf,
    pub target: String,
    pub read_only: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerStatus {
    Created,
    Running,
    Exited,
    /// Somebody removes it; told by a look at it alone, not in a list.
    Removing,
}

/// What the engine says of one container, now.
#[derive(Debug, Clone)]
pub struct Container {
    pub id: String,
    pub name: String,
    pub labels: Labels,
    pub status: ContainerStatus,
    pub image: String,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub exit_code: Option<i64>,
    /// The kernel killed it for its memory limit.
    pub out_of_memory: bool,
    /// Process id of PID 1 on the host, while it runs.
    pub pid: Option<u32>,
    pub address: Option<IpAddr>,
    /// Docker's json-file log, when it keeps one.
    pub log_path: Option<PathBuf>,
    /// Where on the host lies what it has written outside its image and its mounts.
    pub written: Option<PathBuf>,
    /// What it is limited to, which somebody may have changed since it was made.
    pub bounds: Option<Bounds>,
}

/// What the kernel holds a container to; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    pub memory_bytes: i64,
    /// Memory and swap together.
    pub swap_bytes: i64,
    pub cpu_shares: i64,
    /// Billionths of a processor.
    pub nano_cpus: i64,
    pub pids: i64,
}

/// What a running container uses, now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// All that it has used of the CPU since it began, in nanoseconds.
    pub cpu_nanos: u64,
    /// Without what the kernel would give back before it kills.
    pub memory_bytes: i64,
    /// Processes and threads.
    pub processes: i64,
}

/// What is left on the disk that containers write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeDisk {
    pub bytes: u64,
    pub files: u64,
}

impl FreeDisk {
    /// Of the disk that has this path.
    pub fn at(path: &Path) -> Result<Self> {
        let stat = nix::sys::statvfs::statvfs(path);
        let stat = stat.context(format!("look at the disk of {}", path.display()))?;
        let bytes = stat.blocks_available() * stat.fragment_size();
        Ok(Self { bytes, files: stat.files_available() })
    }

    /// Whether there is less than this, or hardly room for another file's entry.
    pub fn is_short(self, reserve_megabytes: u64) -> bool {
        let few_files = self.files > 0 && self.files < limits::DISK_RESERVE_FILES;
        self.bytes < reserve_megabytes << 20 || few_files
    }
}

#[derive(Debug, Clone)]
pub struct Image {
    pub id: String,
    pub labels: Labels,
    /// Bytes, all layers.
    pub size: i64,
    pub created_at: Timestamp,
}

/// A change in one of our containers, for waking those who wait.
#[derive(Debug, Clone)]
pub struct Event {
    pub container: String,
    pub action: EventAction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventAction {
    Started,
    Died,
    OutOfMemory,
    Other,
}

/// One piece of a container's output, in the order it came.
#[derive(Debug, Clone)]
pub struct Output {
    pub stderr: bool,
    pub bytes: Bytes,
}

/// How a container that ran to completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Exited {
        code: i64,
        out_of_memory: bool,
    },
    /// It took longer than the limit and was killed.
    TimedOut,
}

/// Who can bring back an image that the engine has lost.
#[async_trait]
pub trait Restore: Send + Sync {
    /// Returns the image to use; `None` for one that is not ours to know.
    async fn restore(&self, image: &str) -> Result<Option<String>>;
}

#[async_trait]
pub trait Engine: Send + Sync {
    /// Makes a container and returns its id. It does not run yet.
    async fn create(&self, spec: &ContainerSpec) -> Result<String>;
    /// Starts it; one that runs already is fine.
    async fn start(&self, container: &str) -> Result<()>;
    /// Sends a signal such as `SIGTERM` to the init, which passes it to the process group. One
    /// that is gone or has exited is fine.
    async fn signal(&self, container: &str, signal: &str) -> Result<()>;
    /// Removes it, killing it first if it runs. One that is gone is fine.
    async fn remove(&self, container: &str) -> Result<()>;
    /// All of this installation's containers. Cheap: pid, log path and bounds are missing.
    async fn list(&self) -> Result<Vec<Container>>;
    /// Everything about one container; `None` if there is none.
    async fn inspect(&self, container: &str) -> Result<Option<Container>>;
    /// Runs a container to its end and removes it, even when the caller stops waiting. Output
    /// goes to `output` as it comes; a slow reader slows the container down, a gone one doesn't.
    async fn run(
        &self,
        spec: &ContainerSpec,
        output: mpsc::Sender<Output>,
        limit: Duration,
    ) -> Result<Ended>;
    /// Sees to it that a container's processes get only what others leave of the processor, unless
    /// they would starve, for as long as this is awaited. Ends if that can't be done.
    async fn keep_in_background(&self, _: &str) {}
    /// Waits until none of a container's processes is left, which the kernel knows before the
    /// engine does; for ever where it can't be asked.
    async fn emptied(&self, _: &str) {
        std::future::pending().await
    }
    /// Connects to the input and output of a container that has been made and not started yet. A
    /// slow reader slows the container down.
    async fn attach(&self, container: &str, input: Input) -> Result<Attached>;
    /// Tells the terminal of a container that runs how large it is; one that has ended is fine.
    async fn resize(&self, container: &str, size: WindowSize) -> Result<()>;
    /// Waits until a container that was started ends: its exit status. An error says nothing
    /// about the container, only that the engine went away.
    async fn wait(&self, container: &str) -> Result<i64>;
    /// What a container uses, measured by the engine; `None` if it does not run.
    async fn usage(&self, container: &str) -> Result<Option<Usage>>;
    /// What is left on the disk that containers write to.
    fn free_disk(&self) -> Result<FreeDisk>;
    /// Starts and deaths of this installation's containers, from now on. Ends when the engine
    /// goes away.
    async fn events(&self) -> Result<BoxStream<'static, Event>>;
    /// Puts back what belongs around the containers and is missing, such as network and firewall
    /// rules, and returns what that was.
    async fn mend(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Loads an image archive (`docker load`).
    async fn load(&self, archive: BoxStream<'static, Bytes>) -> Result<()>;
    /// An image as an archive (`docker save`).
    async fn save(&self, _: &str) -> Result<BoxStream<'static, std::io::Result<Bytes>>> {
        Err(Error::unavailable("this engine gives no images away"))
    }
    /// This installation's images that carry `senryu.kind=KIND`.
    async fn images(&self, kind: &str) -> Result<Vec<Image>>;
    /// The diff ids (`sha256:…`) of an image's layers, base first, and its id.
    async fn image_layers(&self, image: &str) -> Result<Option<(String, Vec<String>)>>;
    /// Builds an image from a Dockerfile in a tar, or says why there is none. Whoever stops waiting
    /// ends the build.
    async fn build_image(
        &self,
        _: &ImageBuild,
        _: BoxStream<'static, Bytes>,
        _: mpsc::Sender<Output>,
    ) -> Result<Result<(), NotBuilt>> {
        Err(Error::unavailable("this engine builds no images"))
    }
    /// Fetches an image by its name from its registry.
    async fn pull_image(&self, _: &str) -> Result<()> {
        Err(Error::unavailable("this engine fetches no images"))
    }
    /// Removes an image unless it has a name; one that is gone is fine, one in use is an error.
    async fn remove_nameless(&self, _: &str) -> Result<()> {
        Ok(())
    }
    /// What an image says of how it is to be run.
    async fn image_facts(&self, _: &str) -> Result<Option<ImageFacts>> {
        Ok(None)
    }
    /// Removes an image; one that is gone is fine, one in use is an error.
    async fn remove_image(&self, image: &str) -> Result<()>;
}
