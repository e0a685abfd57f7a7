//! Between rows and values: binding, decoding, and which error each failure is.

use std::fmt::Display;

use aims_json::Limits;
use aims_store::{Error, PAGE_LEN_MAX};
use aims_types::{Digest, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row, Sqlite, SqliteConnection};

/// Primary result codes of SQLite that mean that the file itself is damaged
/// (`SQLITE_CORRUPT`, `SQLITE_NOTADB`).
const DAMAGED: [i32; 2] = [11, 26];
/// Primary result code of SQLite for a full disk (`SQLITE_FULL`).
const FULL: i32 = 13;
/// The bits of an extended result code that are the primary one.
const PRIMARY_CODE: i32 = 0xff;

/// A statement with its values bound.
pub(crate) type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// A value that is one row: key columns, and itself as JSON in `body`.
pub(crate) trait Entity: Serialize + DeserializeOwned {
    /// Its table.
    const TABLE: &'static str;
    /// What it is, for people.
    const WHAT: &'static str;

    /// The text of its primary key.
    fn key(&self) -> String;
}

/// The value as canonical JSON text.
pub(crate) fn body<E: Entity>(entity: &E) -> Result<String, Error> {
    let refused = |reason: String| Error::Unstorable {
        what: E::WHAT,
        reason,
    };
    let value = aims_json::to_value(entity).map_err(|error| refused(error.to_string()))?;
    // Exact: a number too large for RFC 8785 is kept, not refused.
    let bytes =
        aims_json::to_canonical_exact(&value).map_err(|error| refused(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| refused(error.to_string()))
}

/// The one row of `query` as `(key, body)`, if there is one.
pub(crate) async fn find<E: Entity>(
    connection: &mut SqliteConnection,
    query: Query,
) -> Result<Option<E>, Error> {
    let row = query.fetch_optional(connection).await.map_err(failed)?;
    row.map(|row| entity(&row)).transpose()
}

/// All rows of `query` as `(key, body)`.
pub(crate) async fn list<E: Entity>(
    connection: &mut SqliteConnection,
    query: Query,
) -> Result<Vec<E>, Error> {
    let rows = query.fetch_all(connection).await.map_err(failed)?;
    rows.iter().map(entity).collect()
}

/// Runs an `INSERT … ON CONFLICT DO NOTHING`.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    what: &'static str,
    query: Query,
) -> Result<(), Error> {
    let done = query
        .execute(connection)
        .await
        .map_err(|error| dangling(what, error))?;
    match done.rows_affected() {
        0 => Err(Error::Duplicate { what }),
        _ => Ok(()),
    }
}

/// Runs an `UPDATE` of one row.
pub(crate) async fn update(
    connection: &mut SqliteConnection,
    what: &'static str,
    query: Query,
) -> Result<(), Error> {
    let done = query
        .execute(connection)
        .await
        .map_err(|error| dangling(what, error))?;
    match done.rows_affected() {
        0 => Err(Error::Raced),
        _ => Ok(()),
    }
}

fn dangling(what: &'static str, error: sqlx::Error) -> Error {
    match error.as_database_error().map(DatabaseError::kind) {
        Some(ErrorKind::ForeignKeyViolation) => Error::Dangling { what },
        _ => failed(error),
    }
}

/// The extended result code of SQLite, if it was SQLite that failed.
pub(crate) fn code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.and_then(|code| code.parse().ok())
}

/// The error that a failed commit is. On a full disk the last page of the change, which makes it
/// one, is not in the journal: nothing happened. Of any other failure that is not known.
pub(crate) fn uncommitted(error: sqlx::Error) -> Error {
    match code(&error).map(|code| code & PRIMARY_CODE) {
        Some(FULL) => Error::Unavailable(Box::new(error)),
        _ => Error::InDoubt(Box::new(error)),
    }
}

