//! Publishing: what gateways decide against, in the order of revisions.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aims_links::{ControlState, Enforce, EnforceError, LinkError};
use aims_model::{EnrolledKey, KeyPurpose};
use aims_store::Reader;
use aims_types::{Gateway, Id, Revision};
use futures_util::future::join_all;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::{ControlPlane, Fault};

/// The purposes of keys whose signatures gateways check.
const PUBLISHED: [KeyPurpose; 5] = [
    KeyPurpose::Token,
    KeyPurpose::Grant,
    KeyPurpose::Log,
    KeyPurpose::Node,
    KeyPurpose::Person,
];

/// How long a gateway may take to apply a state before it counts as lapsed. It ends what is under
/// way and waits until that is gone, which takes a moment.
pub const APPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// A change that is durable, and which gateways have not taken it over.
#[derive(Debug, Clone)]
pub struct Committed<T> {
    /// What came of it.
    pub value: T,
    /// The revision at which it is in force.
    pub revision: Revision,
    /// The gateways that did not acknowledge it; empty when all did.
    pub lapsed: Vec<Lapse>,
}

/// A gateway that did not take over a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lapse {
    /// Which.
    pub gateway: Id<Gateway>,
    /// Why.
    pub why: String,
    /// Whether it is known to deny everything until it gets a usable state.
    pub denies_everything: bool,
}

/// The gateways, and the state that they were given last.
pub(crate) struct Publisher {
    /// Held while a state is read and pushed, so that no older state follows a newer one.
    turn: Mutex<Turn>,
    /// Who may ship records and look at tool servers. Apart from `turn`, so that a gateway that is
    /// taking over a state may call back.
    joined: RwLock<BTreeMap<Id<Gateway>, Arc<dyn Enforce>>>,
    /// How long a gateway may take.
    patience: Duration,
    /// Pushes under way, those too that nobody waits for any more.
    pushes: TaskTracker,
}

#[derive(Default)]
struct Turn {
    gateways: BTreeMap<Id<Gateway>, Attached>,
    newest: Option<Arc<ControlState>>,
}

struct Attached {
    link: Arc<dyn Enforce>,
    /// The revision that it acknowledged last.
    at: Revision,
    /// A push that took too long. The next one waits for it: a gateway never has two at a time,
    /// and what it began is not broken off in the middle.
    late: Option<Push>,
}

type Push = JoinHandle<Result<Revision, EnforceError>>;

impl ControlPlane {
    /// What gateways decide against now.
    pub async fn state(&self) -> Result<ControlState, Fault> {
        let mut reader = self.store().read().await?;
        self.read_state(reader.as_mut()).await
    }

    /// Wraps a change that was committed at `revision`, after pushing it to every gateway.
    pub(crate) async fn published<T>(&self, value: T, revision: Revision) -> Committed<T> {
        Committed {
            value,
            revision,
            lapsed: self.publish(revision).await,
        }
    }

    /// Brings every gateway to a state at `revision` or later, and waits for all of them. Gives
    /// those that did not acknowledge.
    pub(crate) async fn publish(&self, revision: Revision) -> Vec<Lapse> {
        let mut turn = self.publisher().turn.lock().await;
        if turn.gateways.values().all(|gateway| gateway.at >= revision) {
            return Vec::new();
        }
        let state = match self.newest_state(&turn).await {
            Ok(state) => state,
            Err(fault) => {
                tracing::error!(%revision, %fault, "the state can't be read for the gateways");
                return turn.all_lapsed(revision, &fault.to_string());
            }
        };
        turn.newest = Some(Arc::clone(&state));
        let behind = turn
            .gateways
            .iter_mut()
            .filter(|(_, gateway)| gateway.at < state.revision);
        let pushes = behind.map(|(id, gateway)| self.publisher().push(*id, gateway, &state));
        join_all(pushes).await.into_iter().flatten().collect()
    }

    /// Gives a gateway the newest state, and from then on every later one.
    pub(crate) async fn attach(
        &self,
        id: Id<Gateway>,
        link: Arc<dyn Enforce>,
    ) -> Result<Revision, AttachError> {
        let mut turn = self.publisher().turn.lock().await;
        let state = self.newest_state(&turn).await?;
        self.publisher().join(id, Arc::clone(&link));
        let mut attached = Attached {
            link,
            at: Revision::new(0),
            late: None,
        };
        let applied = self.publisher().apply(&mut attached, &state).await;
        let at = match applied {
            Ok(at) if at >= state.revision => at,
            refused => {
                turn.gateways.remove(&id);
                self.publisher().leave(id);
                let at = refused?;
                return Err(AttachError::Behind {
                    at,
                    wanted: state.revision,
                });
            }
        };
        turn.newest = Some(state);
        attached.at = at;
        turn.gateways.insert(id, attached);
        Ok(at)
    }

