//! Whether a dyno listens, asked of the kernel for its network namespace: no connection is made, so
//! the app never sees a probe.
//!
//! The kernel is asked by a socket of its diagnostics (`sock_diag(7)`), which knows who listens. The
//! tables in `/proc` say so too, but they go through every connection that there could be, which on
//! a large machine takes ten milliseconds each time.

use crate::limits;
use nix::libc::{AF_INET, AF_INET6, AF_NETLINK, NETLINK_SOCK_DIAG};
use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Protocol, Socket, Type};
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    No,
    /// Only inside the dyno: the router can't reach it.
    LoopbackOnly,
    Yes,
}

impl Listening {
    /// Where another address is listened at as well.
    fn and(self, address: IpAddr) -> Self {
        match self == Self::Yes || !address.to_canonical().is_loopback() {
            true => Self::Yes,
            false => Self::LoopbackOnly,
        }
    }
}

/// Who listens in the network namespace of a process.
pub struct Table {
    pid: u32,
    namespace: u64,
    /// None where the kernel has no diagnostics, or does not let us.
    socket: Option<Socket>,
}

impl Table {
    /// An error means that the process has gone.
    pub fn of(pid: u32) -> io::Result<Self> {
        let file = File::open(namespace(pid))?;
        let namespace = file.metadata()?.ino();
        // A socket belongs to the namespace of the thread that makes it, for which a thread is
        // needed that nobody uses afterwards.
        let thread = std::thread::Builder::new().name("namespace".to_string());
        let made = thread.spawn(move || socket_in(&file)).map(std::thread::JoinHandle::join);
        let socket = made.ok().and_then(Result::ok).and_then(Result::ok);
        Ok(Self { pid, namespace, socket })
    }

    /// Who listens at `port`; an error means that the process has gone.
    pub fn look(&self, port: u16) -> io::Result<Listening> {
        if fs::metadata(namespace(self.pid))?.ino() != self.namespace {
            return Err(io::ErrorKind::NotFound.into());
        }
        match self.socket.as_ref().map(|socket| ask(socket, port)) {
            Some(Ok(found)) => Ok(found),
            _ => read(self.pid, port),
        }
    }

    /// How long to wait between two looks.
    pub fn period(&self) -> Duration {
        match self.socket {
            Some(_) => limits::LISTEN_PROBE_PERIOD,
            None => limits::LISTEN_READ_PERIOD,
        }
    }
}

fn namespace(pid: u32) -> String {
    format!("/proc/{pid}/ns/net")
}

fn socket_in(namespace: &File) -> io::Result<Socket> {
    setns(namespace, CloneFlags::CLONE_NEWNET)?;
    let kind = Protocol::from(NETLINK_SOCK_DIAG);
    let socket = Socket::new(Domain::from(AF_NETLINK), Type::DGRAM, Some(kind))?;
    socket.set_read_timeout(Some(limits::LISTEN_ANSWER))?;
    // A kernel without diagnostics of TCP says so now.
    ask(&socket, 1)?;
    Ok(socket)
}

