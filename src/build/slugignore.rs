//! `.slugignore`: what is deleted from the source before the build. The syntax is that of
//! `.gitignore` without `!`.

/// The patterns of one file.
#[derive(Debug, Default)]
pub struct SlugIgnore(Vec<Pattern>);

#[derive(Debug)]
struct Pattern {
    /// Path components; `**` stands for any number of them.
    parts: Vec<Vec<u8>>,
    directories_only: bool,
}

impl SlugIgnore {
    pub fn parse(text: &[u8]) -> Self {
        Self(text.split(|byte| *byte == b'\n').filter_map(Pattern::parse).collect())
    }

    /// Whether a path, relative to the root, is left out. What lies inside a directory that is
    /// left out need not be asked for.
    pub fn matches(&self, path: &[u8], is_directory: bool) -> bool {
        let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        self.0.iter().any(|pattern| {
            (is_directory || !pattern.directories_only) && parts_match(&pattern.parts, &parts)
        })
    }
}

impl Pattern {
    fn parse(line: &[u8]) -> Option<Self> {
        let line = line.trim_ascii();
        if line.is_empty() || line[0] == b'#' || line[0] == b'!' {
            return None;
        }
        let directories_only = line.ends_with(b"/");
        let line = line.strip_suffix(b"/").unwrap_or(line);
        // A slash at the start or inside ties the pattern to the root.
        let anchored = line.contains(&b'/');
        let line = line.strip_prefix(b"/").unwrap_or(line);
        if line.is_empty() {
            return None;
        }
        let mut parts: Vec<Vec<u8>> =
            line.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        if !anchored {
            parts.insert(0, b"**".to_vec());
        }
        Some(Self { parts, directories_only })
    }
}

pub fn parts_match(pattern: &[Vec<u8>], path: &[&[u8]]) -> bool {
    // `reachable[n]`: the pattern so far can match the first n components. One pass over the
    // pattern, so that no pattern takes exponential time.
    let mut reachable = vec![false; path.len() + 1];
    reachable[0] = true;
    for (index, part) in pattern.iter().enumerate() {
        let mut next = vec![false; path.len() + 1];
        if part == b"**" {
            let last = index + 1 == pattern.len();
            let mut any = false;
            for n in 0..=path.len() {
                // At the end `a/**` means what is inside `a`, not `a` itself.
                next[n] = any || (reachable[n] && !last);
                any |= reachable[n];
            }
        } else {
            for n in 0..path.len() {
                next[n + 1] = reachable[n] && glob(part, path[n]);
            }
        }
        reachable = next;
    }
    reachable[path.len()]
}

/// `*`, `?` and `[a-z]` within one component.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        let matched = match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, n));
                p += 1;
                continue;
            }
            Some(b'?') => Some(p + 1),
            Some(b'[') => class(pattern, p, name[n]),
            Some(b'\\') if p + 1 < pattern.len() => (pattern[p + 1] == name[n]).then_some(p + 2),
            Some(byte) => (*byte == name[n]).then_some(p + 1),
            None => None,
        };
        match (matched, retry) {
            (Some(next), _) => {
                p = next;
                n += 1;
            }
            // The last star takes one byte more.
            (None, Some((star, from))) => {
                retry = Some((star, from + 1));
                p = star + 1;
                n = from + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Matches the class that starts at `at`; returns the position behind it.
fn class(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    let mut p = at + 1;
    let negated = matches!(pattern.get(p), Some(b'!' | b'^'));
    p += usize::from(negated);
    let first = p;
    let mut found = false;
    while let Some(low) = pattern.get(p) {
        if *low == b']' && p > first {
            return (found != negated).then_some(p + 1);
        }
        match (pattern.get(p + 1), pattern.get(p + 2)) {
            (Some(b'-'), Some(high)) if *high != b']' => {
                found |= (*low..=*high).contains(&byte);
                p += 3;
            }
            _ => {
                found |= *low == byte;
                p += 1;
            }
        }
    }
    // Without an end it is no class but a bracket.
    (byte == b'[').then_some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignores(pattern: &str, path: &str) -> bool {
        SlugIgnore::parse(pattern.as_bytes()).matches(path.as_bytes(), false)
    }

    #[test]
    fn patterns_match_as_gits_do() {
        for (pattern, path) in [
            ("*.psd", "a/b/x.psd"),
            ("test", "test"),
            ("test", "a/test"),
            ("/test", "test"),
            ("docs/*.md", "docs/a.md"),
            ("a/**/z", "a/z"),
            ("a/**/z", "a/b/c/z"),
            ("a/**", "a/b"),
            ("**/x", "a/x"),
            ("f[0-9].txt", "f7.txt"),
            ("f[!0-9]", "fa"),
            ("\\#x", "#x"),
            ("a?c", "abc"),
            ("[", "["),
            ("  log \r", "log"),
            ("*a*a*a*b", "aaaaaaab"),
        ] {
            assert!(ignores(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/test", "a/test"),
            ("docs/*.md", "docs/b/a.md"),
            ("docs/*.md", "x/docs/a.md"),
            ("a/**", "a"),
            ("# test", "test"),
            ("!test", "test"),
            ("test/", "test"),
            ("a?c", "a/c"),
            ("f[0-9]", "fx"),
            ("", "x"),
            ("/", "x"),
        ] {
            assert!(!ignores(pattern, path), "{pattern} {path}");
        }
        assert!(SlugIgnore::parse(b"test/").matches(b"a/test", true));
    }

    #[test]
    fn no_pattern_takes_exponential_time() {
        let pattern = "a*".repeat(2000) + "b";
        assert!(!ignores(&pattern, &"a".repeat(4000)));
        let path = vec!["a"; 2000].join("/");
        assert!(!ignores(&format!("{}z", "**/a/".repeat(500)), &path));
    }
}
