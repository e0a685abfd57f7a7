//! Upstreams and their sealed credentials.

use aims_model::Upstream;
use aims_store::{Error, StoredCredential};
use aims_types::{self as types, Id, Name};
use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteConnection, query};

use crate::sql::{self, At, Entity};

const CREDENTIAL: &str = "credential";

impl Entity for Upstream {
    const TABLE: &'static str = "upstreams";
    const WHAT: &'static str = "upstream";

    fn key(&self) -> String {
        self.id.to_string()
    }
}

pub(crate) async fn by_id(
    c: &mut SqliteConnection,
    id: Id<types::Upstream>,
) -> Result<Option<Upstream>, Error> {
    let sql = "SELECT id AS key, body FROM upstreams WHERE id = $1";
    sql::find(c, query(sql).bind(id.to_string())).await
}

pub(crate) async fn by_name(
    c: &mut SqliteConnection,
    name: &Name,
) -> Result<Option<Upstream>, Error> {
    let sql = "SELECT id AS key, body FROM upstreams WHERE name = $1";
    sql::find(c, query(sql).bind(name.to_string())).await
}

pub(crate) async fn all(c: &mut SqliteConnection) -> Result<Vec<Upstream>, Error> {
    sql::list(
        c,
        query("SELECT id AS key, body FROM upstreams ORDER BY id"),
    )
    .await
}

pub(crate) async fn insert(c: &mut SqliteConnection, upstream: &Upstream) -> Result<(), Error> {
    let sql = "INSERT INTO upstreams (id, name, body) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    sql::insert(c, Upstream::WHAT, values(sql, upstream)?).await
}

pub(crate) async fn update(c: &mut SqliteConnection, upstream: &Upstream) -> Result<(), Error> {
    let sql = "UPDATE upstreams SET body = $3 WHERE id = $1 AND name = $2";
    sql::update(c, Upstream::WHAT, values(sql, upstream)?).await
}

fn values(sql: &'static str, upstream: &Upstream) -> Result<sql::Query, Error> {
    let values = query(sql).bind(upstream.key());
    Ok(values
        .bind(upstream.name.to_string())
        .bind(sql::body(upstream)?))
}

pub(crate) async fn credential(
    c: &mut SqliteConnection,
    upstream: Id<types::Upstream>,
) -> Result<Option<StoredCredential>, Error> {
    let sql = "SELECT upstream, version, wrapped_key, sealed FROM credentials
        WHERE upstream = $1";
    let found = query(sql).bind(upstream.to_string()).fetch_optional(c);
    let row = found.await.map_err(sql::failed)?;
    row.map(|row| stored(&row)).transpose()
}

pub(crate) async fn put(
    c: &mut SqliteConnection,
    credential: &StoredCredential,
) -> Result<(), Error> {
    let sql = "INSERT INTO credentials (upstream, version, wrapped_key, sealed)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (upstream) DO UPDATE SET version = excluded.version,
            wrapped_key = excluded.wrapped_key, sealed = excluded.sealed";
    let values = query(sql)
        .bind(credential.upstream.to_string())
        .bind(i64::from(credential.version));
    let values = values
        .bind(credential.wrapped_key.clone())
        .bind(credential.sealed.clone());
    sql::insert(c, CREDENTIAL, values).await
}

pub(crate) async fn forget(
    c: &mut SqliteConnection,
    upstream: Id<types::Upstream>,
) -> Result<(), Error> {
    let values = query("DELETE FROM credentials WHERE upstream = $1").bind(upstream.to_string());
    values.execute(c).await.map_err(sql::failed)?;
    Ok(())
}

fn stored(row: &SqliteRow) -> Result<StoredCredential, Error> {
    let upstream = At::new("credentials", &"?").text(row, "upstream")?;
    let at = At::new("credentials", &upstream);
    let version = u32::try_from(at.number(row, "version")?);
    Ok(StoredCredential {
        upstream,
        version: version.map_err(|error| at.corrupt("version", &error))?,
        wrapped_key: at.get(row, "wrapped_key")?,
        sealed: at.get(row, "sealed")?,
    })
}
