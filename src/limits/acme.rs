//! Limits of automatic certificates: how often an authority is asked, and how long for.

use std::time::Duration;

/// One request to a certificate authority, with its answer.
pub const ACME_REQUEST: Duration = Duration::from_secs(30);
/// Tries of one request: authorities drop nonces and connections now and then.
pub const ACME_REQUEST_TRIES: u32 = 5;
/// Before the second of them; doubled before each further one.
pub const ACME_REQUEST_PAUSE: Duration = Duration::from_millis(100);
/// Asking for our account there, with all tries: an authority that accepts connections and says
/// nothing holds up all names for so long.
pub const ACME_ACCOUNT: Duration = Duration::from_secs(60);
/// One name, from its order to its certificate: longer is a name that holds up others.
pub const ACME_NAME: Duration = Duration::from_secs(300);
/// An authority looks at a proof, or signs, for at most this long.
pub const ACME_PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at that: at first, and at most (it doubles).
pub const ACME_LOOK: Duration = Duration::from_millis(100);
pub const ACME_LOOK_MOST: Duration = Duration::from_secs(5);
/// Names that are tried for side by side.
pub const ACME_PARALLEL: usize = 4;
/// Names that are tried for within an hour: a third of what a common authority allows.
pub const ACME_TRIES_PER_HOUR: usize = 100;
/// Those of them that one app may take, and leave something to others.
pub const ACME_TRIES_PER_APP: usize = 60;
/// Those of them that issue nothing: a domain that leads elsewhere fails again and again.
pub const ACME_FAILURES_PER_APP: usize = 20;
/// From so many failures in a row on the state is `failed`: about twenty minutes, in which whoever
/// enters a DNS record sees it spread.
pub const ACME_FAILURES: u32 = 4;
/// After the first, second, … failure in a row the next try waits so long.
pub const ACME_PAUSES: [Duration; 8] = [
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(3600),
    Duration::from_secs(3 * 3600),
    Duration::from_secs(6 * 3600),
    Duration::from_secs(12 * 3600),
    Duration::from_secs(24 * 3600),
];
/// A certificate that was issued is left alone for so long, however short its life; and one that
/// looked old at once, because clocks differ, for a day.
pub const ACME_REST: Duration = Duration::from_secs(10);
pub const ACME_DAY: Duration = Duration::from_secs(24 * 3600);
/// After a try that a server's death cut short.
pub const ACME_AGAIN: Duration = Duration::from_secs(10);
/// Between two looks for what is wanted and due, in case nobody woke the task.
pub const ACME_PERIOD: Duration = Duration::from_secs(60);
/// Characters of a failure's reason.
pub const ACME_REASON_CHARS: usize = 500;
/// Bytes of a chain that an authority sends.
pub const ACME_CHAIN_BYTES: usize = 64 * 1024;
/// One question to the machine's resolver.
pub const DNS_LOOKUP: Duration = Duration::from_secs(5);
/// Days that a certificate of `certs:generate --selfsigned` lives, as on Heroku.
pub const SELF_SIGNED_DAYS: i64 = 365;
/// Between two looks of a client that waits for certificates.
pub const ACM_POLL: Duration = Duration::from_secs(1);
/// Names of which `doctor` tells, and lookups of them at one time.
pub const REPORTED_NAMES: usize = 100;
pub const PARALLEL_LOOKUPS: usize = 50;
/// Certificates that end within so many days are told of.
pub const DOCTOR_CERTIFICATE_DAYS: i64 = 14;
