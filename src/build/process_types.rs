//! The commands that a slug can run: what the Procfile declares over what the buildpack offers.

use super::BuildFailure;
use super::compile::Compiled;
use super::output::OutputSink;
use crate::model::{ProcessType, Procfile};

/// Joins both, and says so in Heroku's words.
pub fn discover(compiled: &Compiled, out: &OutputSink) -> Result<Procfile, BuildFailure> {
    out.headline("Discovering process types");
    let procfile = compiled.procfile.as_deref().unwrap_or_default();
    let declared =
        Procfile::parse(procfile).map_err(|error| BuildFailure::Procfile(error.to_string()))?;
    for line in lines(&declared, &compiled.defaults) {
        out.detail(&line);
    }
    Ok(declared.over(&compiled.defaults))
}

fn lines(declared: &Procfile, defaults: &Procfile) -> Vec<String> {
    let names = |types: Vec<&ProcessType>| match types.is_empty() {
        true => "(none)".to_string(),
        false => types.iter().map(|process| process.as_str()).collect::<Vec<_>>().join(", "),
    };
    let own: Vec<_> = declared.iter().map(|(process, _)| process).collect();
    let added = defaults.iter().map(|(process, _)| process);
    let added: Vec<_> = added.filter(|process| declared.command(process).is_none()).collect();
    if added.is_empty() {
        return vec![format!("Procfile declares types -> {}", names(own))];
    }
    vec![
        format!("Procfile declares types     -> {}", names(own)),
        format!("Default types for buildpack -> {}", names(added)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_comes_from_where() {
        let procfile = |text: &str| Procfile::parse(text.as_bytes()).unwrap();
        let web = procfile("web: npm start");
        let none = Procfile::default();
        assert_eq!(
            lines(&none, &web),
            ["Procfile declares types     -> (none)", "Default types for buildpack -> web"]
        );
        let declared = procfile("web: node x\nrelease: y");
        assert_eq!(lines(&declared, &web), ["Procfile declares types -> release, web"]);
        assert_eq!(lines(&none, &none), ["Procfile declares types -> (none)"]);
    }
}
