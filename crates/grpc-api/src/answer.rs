//! Answers that are a refusal or something else, and how they travel.

use aims_links::{Refusal, Svid};
use aims_model::Approval;

use crate::message::{MessageError, Read, json, needed, to_json};
use crate::proto;

/// Makes the conversions of an answer whose `oneof` has a refusal and one other arm.
macro_rules! answers {
    ($($wire:ident, $module:ident, $arm:ident => $value:ty;)*) => {$(
        impl From<Result<$value, Refusal>> for proto::$wire {
            fn from(answer: Result<$value, Refusal>) -> Self {
                use proto::$module::Answer;
                let answer = match answer {
                    Ok(value) => Answer::$arm(value.into()),
                    Err(refusal) => Answer::Refusal(refusal.into()),
                };
                let answer = Some(answer);
                Self { answer }
            }
        }

        impl TryFrom<proto::$wire> for Result<$value, Refusal> {
            type Error = MessageError;

            fn try_from(answer: proto::$wire) -> Read<Self> {
                use proto::$module::Answer;
                Ok(match needed("answer", answer.answer)? {
                    Answer::$arm(value) => Ok(<$value>::try_from(value).map_err(into_error)?),
                    Answer::Refusal(refusal) => Err(refusal.try_into()?),
                })
            }
        }
    )*};
}

answers! {
    SvidAnswer, svid_answer, Svid => Svid;
    LeaseAnswer, lease_answer, Lease => aims_links::LeaseGrant;
    OrderAnswer, order_answer, Order => aims_links::LaunchOrder;
    InstanceAnswer, instance_answer, Grant => aims_links::InstanceGrant;
    JwtAnswer, jwt_answer, Jwt => aims_links::JwtSvid;
    ServiceAnswer, service_answer, Grants => Vec<aims_links::ServiceGrant>;
    JoinAnswer, join_answer, Joined => aims_links::Joined;
    CredentialAnswer, credential_answer, Credential => aims_links::CredentialLease;
}

/// Some conversions can't fail and some can; both end here.
fn into_error<E: Into<MessageError>>(error: E) -> MessageError {
    error.into()
}

impl From<std::convert::Infallible> for MessageError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl From<aims_links::Joined> for proto::Joined {
    fn from(joined: aims_links::Joined) -> Self {
        Self {
            point: joined.point.to_string(),
            trust_domain: joined.trust_domain.to_string(),
            issuer: joined.issuer,
            resource: joined.resource,
            svid: Some(joined.svid.into()),
        }
    }
}

impl TryFrom<proto::Joined> for aims_links::Joined {
    type Error = MessageError;

    fn try_from(joined: proto::Joined) -> Read<Self> {
        use crate::message::text;
        Ok(Self {
            point: text("point", &joined.point)?,
            trust_domain: text("trust_domain", &joined.trust_domain)?,
            issuer: joined.issuer,
            resource: joined.resource,
            svid: needed("svid", joined.svid)?.into(),
        })
    }
}

impl From<Result<Approval, Refusal>> for proto::ApprovalAnswer {
    fn from(answer: Result<Approval, Refusal>) -> Self {
        use proto::approval_answer::Answer;
        let answer = match answer {
            Ok(approval) => Answer::ApprovalJson(to_json(&approval)),
            Err(refusal) => Answer::Refusal(refusal.into()),
        };
        let answer = Some(answer);
        Self { answer }
    }
}

/// The answer to a question about a request for approval; nothing where there is none.
pub(crate) fn approval(answer: proto::ApprovalAnswer) -> Read<Option<Result<Approval, Refusal>>> {
    use proto::approval_answer::Answer;
    Ok(match answer.answer {
        None => None,
        Some(Answer::ApprovalJson(bytes)) => Some(Ok(json("approval", &bytes)?)),
        Some(Answer::Refusal(refusal)) => Some(Err(refusal.try_into()?)),
    })
}
