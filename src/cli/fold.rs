//! `senryu ps scale web=2` means `senryu ps:scale web=2`: words are joined by a colon when that
//! gives the name of a command, and flags given before the command move behind it.

/// Flags with a value that every app command takes, so that they may stand first.
const LEADING: [&str; 4] = ["-a", "--app", "-r", "--remote"];

/// `args` without the program's name; `known` says whether a command of that name exists.
pub fn fold(args: Vec<String>, known: impl Fn(&str) -> bool) -> Vec<String> {
    let mut moved = Vec::new();
    let mut rest = args.into_iter().peekable();
    while let Some(arg) = rest.peek() {
        if LEADING.contains(&arg.as_str()) {
            moved.extend(rest.next());
            moved.extend(rest.next());
        } else if LEADING.iter().any(|flag| {
            flag.starts_with("--") && arg.strip_prefix(flag).is_some_and(|v| v.starts_with('='))
        }) {
            moved.extend(rest.next());
        } else {
            break;
        }
    }
    let mut words: Vec<String> = rest.collect();
    let start = usize::from(words.first().is_some_and(|word| word == "help"));
    if let Some([first, second]) = words.get(start..start + 2) {
        let joined = format!("{first}:{second}");
        if !first.contains(':') && known(&joined) {
            words.splice(start..start + 2, [joined]);
        }
    }
    if words.is_empty() {
        return moved;
    }
    words.splice(1..1, moved);
    super::run::sorted(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(line: &str) -> String {
        let known = |name: &str| ["ps:scale", "config:set", "maintenance:on"].contains(&name);
        fold(line.split_whitespace().map(str::to_string).collect(), known).join(" ")
    }

    #[test]
    fn words_become_a_command_only_when_it_exists() {
        assert_eq!(folded("ps scale web=2"), "ps:scale web=2");
        assert_eq!(folded("ps:scale web=2"), "ps:scale web=2");
        assert_eq!(folded("ps web"), "ps web");
        assert_eq!(folded("config set A=1 -a x"), "config:set A=1 -a x");
        assert_eq!(folded("help ps scale"), "help ps:scale");
        assert_eq!(folded("maintenance"), "maintenance");
        assert_eq!(folded(""), "");
    }

    #[test]
    fn flags_before_the_command_go_behind_it() {
        assert_eq!(folded("-a shop ps scale web=2"), "ps:scale -a shop web=2");
        assert_eq!(folded("--app=shop ps"), "ps --app=shop");
        assert_eq!(folded("-a"), "-a");
    }
}
