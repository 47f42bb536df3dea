//! Git's framing: four hexadecimal digits of length, then the payload; lengths 0 to 2 are marks.

use bytes::{Bytes, BytesMut};

/// The longest payload of a packet.
pub const MAX_PAYLOAD: usize = 65_516;
/// `0000`: the end of a list, or of a side-band.
pub const FLUSH: &[u8] = b"0000";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    Data(Bytes),
    Flush,
    /// `0001` and `0002` of protocol v2.
    Mark,
}

/// Not a packet's length: where it stands, no packet begins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the length of a git packet")]
pub struct NotAPacket(pub String);

/// Takes the first packet out of `buffer`; `None` while it is not whole.
pub fn take(buffer: &mut BytesMut) -> Result<Option<Packet>, NotAPacket> {
    let Some(head) = buffer.get(..4) else { return Ok(None) };
    let bad = || NotAPacket(String::from_utf8_lossy(head).into_owned());
    if !head.iter().all(u8::is_ascii_hexdigit) {
        return Err(bad());
    }
    let text = std::str::from_utf8(head).map_err(|_| bad())?;
    let length = usize::from_str_radix(text, 16).map_err(|_| bad())?;
    match length {
        0..=2 => {
            let _ = buffer.split_to(4);
            Ok(Some(if length == 0 { Packet::Flush } else { Packet::Mark }))
        }
        3 => Err(bad()),
        _ if length - 4 > MAX_PAYLOAD => Err(bad()),
        _ if buffer.len() < length => Ok(None),
        _ => {
            let mut packet = buffer.split_to(length).freeze();
            Ok(Some(Packet::Data(packet.split_off(4))))
        }
    }
}

/// Appends one packet. A payload that is too long for one is cut, which no caller's is.
pub fn put(out: &mut Vec<u8>, payload: &[u8]) {
    let payload = payload.get(..MAX_PAYLOAD).unwrap_or(payload);
    out.extend_from_slice(format!("{:04x}", payload.len() + 4).as_bytes());
    out.extend_from_slice(payload);
}

/// Appends `bytes` as packets of one side-band, none of them longer than `longest` in all.
pub fn put_band(out: &mut Vec<u8>, band: u8, bytes: &[u8], longest: usize) {
    for chunk in bytes.chunks(longest.min(MAX_PAYLOAD + 4).saturating_sub(5).max(1)) {
        out.extend_from_slice(format!("{:04x}", chunk.len() + 5).as_bytes());
        out.push(band);
        out.extend_from_slice(chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_as_they_went_in() {
        let mut bytes = Vec::new();
        put(&mut bytes, b"hello");
        put(&mut bytes, b"");
        bytes.extend_from_slice(b"00000001");
        let mut buffer = BytesMut::from(&bytes[..]);
        assert_eq!(take(&mut buffer), Ok(Some(Packet::Data(Bytes::from_static(b"hello")))));
        assert_eq!(take(&mut buffer), Ok(Some(Packet::Data(Bytes::new()))));
        assert_eq!(take(&mut buffer), Ok(Some(Packet::Flush)));
        assert_eq!(take(&mut buffer), Ok(Some(Packet::Mark)));
        assert_eq!(take(&mut buffer), Ok(None));
    }

    #[test]
    fn a_packet_cut_anywhere_waits_for_its_rest() {
        let mut whole = Vec::new();
        put(&mut whole, b"hello");
        for cut in 0..whole.len() {
            let mut buffer = BytesMut::from(&whole[..cut]);
            assert_eq!(take(&mut buffer), Ok(None), "cut at {cut}");
            assert_eq!(buffer.len(), cut);
        }
    }

    #[test]
    fn what_is_no_length_is_refused() {
        for bad in ["PACK", "GET ", "0003", "+005hello", "ffff", "fff5", "\u{0}\u{0}\u{0}\u{0}"] {
            let mut buffer = BytesMut::from(bad);
            assert!(take(&mut buffer).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_band_is_cut_into_packets_that_fit() {
        let mut out = Vec::new();
        put_band(&mut out, 2, &[b'x'; 2500], 1000);
        let mut buffer = BytesMut::from(&out[..]);
        let mut sizes = Vec::new();
        while let Some(Packet::Data(data)) = take(&mut buffer).unwrap() {
            assert_eq!(data[0], 2);
            sizes.push(data.len() - 1);
        }
        assert_eq!(sizes, [995, 995, 510]);
    }
}
