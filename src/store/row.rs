//! How ids, times and enums look in a column.

use crate::clock::Timestamp;
use crate::model::{BuildStatus, ReleaseStatus};
use rusqlite::Row;
use rusqlite::types::Type;
use std::str::FromStr;

/// A column that holds the text of an id or name.
pub fn parsed<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error| wrong(row, column, error))
}

/// The same, where the column may be NULL.
pub fn parsed_option<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse().map_err(|error| wrong(row, column, error))).transpose()
}

pub fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp)
}

pub fn time_option(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp))
}

pub fn wrong(
    row: &Row<'_>,
    column: &str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    let index = row.as_ref().column_index(column).unwrap_or(0);
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
}

pub fn release_status(text: &str) -> ReleaseStatus {
    match text {
        "pending" => ReleaseStatus::Pending,
        "failed" => ReleaseStatus::Failed,
        "expired" => ReleaseStatus::Expired,
        _ => ReleaseStatus::Succeeded,
    }
}

pub fn build_status(text: &str) -> BuildStatus {
    match text {
        "pending" => BuildStatus::Pending,
        "succeeded" => BuildStatus::Succeeded,
        _ => BuildStatus::Failed,
    }
}
