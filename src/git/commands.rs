//! The first part of a push: which ref is to move from where to where, and what the client can
//! read. It comes before the pack, and git itself checks it again.

use super::pktline;
use bytes::{Bytes, BytesMut};

/// The object id that stands for "no such ref".
pub const ZERO: &str = "0000000000000000000000000000000000000000";
/// Refs whose updates deploy.
pub const DEPLOYING: [&str; 2] = ["refs/heads/main", "refs/heads/master"];

/// One ref that the client wants to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    pub old: String,
    pub new: String,
    pub git_ref: String,
    /// Which of the packets holds it.
    packet: usize,
}

impl Update {
    pub fn is_delete(&self) -> bool {
        self.new == ZERO
    }

    pub fn deploys(&self) -> bool {
        DEPLOYING.contains(&self.git_ref.as_str())
    }

    /// `main` for `refs/heads/main`.
    pub fn branch(&self) -> Option<&str> {
        self.git_ref.strip_prefix("refs/heads/")
    }
}

/// All commands of one push.
#[derive(Debug, Clone, Default)]
pub struct Commands {
    packets: Vec<Vec<u8>>,
    pub updates: Vec<Update>,
    /// The longest packet of the side-band that the client reads, if it does.
    pub band: Option<usize>,
    /// The client's own history is cut off somewhere.
    pub shallow: bool,
    /// The client reads a report of what became of each ref.
    pub report: bool,
}

impl Commands {
    /// Reads one packet of the list; the error is a sentence for the client.
    pub fn add(&mut self, payload: &Bytes) -> Result<(), String> {
        let index = self.packets.len();
        self.packets.push(payload.to_vec());
        if payload.starts_with(b"shallow ") {
            self.shallow = true;
            return Ok(());
        }
        if payload.starts_with(b"push-cert") {
            return Err("Signed pushes are not supported: push without --signed".to_string());
        }
        let end = payload.iter().position(|b| *b == 0).unwrap_or(payload.len());
        let (command, capabilities) = payload.split_at(end);
        let command = String::from_utf8_lossy(command);
        let mut words = command.trim_end_matches('\n').splitn(3, ' ');
        let (Some(old), Some(new), Some(git_ref)) = (words.next(), words.next(), words.next())
        else {
            return Err(format!("This is not a git push: {:?}", shorten(&command)));
        };
        let is_id = |id: &str| id.len() == ZERO.len() && id.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_id(old) || !is_id(new) || git_ref.is_empty() {
            return Err(format!("This is not a git push: {:?}", shorten(&command)));
        }
        if self.updates.is_empty() {
            self.read_capabilities(capabilities);
        }
        self.updates.push(Update {
            old: old.to_string(),
            new: new.to_string(),
            git_ref: git_ref.to_string(),
            packet: index,
        });
        Ok(())
    }

    fn read_capabilities(&mut self, capabilities: &[u8]) {
        let text = String::from_utf8_lossy(capabilities);
        let text = text.trim_matches(|c: char| c == '\0' || c.is_ascii_whitespace());
        for capability in text.split(' ') {
            match capability {
                "side-band-64k" => self.band = Some(65_520),
                "side-band" => self.band = self.band.or(Some(1000)),
                "report-status" | "report-status-v2" => self.report = true,
                _ => {}
            }
        }
    }

    /// The update that deploys: the first of `main` and `master` that is no deletion.
    pub fn deploying(&self) -> Option<&Update> {
        self.updates.iter().find(|update| update.deploys() && !update.is_delete())
    }

    /// Lets every update of `git_ref` start from `old`. The ids have the same length, so
    /// everything else in the packet stays where it is.
    pub fn start_from(&mut self, git_ref: &str, old: &str) {
        for update in self.updates.iter_mut().filter(|update| update.git_ref == git_ref) {
            if let Some(place) =
                self.packets.get_mut(update.packet).and_then(|packet| packet.get_mut(..old.len()))
            {
                place.copy_from_slice(old.as_bytes());
                update.old = old.to_string();
            }
        }
    }

