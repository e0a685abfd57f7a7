//! Requests for approval.

use aims_model::Approval;
use aims_model::approval::Stage;
use aims_store::Error;
use aims_types::{self as types, Id};
use sqlx::{SqliteConnection, query};

use crate::sql::{self, Entity};

impl Entity for Approval {
    const TABLE: &'static str = "approvals";
    const WHAT: &'static str = "approval";

    fn key(&self) -> String {
        self.id.to_string()
    }
}

pub(crate) async fn by_id(
    c: &mut SqliteConnection,
    id: Id<types::Approval>,
) -> Result<Option<Approval>, Error> {
    let sql = "SELECT id AS key, body FROM approvals WHERE id = $1";
    sql::find(c, query(sql).bind(id.to_string())).await
}

pub(crate) async fn open(c: &mut SqliteConnection) -> Result<Vec<Approval>, Error> {
    let sql = "SELECT id AS key, body FROM approvals WHERE stage = 'open' ORDER BY id";
    sql::list(c, query(sql)).await
}

pub(crate) async fn newest(c: &mut SqliteConnection, limit: u32) -> Result<Vec<Approval>, Error> {
    let sql = "SELECT id AS key, body FROM approvals ORDER BY id DESC LIMIT $1";
    sql::list(c, query(sql).bind(sql::page(limit))).await
}

/// The partial index over what is open makes the second open one with a digest a duplicate.
pub(crate) async fn insert(c: &mut SqliteConnection, approval: &Approval) -> Result<(), Error> {
    let sql = "INSERT INTO approvals (id, digest, task, initiator, instance, stage, body)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    sql::insert(c, Approval::WHAT, values(sql, approval)?).await
}

/// What is over stays as it is: an approval is never used a second time.
pub(crate) async fn update(c: &mut SqliteConnection, approval: &Approval) -> Result<(), Error> {
    let sql = "UPDATE approvals SET stage = $6, body = $7
        WHERE id = $1 AND digest = $2 AND task = $3 AND initiator = $4 AND instance = $5
            AND stage = 'open'";
    sql::update(c, Approval::WHAT, values(sql, approval)?).await
}

fn values(sql: &'static str, approval: &Approval) -> Result<sql::Query, Error> {
    let refused = |reason: String| Error::Unstorable {
        what: Approval::WHAT,
        reason,
    };
    let asked = &approval.asked;
    let digest = asked.digest().map_err(|error| refused(error.to_string()))?;
    if digest != approval.digest {
        return Err(refused("its digest is not that of what it asks".to_owned()));
    }
    let stage = match approval.stage {
        Stage::Pending {} | Stage::Approved { .. } => "open",
        Stage::Denied { .. }
        | Stage::TimedOut { .. }
        | Stage::Withdrawn { .. }
        | Stage::Used { .. } => "over",
    };
    let values = query(sql).bind(approval.key()).bind(sql::blob(&digest));
    let values = values
        .bind(asked.task.to_string())
        .bind(asked.initiator.to_string())
        .bind(asked.instance.to_string());
    Ok(values.bind(stage).bind(sql::body(approval)?))
}
