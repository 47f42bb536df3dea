//! Which lines a reader wants, as `heroku logs --source`, `--dyno-name` and `--process-type` say.

use super::line::{LogLine, Source};

/// Everything that is set must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub source: Option<Source>,
    /// A dyno (`web.1`), or a process type (`web`): older clients send either in this field.
    pub dyno: Option<String>,
    pub process_type: Option<String>,
}

impl Filter {
    pub fn matches(&self, line: &LogLine) -> bool {
        self.fits(line.source, &line.process)
    }

    pub(crate) fn fits(&self, source: Source, process: &str) -> bool {
        self.source.is_none_or(|wanted| wanted == source)
            && self.dyno.as_deref().is_none_or(|wanted| names(wanted, process))
            && self.process_type.as_deref().is_none_or(|wanted| kind(process) == wanted)
    }
}

/// `web.1` names itself, `web` each dyno of the type (and `router` the router).
fn names(wanted: &str, process: &str) -> bool {
    wanted == process || wanted == kind(process)
}

fn kind(process: &str) -> &str {
    process.split_once('.').map_or(process, |(kind, _)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(filter: Filter) -> Vec<&'static str> {
        let all = [
            (Source::App, "web.1"),
            (Source::App, "web.11"),
            (Source::App, "worker.1"),
            (Source::Heroku, "web.1"),
            (Source::Heroku, "router"),
            (Source::App, "api"),
        ];
        let wanted = all.into_iter().filter(|(source, process)| filter.fits(*source, process));
        wanted.map(|(_, process)| process).collect()
    }

    #[test]
    fn each_form_selects_what_heroku_selects() {
        let dyno = |name: &str| Filter { dyno: Some(name.into()), ..Filter::default() };
        assert_eq!(lines(Filter::default()).len(), 6);
        assert_eq!(lines(dyno("web.1")), ["web.1", "web.1"]);
        assert_eq!(lines(dyno("web")), ["web.1", "web.11", "web.1"]);
        assert_eq!(lines(dyno("router")), ["router"]);
        assert_eq!(lines(dyno("we")), Vec::<&str>::new());
        let kind = Filter { process_type: Some("web".into()), ..Filter::default() };
        assert_eq!(lines(kind), ["web.1", "web.11", "web.1"]);
        let heroku = Filter { source: Some(Source::Heroku), ..dyno("web.1") };
        assert_eq!(lines(heroku), ["web.1"]);
    }
}
