//! Chains of grants, as gateways ask for them.

use aims_crypto::base64url;
use aims_links::{Chain, ChainHop, PrincipalFacts};
use aims_model::Grant;
use aims_model::grant::Delegator;
use aims_store::{Reader, StoredGrant};
use aims_types::Digest;

use crate::{ControlPlane, Fault};

impl ControlPlane {
    /// The chain that ends in the grant with this digest, root first; `None` if there is none.
    ///
    /// Gateways verify each hop themselves; whether it is live is a matter of cut-offs.
    pub async fn chain_of(&self, leaf: Digest) -> Result<Option<Chain>, Fault> {
        let mut reader = self.store().read().await?;
        let Some(stored) = reader.grant(&leaf).await? else {
            return Ok(None);
        };
        let grant = read_grant(&stored.jws)?;
        let Delegator::Person { id, .. } = &grant.delegator;
        let person = reader.person(*id).await?;
        let person = person.ok_or_else(|| missing("the person of a grant"))?;
        let mut hops = Vec::with_capacity(grant.ancestors.len() + 1);
        for ancestor in &grant.ancestors {
            let above = reader.grant_by_id(*ancestor).await?;
            let above = above.ok_or_else(|| missing("an ancestor of a grant"))?;
            hops.push(hop(reader.as_mut(), above).await?);
        }
        hops.push(hop(reader.as_mut(), stored).await?);
        Ok(Some(Chain { person, hops }))
    }
}

async fn hop(reader: &mut dyn Reader, stored: StoredGrant) -> Result<ChainHop, Fault> {
    let grant = read_grant(&stored.jws)?;
    let agent = reader.agent(grant.delegate).await?;
    let agent = agent.ok_or_else(|| missing("the delegate of a grant"))?;
    let owner = reader.person(agent.owner).await?;
    let owner = owner.ok_or_else(|| missing("the owner of an agent"))?;
    let delegate = PrincipalFacts {
        id: agent.id,
        name: agent.name,
        spiffe_id: agent.spiffe_id,
        owner: owner.name,
        environment: agent.environment,
    };
    Ok(ChainHop {
        jws: stored.jws,
        delegate,
    })
}

/// The claims of a grant that we signed and stored ourselves.
pub(crate) fn read_grant(jws: &str) -> Result<Grant, Fault> {
    let claims = payload(jws).ok_or_else(|| missing("the claims of a grant"))?;
    Grant::from_claims(&claims).map_err(|error| Fault::Inconsistent(error.to_string()))
}

/// The exact bytes that a compact JWS signs, so that only their canonical form is read.
pub(crate) fn payload(jws: &str) -> Option<Vec<u8>> {
    base64url::decode(jws.split('.').nth(1)?).ok()
}

fn missing(what: &str) -> Fault {
    Fault::Inconsistent(format!("{what} is not stored"))
}
