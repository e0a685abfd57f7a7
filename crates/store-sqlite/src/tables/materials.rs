//! What decisions used.

use aims_store::{Error, Material};
use aims_types::Digest;
use sqlx::{SqliteConnection, query};

use crate::sql::{self, At};

pub(crate) async fn by_commitment(
    c: &mut SqliteConnection,
    commitment: &Digest,
) -> Result<Option<Material>, Error> {
    let sql = "SELECT task, salt, bytes FROM materials WHERE commitment = $1";
    let found = query(sql)
        .bind(sql::blob(commitment))
        .fetch_optional(c)
        .await;
    let Some(row) = found.map_err(sql::failed)? else {
        return Ok(None);
    };
    let at = At::new("materials", commitment);
    Ok(Some(Material {
        task: at.text(&row, "task")?,
        commitment: *commitment,
        salt: at.bytes(&row, "salt")?,
        bytes: at.get(&row, "bytes")?,
    }))
}

pub(crate) async fn insert(c: &mut SqliteConnection, material: &Material) -> Result<(), Error> {
    let sql = "INSERT INTO materials (commitment, task, salt, bytes) VALUES ($1, $2, $3, $4)
        ON CONFLICT (commitment) DO NOTHING";
    let values = query(sql)
        .bind(sql::blob(&material.commitment))
        .bind(material.task.to_string());
    let values = values
        .bind(material.salt.to_vec())
        .bind(material.bytes.clone());
    values.execute(c).await.map_err(sql::failed)?;
    Ok(())
}
