//! One process with its identities: what it holds, when that is renewed, and its end.

use std::sync::Arc;
use std::time::Duration;

use aims_crypto::{Alg, SigningKey};
use aims_links::{LinkError, Refusal, ServiceCall, ServiceGrant, Svid};
use aims_model::ProcessSeen;
use aims_types::{Id, Instance, Secret, Timestamp};
use aims_x509::SvidRequest;
use tokio::sync::{Mutex, watch};
use tonic::Status;

use crate::api::Inner;
use crate::peer::{Glance, Peer};

/// A certificate with its key, as a caller gets it.
#[derive(Debug)]
pub(crate) struct Exported {
    pub(crate) spiffe_id: String,
    /// Leaf first, in DER, one after the other.
    pub(crate) chain: Vec<u8>,
    /// PKCS#8.
    pub(crate) key: Secret<Vec<u8>>,
    pub(crate) hint: String,
}

/// All certificates of a process, issued together.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) svids: Vec<Exported>,
    /// Before half of the shortest life.
    renew_at: Timestamp,
    /// When the first of them ends.
    expires_at: Timestamp,
}

impl Issued {
    /// Whether it is time to renew.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.renew_at <= now
    }
}

/// What a process holds.
#[derive(Debug, Clone)]
pub(crate) enum Holds {
    /// Nothing yet, or nothing any more that is valid.
    Nothing,
    /// These.
    These(Arc<Issued>),
    /// Nothing ever again: what to say.
    Over(Status),
}

/// A process that is an instance of at least one service.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) peer: Arc<Peer>,
    pub(crate) seen: ProcessSeen,
    pub(crate) glance: Glance,
    /// The oldest registration first: it is the default identity.
    pub(crate) grants: Vec<ServiceGrant>,
    pub(crate) holds: watch::Sender<Holds>,
    /// Held by each stream of SVIDs.
    pub(crate) listening: Arc<()>,
    /// One issue at a time.
    issuing: Mutex<()>,
}

impl Process {
    pub(crate) fn new(
        peer: Arc<Peer>,
        (seen, glance): (ProcessSeen, Glance),
        grants: Vec<ServiceGrant>,
    ) -> Self {
        Self {
            peer,
            seen,
            glance,
            grants,
            holds: watch::Sender::new(Holds::Nothing),
            listening: Arc::default(),
            issuing: Mutex::default(),
        }
    }

    /// Whether it is one of these instances.
    pub(crate) fn is_any_of(&self, instances: &[Id<Instance>]) -> bool {
        let is_one = |grant: &ServiceGrant| instances.contains(&grant.instance);
        self.grants.iter().any(is_one)
    }

    /// Takes everything away for ever; what is under way hears why.
    pub(crate) fn over(&self, why: Status) {
        self.holds.send_if_modified(|holds| {
            let ends = !matches!(holds, Holds::Over(_));
            if ends {
                *holds = Holds::Over(why);
            }
            ends
        });
    }

    /// Refuses what was taken away.
    pub(crate) fn check(&self) -> Result<(), Status> {
        match &*self.holds.borrow() {
            Holds::Over(why) => Err(why.clone()),
            Holds::Nothing | Holds::These(_) => Ok(()),
        }
    }

    /// Issues what there is none of, or what is due to be renewed. What is still valid stays when
    /// the server does not answer: there is no gap before its end.
    pub(crate) async fn issue(&self, inner: &Inner) -> Result<(), Status> {
        let _one = self.issuing.lock().await;
        let now = inner.clock.now();
        let valid = match &*self.holds.borrow() {
            Holds::Over(why) => return Err(why.clone()),
            Holds::These(issued) if !issued.is_due(now) => return Ok(()),
            Holds::These(issued) => now < issued.expires_at,
            Holds::Nothing => false,
        };
        match self.issued(inner).await {
            Ok(issued) => self.hold(issued),
            Err(NotIssued::Refused(refusal)) => {
                let why = Status::permission_denied(refusal.reason);
                self.over(why.clone());
                Err(why)
            }
            Err(NotIssued::Unavailable(why)) if valid => {
                tracing::warn!(why, "an SVID was not renewed");
                Ok(())
            }
            Err(NotIssued::Unavailable(why)) => Err(Status::unavailable(why)),
        }
    }

