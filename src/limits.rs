//! Every time-out, size and bound, each with its unit and its reason. What an operator may
//! change is a setting in `config.rs`, whose default stands here.

mod acme;
mod builds;
mod console;
mod dynos;
mod metrics;
mod people;
mod router;
mod share;

pub use acme::*;
pub use builds::*;
pub use console::*;
pub use dynos::*;
pub use metrics::*;
pub use people::*;
pub use router::*;
pub use share::*;
use std::time::Duration;

// --- names and requests ---------------------------------------------------------------------

/// Bytes of an API request body; Heroku's own documents stay far below. Over it: 413.
pub const API_BODY_BYTES: usize = 1024 * 1024;
/// What is read of a body over that, and for how long, so that the client can read its 413.
pub const API_BODY_DROPPED_BYTES: usize = 64 * 1024 * 1024;
pub const API_BODY_DROP: Duration = Duration::from_secs(30);
/// Bytes of all config vars of an app, keys and values (Heroku's limit). Over it: 422.
pub const CONFIG_VARS_BYTES: usize = 64 * 1024;
/// Bytes of one config var's key: longer ones cannot be file names in the env dir.
pub const CONFIG_KEY_BYTES: usize = 200;
/// Dynos of one process type (Heroku's default limit per app).
pub const DYNOS_PER_TYPE: u32 = 100;
/// Destinations in an app's egress list: each is a firewall rule for each of its dynos.
pub const EGRESS_DESTINATIONS: usize = 64;
/// Process types in one Procfile.
pub const PROCESS_TYPES: usize = 100;
/// Bytes of a Procfile; real ones have a few hundred.
pub const PROCFILE_BYTES: usize = 64 * 1024;
/// Items of a page when the Range header names no `max`, and the largest `max` (Heroku's).
pub const PAGE_DEFAULT: usize = 200;
pub const PAGE_MAX: usize = 1000;

/// The stack's name: buildpacks switch on it, so it is Heroku's.
pub const STACK: &str = "heroku-24";
/// The stack of apps whose own Dockerfiles make their images (Heroku's name).
pub const CONTAINER_STACK: &str = "container";
/// Random names that are tried for a new app before giving up.
pub const NAME_TRIES: usize = 10;
/// The longest life of a token that is to end, seconds: ten years.
pub const TOKEN_SECONDS: i64 = 10 * 365 * 24 * 3600;
/// Bytes of a client's Request-Id that are sent back; Heroku's CLI lets it grow to 7 KiB.
pub const REQUEST_ID_BYTES: usize = 8 * 1024;
/// The longest that one request waits for a rollout, below clients' 60 s time-out.
pub const ROLLOUT_WAIT: Duration = Duration::from_secs(30);
/// Log lines when a session names no number (Heroku's).
pub const LOG_LINES_DEFAULT: i64 = 100;
/// Pieces of a log stream on their way to a client, and lines joined into one.
pub const LOG_STREAM_PIECES: usize = 16;
pub const LOG_STREAM_BATCH: usize = 256;
/// A silent log stream says that it lives; clients give up after 300 s.
pub const LOG_STREAM_PING: Duration = Duration::from_secs(30);
/// Passwords that are hashed at one time: each takes 19 MiB and a core.
pub const PARALLEL_HASHES: usize = 2;
/// Characters of an authorization's description.
pub const DESCRIPTION_CHARS: usize = 255;

// --- store ----------------------------------------------------------------------------------

/// Writes that may wait for the writer thread before callers are held back.
pub const STORE_QUEUE: usize = 1024;
/// Writes joined into one commit: the fsync is shared, and a slow one delays few.
pub const STORE_GROUP: usize = 64;
/// How long a connection waits for another process that holds the database, such as a backup.
pub const STORE_BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Read connections: readers never wait for the writer in WAL mode, and each is a file handle.
pub const STORE_READERS: usize = 4;

// --- engine ---------------------------------------------------------------------------------

