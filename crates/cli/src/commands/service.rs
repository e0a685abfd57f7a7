//! Services.

use aims_client::Client;
use aims_model::{Person, Service};
use anyhow::Result;

use crate::args::ServiceCommand;
use crate::manifest::{self, ServiceManifest};
use crate::output::{Output, table};

pub(super) async fn run(command: ServiceCommand, mut client: Client, output: Output) -> Result<()> {
    match command {
        ServiceCommand::Add { name, manifest } => {
            let manifest: ServiceManifest = manifest::read(&manifest)?;
            let body = serde_json::json!({
                "name": name,
                "owner": manifest.owner,
                "purpose": manifest.purpose,
                "node": manifest.node,
                "executable": manifest.executable()?,
                "host_uid": manifest.host_uid,
                "cgroup": manifest.cgroup,
                "key_export": manifest.key_export,
            });
            let service: Service = client.post("/v1/services", &body).await?;
            output.show(&service, |service| {
                format!(
                    "{} is registered as {}\nevidence: {} {} as user {} on {}\n\
                     its processes get private keys in the open, and each one is recorded",
                    service.name,
                    service.spiffe_id,
                    service.executable.path,
                    service.executable.digest,
                    service.host_uid,
                    service.node,
                )
            })
        }
        ServiceCommand::List => list(client, output).await,
        ServiceCommand::Retire { name } => {
            let path = format!("/v1/services/{name}/retire");
            let service: Service = client.post(&path, &serde_json::json!({})).await?;
            output.show(&service, |service| format!("{} is retired", service.name))
        }
    }
}

async fn list(mut client: Client, output: Output) -> Result<()> {
    let services: Vec<Service> = client.get("/v1/services").await?;
    let people: Vec<Person> = client.get("/v1/people").await.unwrap_or_default();
    output.show(&services, |services| {
        let owner = |service: &Service| {
            let found = people.iter().find(|person| person.id == service.owner);
            found.map_or_else(|| service.owner.to_string(), |one| one.name.to_string())
        };
        table(
            ["name", "stage", "owner", "executable", "user", "purpose"],
            services.iter().map(|service| {
                [
                    service.name.to_string(),
                    service.stage.as_str().to_owned(),
                    owner(service),
                    service.executable.path.clone(),
                    service.host_uid.to_string(),
                    service.purpose.to_string(),
                ]
            }),
        )
    })
}