    /// Forgets what is not valid any more and what nobody waits for.
    pub(crate) fn forget(&self, now: Timestamp) {
        self.holds.send_if_modified(|holds| {
            let ended = matches!(holds, Holds::These(issued) if issued.expires_at <= now);
            if ended {
                *holds = Holds::Nothing;
            }
            false
        });
    }

    fn hold(&self, issued: Issued) -> Result<(), Status> {
        let mut why = None;
        self.holds.send_if_modified(|holds| {
            if let Holds::Over(over) = holds {
                // It was cut off while the server answered.
                why = Some(over.clone());
                return false;
            }
            *holds = Holds::These(Arc::new(issued));
            true
        });
        why.map_or(Ok(()), Err)
    }

    async fn issued(&self, inner: &Inner) -> Result<Issued, NotIssued> {
        let mut svids = Vec::new();
        let mut ends: Option<Timestamp> = None;
        let now = inner.clock.now();
        for grant in &self.grants {
            let (exported, svid) = self.one(inner, grant).await?;
            ends = Some(ends.map_or(svid.expires_at, |end| end.min(svid.expires_at)));
            svids.push(exported);
        }
        let expires_at = ends.ok_or_else(|| unavailable("there is no identity"))?;
        let jitter = inner.jitter().map_err(|error| unavailable(&error))?;
        Ok(Issued {
            svids,
            renew_at: renew_at(now, expires_at, jitter),
            expires_at,
        })
    }

    async fn one(
        &self,
        inner: &Inner,
        grant: &ServiceGrant,
    ) -> Result<(Exported, Svid), NotIssued> {
        let key = SigningKey::generate(Alg::Es256).map_err(|error| unavailable(&error))?;
        let csr = SvidRequest::create(&key, Some(&grant.spiffe_id));
        let csr = csr.map_err(|error| unavailable(&error))?.into_der();
        let svid = inner.services.service_svid(self.call(inner, grant), csr);
        let svid = svid.await??;
        let exported = Exported {
            spiffe_id: grant.spiffe_id.to_string(),
            chain: svid.chain.concat(),
            key: key.to_pkcs8().map_err(|error| unavailable(&error))?,
            hint: grant.hint.clone(),
        };
        Ok((exported, svid))
    }

    /// A call to the server about one of its identities.
    pub(crate) fn call(&self, inner: &Inner, grant: &ServiceGrant) -> ServiceCall {
        ServiceCall {
            node: inner.config.node,
            instance: grant.instance,
            seen: self.seen.clone(),
        }
    }
}

/// Why nothing was issued.
#[derive(Debug)]
enum NotIssued {
    Refused(Refusal),
    Unavailable(String),
}

impl From<Refusal> for NotIssued {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<LinkError> for NotIssued {
    fn from(error: LinkError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

fn unavailable(why: &(impl ToString + ?Sized)) -> NotIssued {
    NotIssued::Unavailable(why.to_string())
}

/// Between four tenths and nine twentieths of the life, spread by `jitter`: before half of it, and
/// not for everybody at once.
fn renew_at(now: Timestamp, expires_at: Timestamp, jitter: u8) -> Timestamp {
    let life = expires_at.since(now);
    let spread = life / 20 * u32::from(jitter) / u32::from(u8::MAX);
    now.plus((life * 2 / 5 + spread).min((life / 2).saturating_sub(LOOK_EVERY)))
}

/// How often it is looked whether a process is what it was, and whether something is due.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_due_a_look_before_half_of_the_life_whatever_the_spread() {
        let now = Timestamp::from_unix_secs(1000);
        for (life, jitter) in [(10, 0), (10, 255), (20, 128), (300, 0), (300, 255)] {
            let life = Duration::from_secs(life);
            let at = renew_at(now, now.plus(life), jitter);
            assert!(now < at && at.plus(LOOK_EVERY) <= now.plus(life / 2));
        }
        // What ends at once is due at once.
        assert_eq!(renew_at(now, now, 9), now);
    }
}