/// The engine's answer to an ordinary call; a busy one takes seconds.
pub const ENGINE_TIMEOUT: Duration = Duration::from_secs(60);
/// Its answer to removing, killing and loading, which wait for disks and processes.
pub const ENGINE_PATIENT_TIMEOUT: Duration = Duration::from_secs(600);
/// One log file of the engine for a dyno, as Docker writes sizes …
pub const ENGINE_LOG_SIZE: &str = "64m";
/// … and how many it keeps: what a dyno writes while the server is away survives in them.
pub const ENGINE_LOG_FILES: u32 = 2;
/// A server that starts waits this long for the engine.
pub const ENGINE_START: Duration = Duration::from_secs(60);
/// The engine carries out what a server that died had asked for within this time.
pub const ENGINE_SETTLES: Duration = Duration::from_secs(3);
/// A Docker that is told to stop ends its containers in this time and then itself: what ended so
/// shortly before it went away has not crashed.
pub const ENGINE_STOPS: Duration = Duration::from_secs(20);
/// Pause before an engine that went away is asked again.
pub const ENGINE_RETRY: Duration = Duration::from_millis(500);
/// How often a signal is sent that the engine did not take.
pub const SIGNAL_TRIES: u32 = 3;
/// iptables answers in milliseconds, but for a lock that somebody else holds.
pub const FIREWALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that are read of a container's input and output at a time.
pub const ATTACH_PIECE_BYTES: usize = 64 * 1024;
/// Open files and sockets of one process of a dyno (Heroku's limit).
pub const OPEN_FILES: i64 = 10_000;

// --- dynos ----------------------------------------------------------------------------------

/// A web dyno has this long to listen on `$PORT` (Heroku's R10).
pub const BOOT_TIMEOUT: Duration = Duration::from_secs(60);
/// A container's init handles signals this long after its start, even on a busy machine.
pub const INIT_START: Duration = Duration::from_secs(1);
/// From SIGTERM to SIGKILL (Heroku's R12).
pub const STOP_GRACE: Duration = Duration::from_secs(30);
/// Requests that have begun on a dyno that is replaced may take this long before its SIGTERM.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Waits before the n-th restart of a dyno that crashed; the last one repeats.
pub const CRASH_BACKOFF_SECONDS: [u64; 7] = [0, 10, 20, 40, 80, 160, 300];
/// A dyno that ran this long and then crashed starts the ladder anew.
pub const CRASH_FORGIVEN_AFTER: Duration = Duration::from_secs(600);
/// The reconciler looks at the engine this often even when nobody woke it.
pub const RECONCILE_PERIOD: Duration = Duration::from_secs(10);
/// Between two looks at a starting dyno's listen table: the share of readiness that we add.
pub const LISTEN_PROBE_PERIOD: Duration = Duration::from_millis(10);
/// The same where the kernel's whole tables have to be read, which may take as long as that.
pub const LISTEN_READ_PERIOD: Duration = Duration::from_millis(200);
/// The kernel answers at once; without it nobody waits for ever.
pub const LISTEN_ANSWER: Duration = Duration::from_secs(1);
/// One message of its answer has 32 KB at most.
pub const LISTEN_ANSWER_BYTES: usize = 32 * 1024;
/// A starting dyno is watched this much longer than its boot time-out, which somebody else keeps.
pub const BOOT_MARGIN: Duration = Duration::from_secs(5);
/// `$PORT` is picked from these; every dyno has its own network, so they never collide.
pub const DYNO_PORTS: std::ops::Range<u16> = 10_000..60_000;
/// Numbers of one-off dynos, as in `run.4242` (Heroku's range).
pub const ONE_OFF_NUMBERS: std::ops::RangeInclusive<u32> = 1000..=9999;
/// One-offs of an app at one time (Heroku's limit): each takes memory that nobody planned for.
pub const ONE_OFFS_PER_APP: usize = 50;
/// The longest life of a one-off (Heroku's).
pub const ONE_OFF_LIFE: Duration = Duration::from_secs(24 * 3600);
/// An attached one-off through which no byte passes for so long loses its client (Heroku's).
pub const ONE_OFF_IDLE: Duration = Duration::from_secs(3600);
/// An attached one-off waits this long for its client (Heroku's R13).
pub const ATTACH_WAIT: Duration = Duration::from_secs(30);
/// Pieces of input or output on their way between a client and its one-off.
pub const ATTACH_QUEUE: usize = 8;
/// A server that has nothing to say shows by a frame that it lives, and finds a client gone.
pub const ATTACH_ALIVE: Duration = Duration::from_secs(15);
/// After the last frame, what a client still sends is read for this long, so that it can read it.
pub const ATTACH_LINGER: Duration = Duration::from_secs(5);
/// Before the line with the exit status, which Heroku's client finds only in a chunk of its own.
pub const RENDEZVOUS_PAUSE: Duration = Duration::from_millis(20);
/// A lost client means SIGHUP, so many times and this far apart; then R16 (Heroku's).
pub const HANG_UPS: u32 = 3;
pub const HANG_UP_PERIOD: Duration = Duration::from_secs(5);
/// The character that a terminal takes for the end of its input.
pub const END_OF_TRANSMISSION: u8 = 4;
/// A terminal whose size nobody told.
pub const ONE_OFF_COLUMNS: u16 = 80;
pub const ONE_OFF_ROWS: u16 = 24;
/// A clock that is further off than this after a look at it was set, and not slewed.
pub const CLOCK_JUMP: Duration = Duration::from_secs(3);
/// How long a release command waits for memory before its release fails: dynos that a scaling
/// down stops have gone by then.
pub const RELEASE_ROOM_WAIT: Duration = Duration::from_secs(120);
/// Between two looks at the host's memory while it waits.
pub const ROOM_PERIOD: Duration = Duration::from_secs(1);
/// Events that may wait for the reconciler; those who send more are held back.
pub const DYNO_EVENTS: usize = 1024;
/// How long a command waits for the router to take a new table over, even at its deadline.
pub const TABLE_MARGIN: Duration = Duration::from_secs(2);
/// Dynos that start at one time; more only makes each of them slower on the engine.
pub const PARALLEL_STARTS: usize = 8;
/// The longest release phase (Heroku's limit).
pub const RELEASE_PHASE_TIMEOUT: Duration = Duration::from_secs(3600);

