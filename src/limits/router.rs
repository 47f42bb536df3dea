//! Limits of the router: connections, requests, the backlog and what is kept of a log.

use std::time::Duration;

/// Bytes of one frame between server and router: a snapshot of 50,000 apps.
pub const LINK_FRAME_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of a host name, by DNS.
pub const HOSTNAME_BYTES: usize = 253;
/// Custom domains of one app, as on Heroku.
pub const DOMAINS_PER_APP: u32 = 1000;
/// Between two looks of a client at a domain that is pending, as Heroku's has it.
pub const DOMAIN_POLL: Duration = Duration::from_secs(5);
/// A client has this long for its TLS handshake.
pub const TLS_HANDSHAKE: Duration = Duration::from_secs(10);
/// A certificate of the user's own may begin so much later than this machine's clock says.
pub const CERTIFICATE_EARLY: Duration = Duration::from_secs(300);
/// Certificates of one app, and in one chain.
pub const CERTIFICATES_PER_APP: usize = 100;
pub const CHAIN_CERTIFICATES: usize = 10;
/// Bytes of all certificates that the router is given: half of what a frame may have, so that
/// they fit in whatever is escaped. Some 3,000 of usual size.
pub const CERTIFICATES_BYTES: usize = LINK_FRAME_BYTES / 2;
/// Bytes of a file of certificates or keys: well over what the API takes.
pub const CERTIFICATE_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Between two looks whether the files of the platform's certificate have changed.
pub const CERTIFICATE_FILE_PERIOD: Duration = Duration::from_secs(2);
/// Listeners handed over at one time; the kernel's own bound is 253.
pub const LINK_DESCRIPTORS: usize = 16;
/// Batches of router log lines that may wait for the server's log store.
pub const LINK_LOG_BATCHES: usize = 256;
/// Targets whose drain notices the server remembers until it is told to forget them.
pub const LINK_DRAINED_TARGETS: usize = 10_000;
/// Connections that may wait to be accepted while the router is away or busy.
pub const LISTEN_BACKLOG: i32 = 4096;
/// A second server on a data directory gives up after this long: a program that a killed server
/// had just begun holds the lock until it runs.
pub const DATA_LOCK_WAIT: Duration = Duration::from_secs(3);
/// Between two tries to take it.
pub const DATA_LOCK_RETRY: Duration = Duration::from_millis(10);
/// The server tries to reach the router this often while one starts.
pub const LINK_RETRY: Duration = Duration::from_millis(2);
/// A router that was started has this long to answer before another one is started.
pub const LINK_START_TIMEOUT: Duration = Duration::from_secs(5);
/// Each step of the greeting takes at most this long.
pub const LINK_HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of the router's own log file, after which the next router starts it anew.
pub const ROUTER_LOG_FILE_BYTES: u64 = 1024 * 1024;
/// A router that was handed listeners waits this long for the server's snapshot before it uses
/// the one in its file, which may name dynos that are gone.
pub const SNAPSHOT_WAIT: Duration = Duration::from_secs(1);
/// Bytes of log lines that each of the router's threads keeps while the server is away: some
/// ten thousand lines.
pub const LOG_RING_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of log lines sent as one frame.
pub const LOG_CHUNK_BYTES: usize = 32 * 1024;
/// Lines are collected this long before they are sent: one write instead of hundreds.
pub const LOG_FLUSH: Duration = Duration::from_millis(20);
/// Bytes of a request's path in its log line.
pub const LOG_PATH_BYTES: usize = 8192;

