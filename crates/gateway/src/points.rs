//! The keys of nodes and gateways, as a state names them.

use std::collections::HashSet;

use aims_model::{EnrolledKey, KeyOwner, KeyPurpose};
use aims_types::{Gateway, Id};

/// The thumbprints of the keys with which a node or gateway shows who it is.
pub(crate) fn enrolled(keys: &[EnrolledKey]) -> HashSet<String> {
    let is_point = |key: &&EnrolledKey| {
        matches!(key.purpose, KeyPurpose::Node | KeyPurpose::Gateway) && key.retired_at.is_none()
    };
    let enrolled = keys.iter().filter(is_point);
    enrolled.map(|key| key.kid.clone()).collect()
}

/// Whether a gateway had a key, and has none any more.
pub(crate) fn is_retired(keys: &[EnrolledKey], gateway: Id<Gateway>) -> bool {
    let own = |key: &&EnrolledKey| {
        key.purpose == KeyPurpose::Gateway && key.owner == KeyOwner::Gateway(gateway)
    };
    let mut own = keys.iter().filter(own).peekable();
    own.peek().is_some() && own.all(|key| key.retired_at.is_some())
}
