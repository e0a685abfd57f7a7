//! Who owns which delegation tree.

use aims_model::TreeOwner;
use aims_store::Error;
use aims_types::{Id, Task};
use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteConnection, query};

use crate::sql::{self, At};

const WHAT: &str = "tree owner";

pub(crate) async fn by_task(
    c: &mut SqliteConnection,
    task: Id<Task>,
) -> Result<Option<TreeOwner>, Error> {
    let sql = "SELECT gateway, epoch, released FROM tree_owners WHERE task = $1";
    let found = query(sql).bind(task.to_string()).fetch_optional(c).await;
    let row = found.map_err(sql::failed)?;
    row.map(|row| owner(task, &row)).transpose()
}

/// One statement looks and writes, so that of two claims on the same epoch one wins.
pub(crate) async fn put(c: &mut SqliteConnection, owner: &TreeOwner) -> Result<(), Error> {
    let sql = "INSERT INTO tree_owners (task, gateway, epoch, released)
        SELECT $1, $2, $3, $4
        WHERE $3 = 1 OR EXISTS (SELECT 1 FROM tree_owners WHERE task = $1)
        ON CONFLICT (task) DO UPDATE SET gateway = excluded.gateway, epoch = excluded.epoch,
            released = excluded.released
        WHERE excluded.epoch = tree_owners.epoch + 1
            OR (excluded.epoch = tree_owners.epoch AND excluded.released = 1
                AND excluded.gateway = tree_owners.gateway)";
    let values = query(sql)
        .bind(owner.task.to_string())
        .bind(owner.gateway.to_string());
    let values = values
        .bind(sql::integer(owner.epoch, WHAT)?)
        .bind(i64::from(owner.released));
    sql::update(c, WHAT, values).await
}

fn owner(task: Id<Task>, row: &SqliteRow) -> Result<TreeOwner, Error> {
    let at = At::new("tree_owners", &task);
    Ok(TreeOwner {
        task,
        gateway: at.text(row, "gateway")?,
        epoch: at.number(row, "epoch")?,
        released: at.number(row, "released")? == 1,
    })
}
