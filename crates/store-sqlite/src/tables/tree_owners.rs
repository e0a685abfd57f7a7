//! Who owns which delegation tree, and whose uses of it are unaccounted for.

use aims_model::{TreeOwner, Unaccounted};
use aims_store::Error;
use aims_types::{Gateway, Id, Revision, Task};
use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteConnection, query};

use crate::sql::{self, At};

const WHAT: &str = "tree owner";

pub(crate) async fn by_task(
    c: &mut SqliteConnection,
    task: Id<Task>,
) -> Result<Option<TreeOwner>, Error> {
    let sql = "SELECT gateway, epoch, released, ahead FROM tree_owners WHERE task = $1";
    let found = query(sql)
        .bind(task.to_string())
        .fetch_optional(&mut *c)
        .await;
    let Some(row) = found.map_err(sql::failed)? else {
        return Ok(None);
    };
    let unaccounted = lost(c, task).await?;
    owner(task, &row, unaccounted).map(Some)
}

pub(crate) async fn without(
    c: &mut SqliteConnection,
    gateway: Id<Gateway>,
    limit: u32,
) -> Result<Vec<TreeOwner>, Error> {
    let sql = "SELECT task FROM tree_owners_lost WHERE gateway = $1 ORDER BY task LIMIT $2";
    let values = query(sql).bind(gateway.to_string()).bind(sql::page(limit));
    let rows = values.fetch_all(&mut *c).await.map_err(sql::failed)?;
    let mut owners = Vec::with_capacity(rows.len());
    for row in rows {
        let task = At::new("tree_owners_lost", &gateway).text(&row, "task")?;
        owners.extend(by_task(c, task).await?);
    }
    Ok(owners)
}

/// One statement looks and writes, so that of two claims on the same epoch one wins. The rest of
/// the row follows it in the same transaction.
pub(crate) async fn put(c: &mut SqliteConnection, owner: &TreeOwner) -> Result<(), Error> {
    let sql = "INSERT INTO tree_owners (task, gateway, epoch, released, ahead)
        SELECT $1, $2, $3, $4, $5
        WHERE $3 = 1 OR EXISTS (SELECT 1 FROM tree_owners WHERE task = $1)
        ON CONFLICT (task) DO UPDATE SET gateway = excluded.gateway, epoch = excluded.epoch,
            released = excluded.released, ahead = excluded.ahead
        WHERE excluded.epoch = tree_owners.epoch + 1
            OR (excluded.epoch = tree_owners.epoch AND excluded.released = 1
                AND excluded.gateway = tree_owners.gateway)";
    let values = query(sql)
        .bind(owner.task.to_string())
        .bind(owner.gateway.to_string());
    let values = values
        .bind(sql::integer(owner.epoch, WHAT)?)
        .bind(i64::from(owner.released))
        .bind(i64::from(owner.window));
    sql::update(c, WHAT, values).await?;
    let forget = query("DELETE FROM tree_owners_lost WHERE task = $1").bind(owner.task.to_string());
    forget.execute(&mut *c).await.map_err(sql::failed)?;
    for lost in &owner.unaccounted {
        lost_insert(c, owner.task, lost).await?;
    }
    Ok(())
}

pub(crate) async fn accounted(
    c: &mut SqliteConnection,
    task: Id<Task>,
    gateway: Id<Gateway>,
) -> Result<(), Error> {
    let sql = "DELETE FROM tree_owners_lost WHERE task = $1 AND gateway = $2";
    let values = query(sql).bind(task.to_string()).bind(gateway.to_string());
    sql::update(c, WHAT, values).await
}

async fn lost(c: &mut SqliteConnection, task: Id<Task>) -> Result<Vec<Unaccounted>, Error> {
    let sql = "SELECT gateway, uses, since FROM tree_owners_lost WHERE task = $1 ORDER BY gateway";
    let rows = query(sql).bind(task.to_string()).fetch_all(c).await;
    let at = At::new("tree_owners_lost", &task);
    let lost = |row: &SqliteRow| {
        let uses = u32::try_from(at.number(row, "uses")?);
        Ok(Unaccounted {
            gateway: at.text(row, "gateway")?,
            uses: uses.map_err(|error| at.corrupt("uses", &error))?,
            since: Revision::new(at.number(row, "since")?),
        })
    };
    rows.map_err(sql::failed)?.iter().map(lost).collect()
}

async fn lost_insert(
    c: &mut SqliteConnection,
    task: Id<Task>,
    lost: &Unaccounted,
) -> Result<(), Error> {
    let sql = "INSERT INTO tree_owners_lost (task, gateway, uses, since) VALUES ($1, $2, $3, $4)";
    let values = query(sql)
        .bind(task.to_string())
        .bind(lost.gateway.to_string())
        .bind(i64::from(lost.uses))
        .bind(sql::integer(lost.since.number(), WHAT)?);
    values.execute(c).await.map_err(sql::failed)?;
    Ok(())
}

fn owner(
    task: Id<Task>,
    row: &SqliteRow,
    unaccounted: Vec<Unaccounted>,
) -> Result<TreeOwner, Error> {
    let at = At::new("tree_owners", &task);
    let window = u32::try_from(at.number(row, "ahead")?);
    Ok(TreeOwner {
        task,
        gateway: at.text(row, "gateway")?,
        epoch: at.number(row, "epoch")?,
        released: at.number(row, "released")? == 1,
        window: window.map_err(|error| at.corrupt("ahead", &error))?,
        unaccounted,
    })
}
