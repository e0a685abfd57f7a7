//! Single-use values.

use aims_store::{Error, ReplayKind};
use aims_types::{Digest, Timestamp};
use sqlx::{SqliteConnection, query};

use crate::sql;

/// Most expired values that one insertion forgets, so that its cost is bounded. More than one, so
/// that the table does not grow.
const PURGE_MAX: i64 = 32;

pub(crate) async fn insert(
    c: &mut SqliteConnection,
    kind: ReplayKind,
    value: &Digest,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<bool, Error> {
    purge(c, now).await?;
    // A value that expired but was not purged yet is as good as forgotten.
    let sql = "INSERT INTO replays (kind, value, expires_at) VALUES ($1, $2, $3)
        ON CONFLICT (kind, value) DO UPDATE SET expires_at = excluded.expires_at
        WHERE replays.expires_at < $4";
    let values = query(sql).bind(name(kind)).bind(sql::blob(value));
    let values = values
        .bind(sql::instant(expires_at))
        .bind(sql::instant(now));
    let done = values.execute(c).await.map_err(sql::failed)?;
    Ok(done.rows_affected() == 1)
}

async fn purge(c: &mut SqliteConnection, now: Timestamp) -> Result<(), Error> {
    let sql = "DELETE FROM replays WHERE (kind, value) IN
        (SELECT kind, value FROM replays WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
    query(sql)
        .bind(sql::instant(now))
        .bind(PURGE_MAX)
        .execute(c)
        .await
        .map_err(sql::failed)?;
    Ok(())
}

const fn name(kind: ReplayKind) -> &'static str {
    match kind {
        ReplayKind::Assertion => "assertion",
        ReplayKind::DpopProof => "dpop_proof",
        ReplayKind::Consent => "consent",
        ReplayKind::Delegation => "delegation",
    }
}
