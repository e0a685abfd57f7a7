//! Tool servers.

use aims_model::ToolServer;
use aims_store::Error;
use aims_types::Name;
use sqlx::{SqliteConnection, query};

use crate::sql::{self, Entity};

impl Entity for ToolServer {
    const TABLE: &'static str = "servers";
    const WHAT: &'static str = "tool server";

    fn key(&self) -> String {
        self.id.to_string()
    }
}

pub(crate) async fn by_name(
    c: &mut SqliteConnection,
    name: &Name,
) -> Result<Option<ToolServer>, Error> {
    let sql = "SELECT id AS key, body FROM servers WHERE name = $1";
    sql::find(c, query(sql).bind(name.to_string())).await
}

pub(crate) async fn all(c: &mut SqliteConnection) -> Result<Vec<ToolServer>, Error> {
    sql::list(c, query("SELECT id AS key, body FROM servers ORDER BY id")).await
}

pub(crate) async fn insert(c: &mut SqliteConnection, server: &ToolServer) -> Result<(), Error> {
    let sql = "INSERT INTO servers (id, name, body) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    let values = query(sql).bind(server.key()).bind(server.name.to_string());
    sql::insert(c, ToolServer::WHAT, values.bind(sql::body(server)?)).await
}
