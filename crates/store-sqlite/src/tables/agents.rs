//! Agents.

use aims_model::Agent;
use aims_store::Error;
use aims_types::{self as types, Id, Name};
use sqlx::{SqliteConnection, query};

use crate::sql::{self, Entity};

impl Entity for Agent {
    const TABLE: &'static str = "agents";
    const WHAT: &'static str = "agent";

    fn key(&self) -> String {
        self.id.to_string()
    }
}

pub(crate) async fn by_id(
    c: &mut SqliteConnection,
    id: Id<types::Agent>,
) -> Result<Option<Agent>, Error> {
    let sql = "SELECT id AS key, body FROM agents WHERE id = $1";
    sql::find(c, query(sql).bind(id.to_string())).await
}

pub(crate) async fn by_name(c: &mut SqliteConnection, name: &Name) -> Result<Option<Agent>, Error> {
    let sql = "SELECT id AS key, body FROM agents WHERE name = $1";
    sql::find(c, query(sql).bind(name.to_string())).await
}

pub(crate) async fn all(c: &mut SqliteConnection) -> Result<Vec<Agent>, Error> {
    sql::list(c, query("SELECT id AS key, body FROM agents ORDER BY id")).await
}

pub(crate) async fn insert(c: &mut SqliteConnection, agent: &Agent) -> Result<(), Error> {
    let sql = "INSERT INTO agents (id, name, spiffe_id, owner, body)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    sql::insert(c, Agent::WHAT, values(sql, agent)?).await
}

/// The owner may change: people leave, and someone has to answer for the agent.
pub(crate) async fn update(c: &mut SqliteConnection, agent: &Agent) -> Result<(), Error> {
    let sql = "UPDATE agents SET owner = $4, body = $5
        WHERE id = $1 AND name = $2 AND spiffe_id = $3";
    sql::update(c, Agent::WHAT, values(sql, agent)?).await
}

fn values(sql: &'static str, agent: &Agent) -> Result<sql::Query, Error> {
    let values = query(sql).bind(agent.key()).bind(agent.name.to_string());
    let values = values
        .bind(agent.spiffe_id.to_string())
        .bind(agent.owner.to_string());
    Ok(values.bind(sql::body(agent)?))
}