// --- what dynos use -------------------------------------------------------------------------

/// Bytes that a dyno may write outside its slug. Heroku names no figure; builds have as much.
pub const DYNO_DISK_BYTES: i64 = 8 * 1024 * 1024 * 1024;
/// Between two measurements of each dyno (Heroku's for R14).
pub const SAMPLE_PERIOD: Duration = Duration::from_secs(20);
/// Dynos that are measured at one time: each is a question to the engine.
pub const PARALLEL_SAMPLES: usize = 4;
/// Per cent of a limit on processes or open files from which a dyno is told: programs that run
/// into such a limit hover just below it.
pub const NEAR_LIMIT_PERCENT: i64 = 95;
/// Processes of one dyno whose open files are counted; a fork bomb has too many to look at.
pub const SAMPLED_PROCESSES: usize = 512;
/// Between two looks at the free disk: what a fast disk takes in that time is below the reserve.
pub const DISK_PERIOD: Duration = Duration::from_secs(1);
/// Bytes that the disk loses between two measurements before all dynos are measured anew.
pub const DISK_ALARM_BYTES: u64 = 512 * 1024 * 1024;
/// Megabytes that stay free on the host's disk: below it the dyno or the build that fills it is
/// ended, and no build begins.
pub const DISK_RESERVE_MEGABYTES: u64 = 2048;
/// Megabytes of memory that dynos leave to server, router, Docker and the kernel.
pub const MEMORY_RESERVE_MEGABYTES: u64 = 128;
/// Bytes of memory that must be left for a build to begin: less than it may take, as much as an
/// ordinary one does.
pub const BUILD_ROOM_BYTES: i64 = 512 * 1024 * 1024;
/// A dyno that waits for memory is tried again this often.
pub const MEMORY_RETRY: Duration = Duration::from_secs(2);
/// Bytes that a dyno must have written to be ended for a full disk: ending others frees nothing.
pub const DISK_CULPRIT_BYTES: u64 = 64 * 1024 * 1024;
/// Until another one is ended for it: removing what a dyno wrote takes seconds.
pub const DISK_CULPRIT_PAUSE: Duration = Duration::from_secs(10);
/// Files that are left on the host's disk below which it counts as full.
pub const DISK_RESERVE_FILES: u64 = 20_000;
/// Files of a dyno's disk that are looked at before it counts as too many.
pub const DYNO_FILES: u64 = 1_000_000;

// --- builds ---------------------------------------------------------------------------------

