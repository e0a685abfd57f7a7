//! Proofs: one file for one permitted action, verified offline with nothing but the log's key.
//!
//! # In scope
//! - [`ProofFile`]: the one canonical encoding, as `docs/proof-format.md` specifies it;
//! - [`Gathering`]: which records the claim of one permit rests on, found one by one in a log of
//!   any length; the verifier holds a file to the same rule;
//! - [`verify`]: signatures, inclusion, evidence, every hop, approval, policy, and the decision
//!   made again;
//! - [`Claims`]: what records claim, given those before them; the checker of a whole log and the
//!   verifier of a proof share it;
//! - [`Used`], [`Tools`]: what a decision used, in the form that its record commits to.
//!
//! # Out of scope
//! - reading the log and its tiles (`aims-audit`, `aims-control`), files and command lines.
//!
//! # Specifications
//! - RFC 8785 (canonical JSON, integers only), RFC 9162 §2.1 (inclusion and consistency), C2SP
//!   signed-note and tlog-checkpoint, RFC 7515 (signatures).
//!
//! # Limits
//! - [`FILE_LEN_MAX`], [`RECORDS_MAX`]; what one file can't show is in [`LIMITS`].

mod check;
mod facts;
mod file;
mod gather;
mod kinds;
mod part;
mod report;
mod rerun;
mod select;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tools;
mod used;
mod verify;

pub use check::{
    ApprovalProblem, Claimed, Claims, GrantProblem, KeyProblem, PermitProblem, Problem,
};
pub use facts::FactError;
pub use file::{
    FILE_LEN_MAX, FORMAT, FormatError, Included, Materials, ProofFile, RECORDS_MAX, SALT_LEN, Since,
};
pub use gather::Gathering;
pub use kinds::may_write;
pub use report::{Approval, Hop, LIMITS, Log, Rerun, Verified};
pub use rerun::RerunError;
pub use select::SelectError;
pub use tools::{CompileError, Tools};
pub use used::{AgentUsed, Used};
pub use verify::{Trust, VerifyError, verify};
