//! Signed grants.

use aims_store::{Error, StoredGrant};
use aims_types::{Delegation, Digest, Id, Task};
use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteConnection, query};

use crate::sql::{self, At};

pub(crate) async fn by_digest(
    c: &mut SqliteConnection,
    digest: &Digest,
) -> Result<Option<StoredGrant>, Error> {
    let sql = "SELECT id, digest, task, jws FROM grants WHERE digest = $1";
    find(c, query(sql).bind(sql::blob(digest))).await
}

pub(crate) async fn by_id(
    c: &mut SqliteConnection,
    id: Id<Delegation>,
) -> Result<Option<StoredGrant>, Error> {
    let sql = "SELECT id, digest, task, jws FROM grants WHERE id = $1";
    find(c, query(sql).bind(id.to_string())).await
}

pub(crate) async fn of_task(
    c: &mut SqliteConnection,
    task: Id<Task>,
) -> Result<Vec<StoredGrant>, Error> {
    let sql = "SELECT id, digest, task, jws FROM grants WHERE task = $1 ORDER BY id";
    let rows = query(sql).bind(task.to_string()).fetch_all(c).await;
    rows.map_err(sql::failed)?.iter().map(grant).collect()
}

pub(crate) async fn insert(c: &mut SqliteConnection, grant: &StoredGrant) -> Result<(), Error> {
    let sql = "INSERT INTO grants (id, digest, task, jws) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING";
    let values = query(sql)
        .bind(grant.id.to_string())
        .bind(sql::blob(&grant.digest));
    let values = values.bind(grant.task.to_string()).bind(grant.jws.clone());
    sql::insert(c, "grant", values).await
}

async fn find(c: &mut SqliteConnection, query: sql::Query) -> Result<Option<StoredGrant>, Error> {
    let row = query.fetch_optional(c).await.map_err(sql::failed)?;
    row.map(|row| grant(&row)).transpose()
}

fn grant(row: &SqliteRow) -> Result<StoredGrant, Error> {
    let id: Id<Delegation> = At::new("grants", &"?").text(row, "id")?;
    let at = At::new("grants", &id);
    Ok(StoredGrant {
        id,
        digest: at.digest(row, "digest")?,
        task: at.text(row, "task")?,
        jws: at.get(row, "jws")?,
    })
}