/// The longest build (Heroku's limit).
pub const BUILD_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Memory of a build container, bytes: Heroku's build dynos have about 2.5 GB.
pub const BUILD_MEMORY_BYTES: i64 = 2560 * 1024 * 1024;
/// Processes and threads in a build container; parallel compilers need some hundreds.
pub const BUILD_PIDS: i64 = 4096;
/// Builds that run side by side; more share two cores to nobody's gain.
pub const PARALLEL_BUILDS: usize = 2;
/// Bytes of the volume that holds an app's source, build and cache.
pub const BUILD_VOLUME_BYTES: i64 = 8 * 1024 * 1024 * 1024;
/// The least that an operator may set: a file system, Node.js and some dependencies.
pub const BUILD_VOLUME_MIN_BYTES: i64 = 512 * 1024 * 1024;
/// A volume with fewer free bytes than this counts as full: a failed build was short of room.
pub const BUILD_VOLUME_FULL_BYTES: u64 = 1024 * 1024;
/// Bytes that a volume has freed but still holds on the host's disk before they are given back;
/// trimming costs a tenth of a second of disk work.
pub const BUILD_VOLUME_TRIM_BYTES: u64 = 256 * 1024 * 1024;
/// Volumes that stay mounted between builds: mounting costs 10 ms, an idle mount some kilobytes.
pub const BUILD_VOLUMES_MOUNTED: usize = 64;
/// Open files of a build's process, as dynos have; package managers unpack in parallel.
pub const BUILD_OPEN_FILES: i64 = 16_384;
/// Between two tries to end the container of a cancelled build, which may not be there yet.
pub const BUILD_CANCEL_RETRY: Duration = Duration::from_millis(200);
/// So long before its time limit a build is looked at once more: measuring takes up to two seconds.
pub const BUILD_LAST_LOOK: Duration = Duration::from_secs(5);
/// Whoever cancels a build waits this long for its end: removing a container takes seconds.
pub const BUILD_CANCEL_WAIT: Duration = Duration::from_secs(30);
/// Bytes of what `bin/detect` and `bin/release` may print, of the small files that a bundled
/// buildpack says it wrote, all together, and of our own notes on a volume.
pub const BUILD_RESULT_BYTES: u64 = 256 * 1024;
/// Bytes of a source, uncompressed (Heroku's limit for a checkout).
pub const SOURCE_BYTES: u64 = 1024 * 1024 * 1024;
/// Files and directories of a source.
pub const SOURCE_ENTRIES: u64 = 500_000;
/// Directories inside directories: each is a level of recursion, and paths end at 4,096 bytes.
pub const SOURCE_DEPTH: usize = 200;
/// Bytes of a file that passes through memory; larger ones go from git to the disk directly.
pub const SOURCE_BLOB_IN_MEMORY: u64 = 8 * 1024 * 1024;
/// Bytes of a source's tar when it is unpacked: the source, and a header and padding for each file.
pub const SOURCE_TAR_BYTES: u64 = SOURCE_BYTES + SOURCE_ENTRIES * 2048;
/// Bytes of a name or of attributes in a tar, which pass through memory.
pub const SOURCE_NAME_BYTES: u64 = 64 * 1024;
/// Bytes of a file in a tar that are read and written at a time.
pub const SOURCE_PIECE_BYTES: usize = 64 * 1024;
/// Megabytes of an uploaded tar, packed: what Heroku's own sources stay far below.
pub const SOURCE_UPLOAD_MEGABYTES: u64 = 512;
/// Addresses for uploads that nobody has used yet; each may come to take the size above.
pub const SOURCE_UPLOADS: usize = 100;
/// Those of one user: nobody can take the places of all.
pub const SOURCE_UPLOADS_PER_USER: usize = 10;
/// An upload's address holds for so long (Heroku's), and so does what was uploaded.
pub const SOURCE_VALID: Duration = Duration::from_secs(3600);
/// Silence in the middle of an upload that ends it.
pub const SOURCE_UPLOAD_IDLE: Duration = Duration::from_secs(60);
/// Bytes of an upload between two looks at the free disk.
pub const SOURCE_DISK_CHECK_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of a source's address, and of what is said of its version.
pub const SOURCE_URL_BYTES: usize = 4096;
pub const SOURCE_VERSION_BYTES: usize = 1000;
/// A source on the net is fetched within this time, redirects included.
pub const SOURCE_FETCH: Duration = Duration::from_secs(300);
/// Bytes of a `.slugignore`: every pattern is held against every path.
pub const SLUGIGNORE_BYTES: usize = 16 * 1024;
/// Git submodules of a source: git goes out for each of them.
pub const SUBMODULES: usize = 200;
/// Git LFS pointers that a push names; it counts the others.
pub const LFS_NAMED: usize = 5;
/// Bytes of a symbolic link's target (the kernel's limit).
pub const LINK_BYTES: usize = 4096;
/// Seconds since 1970 that ext4 and tar can hold (year 2446).
pub const TIME_MAX_SECONDS: u64 = 15_000_000_000;
/// Bytes of a buildpack's name or address.
pub const BUILDPACK_BYTES: usize = 1000;
/// Buildpacks of one app, of which each is fetched and run by every build.
pub const BUILDPACKS_PER_APP: usize = 20;
/// A buildpack is fetched within this time, or its address is as good as dead.
pub const BUILDPACK_FETCH: Duration = Duration::from_secs(120);
/// Paths that a buildpack may name as what decided about its work, and as what it wrote: more
/// would take longer to look at than the work is worth.
pub const OUTCOME_PATHS: usize = 64;
/// For so long a buildpack's work is used again; then it is asked for newer versions that fit.
pub const OUTCOME_AGE: Duration = Duration::from_secs(24 * 3600);
/// Bytes of the files that decide about a buildpack's work, all together: lock files are large.
pub const OUTCOME_READ_BYTES: u64 = 16 << 20;
/// Directories that a buildpack may have kept for the next build.
pub const KEPT_DIRECTORIES: usize = 100;
/// Files and directories of a slug.
pub const SLUG_ENTRIES: usize = 500_000;
/// Images of an app whose layers are remembered, so that removing one loses no layer.
pub const SLUG_IMAGES_REMEMBERED: usize = 4;
/// Layers of changes that lie over a slug's own before they become one: Docker stacks at most 125,
/// and each makes looking up a file a little slower.
pub const SLUG_DELTAS: usize = 12;
/// Steps of a Dockerfile whose images are remembered; Docker itself ends at 127 layers.
pub const BUILD_STEPS: usize = 1000;
/// Images of one app that a heroku.yml may build; each is a build of its own.
pub const APP_IMAGES: usize = 20;
/// Bytes of an app's image, all layers: it lies on the host's disk for each kept release.
pub const APP_IMAGE_BYTES: i64 = 8 * 1024 * 1024 * 1024;
/// An image's shell says as whom it runs within this time, on a busy machine.
pub const IMAGE_PROBE: Duration = Duration::from_secs(60);
/// Bytes that are kept of what such a question is answered with.
pub const IMAGE_PROBE_BYTES: usize = 64 * 1024;
/// Lines of a `.dockerignore`: each is held against every path.
pub const IGNORE_PATTERNS: usize = 1000;
/// Bytes from which a layer that may be known is not written once more to be compared.
pub const LAYER_LARGE_BYTES: u64 = 1024 * 1024;
/// Bytes of a layer that are read and sent at a time.
pub const LAYER_PIECE_BYTES: usize = 256 * 1024;
/// Bytes of a slug before compression; Heroku allows 500 MB compressed.
pub const SLUG_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Bytes of a build's output that are kept.
pub const BUILD_OUTPUT_BYTES: u64 = 64 * 1024 * 1024;
/// Pieces of output in flight between a container and the build's output file.
pub const OUTPUT_QUEUE: usize = 256;
/// Bytes that one reader of a build's output takes at a time.
pub const OUTPUT_PIECE_BYTES: u64 = 64 * 1024;

