//! Enrolled keys.

use aims_model::{EnrolledKey, KeyPurpose};
use aims_store::Error;
use sqlx::{SqliteConnection, query};

use crate::sql::{self, Entity};

impl Entity for EnrolledKey {
    const TABLE: &'static str = "enrolled_keys";
    const WHAT: &'static str = "key";

    fn key(&self) -> String {
        self.kid.clone()
    }
}

pub(crate) async fn by_kid(
    c: &mut SqliteConnection,
    kid: &str,
) -> Result<Option<EnrolledKey>, Error> {
    let sql = "SELECT kid AS key, body FROM enrolled_keys WHERE kid = $1";
    sql::find(c, query(sql).bind(kid.to_owned())).await
}

pub(crate) async fn by_purpose(
    c: &mut SqliteConnection,
    purpose: KeyPurpose,
) -> Result<Vec<EnrolledKey>, Error> {
    let sql = "SELECT kid AS key, body FROM enrolled_keys WHERE purpose = $1
        ORDER BY enrolled_at, kid";
    sql::list(c, query(sql).bind(purpose.as_str())).await
}

pub(crate) async fn insert(c: &mut SqliteConnection, key: &EnrolledKey) -> Result<(), Error> {
    let sql = "INSERT INTO enrolled_keys (kid, purpose, enrolled_at, body)
        VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    sql::insert(c, EnrolledKey::WHAT, values(sql, key)?).await
}

pub(crate) async fn update(c: &mut SqliteConnection, key: &EnrolledKey) -> Result<(), Error> {
    let sql = "UPDATE enrolled_keys SET body = $4
        WHERE kid = $1 AND purpose = $2 AND enrolled_at = $3";
    sql::update(c, EnrolledKey::WHAT, values(sql, key)?).await
}

fn values(sql: &'static str, key: &EnrolledKey) -> Result<sql::Query, Error> {
    let values = query(sql).bind(key.kid.clone()).bind(key.purpose.as_str());
    Ok(values
        .bind(sql::instant(key.enrolled_at))
        .bind(sql::body(key)?))
}
