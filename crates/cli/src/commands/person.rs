//! People.

use std::fs;

use aims_client::{Client, PersonKey};
use aims_model::{Person, Role};
use anyhow::{Context, Result};

use crate::args::{PersonCommand, RoleArg};
use crate::output::{Output, instant, table};

pub(super) async fn run(
    command: PersonCommand,
    client: impl Fn() -> Result<Client>,
    output: Output,
) -> Result<()> {
    match command {
        PersonCommand::Key { file } => {
            let key = PersonKey::create(&file)?;
            let jwk: serde_json::Value = serde_json::from_str(&key.jwk().to_value().to_string())?;
            output.show(&jwk, ToString::to_string)
        }
        PersonCommand::Enrol { name, role, key } => {
            let jwk = fs::read_to_string(&key).with_context(|| key.display().to_string())?;
            let body = serde_json::json!({
                "name": name, "role": role_of(role), "jwk": jwk.trim(),
            });
            let person: Person = client()?.post("/v1/people", &body).await?;
            output.show(&person, |person| {
                format!(
                    "{} ({}) is enrolled as {}",
                    person.name,
                    person.id,
                    person.role.as_str()
                )
            })
        }
        PersonCommand::Remove { name } => {
            let path = format!("/v1/people/{name}/remove");
            let person: Person = client()?.post(&path, &serde_json::json!({})).await?;
            output.show(&person, |person| format!("{} is removed", person.name))
        }
        PersonCommand::List => {
            let people: Vec<Person> = client()?.get("/v1/people").await?;
            output.show(&people, |people| {
                table(
                    ["name", "role", "enrolled", "removed"],
                    people.iter().map(|person| {
                        [
                            person.name.to_string(),
                            person.role.as_str().to_owned(),
                            instant(person.enrolled_at),
                            person.removed_at.map(instant).unwrap_or_default(),
                        ]
                    }),
                )
            })
        }
    }
}

const fn role_of(role: RoleArg) -> Role {
    match role {
        RoleArg::Operator => Role::Operator,
        RoleArg::Member => Role::Member,
        RoleArg::Approver => Role::Approver,
        RoleArg::Auditor => Role::Auditor,
    }
}
