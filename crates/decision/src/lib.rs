//! The decision on one action: pure, total, and with its reasons.
//!
//! An action is permitted when its chain is verified and live, every hop's authority allows it,
//! the organisation's policies permit it for each distinct principal of the chain, every
//! requirement is met, and one use can be set aside on every hop.
//!
//! # In scope
//! - [`verify_chain`]: signed grants, the person's consent and the requests of the instances that
//!   delegated become a [`VerifiedChain`];
//! - [`verify_approval`]: a person's signed answer becomes an [`Approved`] call;
//! - [`decide()`]: a [`Case`] becomes a [`Decision`]; only it makes a [`Permit`];
//! - [`Budgets`]: one ledger per delegation, charged on all hops or on none;
//! - [`CutOffs`]: what is dead, by one look-up per subject.
//!
//! # Out of scope
//! - I/O, clocks, records and their durability (the gateway); one hop's algebra
//!   (`aims-authority`); Cedar (`aims-policy`).
//!
//! # Specifications
//! - RFC 7515 (signatures of grants, consents, requests and answers), RFC 9396 (authority),
//!   draft-ietf-wimse-workload-creds (the identity that binds an instance's key).
//!
//! # Limits
//! - [`CHAIN_LEN_MAX`], [`CLOCK_SKEW_MAX`], [`CONSENT_AGE_MAX`].

mod approval;
mod budget;
mod chain;
mod cutoff;
mod decide;
mod describe;

pub use aims_model::grant::CHAIN_LEN_MAX;
pub use approval::{ApprovalError, Approved, Question, verify_approval};
pub use budget::{Budgets, OverBudget, Reserved, ReservedError};
pub use chain::{
    CLOCK_SKEW_MAX, CONSENT_AGE_MAX, ChainError, ChainKeys, Hop, Presented, VerifiedChain,
    verify_chain,
};
pub use cutoff::{CutOffs, cut_off, describe};
pub use decide::{
    Case, Decision, Denied, Findings, HopFinding, Needed, Permit, PrincipalFinding, PrincipalName,
    Reason, decide, listed,
};
pub use describe::{describe_refusal, quoted, short};
