//! Limits of the console: sign-in, sessions, forms and pages.

use std::time::Duration;

/// A session nobody used for so long is over: half a day covers a lunch, not a lost laptop.
pub const SESSION_IDLE: Duration = Duration::from_secs(12 * 3600);
/// A session is over after this, used or not: a stolen cookie does not live on for ever.
pub const SESSION_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// When a session was last used is stored this often at most: each is a write.
pub const SESSION_SEEN: Duration = Duration::from_secs(60);
/// Sessions of one person; the one that was used longest ago makes room.
pub const SESSIONS_PER_USER: u32 = 50;
/// Characters of a browser's own name that are kept with its session.
pub const AGENT_CHARS: usize = 200;
/// Passwords that may be tried for one account from one address, and from one address for all
/// accounts, within [`SIGN_IN_WINDOW`]. Offices share an address; nobody mistypes a password ten
/// times.
pub const SIGN_IN_TRIES_ACCOUNT: u32 = 10;
/// Those for one account from all addresses where it was not used before: who has many addresses
/// guesses no long password by 400 tries an hour.
pub const SIGN_IN_TRIES_STRANGERS: u32 = 100;
pub const SIGN_IN_TRIES_ADDRESS: u32 = 30;
pub const SIGN_IN_WINDOW: Duration = Duration::from_secs(15 * 60);
/// Codes of the second factor that may be tried for one account meanwhile: of a million, three are
/// right at any time.
pub const SIGN_IN_TRIES_CODE: u32 = 5;
/// Between the password and the code: as long as a phone takes to be found.
pub const SIGN_IN_STEP: Duration = Duration::from_secs(5 * 60);
/// Failed sign-ins of one account, and of all, that the audit is told of within [`SIGN_IN_WINDOW`]:
/// at 400 bytes each, a flood that lasts a year is 420 MB at worst.
pub const SIGN_IN_FAILURES_ACCOUNT: u32 = 10;
pub const SIGN_IN_FAILURES_ALL: u32 = 30;
/// Characters of a code that are looked at: a recovery code's, and some more.
pub const CODE_CHARS: usize = 32;
/// Recovery codes that somebody gets at one time.
pub const RECOVERY_CODES: usize = 10;
/// Accounts and addresses whose tries are counted at one time; the oldest count makes room.
pub const SIGN_IN_COUNTS: usize = 20_000;
/// Characters of a password at least: length is what guessing costs.
pub const PASSWORD_CHARS: usize = 12;
/// Bytes of a password at most: more is no password, and hashing takes time.
pub const PASSWORD_BYTES: usize = 1024;
/// Bytes of a form: all config vars of an app, each byte of which may take three.
pub const FORM_BYTES: usize = 4 * super::CONFIG_VARS_BYTES;
/// Apps on one page of the list, rows of which are some 400 bytes.
pub const APPS_PER_PAGE: usize = 50;
/// Releases or builds on a page.
pub const ROWS_PER_PAGE: usize = 100;
/// Between two looks at what the processors do, for the page of the host: the kernel counts in
/// hundredths of a second.
pub const HOST_LOOK: Duration = Duration::from_millis(200);
/// Dynos on the page of the host; those in trouble come first.
pub const DYNOS_SHOWN: usize = 500;
/// Bytes of a build's output on its page: the end of it, which says what became of it.
pub const OUTPUT_SHOWN_BYTES: usize = 256 * 1024;
/// Lines of a log on its page, where new ones push out the oldest: more makes browsers slow.
pub const LOG_LINES_SHOWN: usize = 1000;
/// Log lines are gathered this long before a page is sent them.
pub const LOG_GATHER: Duration = Duration::from_millis(100);
/// Bytes of a page from which packing it pays.
pub const PACK_BYTES: usize = 1024;
/// Between two pictures of an app's dynos that a page is sent: faster is a flicker.
pub const LIVE_PERIOD: Duration = Duration::from_millis(200);
/// A live page shows that it lives this often, and is looked at: its session may have ended.
pub const LIVE_PING: Duration = Duration::from_secs(20);
