//! Tasks, launches, and the records of a task.

use aims_control::{Committed, ControlPlane, RequestRun};
use aims_types::{Id, Task};
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::header::{CACHE_CONTROL, HeaderValue};
use serde::Deserialize;

use super::{committed, json};
use crate::body::Json;
use crate::caller::Caller;
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStart {
    /// What the person consents to, signed with their key (compact JWS).
    consent: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawErase {
    /// Why, in words.
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRun {
    task: Id<Task>,
    /// The agent that the person means; it must be the task's.
    agent: String,
}

pub(super) async fn list(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
) -> Result<Response, Problem> {
    Ok(json(&plane.tasks(&cx).await?))
}

pub(super) async fn start(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Json(raw): Json<RawStart>,
) -> Result<Response, Problem> {
    let Committed {
        value,
        revision,
        lapsed,
    } = plane.task_start(&cx, &raw.consent).await?;
    Ok(committed(&Committed {
        value: value.task,
        revision,
        lapsed,
    }))
}

pub(super) async fn show(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let view = plane.task(&cx, task_id(&id)?).await?;
    Ok(json(&serde_json::json!({
        "task": view.task,
        "agent": view.agent,
        "initiator": view.initiator,
        "grant": view.grant.jws,
        "instances": view.instances,
    })))
}

pub(super) async fn end(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(committed(&plane.task_end(&cx, task_id(&id)?).await?))
}

pub(super) async fn freeze(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(committed(&plane.task_freeze(&cx, task_id(&id)?).await?))
}

pub(super) async fn resume(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(committed(&plane.task_resume(&cx, task_id(&id)?).await?))
}

/// Answers with what was erased; the same where it was erased before.
pub(super) async fn erase(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Path(id): Path<String>,
    Json(raw): Json<RawErase>,
) -> Result<Response, Problem> {
    let task = task_id(&id)?;
    Ok(json(&plane.task_erase(&cx, task, &raw.reason).await?))
}

pub(super) async fn run(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Json(raw): Json<RawRun>,
) -> Result<Response, Problem> {
    let RawRun { task, agent } = raw;
    let ticket = plane.run_request(&cx, RequestRun { task, agent }).await?;
    let mut response = json(&serde_json::json!({
        "run": ticket.run,
        "ticket": ticket.ticket.expose(),
        "expires_at": ticket.expires_at,
    }));
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A page of what is on record; the query `from` is the `next` of the page before.
pub(super) async fn trace(
    Caller(cx): Caller,
    State(plane): State<ControlPlane>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let from = first_index(query.as_deref())?;
    let page = plane.trace(&cx, task_id(&id)?, from).await?;
    // Records are canonical JSON text: they travel as text, so that their bytes stay theirs.
    let records = page.records.into_iter();
    let records: Vec<String> = records
        .filter_map(|bytes| String::from_utf8(bytes).ok())
        .collect();
    let next = page.next;
    Ok(json(&serde_json::json!({"records": records, "next": next})))
}

pub(super) fn first_index(query: Option<&str>) -> Result<u64, Problem> {
    let Some(query) = query.filter(|query| !query.is_empty()) else {
        return Ok(0);
    };
    let from = query.strip_prefix("from=");
    from.and_then(|from| from.parse().ok())
        .ok_or_else(|| Problem::invalid("the only query is `from`, an index of the log"))
}

fn task_id(text: &str) -> Result<Id<Task>, Problem> {
    text.parse()
        .map_err(|_| Problem::not_found("there is no such task"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_begins_where_the_query_says_and_nowhere_else() {
        for (query, from) in [
            (None, Some(0)),
            (Some(""), Some(0)),
            (Some("from=0"), Some(0)),
            (Some("from=18446744073709551615"), Some(u64::MAX)),
            (Some("from=18446744073709551616"), None),
            (Some("from=-1"), None),
            (Some("from="), None),
            (Some("from=1&from=2"), None),
            (Some("to=1"), None),
        ] {
            assert_eq!(first_index(query).ok(), from, "{query:?}");
        }
    }
}
