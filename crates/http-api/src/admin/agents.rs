//! Agents: registration and life cycle.

use aims_control::{ControlPlane, Proof, RegisterAgent};
use aims_model::Expected;
use aims_types::Name;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;

use super::{committed, json};
use crate::body::Json;
use crate::caller::Caller;
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRegister {
    name: String,
    owner: Option<String>,
    purpose: Option<String>,
    environment: Option<String>,
    evidence: Option<Expected>,
    remote: Option<RawRemote>,
    #[serde(default)]
    draft: bool,
}

/// An agent that runs elsewhere, with keys of its own or as a service.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRemote {
    assurance: String,
    jwks: Option<Vec<String>>,
    service: Option<String>,
}

impl RawRemote {
    fn proof(self) -> Result<Proof, Problem> {
        let assurance = self.assurance;
        match (self.jwks, self.service) {
            (Some(jwks), None) => Ok(Proof::Keys { assurance, jwks }),
            (None, Some(service)) => Ok(Proof::Service { assurance, service }),
            _ => Err(Problem::invalid(
                "of an agent that runs elsewhere say either `jwks` or `service`",
            )),
        }
    }
}

pub(super) async fn list(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
) -> Result<Response, Problem> {
    Ok(json(&plane.agents(&cx).await?))
}

pub(super) async fn register(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Json(raw): Json<RawRegister>,
) -> Result<Response, Problem> {
    let evidence = match (raw.evidence, raw.remote) {
        (Some(evidence), None) => Proof::Program(evidence),
        (None, Some(remote)) => remote.proof()?,
        _ => {
            return Err(Problem::invalid(
                "say either `evidence` of its program or `remote` with its keys or its service",
            ));
        }
    };
    let agent = RegisterAgent {
        name: raw.name,
        owner: raw.owner,
        purpose: raw.purpose,
        environment: raw.environment,
        evidence,
        draft: raw.draft,
    };
    Ok(committed(&plane.agent_register(&cx, agent).await?))
}

pub(super) async fn activate(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    Ok(committed(
        &plane.agent_activate(&cx, &agent_name(&name)?).await?,
    ))
}

pub(super) async fn suspend(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    Ok(committed(
        &plane.agent_suspend(&cx, &agent_name(&name)?).await?,
    ))
}

pub(super) async fn retire(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    Ok(committed(
        &plane.agent_retire(&cx, &agent_name(&name)?).await?,
    ))
}

fn agent_name(text: &str) -> Result<Name, Problem> {
    text.parse()
        .map_err(|_| Problem::not_found("there is no such agent"))
}
