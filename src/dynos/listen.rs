//! Whether a dyno listens, read from the listen table of its network namespace: no connection is
//! made, so the app never sees a probe.

use std::io;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    No,
    /// Only inside the dyno: the router can't reach it.
    LoopbackOnly,
    Yes,
}

/// Looks at the namespace of process `pid`; an error means that the process has gone.
pub fn look(pid: u32, port: u16) -> io::Result<Listening> {
    let four = std::fs::read_to_string(format!("/proc/{pid}/net/tcp"))?;
    // Without IPv6 in the kernel there is no such table.
    let six = std::fs::read_to_string(format!("/proc/{pid}/net/tcp6")).unwrap_or_default();
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
    fn sees_a_real_listener_of_this_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(look(std::process::id(), port).unwrap(), Listening::LoopbackOnly);
        drop(listener);
        assert_eq!(look(std::process::id(), port).unwrap(), Listening::No);
    }
}
