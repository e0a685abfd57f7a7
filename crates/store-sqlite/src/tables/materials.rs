//! What decisions used, and the keys that it is sealed under.

use aims_store::{Error, MaterialKeyRow, SEALED_KEY_LEN, SealedMaterial};
use aims_types::{Digest, Id, Task};
use sqlx::{SqliteConnection, query};

use crate::sql::{self, At};

const KEY: &str = "key of materials";

pub(crate) async fn by_commitment(
    c: &mut SqliteConnection,
    commitment: &Digest,
) -> Result<Option<SealedMaterial>, Error> {
    let sql = "SELECT task, sealed FROM materials WHERE commitment = $1";
    let found = query(sql)
        .bind(sql::blob(commitment))
        .fetch_optional(c)
        .await;
    let Some(row) = found.map_err(sql::failed)? else {
        return Ok(None);
    };
    let at = At::new("materials", commitment);
    Ok(Some(SealedMaterial {
        task: at.text(&row, "task")?,
        commitment: *commitment,
        sealed: at.get(&row, "sealed")?,
    }))
}

pub(crate) async fn key(
    c: &mut SqliteConnection,
    task: Id<Task>,
) -> Result<Option<MaterialKeyRow>, Error> {
    let sql = "SELECT erased, sealed FROM material_keys WHERE task = $1";
    let found = query(sql).bind(task.to_string()).fetch_optional(c).await;
    let Some(row) = found.map_err(sql::failed)? else {
        return Ok(None);
    };
    let at = At::new("material_keys", &task);
    Ok(Some(match at.number(&row, "erased")? {
        0 => MaterialKeyRow::Kept(at.bytes(&row, "sealed")?),
        _ => MaterialKeyRow::Erased,
    }))
}

pub(crate) async fn insert_key(
    c: &mut SqliteConnection,
    task: Id<Task>,
    sealed: &[u8; SEALED_KEY_LEN],
) -> Result<(), Error> {
    let sql = "INSERT INTO material_keys (task, erased, sealed) VALUES ($1, 0, $2)
        ON CONFLICT (task) DO NOTHING";
    let values = query(sql).bind(task.to_string()).bind(sealed.to_vec());
    sql::insert(c, KEY, values).await
}

pub(crate) async fn insert(
    c: &mut SqliteConnection,
    material: &SealedMaterial,
) -> Result<(), Error> {
    match key(c, material.task).await? {
        Some(MaterialKeyRow::Kept(_)) => {}
        Some(MaterialKeyRow::Erased) | None => return Err(Error::Raced),
    }
    let sql = "INSERT INTO materials (commitment, task, sealed) VALUES ($1, $2, $3)
        ON CONFLICT (commitment) DO NOTHING";
    let values = query(sql)
        .bind(sql::blob(&material.commitment))
        .bind(material.task.to_string())
        .bind(material.sealed.clone());
    values.execute(c).await.map_err(sql::failed)?;
    Ok(())
}

pub(crate) async fn erase(c: &mut SqliteConnection, task: Id<Task>) -> Result<Option<u64>, Error> {
    let sql = "INSERT INTO material_keys (task, erased, sealed) VALUES ($1, 1, zeroblob(60))
        ON CONFLICT (task) DO UPDATE SET erased = 1, sealed = zeroblob(60) WHERE erased = 0";
    let first = query(sql).bind(task.to_string()).execute(&mut *c).await;
    if first.map_err(sql::failed)?.rows_affected() == 0 {
        return Ok(None);
    }
    let sql = "DELETE FROM approvals WHERE task = $1";
    let gone = query(sql).bind(task.to_string()).execute(&mut *c).await;
    gone.map_err(sql::failed)?;
    let sql = "DELETE FROM materials WHERE task = $1";
    let gone = query(sql).bind(task.to_string()).execute(c).await;
    Ok(Some(gone.map_err(sql::failed)?.rows_affected()))
}
