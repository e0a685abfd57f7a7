//! The context of one operation: who asks, when, and where randomness comes from.

use std::sync::Arc;

use crate::id::{Agent, Gateway, Node, Person, Request};
use crate::{BootTime, Id, Timestamp};

/// A source of unpredictable bytes.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`, or fails without having filled them usefully.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError>;
}

/// The system could not give randomness. Nothing that needs it may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's random number generator failed")]
pub struct EntropyError;

/// Wall time and boot time.
pub trait Clock: Send + Sync {
    /// The wall time.
    fn now(&self) -> Timestamp;
    /// The time on `CLOCK_BOOTTIME`.
    fn boot(&self) -> BootTime;
}

/// The authenticated principal on whose request an operation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// A person, authenticated by an enrolled key.
    Person(Id<Person>),
    /// A node, authenticated by its enrolled key.
    Node(Id<Node>),
    /// An enforcement point.
    Gateway(Id<Gateway>),
    /// An agent that runs elsewhere, authenticated by its enrolled key.
    Agent(Id<Agent>),
    /// The server itself: initialisation, expiry, housekeeping.
    Server,
}

/// What every use case receives: `now` is read once per request.
#[derive(Clone)]
pub struct Cx {
    /// Who asks.
    pub actor: Actor,
    /// The instant of the request.
    pub now: Timestamp,
    /// Correlates everything that the request causes.
    pub request: Id<Request>,
    /// The source of randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Cx {
    /// The context of a request by `actor` that arrived at `now`.
    pub fn new(
        actor: Actor,
        now: Timestamp,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, EntropyError> {
        let request = Id::new(now, entropy.as_ref())?;
        Ok(Self {
            actor,
            now,
            request,
            entropy,
        })
    }

    /// A new id for an object created by this operation.
    pub fn id<K: crate::Kind>(&self) -> Result<Id<K>, EntropyError> {
        Id::new(self.now, self.entropy.as_ref())
    }
}