/// How long a change waits for the release command of another one, below clients' 60 s time-out.
pub const RELEASE_TURN: Duration = Duration::from_secs(45);
/// A pending release whose command nobody has begun to run by then has failed.
pub const PHASE_BEGINS: Duration = Duration::from_secs(60);
/// A push waits this much longer than the boot time-out for the switch.
pub const SWITCH_MARGIN: Duration = Duration::from_secs(10);
/// What was cut short or is no longer needed is looked for this often.
pub const UPKEEP_PERIOD: Duration = Duration::from_secs(30);

// --- git ------------------------------------------------------------------------------------

/// Bytes of the ref commands that come before a pack: thousands of refs, no pack.
pub const PUSH_COMMANDS_BYTES: usize = 1024 * 1024;
/// Pushes and other builds of one app that may wait for their turn; more are told to try again.
pub const BUILD_QUEUE: usize = 10;
/// Bytes of one pack: what a mistaken push can take of the disk before git refuses it.
pub const PUSH_PACK_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Bytes from which git streams a file and neither loads nor deltifies it: bounds its memory.
pub const GIT_BIG_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// Bytes of a push up to which its objects are stored one by one, which is faster for few.
pub const GIT_UNPACK_BYTES: u64 = 512 * 1024;
/// Fetches that are served at one time; each is a git process or two. More of them wait.
pub const GIT_FETCHES: usize = 16;
/// Bytes read from or written to a git process at one time: the pipe's own size.
pub const GIT_CHUNK_BYTES: usize = 64 * 1024;
/// Chunks on their way to the client before its git process is held back.
pub const GIT_CLIENT_CHUNKS: usize = 8;
/// A client that sends nothing for so long in the middle of its request is given up.
pub const GIT_BODY_IDLE: Duration = Duration::from_secs(120);
/// A client that reads nothing for so long is treated as one that left.
pub const GIT_CLIENT_STALL: Duration = Duration::from_secs(60);
/// Silence before an empty packet keeps proxies from closing the connection (as git's own).
pub const GIT_KEEPALIVE: Duration = Duration::from_secs(5);
/// Receive-packs that outlived the server before this one get this long to end by themselves.
pub const GIT_OUTLIVED_WAIT: Duration = Duration::from_secs(2);
/// Bytes of a git process's standard error that are kept for the log.
pub const GIT_STDERR_BYTES: usize = 8 * 1024;
/// Wait after a hook could not be accepted: what is missing needs time to come back.
pub const GIT_ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// After a push is answered, the rest of its body is read for this long, so that the client can
/// read the answer before its connection is closed.
pub const GIT_BODY_DRAIN: Duration = Duration::from_secs(30);