    async fn newest_state(&self, turn: &Turn) -> Result<Arc<ControlState>, Fault> {
        let mut reader = self.store().read().await?;
        if let Some(newest) = &turn.newest
            && newest.revision == reader.revision().await?
        {
            return Ok(Arc::clone(newest));
        }
        let state = self.read_state(reader.as_mut()).await?;
        Ok(Arc::new(match &turn.newest {
            Some(before) => sharing(state, before),
            None => state,
        }))
    }

    async fn read_state(&self, reader: &mut dyn Reader) -> Result<ControlState, Fault> {
        let revision = reader.revision().await?;
        let policy = reader.policy_current().await?;
        let policy =
            policy.ok_or_else(|| Fault::Inconsistent("no policy is in force".to_owned()))?;
        let mut keys: Vec<EnrolledKey> = Vec::new();
        for purpose in PUBLISHED {
            keys.extend(reader.keys(purpose).await?);
        }
        Ok(ControlState {
            revision,
            issuer: self.parts().config.issuer.clone(),
            policy: Arc::new(policy),
            servers: Arc::new(reader.servers().await?),
            keys: Arc::new(keys),
            cutoffs: Arc::new(reader.cutoffs().await?),
        })
    }
}

impl Publisher {
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            turn: Mutex::default(),
            joined: RwLock::default(),
            patience,
            pushes: TaskTracker::new(),
        }
    }

    /// Gives a gateway a state; says if it does not take it over.
    async fn push(
        &self,
        id: Id<Gateway>,
        gateway: &mut Attached,
        state: &Arc<ControlState>,
    ) -> Option<Lapse> {
        let (why, denies_everything) = match self.apply(gateway, state).await {
            Ok(at) => {
                gateway.at = gateway.at.max(at);
                if at >= state.revision {
                    return None;
                }
                (format!("it stays at revision {at}"), false)
            }
            Err(error @ EnforceError::Unusable { .. }) => (error.to_string(), true),
            Err(error @ EnforceError::Link(_)) => (error.to_string(), false),
        };
        tracing::warn!(gateway = %id, revision = %state.revision, why, "a gateway lapsed");
        Some(Lapse {
            gateway: id,
            why,
            denies_everything,
        })
    }

    /// What a gateway answers in time.
    async fn apply(
        &self,
        gateway: &mut Attached,
        state: &Arc<ControlState>,
    ) -> Result<Revision, EnforceError> {
        let Attached { link, late, .. } = gateway;
        let answer = async {
            if let Some(earlier) = late {
                // What it says of an older state does not matter any more.
                let _ = earlier.await;
            }
            let (link, state) = (Arc::clone(link), Arc::clone(state));
            let apply = self.pushes.spawn(async move { link.apply(state).await });
            let answer = late.insert(apply).await;
            *late = None;
            answer
        };
        match tokio::time::timeout(self.patience, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(no_answer("it failed while it took over the state")),
            Err(_) => Err(no_answer("it did not answer in time")),
        }
    }

    /// A gateway to ask about a tool server.
    pub(crate) fn any_gateway(&self) -> Option<Arc<dyn Enforce>> {
        let joined = self.joined.read().unwrap_or_else(PoisonError::into_inner);
        joined.values().next().map(Arc::clone)
    }

    /// Whether a gateway has joined.
    pub(crate) fn knows(&self, id: Id<Gateway>) -> bool {
        self.joined
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(&id)
    }

    fn join(&self, id: Id<Gateway>, link: Arc<dyn Enforce>) {
        self.joined
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, link);
    }

    fn leave(&self, id: Id<Gateway>) {
        self.joined
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }
}

impl Turn {
    fn all_lapsed(&self, revision: Revision, why: &str) -> Vec<Lapse> {
        let behind = self
            .gateways
            .iter()
            .filter(|(_, gateway)| gateway.at < revision);
        let lapse = |(id, _): (&Id<Gateway>, &Attached)| Lapse {
            gateway: *id,
            why: why.to_owned(),
            denies_everything: false,
        };
        behind.map(lapse).collect()
    }
}

/// Why a gateway was not attached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    #[error(transparent)]
    Enforce(#[from] EnforceError),
    #[error("the gateway is at revision {at} where {wanted} is in force")]
    Behind { at: Revision, wanted: Revision },
    #[error(transparent)]
    Internal(#[from] Fault),
}

fn no_answer(reason: &str) -> EnforceError {
    let reason = reason.to_owned();
    LinkError {
        peer: "gateway",
        reason,
    }
    .into()
}

/// Keeps what did not change as the same value, so that gateways can tell by the pointer.
fn sharing(new: ControlState, before: &ControlState) -> ControlState {
    fn keep<T: PartialEq>(new: Arc<T>, before: &Arc<T>) -> Arc<T> {
        if *new == **before {
            Arc::clone(before)
        } else {
            new
        }
    }
    ControlState {
        policy: keep(new.policy, &before.policy),
        servers: keep(new.servers, &before.servers),
        keys: keep(new.keys, &before.keys),
        cutoffs: keep(new.cutoffs, &before.cutoffs),
        ..new
    }
}
