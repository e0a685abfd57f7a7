//! Tasks: what a person consents to, in words first.

use aims_authority::Authority;
use aims_client::Client;
use aims_jose::{Jws, JwsLimits, SigningHeader, sign};
use aims_model::grant::CONSENT_TYP;
use aims_model::{Agent, Grant, Instance, Person, Task, grant::Consent};
use aims_types::ambient::{SystemClock, SystemEntropy};
use aims_types::{Clock, Id, Token};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::args::TaskCommand;
use crate::manifest::{self, TaskManifest};
use crate::output::{Output, instant, table};

/// One task with what is under it, as the server tells it.
#[derive(Serialize, Deserialize)]
struct View {
    task: Task,
    agent: Agent,
    initiator: Person,
    grant: String,
    instances: Vec<Instance>,
}

pub(super) async fn run(command: TaskCommand, mut client: Client, output: Output) -> Result<()> {
    match command {
        TaskCommand::Start { manifest } => {
            let manifest: TaskManifest = manifest::read(&manifest)?;
            let consent = consent(&manifest, &client)?;
            let body = serde_json::json!({"consent": sign_consent(&consent, &client)?});
            let task: Task = client.post("/v1/tasks", &body).await?;
            output.show(&task, |task| {
                format!(
                    "{} has started: {}\nuntil {}\n{}",
                    task.id,
                    task.purpose,
                    instant(task.deadline),
                    in_words(&consent.authority),
                )
            })
        }
        TaskCommand::Show { task } => {
            let view: View = client.get(&format!("/v1/tasks/{task}")).await?;
            output.show(&view, show)
        }
        TaskCommand::End { task } => {
            let path = format!("/v1/tasks/{task}/end");
            let task: Task = client.post(&path, &serde_json::json!({})).await?;
            output.show(&task, |task| format!("{} has ended", task.id))
        }
        TaskCommand::List => {
            let tasks: Vec<Task> = client.get("/v1/tasks").await?;
            let now = SystemClock.now();
            output.show(&tasks, |tasks| {
                table(
                    ["task", "state", "until", "purpose"],
                    tasks.iter().map(|task| {
                        let over = now >= task.deadline;
                        let state = if over { "ended" } else { task.stage.as_str() };
                        [
                            task.id.to_string(),
                            state.to_owned(),
                            instant(task.deadline),
                            task.purpose.to_string(),
                        ]
                    }),
                )
            })
        }
    }
}

fn consent(manifest: &TaskManifest, client: &Client) -> Result<Consent> {
    let now = SystemClock.now();
    let deadline = manifest.deadline(now)?;
    let profile = client.profile();
    let jti: Id<Token> = Id::new(now, &SystemEntropy)?;
    Ok(Consent {
        person: profile.person_id,
        audience: profile.trust_domain.parse()?,
        jti: jti.to_string(),
        issued_at: now,
        agent: manifest.agent.clone(),
        purpose: manifest.purpose.clone(),
        deadline,
        authority: manifest.authority(deadline)?,
    })
}

fn sign_consent(consent: &Consent, client: &Client) -> Result<String> {
    let key = client.key();
    let header = SigningHeader::new(CONSENT_TYP).kid(key.jwk().thumbprint().to_string());
    Ok(sign(&header, &consent.to_claims()?, key.signer())?)
}

fn show(view: &View) -> String {
    let facts = table(
        ["task", view.task.id.to_string().as_str()],
        [
            ["purpose", view.task.purpose.as_str()],
            ["agent", view.agent.spiffe_id.as_str()],
            ["for", view.initiator.name.as_str()],
            ["until", &instant(view.task.deadline)],
            ["instances", &view.instances.len().to_string()],
        ]
        .map(|[name, value]| [name.to_owned(), value.to_owned()]),
    );
    match grant_of(&view.grant) {
        Ok(grant) => format!("{facts}\n{}", in_words(&grant.authority)),
        Err(error) => format!("{facts}\nthe grant can't be read: {error}"),
    }
}

/// Reads a grant for display; whoever relies on it verifies it.
fn grant_of(jws: &str) -> Result<Grant> {
    let parsed = Jws::parse(jws, &JwsLimits::TOKEN)?;
    let payload = jws.split('.').nth(1).context("a grant has three parts")?;
    let claims = aims_crypto::base64url::decode(payload)?;
    drop(parsed);
    Ok(Grant::from_claims(&claims)?)
}

/// What an authority allows, in plain words.
fn in_words(authority: &Authority) -> String {
    let value = authority.to_value();
    let details = value
        .get("authorization_details")
        .and_then(|list| list.as_array());
    let rows = details.unwrap_or_default().iter().map(|detail| {
        let text = |name: &str| {
            detail
                .get(name)
                .map(aims_json::Value::to_string)
                .unwrap_or_default()
                .replace('"', "")
        };
        match detail.get("type").and_then(|kind| kind.as_str()) {
            Some("https_connect") => [
                format!("{}:{}", text("host"), text("port")),
                "connect".to_owned(),
                "opaque: only host and bytes are seen".to_owned(),
            ],
            Some("http_request") => [
                format!("{}{}", text("upstream"), text("path")),
                text("methods").replace(',', "\n").replace(['[', ']'], ""),
                request_bounds(detail),
            ],
            _ => [
                text("server"),
                text("actions").replace(',', "\n").replace(['[', ']'], ""),
                arguments(detail.get("arguments")),
            ],
        }
    });
    let limits = value
        .get("limits")
        .map(aims_json::Value::to_string)
        .unwrap_or_default();
    format!(
        "{}\nlimits: {}",
        table(["on", "may", "if"], rows),
        limits.replace(['"', '{', '}'], "").replace(',', ", ")
    )
}

/// What holds for the body and the query of requests.
fn request_bounds(detail: &aims_json::Value) -> String {
    let body = detail.get("body");
    let body = match body.and_then(|body| body.as_object()) {
        Some(members) if members.is_empty() => "no body".to_owned(),
        Some(_) => arguments(body),
        None => "any body".to_owned(),
    };
    match detail.get("query") {
        Some(_) => format!("{body}\nany query"),
        None => body,
    }
}

/// One line for each argument that an authority names.
fn arguments(named: Option<&aims_json::Value>) -> String {
    let arguments = named.and_then(|value| value.as_object());
    let lines = arguments
        .into_iter()
        .flat_map(aims_json::Object::iter)
        .map(|(name, value)| {
            let bounds = value
                .to_string()
                .replace(['"', '{', '}'], "")
                .replace(':', ": ");
            format!("{name}: {}", bounds.replace(',', ", "))
        });
    lines.collect::<Vec<_>>().join("\n")
}
