//! The trust domain, the revision, and the server's own sequence of records.

use aims_model::Event;
use aims_store::{Domain, Error, chain};
use aims_types::Revision;
use sqlx::{SqliteConnection, query};

use crate::sql::{self, At};

/// The one row of each head table.
const ONLY: &str = "only";

pub(crate) async fn domain(c: &mut SqliteConnection) -> Result<Option<Domain>, Error> {
    let found = query("SELECT name, created_at FROM trust_domain")
        .fetch_optional(c)
        .await;
    let Some(row) = found.map_err(sql::failed)? else {
        return Ok(None);
    };
    let at = At::new("trust_domain", &ONLY);
    let created_at = aims_types::Timestamp::from_unix_millis(at.number(&row, "created_at")?);
    Ok(Some(Domain {
        trust_domain: at.text(&row, "name")?,
        created_at,
    }))
}

pub(crate) async fn domain_insert(c: &mut SqliteConnection, domain: &Domain) -> Result<(), Error> {
    const WHAT: &str = "trust domain";
    let sql = "INSERT INTO trust_domain (only_row, name, created_at) VALUES (1, $1, $2)
        ON CONFLICT DO NOTHING";
    let created_at = sql::integer(domain.created_at.unix_millis(), WHAT)?;
    sql::insert(
        c,
        WHAT,
        query(sql)
            .bind(domain.trust_domain.to_string())
            .bind(created_at),
    )
    .await
}

pub(crate) async fn revision(c: &mut SqliteConnection) -> Result<Revision, Error> {
    revision_by(c, "SELECT revision FROM revision_head").await
}

/// Takes the next revision. The changed row is the lock.
pub(crate) async fn revision_next(c: &mut SqliteConnection) -> Result<Revision, Error> {
    let sql = "UPDATE revision_head SET revision = revision + 1 WHERE only_row = 1
        RETURNING revision";
    revision_by(c, sql).await
}

async fn revision_by(c: &mut SqliteConnection, sql: &'static str) -> Result<Revision, Error> {
    let at = At::new("revision_head", &ONLY);
    let row = query(sql).fetch_optional(c).await.map_err(sql::failed)?;
    let row = row.ok_or_else(|| at.corrupt("revision", &"the row is missing"))?;
    at.number(&row, "revision").map(Revision::new)
}

pub(crate) async fn outbox_after(
    c: &mut SqliteConnection,
    after: u64,
    limit: u32,
) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let sql = "SELECT seq, record FROM outbox WHERE seq > $1 ORDER BY seq LIMIT $2";
    let found = query(sql)
        .bind(sql::bound(after))
        .bind(sql::page(limit))
        .fetch_all(c)
        .await;
    let rows = found.map_err(sql::failed)?;
    let record = |row| {
        let seq = At::new("outbox", &"?").number(row, "seq")?;
        Ok((seq, At::new("outbox", &seq).get(row, "record")?))
    };
    rows.iter().map(record).collect()
}

/// Makes `events` the next records of the server's own sequence. The head row is the lock.
pub(crate) async fn outbox_append(c: &mut SqliteConnection, events: &[Event]) -> Result<(), Error> {
    if events.is_empty() {
        return Ok(());
    }
    let sql = "UPDATE outbox_head SET seq = seq WHERE only_row = 1 RETURNING seq, digest";
    let at = At::new("outbox_head", &ONLY);
    let row = query(sql)
        .fetch_optional(&mut *c)
        .await
        .map_err(sql::failed)?;
    let row = row.ok_or_else(|| at.corrupt("seq", &"the row is missing"))?;
    let placed = chain::place(at.number(&row, "seq")?, at.digest(&row, "digest")?, events)?;
    let Some(last) = placed.last() else {
        return Ok(());
    };
    let head = query("UPDATE outbox_head SET seq = $1, digest = $2 WHERE only_row = 1")
        .bind(sql::integer(last.seq, "record")?)
        .bind(sql::blob(&last.digest));
    sql::update(c, "record", head).await?;
    for record in placed {
        let values = query("INSERT INTO outbox (seq, record) VALUES ($1, $2)")
            .bind(sql::integer(record.seq, "record")?)
            .bind(record.record);
        values.execute(&mut *c).await.map_err(sql::failed)?;
    }
    Ok(())
}
