//! Bringing a policy version into force.

use aims_crypto::sha256;
use aims_model::PolicyVersion;
use aims_types::Cx;

use crate::access::{AccessError, Operator};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::policies::activated_event;
use crate::recording::Attempt;
use crate::rules::{self, RulesError};
use crate::{Committed, ControlPlane, Fault};

/// Why a policy text did not come into force.
#[derive(Debug, thiserror::Error)]
pub enum ActivatePolicyError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The text does not validate; each mistake has its line and column.
    #[error("the policy is not valid: {0}")]
    Invalid(#[from] RulesError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(ActivatePolicyError);

impl Refused for ActivatePolicyError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Invalid(_) => "invalid_policy",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// Validates a policy text against the registered tools and brings it into force. Operators
    /// only.
    pub async fn policy_activate(
        &self,
        cx: &Cx,
        text: &str,
    ) -> Result<Committed<PolicyVersion>, ActivatePolicyError> {
        let (cx, text) = (cx.clone(), text.to_owned());
        self.to_the_end(|plane| async move {
            let attempt = Attempt::new("policy_activate", &sha256(text.as_bytes()).to_string());
            let done = activate(&plane, &cx, text).await;
            plane.recorded(&cx, attempt, done).await
        })
        .await
    }
}

async fn activate(
    plane: &ControlPlane,
    cx: &Cx,
    text: String,
) -> Result<Committed<PolicyVersion>, ActivatePolicyError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    let operator = Operator::admit(cx, txn.as_mut()).await?;
    rules::compile(&text, &txn.servers().await?)?;
    let policy = PolicyVersion {
        id: cx.id()?,
        digest: sha256(text.as_bytes()),
        text,
        author: Some(operator.person().id),
        activated_at: cx.now,
    };
    txn.policy_insert(&policy).await?;
    txn.commit(vec![activated_event(cx, &policy)]).await?;
    Ok(plane.published(policy, revision).await)
}