/// The error that a failed statement is.
pub(crate) fn failed(error: sqlx::Error) -> Error {
    let code = code(&error);
    if code.is_some_and(|code| DAMAGED.contains(&(code & PRIMARY_CODE))) {
        let reason = error.to_string();
        return Error::Corrupt {
            table: "*",
            column: "*",
            row: "*".to_owned(),
            reason,
        };
    }
    Error::Unavailable(Box::new(error))
}

/// Names a row of a table in errors.
pub(crate) struct At {
    /// The table.
    pub(crate) table: &'static str,
    /// The row, as far as it is known.
    pub(crate) row: String,
}

impl At {
    pub(crate) fn new(table: &'static str, row: &dyn Display) -> Self {
        Self {
            table,
            row: row.to_string(),
        }
    }

    pub(crate) fn corrupt(&self, column: &'static str, reason: &dyn Display) -> Error {
        let reason = reason.to_string();
        Error::Corrupt {
            table: self.table,
            column,
            row: self.row.clone(),
            reason,
        }
    }

    /// A column of the row, as it is.
    pub(crate) fn get<'r, T>(&self, row: &'r SqliteRow, column: &'static str) -> Result<T, Error>
    where
        T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
    {
        row.try_get(column)
            .map_err(|error| self.corrupt(column, &error))
    }

    /// A column that holds a number that is never negative.
    pub(crate) fn number(&self, row: &SqliteRow, column: &'static str) -> Result<u64, Error> {
        let number: i64 = self.get(row, column)?;
        u64::try_from(number).map_err(|error| self.corrupt(column, &error))
    }

    /// A column that holds the text form of a value.
    pub(crate) fn text<T>(&self, row: &SqliteRow, column: &'static str) -> Result<T, Error>
    where
        T: std::str::FromStr<Err: Display>,
    {
        let text: &str = self.get(row, column)?;
        text.parse()
            .map_err(|error: T::Err| self.corrupt(column, &error))
    }

    /// A column that holds `N` bytes.
    pub(crate) fn bytes<const N: usize>(
        &self,
        row: &SqliteRow,
        column: &'static str,
    ) -> Result<[u8; N], Error> {
        let bytes: &[u8] = self.get(row, column)?;
        bytes
            .try_into()
            .map_err(|error| self.corrupt(column, &error))
    }

    /// A column that holds a digest.
    pub(crate) fn digest(&self, row: &SqliteRow, column: &'static str) -> Result<Digest, Error> {
        self.bytes(row, column).map(Digest::from_bytes)
    }
}

/// A digest as a bound value.
pub(crate) fn blob(digest: &Digest) -> Vec<u8> {
    digest.as_bytes().to_vec()
}

/// An instant as a bound value; later than any real one counts as the last.
pub(crate) fn instant(at: Timestamp) -> i64 {
    i64::try_from(at.unix_millis()).unwrap_or(i64::MAX)
}

/// A number as a bound value.
pub(crate) fn integer(number: u64, what: &'static str) -> Result<i64, Error> {
    i64::try_from(number).map_err(|error| Error::Unstorable {
        what,
        reason: format!("`{number}`: {error}"),
    })
}

/// A lower bound as a bound value: nothing stored is larger than the largest.
pub(crate) fn bound(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The length of a page as a bound value.
pub(crate) fn page(limit: u32) -> i64 {
    i64::from(limit.min(PAGE_LEN_MAX))
}

fn entity<E: Entity>(row: &SqliteRow) -> Result<E, Error> {
    let key: String = At::new(E::TABLE, &"?").get(row, "key")?;
    let at = At::new(E::TABLE, &key);
    let body: &str = at.get(row, "body")?;
    let entity: E = aims_json::from_slice(body.as_bytes(), &Limits::DOCUMENT)
        .map_err(|error| at.corrupt("body", &error))?;
    if entity.key() != key {
        return Err(at.corrupt("body", &"it is the body of another row"));
    }
    Ok(entity)
}
