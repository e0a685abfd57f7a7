//! Giving a token back (RFC 7009): the run that it belongs to ends.

use aims_oauth::ReceivedTokenHandle;
use aims_types::{Actor, Cx};
use aims_x509::PeerId;
use bytes::Bytes;

use super::introspect::counting;
use crate::tokens::{Shown, TokenError, agent_client, use_client};
use crate::{ControlPlane, Fault, approvals, instances};

/// How an instance ends whose token was given back.
const REVOKED: &str = "its token was revoked";

/// Ends the instance of a token that its holder gives back, with everything issued to it, and
/// waits until every enforcement point has acknowledged that. A token that does not count any more
/// is answered alike (RFC 7009 §2.2).
pub(super) async fn revoke(
    plane: &ControlPlane,
    cx: &mut Cx,
    (form, peer): (&[u8], Option<PeerId>),
) -> Result<Bytes, TokenError> {
    let ReceivedTokenHandle { token, client } = ReceivedTokenHandle::parse(form)?;
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    let shown = Shown { client, peer };
    let client = agent_client(plane, cx, txn.as_mut(), shown).await?;
    cx.actor = Actor::Agent(client.agent.id);
    use_client(plane, txn.as_mut(), cx, (client.once.as_ref(), None)).await?;
    let Some(token) = counting(plane, cx, txn.as_mut(), token.expose()).await? else {
        txn.commit(Vec::new()).await?;
        return Ok(Bytes::new());
    };
    // RFC 7009 §2.1: a client revokes what was issued to it.
    if token.common.client_id != client.agent.spiffe_id.as_str() {
        return Err(TokenError::ForeignToken);
    }
    let missing = || Fault::Inconsistent("the instance of a token is not stored".to_owned());
    let instance = txn.instance(token.instance).await?.ok_or_else(missing)?;
    let how = (revision, REVOKED);
    let mut events = instances::all_ended(txn.as_mut(), cx, vec![instance], how).await?;
    events.extend(approvals::withdrawn(txn.as_mut(), cx).await?);
    txn.commit(events).await?;
    plane.publish(revision).await;
    Ok(Bytes::new())
}