// --- clean-up -------------------------------------------------------------------------------

/// A slug stays as long as its release is among the newest of these (Heroku's rule) …
pub const KEEP_RELEASES: u32 = 20;
/// … or younger than this many days.
pub const KEEP_RELEASE_DAYS: u32 = 30;

// --- logs -----------------------------------------------------------------------------------

/// Bytes of one message; longer lines become several (Heroku's limit).
pub const LOG_LINE_BYTES: usize = 10_000;
/// Lines of history that one request may ask for (Heroku's limit), and what it gets unasked.
pub const LOG_HISTORY_LINES: usize = 1500;
pub const LOG_HISTORY_DEFAULT: usize = 100;
/// A log session waits this long for its GET (Heroku's).
pub const LOG_SESSION_VALID: Duration = Duration::from_secs(5 * 60);
/// Log sessions that wait for their GET: each is a few hundred bytes.
pub const LOG_SESSIONS: usize = 10_000;
/// Bytes of one segment file at most: what a start scans of each app.
pub const LOG_SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// Segments that an app's share of disk is cut into at least, so that the oldest lines go in
/// small steps.
pub const LOG_SEGMENTS_MIN: u64 = 8;
/// Bytes of lines in one frame. A frame is written and recovered whole.
pub const LOG_FRAME_BYTES: usize = 512 * 1024;
/// Segment files kept open for writing; the file-handle limit is shared with sockets.
pub const LOG_OPEN_SEGMENTS: usize = 128;
/// Writes that may wait for the log thread before callers are held back.
pub const LOG_QUEUE: usize = 256;
/// Lines and bytes that wait for one tail's reader; beyond either it loses its oldest (L11).
pub const LOG_TAIL_LINES: usize = 4096;
pub const LOG_TAIL_BYTES: usize = 4 * 1024 * 1024;
/// Bytes read of one dyno's log at a time, before the others and the platform's lines have their
/// turn. Docker's largest record is below 100 KB (16 KB of text, all of it escaped).
pub const LOG_READ_BYTES: usize = 256 * 1024;
/// Bytes a second that are read of one dyno's log for long, and at one time: 200,000 lines a
/// second. A dyno that floods its log must not take the disk and a core from the others.
pub const LOG_FOLLOW_BYTES_PER_SECOND: u64 = 32 * 1024 * 1024;
pub const LOG_FOLLOW_BURST: u64 = 128 * 1024 * 1024;
/// Between two looks at a dyno's log while it writes …
pub const LOG_POLL_ACTIVE: Duration = Duration::from_millis(50);
/// … and when it has been quiet: a look is one `stat`, so 100 quiet dynos cost 500 a second.
pub const LOG_POLL_QUIET: Duration = Duration::from_millis(200);
/// A dyno is quiet when it wrote nothing for this long.
pub const LOG_QUIET_AFTER: Duration = Duration::from_secs(2);
/// `ENGINE_LOG_SIZE` in bytes, as Docker reads it (its `m` is a million): a file is rotated by
/// the first record after it has reached this.
pub const LOG_FILE_BYTES: u64 = 64_000_000;
/// Files of one dyno held open while its reader is behind: Docker keeps two, a rotation or two
/// more are survived at 64 MB of disk each.
pub const LOG_ROTATED_FILES: usize = 4;
/// The removal of a container waits this long for the end of its log: two files of 64 MB take a
/// few seconds.
pub const LOG_FINISH_TIMEOUT: Duration = Duration::from_secs(20);
/// A followed log that is absent, and whose container is unknown, for this long is given up; a
/// container that has just been made has no log either.
pub const LOG_ABSENT_AFTER: Duration = Duration::from_secs(60);
/// Destroyed apps whose late lines are recognised and dropped.
pub const LOG_FORGOTTEN_APPS: usize = 10_000;

