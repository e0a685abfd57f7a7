//! Approvals: what waits for a person, and the person's signed answer.

use aims_client::Client;
use aims_jose::{SigningHeader, sign};
use aims_model::Approval;
use aims_model::approval::{APPROVAL_TYP, Answer, Stage};
use aims_types::ambient::SystemClock;
use aims_types::{Clock, Name};
use anyhow::{Result, ensure};

use crate::output::{Output, instant, plain, table};

pub(super) async fn list(mut client: Client, all: bool, output: Output) -> Result<()> {
    let path = if all {
        "/v1/approvals?all"
    } else {
        "/v1/approvals"
    };
    let approvals: Vec<Approval> = client.get(path).await?;
    output.show(&approvals, |approvals| {
        if approvals.is_empty() {
            return "nothing waits for an answer".to_owned();
        }
        let rows = approvals.iter().map(|approval| {
            let asked = &approval.asked;
            [
                approval.id.to_string(),
                approval.stage.as_str().to_owned(),
                asked.agent.path().to_owned(),
                plain(&format!("{}/{}", asked.server, asked.tool)).into_owned(),
                instant(approval.deadline),
            ]
        });
        table(["approval", "state", "agent", "tool", "until"], rows)
    })
}

pub(super) async fn show(mut client: Client, id: &str, output: Output) -> Result<()> {
    let approval: Approval = client.get(&format!("/v1/approvals/{id}")).await?;
    output.show(&approval, in_words)
}

/// Shows what is answered, and signs the answer over exactly that.
pub(super) async fn answer(
    mut client: Client,
    (id, approve, reason): (&str, bool, String),
    output: Output,
) -> Result<()> {
    let approval: Approval = client.get(&format!("/v1/approvals/{id}")).await?;
    // What is signed is what was read, and not what a server says its digest is.
    let digest = approval.asked.digest()?;
    ensure!(
        digest == approval.digest && approval.id.to_string() == id,
        "the server's request does not fit its digest; nothing was signed"
    );
    let answer = Answer {
        person: client.profile().person_id,
        audience: client.profile().trust_domain.parse()?,
        issued_at: SystemClock.now(),
        approval: approval.id,
        digest,
        approve,
        reason,
    };
    let key = client.key();
    let header = SigningHeader::new(APPROVAL_TYP).kid(key.jwk().thumbprint().to_string());
    let jws = sign(&header, &answer.to_claims()?, key.signer())?;
    let path = format!("/v1/approvals/{id}/answer");
    let body = serde_json::json!({ "jws": jws });
    let answered: Approval = client.post(&path, &body).await?;
    output.show(&answered, in_words)
}

fn in_words(approval: &Approval) -> String {
    let asked = &approval.asked;
    let requirements: Vec<&str> = asked.requirements.iter().map(Name::as_str).collect();
    let facts = [
        ["state", &stage(&approval.stage)],
        ["agent", asked.agent.as_str()],
        ["task", &asked.task.to_string()],
        ["tool", &format!("{}/{}", asked.server, asked.tool)],
        ["arguments", &asked.arguments],
        ["required by", &requirements.join(", ")],
        ["until", &instant(approval.deadline)],
    ]
    // What an agent or a server wrote does nothing to the terminal in which a person decides.
    .map(|[name, value]| [name.to_owned(), plain(value).into_owned()]);
    table(["approval", &approval.id.to_string()], facts)
}

fn stage(stage: &Stage) -> String {
    match stage {
        Stage::Pending {} => "waits for an answer".to_owned(),
        Stage::Approved { at, by, .. } => {
            format!("approved by {by} at {}, once", instant(*at))
        }
        Stage::Denied { at, by, reason, .. } => {
            format!("denied by {by} at {}: {reason}", instant(*at))
        }
        Stage::TimedOut { at } => format!("nobody answered until {}", instant(*at)),
        Stage::Withdrawn { at, why } => format!("withdrawn at {}: {why}", instant(*at)),
        Stage::Used { at, decision } => format!("used at {} ({decision})", instant(*at)),
    }
}