    /// The list as git reads it, with the flush packet that ends it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for packet in &self.packets {
            pktline::put(&mut out, packet);
        }
        out.extend_from_slice(pktline::FLUSH);
        out
    }
}

/// Reads commands out of `buffer` until the flush packet; `false` while it has not come.
pub fn read(buffer: &mut BytesMut, commands: &mut Commands) -> Result<bool, String> {
    loop {
        match pktline::take(buffer) {
            Ok(Some(pktline::Packet::Data(payload))) => commands.add(&payload)?,
            Ok(Some(pktline::Packet::Flush)) => return Ok(true),
            Ok(Some(pktline::Packet::Mark)) => {
                return Err("This is not a git push: a mark among its commands".to_string());
            }
            Ok(None) => return Ok(false),
            Err(error) => return Err(format!("This is not a git push: {error}")),
        }
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn list(lines: &[String]) -> Result<(Commands, BytesMut), String> {
        let mut bytes = Vec::new();
        for line in lines {
            pktline::put(&mut bytes, line.as_bytes());
        }
        bytes.extend_from_slice(b"0000PACK rest");
        let mut buffer = BytesMut::from(&bytes[..]);
        let mut commands = Commands::default();
        read(&mut buffer, &mut commands)?;
        Ok((commands, buffer))
    }

    #[test]
    fn reads_updates_and_capabilities() {
        let (commands, rest) = list(&[
            format!("shallow {A}"),
            format!("{A} {B} refs/heads/other\0 report-status side-band-64k agent=git/2"),
            format!("{A} {ZERO} refs/heads/main"),
            format!("{ZERO} {B} refs/heads/master\n"),
        ])
        .unwrap();
        assert_eq!(&rest[..], b"PACK rest", "the pack is left alone");
        assert_eq!(commands.updates.len(), 3);
        assert_eq!(commands.band, Some(65_520));
        assert!(commands.report);
        assert!(commands.updates[1].is_delete());
        assert_eq!(commands.deploying().unwrap().git_ref, "refs/heads/master");
    }

    #[test]
    fn a_new_start_keeps_the_capabilities() {
        let (mut commands, _) =
            list(&[format!("{A} {B} refs/heads/main\0 report-status quiet")]).unwrap();
        commands.start_from("refs/heads/main", B);
        let text = String::from_utf8(commands.encode()).unwrap();
        assert_eq!(text, format!("007a{B} {B} refs/heads/main\0 report-status quiet0000"));
        assert_eq!(commands.updates[0].old, B);
    }

    #[test]
    fn whatever_strangers_send_is_read_or_refused() {
        let mut good = Vec::new();
        let line = format!("{A} {B} refs/heads/main\0 report-status side-band-64k");
        pktline::put(&mut good, line.as_bytes());
        pktline::put(&mut good, format!("{ZERO} {B} refs/heads/other").as_bytes());
        good.extend_from_slice(pktline::FLUSH);
        let mut state = 7u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..=random(4) {
                let place = random(bytes.len());
                match random(3) {
                    0 => bytes[place] = random(256) as u8,
                    1 => bytes.truncate(place + 1),
                    _ => bytes.insert(place, b"0f \0\n"[random(5)]),
                }
            }
            let mut buffer = BytesMut::from(&bytes[..]);
            let mut commands = Commands::default();
            let before = buffer.len();
            match read(&mut buffer, &mut commands) {
                Ok(true) => assert!(commands.encode().len() + buffer.len() <= before + 4),
                Ok(false) => assert!(buffer.len() < pktline::MAX_PAYLOAD + 4),
                Err(sentence) => assert!(sentence.contains("push"), "{sentence}"),
            }
        }
    }

    #[test]
    fn nonsense_is_a_sentence() {
        for bad in ["", "hello", "a b refs/heads/main", &format!("{A} {B} "), "push-cert\0x"] {
            let error = list(&[bad.to_string()]).unwrap_err();
            assert!(error.contains("push"), "{bad:?}: {error}");
        }
    }
}
