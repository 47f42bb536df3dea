//! Config vars: names at first, values when they are asked for, and a form in which all are
//! changed together, as one release.

use super::Page;
use super::at::{At, Done, FormAt, Note};
use super::form::Fields;
use super::frame::{self, Frame, Place};
use super::oops::refused;
use super::tab::{Here, Tab};
use crate::apps::access::Action;
use crate::error::{Error, Result};
use crate::model::ConfigVars;
use crate::model::config_vars::ConfigChanges;
use crate::secrets;
use askama::Template;
use axum::extract::Query;
use serde::Deserialize;

/// Rows for new config vars in the form, and those that come with each wish for more.
const NEW_ROWS: usize = 3;

struct Row {
    key: String,
    /// What it was called when the form was made; empty in a new row.
    was: String,
    value: String,
    /// Of the value then: whoever changes one config var leaves alone what others do to the rest.
    mark: String,
    is_shown: bool,
}

#[derive(Template)]
#[template(path = "console/config.html", config = "web/askama.toml")]
struct View {
    frame: Frame,
    app: String,
    tab: Here,
    rows: Vec<Row>,
    edits: bool,
    /// More rows were asked for: what is typed next goes into the first of them.
    first_free: Option<usize>,
}

impl View {
    fn is_next(&self, at: &usize) -> bool {
        self.first_free == Some(*at)
    }

    /// What a new row is called: 1 is the first below those that are there.
    fn number(&self, at: &usize) -> usize {
        self.rows[..*at].iter().filter(|row| row.was.is_empty()).count() + 1
    }
}

#[derive(Deserialize)]
pub struct Asked {
    edit: Option<String>,
    /// The one whose value shall be seen.
    show: Option<String>,
}

pub async fn show(at: At, Query(done): Query<Done>, Query(asked): Query<Asked>) -> Page {
    let config = at.platform().releases.config(at.app().id).await?;
    let note = done.note(&[
        ("nothing", "Nothing was different, so there is no new release."),
        ("saved", "Saved as one release. The dynos are replaced by new ones."),
    ]);
    let edits = asked.edit.is_some() && at.entry.may(Action::WriteConfig);
    let mut rows: Vec<Row> = config
        .iter()
        .map(|(key, value)| {
            let is_shown = edits || asked.show.as_deref() == Some(key);
            row(key, if is_shown { value } else { "" }, is_shown)
        })
        .collect();
    if edits {
        rows.extend(new_rows());
    }
    page(&at, note, rows, edits, None)
}

fn row(key: &str, value: &str, is_shown: bool) -> Row {
    Row {
        key: key.to_string(),
        was: key.to_string(),
        mark: mark(value),
        value: value.to_string(),
        is_shown,
    }
}

fn new_rows() -> impl Iterator<Item = Row> {
    let empty = || Row { was: String::new(), mark: String::new(), ..row("", "", true) };
    std::iter::repeat_with(empty).take(NEW_ROWS)
}

/// Forms send each line's end as two characters.
fn plain(value: &str) -> String {
    value.replace("\r\n", "\n")
}

fn mark(value: &str) -> String {
    let hash = secrets::hash_token(&plain(value));
    hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

fn page(at: &At, note: Note<'_>, rows: Vec<Row>, edits: bool, first_free: Option<usize>) -> Page {
    let frame = at.frame(format!("Config vars of {}", at.name()), note);
    let view = View { frame, app: at.name(), tab: at.tab(Tab::Config), rows, edits, first_free };
    frame::render(view.frame.status(), &view)
}

/// One row as it was sent: what it was called, its mark, its key and value now.
struct Sent<'a> {
    was: &'a str,
    mark: &'a str,
    key: &'a str,
    value: String,
}

fn sent(fields: &Fields) -> Vec<Sent<'_>> {
    let rows = fields.all("was").zip(fields.all("mark"));
    let rows = rows.zip(fields.all("key").zip(fields.all("value")));
    rows.map(|((was, mark), (key, value))| Sent { was, mark, key: key.trim(), value: plain(value) })
        .collect()
}

/// What the form changes: first what goes, then what is set.
fn changes(rows: &[Sent<'_>]) -> ConfigChanges {
    let gone = rows.iter().filter(|row| !row.was.is_empty() && row.key != row.was);
    let gone = gone.map(|row| (row.was.to_string(), None));
    let set = rows.iter().filter(|row| !row.key.is_empty());
    let set = set.filter(|row| row.key != row.was || mark(&row.value) != row.mark);
    gone.chain(set.map(|row| (row.key.to_string(), Some(row.value.clone())))).collect()
}

pub async fn save(FormAt { at, fields }: FormAt) -> Page {
    let rows = sent(&fields);
    let as_sent = |sent: &Sent<'_>| Row {
        was: sent.was.to_string(),
        mark: sent.mark.to_string(),
        ..row(sent.key, &sent.value, true)
    };
    // Without a script the form itself brings more rows, and forgets nothing that is in it.
    if fields.get("more") == "yes" {
        let all = rows.iter().map(as_sent).chain(new_rows()).collect();
        return page(&at, Note::Nothing, all, true, Some(rows.len()));
    }
    match refused(saved(&at, &rows).await)? {
        Ok(done) => at.back(done),
        Err(error) => {
            let is_free = |sent: &&Sent<'_>| sent.was.is_empty() && sent.key.is_empty();
            let more = if rows.iter().any(|row| is_free(&row)) { 0 } else { NEW_ROWS };
            let all = rows.iter().map(as_sent).chain(new_rows().take(more)).collect();
            page(&at, Note::Refused(&error), all, true, None)
        }
    }
}

async fn saved(at: &At, rows: &[Sent<'_>]) -> Result<&'static str> {
    if let Some(row) = rows.iter().find(|row| row.key.is_empty() && !row.value.is_empty()) {
        let shown = if row.was.is_empty() { "A new value" } else { row.was };
        // To remove a config var its row is emptied; a value without a name is a slip.
        if row.was.is_empty() {
            return Err(Error::invalid(format!("{shown} has no name.")));
        }
    }
    let changes = changes(rows);
    if changes.is_empty() {
        return Ok("/config?done=nothing");
    }
    let before: ConfigVars = at.platform().releases.config(at.app().id).await?;
    let after = at.platform().change_config(at.caller(), at.app(), changes).await?;
    Ok(if before == after { "/config?done=nothing" } else { "/config?done=saved" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent<'a>(was: &'a str, old: &'a str, key: &'a str, value: &str) -> Sent<'a> {
        let mark = Box::leak(mark(old).into_boxed_str());
        Sent { was, mark: if was.is_empty() { "" } else { mark }, key, value: value.to_string() }
    }

    #[test]
    fn only_what_is_different_is_changed() {
        let rows = [
            sent("SAME", "1\n2", "SAME", "1\n2"),
            sent("OTHER", "1", "OTHER", "2"),
            sent("OLD_NAME", "kept", "NEW_NAME", "kept"),
            sent("GONE", "x", "", "x"),
            sent("", "", "ADDED", ""),
            sent("", "", "", ""),
        ];
        let text = |text: &str| Some(text.to_string());
        let expected = [
            ("OLD_NAME", None),
            ("GONE", None),
            ("OTHER", text("2")),
            ("NEW_NAME", text("kept")),
            ("ADDED", text("")),
        ];
        let expected: ConfigChanges =
            expected.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
        assert_eq!(changes(&rows), expected);
        assert_eq!(mark("a\r\nb"), mark("a\nb"), "a browser's line ends are no change");
    }
}
