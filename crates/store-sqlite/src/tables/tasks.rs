//! Tasks.

use aims_model::Task;
use aims_store::Error;
use aims_types::{self as types, Id};
use sqlx::{SqliteConnection, query};

use crate::sql::{self, Entity};

impl Entity for Task {
    const TABLE: &'static str = "tasks";
    const WHAT: &'static str = "task";

    fn key(&self) -> String {
        self.id.to_string()
    }
}

pub(crate) async fn by_id(
    c: &mut SqliteConnection,
    id: Id<types::Task>,
) -> Result<Option<Task>, Error> {
    let sql = "SELECT id AS key, body FROM tasks WHERE id = $1";
    sql::find(c, query(sql).bind(id.to_string())).await
}

pub(crate) async fn newest(c: &mut SqliteConnection, limit: u32) -> Result<Vec<Task>, Error> {
    let sql = "SELECT id AS key, body FROM tasks ORDER BY id DESC LIMIT $1";
    sql::list(c, query(sql).bind(sql::page(limit))).await
}

pub(crate) async fn insert(c: &mut SqliteConnection, task: &Task) -> Result<(), Error> {
    let sql = "INSERT INTO tasks (id, agent, initiator, root, body)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    sql::insert(c, Task::WHAT, values(sql, task)?).await
}

pub(crate) async fn update(c: &mut SqliteConnection, task: &Task) -> Result<(), Error> {
    let sql = "UPDATE tasks SET body = $5
        WHERE id = $1 AND agent = $2 AND initiator = $3 AND root = $4";
    sql::update(c, Task::WHAT, values(sql, task)?).await
}

fn values(sql: &'static str, task: &Task) -> Result<sql::Query, Error> {
    let values = query(sql).bind(task.key()).bind(task.agent.to_string());
    let values = values
        .bind(task.initiator.to_string())
        .bind(task.root.to_string());
    Ok(values.bind(sql::body(task)?))
}
