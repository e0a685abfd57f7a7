//! Cut-offs.

use aims_model::CutOff;
use aims_store::Error;
use sqlx::{SqliteConnection, query};

use crate::sql::{self, Entity};

impl Entity for CutOff {
    const TABLE: &'static str = "cutoffs";
    const WHAT: &'static str = "cut-off";

    /// The subject alone; the revision is the rest of the primary key.
    fn key(&self) -> String {
        use aims_model::Subject;
        match &self.subject {
            Subject::Person(id) => id.to_string(),
            Subject::Agent(id) => id.to_string(),
            Subject::Instance(id) => id.to_string(),
            Subject::Task(id) => id.to_string(),
            Subject::Delegation(id) => id.to_string(),
            Subject::Policy(id) => id.to_string(),
            // The colon keeps it apart from every id.
            Subject::Key(thumbprint) => format!("key:{thumbprint}"),
        }
    }
}

/// Oldest first.
pub(crate) async fn all(c: &mut SqliteConnection) -> Result<Vec<CutOff>, Error> {
    let sql = "SELECT subject AS key, body FROM cutoffs ORDER BY at_or_before, subject";
    sql::list(c, query(sql)).await
}

pub(crate) async fn insert(c: &mut SqliteConnection, cutoff: &CutOff) -> Result<(), Error> {
    let sql = "INSERT INTO cutoffs (subject, at_or_before, body) VALUES ($1, $2, $3)
        ON CONFLICT DO NOTHING";
    let revision = sql::integer(cutoff.at_or_before.number(), CutOff::WHAT)?;
    let values = query(sql)
        .bind(cutoff.key())
        .bind(revision)
        .bind(sql::body(cutoff)?);
    sql::insert(c, CutOff::WHAT, values).await
}
