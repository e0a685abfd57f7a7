//! Which bytes are bodies and queries of the admin API, for the fuzz target `bodies`.

use serde::de::DeserializeOwned;

use super::{
    agents, approvals, kills, people, points, policy, proof, servers, services, tasks, upstreams,
};
use crate::body::object;

type Parser = fn(&[u8]) -> bool;

const BODIES: [Parser; 13] = [
    is::<agents::RawRegister>,
    is::<approvals::RawAnswer>,
    is::<kills::RawKill>,
    is::<people::RawEnrol>,
    is::<points::RawAllow>,
    is::<policy::RawPolicy>,
    is::<servers::RawRegister>,
    is::<services::RawRegister>,
    is::<tasks::RawStart>,
    is::<tasks::RawErase>,
    is::<tasks::RawRun>,
    is::<upstreams::RawAdd>,
    is::<upstreams::RawRotate>,
];

/// Whether these are the bytes of body `which`.
pub fn is_body(which: u8, bytes: &[u8]) -> bool {
    BODIES
        .get(usize::from(which) % BODIES.len())
        .is_some_and(|is_body| is_body(bytes))
}

/// Where a trace begins that a query asks for.
pub fn first_index(query: &str) -> Option<u64> {
    tasks::first_index(Some(query)).ok()
}

/// The checkpoint that a query for a proof names.
pub fn checkpoint(query: &str) -> Option<String> {
    proof::checkpoint(query).ok()
}

fn is<T: DeserializeOwned>(bytes: &[u8]) -> bool {
    object::<T>(bytes).is_ok()
}