/// `struct nlmsghdr`.
const HEADER: usize = 16;
const REQUEST: u16 = 20;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_DUMP`
const FLAGS: u16 = 0x301;
const TCP: u8 = 6;
/// A bit for each state that is asked for: `TCP_LISTEN`.
const LISTEN: u32 = 1 << 10;

fn ask(socket: &Socket, port: u16) -> io::Result<Listening> {
    let mut found = Listening::No;
    for family in [AF_INET, AF_INET6] {
        socket.send(&request(u8::try_from(family).unwrap_or_default(), port))?;
        let mut answer = vec![0; limits::LISTEN_ANSWER_BYTES];
        loop {
            let read = (&*socket).read(&mut answer)?;
            if messages(&answer[..read], port, &mut found)? {
                break;
            }
        }
    }
    Ok(found)
}

/// `struct inet_diag_req_v2` behind its header: all that listen at `port`.
fn request(family: u8, port: u16) -> Vec<u8> {
    let mut body = vec![family, TCP, 0, 0];
    body.extend(LISTEN.to_ne_bytes());
    body.extend(port.to_be_bytes());
    body.resize(56, 0);
    let length = u32::try_from(HEADER + body.len()).unwrap_or_default();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend([REQUEST.to_ne_bytes(), FLAGS.to_ne_bytes()].concat());
    message.resize(HEADER, 0);
    message.extend(body);
    message
}

/// Reads one answer, and tells whether it was the last one.
fn messages(mut answer: &[u8], port: u16, found: &mut Listening) -> io::Result<bool> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidData);
    while !answer.is_empty() {
        let length = u32::from_ne_bytes(bytes(answer, 0).ok_or_else(wrong)?) as usize;
        let kind = u16::from_ne_bytes(bytes(answer, 4).ok_or_else(wrong)?);
        let body = answer.get(HEADER..length).ok_or_else(wrong)?;
        match kind {
            DONE => return Ok(true),
            ERROR => return Err(wrong()),
            _ => {
                // `struct inet_diag_msg`: family, state, two more, then the ports and addresses.
                let at = u16::from_be_bytes(bytes(body, 4).ok_or_else(wrong)?);
                let address = match body.first().copied().map(i32::from) {
                    Some(AF_INET) => bytes::<4>(body, 8).map(|four| Ipv4Addr::from(four).into()),
                    Some(AF_INET6) => bytes::<16>(body, 8).map(|six| Ipv6Addr::from(six).into()),
                    _ => None,
                };
                if at == port {
                    *found = found.and(address.ok_or_else(wrong)?);
                }
            }
        }
        answer = answer.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..at + N)?.try_into().ok()
}

fn read(pid: u32, port: u16) -> io::Result<Listening> {
    let four = fs::read_to_string(format!("/proc/{pid}/net/tcp"))?;
    // Without IPv6 in the kernel there is no such table.
    let six = fs::read_to_string(format!("/proc/{pid}/net/tcp6")).unwrap_or_default();
    Ok(match (find(&four, port), find(&six, port)) {
        (Listening::Yes, _) | (_, Listening::Yes) => Listening::Yes,
        (Listening::LoopbackOnly, _) | (_, Listening::LoopbackOnly) => Listening::LoopbackOnly,
        _ => Listening::No,
    })
}

/// Reads a table of `/proc/net/tcp`: the second column is the address, the fourth the state,
/// where `0A` is LISTEN.
fn find(table: &str, port: u16) -> Listening {
    let mut found = Listening::No;
    for line in table.lines().skip(1) {
        let mut columns = line.split_ascii_whitespace();
        let (Some(local), Some("0A")) = (columns.nth(1), columns.nth(1)) else { continue };
        let Some((address, hex_port)) = local.split_once(':') else { continue };
        if u16::from_str_radix(hex_port, 16) != Ok(port) {
            continue;
        }
        if !is_loopback(address) {
            return Listening::Yes;
        }
        found = Listening::LoopbackOnly;
    }
    found
}

/// Addresses are 32-bit words in the byte order of the machine, in hexadecimal.
fn is_loopback(address: &str) -> bool {
    let ends_in_127 = |word: &str| word.len() == 8 && word.ends_with("7F");
    match address.len() {
        8 => ends_in_127(address),
        32 => {
            address == "00000000000000000000000001000000"
                || (address.starts_with("0000000000000000FFFF0000") && ends_in_127(&address[24..]))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue\n";

    #[test]
    fn tells_any_address_from_loopback_and_other_ports() {
        let table = |rows: &str| find(&format!("{HEAD}{rows}"), 0x1F90);
        assert_eq!(table("   0: 00000000:1F90 00000000:0000 0A 0"), Listening::Yes);
        assert_eq!(table("   0: 0100007F:1F90 00000000:0000 0A 0"), Listening::LoopbackOnly);
        assert_eq!(table("   0: 00000000:1F91 00000000:0000 0A 0"), Listening::No);
        assert_eq!(table("   0: 00000000:1F90 00000000:0000 01 0"), Listening::No);
        let six = "00000000000000000000000000000000";
        assert_eq!(table(&format!("   0: {six}:1F90 {six}:0000 0A 0")), Listening::Yes);
        let mapped = "0000000000000000FFFF00000100007F";
        assert_eq!(table(&format!("   0: {mapped}:1F90 {six}:0000 0A 0")), Listening::LoopbackOnly);
    }

    #[test]
    fn sees_real_listeners_of_this_process_both_ways() {
        for (address, expected) in [
            ("127.0.0.1:0", Listening::LoopbackOnly),
            ("[::1]:0", Listening::LoopbackOnly),
            ("0.0.0.0:0", Listening::Yes),
            ("[::]:0", Listening::Yes),
        ] {
            let Ok(listener) = std::net::TcpListener::bind(address) else {
                assert!(address.starts_with('['), "there is IPv4 everywhere");
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            let table = Table::of(std::process::id()).unwrap();
            let look = || (table.look(port).unwrap(), read(std::process::id(), port).unwrap());
            assert_eq!(look(), (expected, expected), "{address}");
            drop(listener);
            assert_eq!(look(), (Listening::No, Listening::No), "{address}");
        }
    }

    #[test]
    fn looks_into_another_namespace_until_its_process_has_gone() {
        if !nix::unistd::geteuid().is_root() {
            // Nobody else may make a namespace.
            return;
        }
        let script = "ip link set lo up && exec python3 -c 'import socket, sys
one = socket.create_server((\"0.0.0.0\", 4999)); print(); sys.stdout.flush(); sys.stdin.read()'";
        let mut command = std::process::Command::new("unshare");
        command.args(["--net", "sh", "-c", script]);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut inside = command.spawn().unwrap();
        inside.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let table = Table::of(inside.id()).unwrap();
        assert!(table.socket.is_some());
        assert_eq!(table.look(4999).unwrap(), Listening::Yes);
        assert_eq!(table.look(4998).unwrap(), Listening::No);
        assert_eq!(Table::of(std::process::id()).unwrap().look(4999).unwrap(), Listening::No);
        drop(inside.stdin.take());
        inside.wait().unwrap();
        assert!(table.look(4999).is_err());
        assert!(Table::of(inside.id()).is_err());
    }

    #[test]
    fn an_answer_that_is_cut_off_is_no_answer() {
        let mut found = Listening::No;
        let message = request(2, 80);
        assert!(messages(&message[..10], 80, &mut found).is_err());
        assert!(messages(&message[..40], 80, &mut found).is_err());
        assert_eq!(found, Listening::No);
    }
}
