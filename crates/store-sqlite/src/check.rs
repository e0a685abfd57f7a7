//! Whether the file still says what was written.

use aims_crypto::sha256;
use aims_model::record::FIRST_PREV;
use aims_store::Error;
use aims_types::Digest;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, query};

use crate::SqliteStore;
use crate::sql::{At, failed};

/// Why a store is not to be trusted.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The pages of the file don't fit together.
    #[error("the store's file is damaged: {0}; restore a backup")]
    Damaged(String),
    /// The rows don't fit together.
    #[error("the store contradicts itself: {0}; restore a backup")]
    Inconsistent(&'static str),
    /// The engine failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl SqliteStore {
    /// Checks the structure of the file, its references, and that each head is where its rows end.
    /// Takes time in proportion to the size of the file; meant for the start of a program.
    pub async fn check(&self) -> Result<(), CheckError> {
        let mut tx = self
            .readers
            .begin_with("BEGIN DEFERRED")
            .await
            .map_err(failed)?;
        structure(&mut tx).await?;
        references(&mut tx).await?;
        outbox(&mut tx).await?;
        log(&mut tx).await
    }
}

async fn structure(c: &mut SqliteConnection) -> Result<(), CheckError> {
    let rows = query("PRAGMA quick_check(1)")
        .fetch_all(c)
        .await
        .map_err(failed)?;
    let first = rows
        .first()
        .and_then(|row| row.try_get::<String, _>(0).ok());
    match first {
        Some(answer) if answer == "ok" => Ok(()),
        answer => Err(CheckError::Damaged(answer.unwrap_or_default())),
    }
}

async fn references(c: &mut SqliteConnection) -> Result<(), CheckError> {
    let rows = query("PRAGMA foreign_key_check")
        .fetch_optional(c)
        .await
        .map_err(failed)?;
    match rows {
        None => Ok(()),
        Some(_) => Err(CheckError::Inconsistent(
            "a row refers to something that is not there",
        )),
    }
}

async fn outbox(c: &mut SqliteConnection) -> Result<(), CheckError> {
    let sql = "SELECT h.seq AS seq, h.digest AS digest, COUNT(o.seq) AS length,
            COALESCE(MAX(o.seq), 0) AS last,
            (SELECT record FROM outbox ORDER BY seq DESC LIMIT 1) AS record
        FROM outbox_head h LEFT JOIN outbox o ON TRUE GROUP BY h.seq, h.digest";
    let row = one(c, sql, "the head of the outbox is missing").await?;
    let at = At::new("outbox_head", &"only");
    let seq = at.number(&row, "seq")?;
    if (at.number(&row, "length")?, at.number(&row, "last")?) != (seq, seq) {
        return Err(CheckError::Inconsistent(
            "the outbox does not end at its head",
        ));
    }
    if at.digest(&row, "digest")? != digest(&at, &row)? {
        return Err(CheckError::Inconsistent(
            "the outbox does not end with the head's digest",
        ));
    }
    Ok(())
}

async fn log(c: &mut SqliteConnection) -> Result<(), CheckError> {
    let sql = "SELECT COALESCE((SELECT size FROM log_head), 0) AS size,
        (SELECT COUNT(*) FROM log_entries) AS length,
        (SELECT COALESCE(MAX(leaf) + 1, 0) FROM log_entries) AS past_last,
        (SELECT COALESCE(SUM(seq), 0) FROM log_sources) AS sources";
    let row = one(c, sql, "the log can't be read").await?;
    let at = At::new("log_head", &"only");
    let size = at.number(&row, "size")?;
    for column in ["length", "past_last", "sources"] {
        if at.number(&row, column)? != size {
            return Err(CheckError::Inconsistent("the log does not end at its head"));
        }
    }
    Ok(())
}

async fn one(
    c: &mut SqliteConnection,
    sql: &'static str,
    missing: &'static str,
) -> Result<SqliteRow, CheckError> {
    let row = query(sql).fetch_optional(c).await.map_err(failed)?;
    row.ok_or(CheckError::Inconsistent(missing))
}

fn digest(at: &At, row: &SqliteRow) -> Result<Digest, Error> {
    let record: Option<&[u8]> = at.get(row, "record")?;
    Ok(record.map_or(FIRST_PREV, sha256))
}
