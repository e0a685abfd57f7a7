//! Instances.

use aims_model::Instance;
use aims_store::Error;
use aims_types::{self as types, Id};
use sqlx::{SqliteConnection, query};

use crate::sql::{self, Entity};

impl Entity for Instance {
    const TABLE: &'static str = "instances";
    const WHAT: &'static str = "instance";

    fn key(&self) -> String {
        self.id.to_string()
    }
}

pub(crate) async fn by_id(
    c: &mut SqliteConnection,
    id: Id<types::Instance>,
) -> Result<Option<Instance>, Error> {
    let sql = "SELECT id AS key, body FROM instances WHERE id = $1";
    sql::find(c, query(sql).bind(id.to_string())).await
}

pub(crate) async fn of_task(
    c: &mut SqliteConnection,
    task: Id<types::Task>,
) -> Result<Vec<Instance>, Error> {
    let sql = "SELECT id AS key, body FROM instances WHERE task = $1 ORDER BY id";
    sql::list(c, query(sql).bind(task.to_string())).await
}

pub(crate) async fn live(c: &mut SqliteConnection) -> Result<Vec<Instance>, Error> {
    let sql = "SELECT id AS key, body FROM instances WHERE stage = 'live' ORDER BY id";
    sql::list(c, query(sql)).await
}

pub(crate) async fn insert(c: &mut SqliteConnection, instance: &Instance) -> Result<(), Error> {
    let sql = "INSERT INTO instances (id, agent, task, run, stage, body)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    sql::insert(c, Instance::WHAT, values(sql, instance)?).await
}

pub(crate) async fn update(c: &mut SqliteConnection, instance: &Instance) -> Result<(), Error> {
    let sql = "UPDATE instances SET stage = $5, body = $6
        WHERE id = $1 AND agent = $2 AND task = $3 AND run = $4";
    sql::update(c, Instance::WHAT, values(sql, instance)?).await
}

fn values(sql: &'static str, instance: &Instance) -> Result<sql::Query, Error> {
    let stage = if instance.stage.is_live() {
        "live"
    } else {
        "ended"
    };
    let values = query(sql)
        .bind(instance.key())
        .bind(instance.agent.to_string());
    let values = values
        .bind(instance.task.to_string())
        .bind(instance.run.to_string());
    Ok(values.bind(stage).bind(sql::body(instance)?))
}
