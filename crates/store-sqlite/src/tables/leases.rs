//! Leases of nodes and gateways.

use aims_model::{LeaseRow, Point};
use aims_store::Error;
use aims_types::Revision;
use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteConnection, query};

use crate::sql::{self, At};

const WHAT: &str = "lease";

pub(crate) async fn by_point(
    c: &mut SqliteConnection,
    point: Point,
) -> Result<Option<LeaseRow>, Error> {
    let sql = "SELECT point, boot, boot_nanos, acknowledged, address FROM leases
        WHERE point = $1";
    let found = query(sql).bind(point.to_string()).fetch_optional(c).await;
    let row = found.map_err(sql::failed)?;
    row.map(|row| lease(&row)).transpose()
}

/// Few: one for each node and gateway. The prefix of an id puts gateways before nodes.
pub(crate) async fn all(c: &mut SqliteConnection) -> Result<Vec<LeaseRow>, Error> {
    let sql = "SELECT point, boot, boot_nanos, acknowledged, address FROM leases ORDER BY point";
    let rows = query(sql).fetch_all(c).await.map_err(sql::failed)?;
    rows.iter().map(lease).collect()
}

pub(crate) async fn put(c: &mut SqliteConnection, lease: &LeaseRow) -> Result<(), Error> {
    let sql = "INSERT INTO leases (point, boot, boot_nanos, acknowledged, address)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (point) DO UPDATE SET boot = excluded.boot, boot_nanos = excluded.boot_nanos,
            acknowledged = excluded.acknowledged, address = excluded.address";
    let values = query(sql)
        .bind(lease.point.to_string())
        .bind(lease.boot.clone());
    let values = values
        .bind(sql::integer(lease.until, WHAT)?)
        .bind(sql::integer(lease.acknowledged.number(), WHAT)?);
    let values = values.bind(lease.address.clone());
    values.execute(c).await.map_err(sql::failed)?;
    Ok(())
}

pub(crate) async fn remove(c: &mut SqliteConnection, point: Point) -> Result<(), Error> {
    let values = query("DELETE FROM leases WHERE point = $1").bind(point.to_string());
    values.execute(c).await.map_err(sql::failed)?;
    Ok(())
}

fn lease(row: &SqliteRow) -> Result<LeaseRow, Error> {
    let point = At::new("leases", &"?").text(row, "point")?;
    let at = At::new("leases", &point);
    Ok(LeaseRow {
        point,
        boot: at.get(row, "boot")?,
        until: at.number(row, "boot_nanos")?,
        acknowledged: Revision::new(at.number(row, "acknowledged")?),
        address: at.get(row, "address")?,
    })
}