// --- command line ---------------------------------------------------------------------------

/// Builds among which one that is pending is looked for: more than may wait.
pub const BUILDS_SEARCHED: u32 = 50;
/// Columns that a terminal has when it does not say.
pub const TERMINAL_COLUMNS: usize = 80;
/// Ctrl-C so many times within this long leaves a dyno that hears nothing (Heroku's).
pub const HANG_UP_KEYS: usize = 4;
pub const HANG_UP_WITHIN: Duration = Duration::from_secs(1);
/// Between two positions of the mark that turns while a command waits.
pub const SPINNER_PERIOD: Duration = Duration::from_millis(100);
/// To connect to the server: it is near, or it is not there.
pub const CLIENT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Without a byte for this long, a request has failed. Longer than the longest long poll.
pub const CLIENT_READ_TIMEOUT: Duration = Duration::from_secs(60);
/// A log that is followed sends at least a comment in this time.
pub const CLIENT_STREAM_TIMEOUT: Duration = Duration::from_secs(300);
/// Bytes of one answer of the API; a page of 1,000 releases takes less than one of them.
pub const CLIENT_ANSWER_BYTES: usize = 32 * 1024 * 1024;
/// Before a request is sent again to a server that was away.
pub const CLIENT_RETRY_PAUSE: Duration = Duration::from_millis(300);
/// A waiting command bears this long a restart of the server.
pub const CLIENT_PATIENCE: Duration = Duration::from_secs(30);
/// Seconds of one long poll for a roll-out (the server allows no more).
pub const ROLLOUT_POLL_SECONDS: u64 = 30;
/// Seconds that `releases:wait` waits unless told otherwise: a release phase, a boot and a retry.
pub const RELEASES_WAIT_SECONDS: u64 = 600;
/// Bytes of a file of config vars: well over what an app may have, so that the API says no.
pub const CONFIG_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of one log event in the client's buffer; lines are at most 16 KB in parts.
pub const LOG_EVENT_BYTES: usize = 4 * 1024 * 1024;
/// Before a followed log that broke off is asked for again.
pub const LOG_RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// Lines asked for when a followed log goes on in a new session; those shown already are left out.
pub const LOG_RESUME_LINES: u32 = 1500;
/// Lines of one microsecond that are remembered for that.
pub const LOG_SAME_TIME_LINES: usize = 1000;
/// For each thing that `doctor` asks of a socket.
pub const DOCTOR_TIMEOUT: Duration = Duration::from_secs(5);
/// Free bytes on the data folder's disk below which `doctor` warns, and fails.
pub const DOCTOR_DISK_WARN: u64 = 10 * 1024 * 1024 * 1024;
pub const DOCTOR_DISK_FAIL: u64 = 1024 * 1024 * 1024;
/// Bytes of memory that could be had below which `doctor` warns, and fails: two small dynos; what
/// server and router need themselves.
pub const DOCTOR_MEMORY_WARN: i64 = 1024 * 1024 * 1024;
pub const DOCTOR_MEMORY_FAIL: i64 = 256 * 1024 * 1024;
/// A clock that is so far behind the database's last write has been set back.
pub const DOCTOR_CLOCK_BACK: Duration = Duration::from_secs(60);
/// For the whole life of the container that `doctor` tries things in: two seconds on a good day.
pub const DOCTOR_PROBE: Duration = Duration::from_secs(20);
/// A command waits this long for dynos, then says how to go on waiting.
pub const ROLLOUT_PATIENCE: Duration = Duration::from_secs(15 * 60);
/// Between two questions about a roll-out, should the server answer at once.
pub const ROLLOUT_PAUSE: Duration = Duration::from_millis(50);