/// From the request's hand-over to the first byte of the answer (Heroku's H12).
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);
/// After the first byte, and while a body is sent: silence on both sides (Heroku's H15, H28).
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(55);
/// One try to connect to a dyno (Heroku's H19).
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Tries to find a dyno that accepts (Heroku's).
pub const CONNECT_TRIES: usize = 10;
/// A request waits this long for a dyno that starts (Heroku's H20).
pub const START_WAIT: Duration = Duration::from_secs(75);
/// A request waits this long for a dyno with a free place; then H12.
pub const BACKLOG_WAIT: Duration = Duration::from_secs(30);
/// A dyno that refused a connection gets none for this long (Heroku's).
pub const QUARANTINE: Duration = Duration::from_secs(5);
/// Requests in flight on one dyno, and those that wait for each dyno (Heroku's H11).
pub const DYNO_IN_FLIGHT: usize = 50;
/// Requests that wait about as long as each other, within this time, may change their order.
pub const BACKLOG_ORDER: Duration = Duration::from_millis(10);
/// A client's connection may be idle this long between requests (Heroku's).
pub const CLIENT_IDLE: Duration = Duration::from_secs(90);
/// A request's head must arrive within this time: against clients that send it drop by drop.
pub const CLIENT_HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// An idle connection to a dyno is used again for this long: Node.js closes after 5 s.
pub const DYNO_IDLE: Duration = Duration::from_secs(4);
/// Between two looks for idle connections to dynos that are over that; only while there are any.
pub const DYNO_IDLE_SWEEP: Duration = Duration::from_secs(1);
/// Bytes of a request line and of one header line (Heroku's).
pub const REQUEST_LINE_BYTES: usize = 8192;
/// Headers of a request or response (Heroku's).
pub const HEADER_COUNT: usize = 1000;
/// Headers that a request's parser has room for unless the client's first head is longer: room
/// for [`HEADER_COUNT`] costs each request 3 %.
pub const USUAL_HEADER_LINES: usize = 90;
/// Bytes of a first head that are looked at for that.
pub const HEAD_PEEK_BYTES: usize = 8192;
/// Bytes of a request's head as a whole.
pub const REQUEST_HEAD_BYTES: usize = 256 * 1024;
/// Requests under way on one HTTP/2 connection (RFC 9113 asks for 100 at least).
pub const HTTP2_STREAMS: u32 = 100;
/// Requests on one HTTP/2 connection that its client left unanswered, if they are more than half
/// of all: then it is closed, for such is an attack (CVE-2023-44487).
pub const HTTP2_LEFT: usize = 200;
/// Requests that were left before they were even looked at (h2's own bound), and streams reset by
/// us for what a client did wrong: more end the connection.
pub const HTTP2_PENDING_RESETS: usize = 20;
pub const HTTP2_ERROR_RESETS: usize = 100;
/// Bytes of a request's head over HTTP/2, unpacked: as many as a hundred streams may hold at once
/// without harm.
pub const HTTP2_HEAD_BYTES: u32 = 64 * 1024;
/// Bytes of request bodies that the router takes before the dyno does, of one stream and of one
/// connection.
pub const HTTP2_STREAM_WINDOW: u32 = 256 * 1024;
pub const HTTP2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of a response that wait for the client's window, of each stream.
pub const HTTP2_SEND_BUFFER: usize = 64 * 1024;
/// What browsers are told of HSTS: a year, as its preload lists ask for.
pub const HSTS: &str = "max-age=31536000";
/// Where certificate authorities ask for proof (RFC 8555).
pub const ACME_PATH: &str = "/.well-known/acme-challenge/";
/// Bytes of a response's status line and of one cookie (Heroku's H25).
pub const RESPONSE_LINE_BYTES: usize = 8192;
/// Bytes of one response header (Heroku's H25).
pub const RESPONSE_HEADER_BYTES: usize = 512 * 1024;
/// Bytes of a response's head as a whole.
pub const RESPONSE_HEAD_BYTES: usize = 1024 * 1024;
/// Bytes read from a dyno at one time: a head, and pieces of a long body.
pub const HEAD_READ_BYTES: usize = 4096;
pub const BODY_READ_BYTES: usize = 64 * 1024;
/// Bytes of the trailers behind a dyno's chunks: as much as hyper takes of a client's.
pub const TRAILER_BYTES: usize = 16 * 1024;
/// A client that was answered while it still sent is read on this long, so that it finds the
/// answer; and this long while it sends nothing (nginx's values).
pub const LINGER: Duration = Duration::from_secs(30);
pub const LINGER_IDLE: Duration = Duration::from_secs(5);
/// Bytes read of it at one time.
pub const LINGER_READ_BYTES: usize = 16 * 1024;
/// A request for the server waits this long for its socket: a restart takes less.
pub const CONTROL_WAIT: Duration = Duration::from_secs(10);
/// Between two tries to reach the server's socket.
pub const CONTROL_RETRY: Duration = Duration::from_millis(50);
/// Silence on a tunnel to the server (`run`, `logs --tail`).
pub const CONTROL_IDLE: Duration = Duration::from_secs(24 * 3600);
/// A router that was told to stop gives begun requests this long.
pub const ROUTER_STOP_GRACE: Duration = Duration::from_secs(30);
/// How long it keeps clients' connections on which nothing happens: a request may be on its way,
/// and closing on it would fail it.
pub const ROUTER_STOP_IDLE: Duration = Duration::from_secs(5);
/// A client's connections handed from one of the router's threads to another.
pub const ROUTER_INBOX: usize = 256;
/// Accepting pauses this long when descriptors run out.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The line by which Heroku's own client says which dyno it wants; ours have 48 digits.
pub const RENDEZVOUS_SECRET_BYTES: usize = 128;
