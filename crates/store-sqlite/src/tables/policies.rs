//! Policy versions.

use aims_model::PolicyVersion;
use aims_store::Error;
use aims_types::{self as types, Id};
use sqlx::{SqliteConnection, query};

use crate::sql::{self, Entity};

impl Entity for PolicyVersion {
    const TABLE: &'static str = "policies";
    const WHAT: &'static str = "policy version";

    fn key(&self) -> String {
        self.id.to_string()
    }
}

/// The newest is the one inserted last, whatever the clock said.
pub(crate) async fn current(c: &mut SqliteConnection) -> Result<Option<PolicyVersion>, Error> {
    let sql = "SELECT id AS key, body FROM policies ORDER BY number DESC LIMIT 1";
    sql::find(c, query(sql)).await
}

pub(crate) async fn by_id(
    c: &mut SqliteConnection,
    id: Id<types::Policy>,
) -> Result<Option<PolicyVersion>, Error> {
    let sql = "SELECT id AS key, body FROM policies WHERE id = $1";
    sql::find(c, query(sql).bind(id.to_string())).await
}

pub(crate) async fn insert(c: &mut SqliteConnection, policy: &PolicyVersion) -> Result<(), Error> {
    let sql = "INSERT INTO policies (id, number, body)
        VALUES ($1, (SELECT COALESCE(MAX(number), 0) + 1 FROM policies), $2)
        ON CONFLICT (id) DO NOTHING";
    let values = query(sql).bind(policy.key()).bind(sql::body(policy)?);
    sql::insert(c, PolicyVersion::WHAT, values).await
}
