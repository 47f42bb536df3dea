//! Which part of a table is shown, in which order: the flags that Heroku's client has for tables.

use super::failure::{Failure, Result};
use super::format::table_within;
use super::ui::Ui;
use clap::Args;

#[derive(Debug, Args)]
pub struct Columns {
    /// Only show provided columns (comma-separated)
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    columns: Vec<String>,
    /// Filter property by partial string matching, as "Domain Name=www"
    #[arg(long, value_name = "NAME=TEXT")]
    filter: Option<String>,
    /// Sort by property
    #[arg(long, value_name = "NAME")]
    sort: Option<String>,
    /// Show whole lines, however narrow the terminal is
    #[arg(long)]
    no_wrap: bool,
}

/// A table before it is laid out.
pub struct Table {
    pub head: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

impl Columns {
    /// What is left of a table.
    pub fn of(&self, mut table: Table) -> Result<Table> {
        if let Some(filter) = &self.filter {
            let parts = filter.split_once('=').filter(|(_, text)| !text.is_empty());
            let invalid = || Failure::usage("Filter flag has an invalid value: NAME=TEXT");
            let (name, text) = parts.ok_or_else(invalid)?;
            let at = table.find(name)?;
            table.rows.retain(|row| row[at].contains(text));
        }
        if let Some(name) = &self.sort {
            let at = table.find(name)?;
            table.rows.sort_by(|a, b| a[at].cmp(&b[at]));
        }
        if self.columns.is_empty() {
            return Ok(table);
        }
        let kept: Vec<usize> =
            self.columns.iter().map(|name| table.find(name)).collect::<Result<_>>()?;
        let pick = |row: &Vec<String>| kept.iter().map(|at| row[*at].clone()).collect();
        Ok(Table {
            head: kept.iter().map(|at| table.head[*at]).collect(),
            rows: table.rows.iter().map(pick).collect(),
        })
    }

    pub fn print(&self, ui: &Ui, table: &Table) -> Result {
        let columns = ui.width.filter(|_| !self.no_wrap);
        table_within(ui, columns, &table.head, &table.rows)
    }
}

impl Table {
    /// `Domain Name`, `domain name` and `domain_name` are one.
    fn find(&self, name: &str) -> Result<usize> {
        let plain = |name: &str| name.trim().replace(['_', '-'], " ").to_lowercase();
        let found = self.head.iter().position(|head| plain(head) == plain(name));
        found.ok_or_else(|| {
            let all = self.head.join(", ");
            Failure::usage(format!("There is no column {name}; there are: {all}"))
        })
    }
}
