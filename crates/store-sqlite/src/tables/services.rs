//! Services and their processes.

use aims_model::{Service, ServiceInstance};
use aims_store::Error;
use aims_types::{self as types, Id, Name};
use sqlx::{SqliteConnection, query};

use crate::sql::{self, Entity};

impl Entity for Service {
    const TABLE: &'static str = "services";
    const WHAT: &'static str = "service";

    fn key(&self) -> String {
        self.id.to_string()
    }
}

impl Entity for ServiceInstance {
    const TABLE: &'static str = "service_instances";
    const WHAT: &'static str = "process of a service";

    fn key(&self) -> String {
        self.id.to_string()
    }
}

pub(crate) async fn by_id(
    c: &mut SqliteConnection,
    id: Id<types::Service>,
) -> Result<Option<Service>, Error> {
    let sql = "SELECT id AS key, body FROM services WHERE id = $1";
    sql::find(c, query(sql).bind(id.to_string())).await
}

pub(crate) async fn by_name(
    c: &mut SqliteConnection,
    name: &Name,
) -> Result<Option<Service>, Error> {
    let sql = "SELECT id AS key, body FROM services WHERE name = $1";
    sql::find(c, query(sql).bind(name.to_string())).await
}

pub(crate) async fn all(c: &mut SqliteConnection) -> Result<Vec<Service>, Error> {
    sql::list(c, query("SELECT id AS key, body FROM services ORDER BY id")).await
}

pub(crate) async fn insert(c: &mut SqliteConnection, service: &Service) -> Result<(), Error> {
    let sql = "INSERT INTO services (id, name, spiffe_id, owner, body)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    sql::insert(c, Service::WHAT, values(sql, service)?).await
}

pub(crate) async fn update(c: &mut SqliteConnection, service: &Service) -> Result<(), Error> {
    let sql = "UPDATE services SET owner = $4, body = $5
        WHERE id = $1 AND name = $2 AND spiffe_id = $3";
    sql::update(c, Service::WHAT, values(sql, service)?).await
}

fn values(sql: &'static str, service: &Service) -> Result<sql::Query, Error> {
    let values = query(sql)
        .bind(service.key())
        .bind(service.name.to_string());
    let values = values
        .bind(service.spiffe_id.to_string())
        .bind(service.owner.to_string());
    Ok(values.bind(sql::body(service)?))
}

pub(crate) async fn instance(
    c: &mut SqliteConnection,
    id: Id<types::Instance>,
) -> Result<Option<ServiceInstance>, Error> {
    let sql = "SELECT id AS key, body FROM service_instances WHERE id = $1";
    sql::find(c, query(sql).bind(id.to_string())).await
}

pub(crate) async fn instances_live(
    c: &mut SqliteConnection,
) -> Result<Vec<ServiceInstance>, Error> {
    let sql = "SELECT id AS key, body FROM service_instances WHERE stage = 'live' ORDER BY id";
    sql::list(c, query(sql)).await
}

pub(crate) async fn instances_of_process(
    c: &mut SqliteConnection,
    process: &str,
) -> Result<Vec<ServiceInstance>, Error> {
    let sql = "SELECT id AS key, body FROM service_instances WHERE process = $1 ORDER BY id";
    sql::list(c, query(sql).bind(process.to_owned())).await
}

pub(crate) async fn instance_insert(
    c: &mut SqliteConnection,
    instance: &ServiceInstance,
) -> Result<(), Error> {
    let sql = "INSERT INTO service_instances (id, service, node, process, stage, body)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    sql::insert(c, ServiceInstance::WHAT, instance_values(sql, instance)?).await
}

pub(crate) async fn instance_update(
    c: &mut SqliteConnection,
    instance: &ServiceInstance,
) -> Result<(), Error> {
    let sql = "UPDATE service_instances SET stage = $5, body = $6
        WHERE id = $1 AND service = $2 AND node = $3 AND process = $4";
    sql::update(c, ServiceInstance::WHAT, instance_values(sql, instance)?).await
}

fn instance_values(sql: &'static str, instance: &ServiceInstance) -> Result<sql::Query, Error> {
    let stage = if instance.stage.is_live() {
        "live"
    } else {
        "ended"
    };
    let values = query(sql)
        .bind(instance.key())
        .bind(instance.service.to_string());
    let process = instance.seen.process(instance.node);
    let values = values.bind(instance.node.to_string()).bind(process);
    let values = values.bind(stage);
    Ok(values.bind(sql::body(instance)?))
}
