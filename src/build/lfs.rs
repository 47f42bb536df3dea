//! Git LFS keeps files elsewhere and puts pointers to them into commits. Heroku deploys the
//! pointers without a word; here the push names them.

use super::output::OutputSink;
use crate::limits;

const START: &[u8] = b"version https://git-lfs.github.com/spec/v1\noid ";
/// A pointer is smaller than this, by its specification.
pub const BYTES: usize = 1024;

/// The pointers of a source.
#[derive(Debug, Default)]
pub struct Pointers {
    count: usize,
    /// The first few paths.
    named: Vec<String>,
}

impl Pointers {
    pub fn look(&mut self, path: &[u8], content: &[u8]) {
        if content.len() >= BYTES || !content.starts_with(START) {
            return;
        }
        self.count += 1;
        if self.named.len() < limits::LFS_NAMED {
            self.named.push(String::from_utf8_lossy(path).into_owned());
        }
    }

    pub fn tell(&self, out: &OutputSink) {
        let named = self.named.join(", ");
        let more = if self.count > self.named.len() { ", ..." } else { "" };
        match self.count {
            0 => return,
            1 => out.warning(&format!("1 file is a Git LFS pointer: {named}")),
            count => out.warning(&format!("{count} files are Git LFS pointers: {named}{more}")),
        }
        out.warning("Git LFS is not supported, as on Heroku: the app gets the pointers, not what");
        out.warning("they point to. Fetch the files in the build, or commit them to git itself.");
    }
}
