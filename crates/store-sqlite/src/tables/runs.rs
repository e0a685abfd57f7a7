//! Launches.

use aims_model::Run;
use aims_store::Error;
use aims_types::{self as types, Digest, Id};
use sqlx::{SqliteConnection, query};

use crate::sql::{self, Entity};

impl Entity for Run {
    const TABLE: &'static str = "runs";
    const WHAT: &'static str = "launch";

    fn key(&self) -> String {
        self.id.to_string()
    }
}

pub(crate) async fn by_id(
    c: &mut SqliteConnection,
    id: Id<types::Run>,
) -> Result<Option<Run>, Error> {
    let sql = "SELECT id AS key, body FROM runs WHERE id = $1";
    sql::find(c, query(sql).bind(id.to_string())).await
}

pub(crate) async fn by_ticket(
    c: &mut SqliteConnection,
    ticket: &Digest,
) -> Result<Option<Run>, Error> {
    let sql = "SELECT id AS key, body FROM runs WHERE ticket = $1";
    sql::find(c, query(sql).bind(sql::blob(ticket))).await
}

pub(crate) async fn insert(c: &mut SqliteConnection, run: &Run) -> Result<(), Error> {
    let sql = "INSERT INTO runs (id, ticket, task, agent, requested_by, body)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    sql::insert(c, Run::WHAT, values(sql, run)?).await
}

pub(crate) async fn update(c: &mut SqliteConnection, run: &Run) -> Result<(), Error> {
    let sql = "UPDATE runs SET body = $6 WHERE id = $1 AND ticket = $2 AND task = $3
        AND agent = $4 AND requested_by = $5";
    sql::update(c, Run::WHAT, values(sql, run)?).await
}

fn values(sql: &'static str, run: &Run) -> Result<sql::Query, Error> {
    let values = query(sql).bind(run.key()).bind(sql::blob(&run.ticket));
    let values = values
        .bind(run.task.to_string())
        .bind(run.agent.to_string());
    Ok(values
        .bind(run.requested_by.to_string())
        .bind(sql::body(run)?))
}
