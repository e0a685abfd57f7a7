//! Listing requests for approval.

use aims_model::Approval;
use aims_store::Reader;
use aims_types::{self as types, Cx, Id};

use crate::access::{AccessError, Enrolled};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::{ControlPlane, Fault};

/// Most requests in one listing.
pub const APPROVALS_LISTED_MAX: u32 = 1000;

/// Why requests are not listed.
#[derive(Debug, thiserror::Error)]
pub enum ListApprovalsError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

/// Why a request is not shown.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is no such request, or it is not for this person to see.
    #[error("there is no request for approval `{0}` that you may see")]
    Unknown(Id<types::Approval>),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(ListApprovalsError, ApprovalError);

impl Refused for ListApprovalsError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl Refused for ApprovalError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Unknown(_) => "unknown_approval",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// The requests that the person may see: those that are open, oldest first, or the newest of
    /// all, newest first. All for operators, approvers and auditors; for members those of tasks
    /// that they started or whose agent they own.
    pub async fn approvals(&self, cx: &Cx, all: bool) -> Result<Vec<Approval>, ListApprovalsError> {
        let mut reader = self.store().read().await?;
        let person = Enrolled::admit(cx, reader.as_mut()).await?;
        let listed = if all {
            reader.approvals(APPROVALS_LISTED_MAX).await?
        } else {
            reader.approvals_open().await?
        };
        let mut seen = Vec::with_capacity(listed.len());
        for approval in listed {
            if sees(reader.as_mut(), &person, &approval).await? {
                seen.push(approval);
            }
        }
        Ok(seen)
    }

    /// One request, if the person may see it.
    pub async fn approval_shown(
        &self,
        cx: &Cx,
        id: Id<types::Approval>,
    ) -> Result<Approval, ApprovalError> {
        let mut reader = self.store().read().await?;
        let person = Enrolled::admit(cx, reader.as_mut()).await?;
        let unknown = ApprovalError::Unknown(id);
        match reader.approval(id).await? {
            Some(approval) if sees(reader.as_mut(), &person, &approval).await? => Ok(approval),
            _ => Err(unknown),
        }
    }
}

async fn sees(
    reader: &mut dyn Reader,
    person: &Enrolled,
    approval: &Approval,
) -> Result<bool, Fault> {
    if person.sees_every_approval() {
        return Ok(true);
    }
    let missing = || Fault::Inconsistent("the task of an approval is not stored".to_owned());
    let task = reader
        .task(approval.asked.task)
        .await?
        .ok_or_else(missing)?;
    let agent = reader.agent(task.agent).await?.ok_or_else(missing)?;
    Ok(person.sees_task(&task, &agent))
}
