//! Single-use permissions to join.

use aims_model::{JoinToken, PointKind};
use aims_store::Error;
use aims_types::{Digest, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteConnection, query};

use crate::sql::{self, At};

const WHAT: &str = "join token";

pub(crate) async fn by_digest(
    c: &mut SqliteConnection,
    digest: &Digest,
) -> Result<Option<JoinToken>, Error> {
    let sql = "SELECT kind, made_by, expires_at, used_by FROM join_tokens WHERE digest = $1";
    let found = query(sql).bind(sql::blob(digest)).fetch_optional(c).await;
    let row = found.map_err(sql::failed)?;
    row.map(|row| token(*digest, &row)).transpose()
}

pub(crate) async fn insert(c: &mut SqliteConnection, token: &JoinToken) -> Result<(), Error> {
    let sql = "INSERT INTO join_tokens (digest, kind, made_by, expires_at, used_by)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    sql::insert(c, WHAT, values(sql, token)).await
}

/// What was used stays as it is: a token is never used a second time.
pub(crate) async fn update(c: &mut SqliteConnection, token: &JoinToken) -> Result<(), Error> {
    let sql = "UPDATE join_tokens SET used_by = $5 WHERE digest = $1 AND kind = $2
        AND made_by = $3 AND expires_at = $4 AND used_by IS NULL";
    sql::update(c, WHAT, values(sql, token)).await
}

fn values(sql: &'static str, token: &JoinToken) -> sql::Query {
    let values = query(sql)
        .bind(sql::blob(&token.digest))
        .bind(token.kind.as_str());
    let values = values
        .bind(token.made_by.to_string())
        .bind(sql::instant(token.expires_at));
    values.bind(token.used_by.map(|point| point.to_string()))
}

fn token(digest: Digest, row: &SqliteRow) -> Result<JoinToken, Error> {
    let at = At::new("join_tokens", &digest);
    let kind = match at.get(row, "kind")? {
        "gateway" => PointKind::Gateway,
        "node" => PointKind::Node,
        _ => return Err(at.corrupt("kind", &"it is no kind of point")),
    };
    let used_by: Option<&str> = at.get(row, "used_by")?;
    let used_by = used_by
        .map(str::parse)
        .transpose()
        .map_err(|error| at.corrupt("used_by", &error))?;
    Ok(JoinToken {
        digest,
        kind,
        made_by: at.text(row, "made_by")?,
        expires_at: Timestamp::from_unix_millis(at.number(row, "expires_at")?),
        used_by,
    })
}
