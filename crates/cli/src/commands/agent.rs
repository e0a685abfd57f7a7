//! Agents.

use aims_client::Client;
use aims_model::{Agent, Person};
use anyhow::Result;

use crate::args::AgentCommand;
use crate::manifest::{self, AgentManifest};
use crate::output::{Output, table};

pub(super) async fn run(command: AgentCommand, mut client: Client, output: Output) -> Result<()> {
    match command {
        AgentCommand::Register { manifest } => {
            let manifest: AgentManifest = manifest::read(&manifest)?;
            let body = serde_json::json!({
                "name": manifest.name,
                "owner": manifest.owner,
                "purpose": manifest.purpose,
                "environment": manifest.environment,
                "evidence": manifest.evidence()?,
                "remote": manifest.remote()?,
                "draft": manifest.draft,
            });
            let agent: Agent = client.post("/v1/agents", &body).await?;
            output.show(&agent, |agent| {
                let (name, id) = (&agent.name, &agent.spiffe_id);
                match &agent.evidence {
                    Some(evidence) => format!(
                        "{name} is registered as {id}\nevidence: {} {}, {} files, {} trees and \
                         libraries",
                        evidence.program.path,
                        evidence.program.digest,
                        evidence.files.len(),
                        evidence.trees.len(),
                    ),
                    None => format!(
                        "{name} is registered as {id}\nit runs elsewhere and {} (assurance {})",
                        elsewhere(agent),
                        agent.assurance.as_str()
                    ),
                }
            })
        }
        AgentCommand::List => {
            let agents: Vec<Agent> = client.get("/v1/agents").await?;
            let people: Vec<Person> = client.get("/v1/people").await.unwrap_or_default();
            output.show(&agents, |agents| {
                let owner = |agent: &Agent| {
                    let found = people.iter().find(|person| person.id == agent.owner);
                    found.map_or_else(|| agent.owner.to_string(), |one| one.name.to_string())
                };
                table(
                    ["name", "stage", "owner", "environment", "purpose"],
                    agents.iter().map(|agent| {
                        [
                            agent.name.to_string(),
                            agent.stage.as_str().to_owned(),
                            owner(agent),
                            agent.environment.to_string(),
                            agent.purpose.to_string(),
                        ]
                    }),
                )
            })
        }
        AgentCommand::Activate { name } => change(client, &name, "activate", output).await,
        AgentCommand::Suspend { name } => change(client, &name, "suspend", output).await,
        AgentCommand::Retire { name } => change(client, &name, "retire", output).await,
    }
}

async fn change(mut client: Client, name: &str, what: &str, output: Output) -> Result<()> {
    let path = format!("/v1/agents/{name}/{what}");
    let agent: Agent = client.post(&path, &serde_json::json!({})).await?;
    output.show(&agent, |agent| {
        format!("{} is {}", agent.name, agent.stage.as_str())
    })
}

/// How an agent that runs elsewhere proves who it is, in words.
fn elsewhere(agent: &Agent) -> &'static str {
    match agent.service {
        None => "holds its own key: nothing of its program is seen",
        Some(_) => "is a service: its processes are seen from outside only",
    }
}
