//! Chains of grants, as gateways ask for them.

use aims_audit::TaskKey;
use aims_crypto::base64url;
use aims_jose::{SigningHeader, sign};
use aims_links::{Chain, ChainHop, PrincipalFacts};
use aims_model::grant::{Delegator, GRANT_TYP, grant_digest};
use aims_model::{Grant, MaterialKey};
use aims_store::{Reader, StoredGrant};
use aims_types::{Agent, Digest, Id, Task};

use crate::liveness::hops_of;
use crate::{ControlPlane, Fault};

impl ControlPlane {
    /// The chain that ends in the grant with this digest, root first, with the key of its task's
    /// materials; `None` if there is none, or if that key was erased.
    ///
    /// Gateways verify each hop themselves; whether it is live is a matter of cut-offs.
    pub async fn chain_of(&self, leaf: Digest) -> Result<Option<Chain>, Fault> {
        let mut reader = self.store().read().await?;
        let Some(stored) = reader.grant(&leaf).await? else {
            return Ok(None);
        };
        let materials = match self.vault().key(reader.as_mut(), stored.task).await? {
            TaskKey::Kept(key) => Some(key),
            TaskKey::Never => self.new_material_key(stored.task).await?,
            TaskKey::Erased => None,
        };
        let Some(materials) = materials else {
            return Ok(None);
        };
        let (mut person, mut hops) = (None, Vec::new());
        for (stored, grant) in hops_of(reader.as_mut(), stored.id).await? {
            if let Delegator::Person { id, .. } = &grant.delegator {
                person = reader.person(*id).await?;
            }
            let delegate = facts(reader.as_mut(), grant.delegate).await?;
            hops.push(ChainHop {
                jws: stored.jws,
                delegate,
            });
        }
        let person = person.ok_or_else(|| missing("the person of a grant"))?;
        Ok(Some(Chain {
            person,
            hops,
            materials,
        }))
    }

    /// The key that what decisions of the task use is sealed under, made before the first of them.
    async fn new_material_key(&self, task: Id<Task>) -> Result<Option<MaterialKey>, Fault> {
        let mut txn = self.store().begin().await?;
        let key = self.vault().key_or_new(txn.as_mut(), task).await?;
        txn.commit(Vec::new()).await?;
        Ok(key)
    }
}

async fn facts(reader: &mut dyn Reader, delegate: Id<Agent>) -> Result<PrincipalFacts, Fault> {
    let agent = reader.agent(delegate).await?;
    let agent = agent.ok_or_else(|| missing("the delegate of a grant"))?;
    let owner = reader.person(agent.owner).await?;
    let owner = owner.ok_or_else(|| missing("the owner of an agent"))?;
    Ok(PrincipalFacts {
        id: agent.id,
        name: agent.name,
        spiffe_id: agent.spiffe_id,
        owner: owner.name,
        environment: agent.environment,
    })
}

/// Signs a grant with the server's key.
pub(crate) fn sign_grant(plane: &ControlPlane, grant: &Grant) -> Result<StoredGrant, Fault> {
    let claims = grant.to_claims();
    let claims = claims.map_err(|error| Fault::Inconsistent(error.to_string()))?;
    let key = &plane.keyring().grant;
    let header = SigningHeader::new(GRANT_TYP).kid(&key.kid);
    let jws = sign(&header, &claims, &key.signer)?;
    Ok(StoredGrant {
        id: grant.id,
        digest: grant_digest(&jws),
        task: grant.task,
        jws,
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
