//! People.

use aims_model::Person;
use aims_store::Error;
use aims_types::{self as types, Id, Name};
use sqlx::{SqliteConnection, query};

use crate::sql::{self, Entity};

impl Entity for Person {
    const TABLE: &'static str = "people";
    const WHAT: &'static str = "person";

    fn key(&self) -> String {
        self.id.to_string()
    }
}

pub(crate) async fn by_id(
    c: &mut SqliteConnection,
    id: Id<types::Person>,
) -> Result<Option<Person>, Error> {
    let sql = "SELECT id AS key, body FROM people WHERE id = $1";
    sql::find(c, query(sql).bind(id.to_string())).await
}

pub(crate) async fn by_name(
    c: &mut SqliteConnection,
    name: &Name,
) -> Result<Option<Person>, Error> {
    let sql = "SELECT id AS key, body FROM people WHERE name = $1";
    sql::find(c, query(sql).bind(name.to_string())).await
}

pub(crate) async fn all(c: &mut SqliteConnection) -> Result<Vec<Person>, Error> {
    sql::list(c, query("SELECT id AS key, body FROM people ORDER BY id")).await
}

pub(crate) async fn insert(c: &mut SqliteConnection, person: &Person) -> Result<(), Error> {
    let sql = "INSERT INTO people (id, name, body) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    let values = query(sql).bind(person.key()).bind(person.name.to_string());
    sql::insert(c, Person::WHAT, values.bind(sql::body(person)?)).await
}

pub(crate) async fn update(c: &mut SqliteConnection, person: &Person) -> Result<(), Error> {
    let sql = "UPDATE people SET body = $3 WHERE id = $1 AND name = $2";
    let values = query(sql).bind(person.key()).bind(person.name.to_string());
    sql::update(c, Person::WHAT, values.bind(sql::body(person)?)).await
}
