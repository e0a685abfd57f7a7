//! An agent that hands a part of its authority on.

use std::time::Duration;

use aims_crypto::Signer;
use aims_jose::{SigningHeader, sign};
use aims_model::Grant;
use aims_model::grant::{DELEGATION_TYP, DelegationRequest, Delegator, grant_digest};
use aims_oauth::WorkloadIdentityClaims;
use aims_types::{Id, Revision};

use super::agent::Agent;
use super::{ISSUER, NOW, Task, World, authority, domain, kid};

impl World {
    /// What the agent hands on to the agent `name`, as the server grants it.
    pub(crate) fn delegate(
        &self,
        n: u128,
        from: (&Task, &Agent<'_>),
        name: &str,
        authority_text: &str,
    ) -> Task {
        let (parent, agent) = from;
        let request = DelegationRequest {
            instance: agent.instance(),
            audience: domain(),
            jti: format!("request-{n}"),
            issued_at: NOW,
            parent: grant_digest(&parent.jws),
            agent: name.parse().unwrap(),
            purpose: "write a part".parse().unwrap(),
            deadline: NOW.plus(Duration::from_hours(1)),
            authority: authority(authority_text),
        };
        let header = SigningHeader::new(DELEGATION_TYP);
        let signed = sign(&header, &request.to_claims().unwrap(), agent.key.as_ref()).unwrap();
        let grant = Grant {
            id: Id::from_u128(n),
            issuer: domain(),
            task: parent.id,
            purpose: request.purpose.clone(),
            delegator: Delegator::Agent {
                id: parent.grant.delegate,
                spiffe_id: parent.grant.delegate_spiffe_id.clone(),
                instance: agent.instance(),
                request: signed,
                wit: self.wit(parent, agent),
            },
            delegate: Id::from_u128(200 + n),
            delegate_spiffe_id: format!("spiffe://aims.test/agent/{name}").parse().unwrap(),
            ancestors: [&parent.grant.ancestors[..], &[parent.grant.id]].concat(),
            parent: Some(request.parent),
            authority: request.authority,
            revision: Revision::new(10),
            issued_at: NOW,
            expires_at: NOW.plus(Duration::from_hours(1)),
        };
        self.enter(grant, parent.hops(), name)
    }

    /// The workload identity token of the instance.
    fn wit(&self, task: &Task, agent: &Agent<'_>) -> String {
        let claims = WorkloadIdentityClaims {
            issuer: Some(ISSUER.to_owned()),
            subject: task.grant.delegate_spiffe_id.clone(),
            instance: agent.instance(),
            key: *agent.key.public(),
            issued_at: NOW,
            expires_at: NOW.plus(Duration::from_mins(10)),
            token: Id::from_u128(800),
        };
        let key = self.keys.token.as_ref();
        claims.create(key, &kid(key)).unwrap()
    }
}
