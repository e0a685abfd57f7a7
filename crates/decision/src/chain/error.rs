//! Why grants are not a chain.

use aims_authority::Wider;
use aims_jose::{ParseJwsError, VerifyError};
use aims_model::GrantError;
use aims_model::grant::CHAIN_LEN_MAX;
use aims_oauth::WorkloadIdentityError;

/// Why grants are not a chain. `hop` counts from the root, starting at 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No hop, too many, or another number than the token names.
    #[error("the chain has {found} hops where the token names {claimed}, at most {CHAIN_LEN_MAX}")]
    Length {
        /// How many grants there are.
        found: usize,
        /// How many the token names.
        claimed: usize,
    },
    /// The grant is not the one that the token commits to.
    #[error("hop {hop} is not the grant that the token names")]
    Digest {
        /// Which hop.
        hop: usize,
    },
    /// The token's own hash does not fit its list.
    #[error("the token's chain hash does not fit the digests that it lists")]
    Hash,
    /// Not a signed token at all.
    #[error("hop {hop} is not readable: {why}")]
    Form {
        /// Which hop.
        hop: usize,
        /// What is wrong with it.
        why: ParseJwsError,
    },
    /// The signature is not that of an enrolled grant key.
    #[error("hop {hop} is not signed by an enrolled key: {why}")]
    Signature {
        /// Which hop.
        hop: usize,
        /// What is wrong with it.
        why: VerifyError,
    },
    /// The claims are not a grant.
    #[error("hop {hop} is not a grant: {why}")]
    Claims {
        /// Which hop.
        hop: usize,
        /// What is wrong with it.
        why: GrantError,
    },
    /// The hop does not continue the one above.
    #[error("hop {hop} does not continue the hop above: its `{claim}` differs")]
    Link {
        /// Which hop.
        hop: usize,
        /// Which claim.
        claim: &'static str,
    },
    /// The hop is valid at no time that it may be.
    #[error("hop {hop} is not valid now: {why}")]
    Time {
        /// Which hop.
        hop: usize,
        /// How.
        why: &'static str,
    },
    /// The instance's request for the hop is not readable.
    #[error("the request for hop {hop} is not readable: {why}")]
    RequestForm {
        /// Which hop.
        hop: usize,
        /// What is wrong with it.
        why: ParseJwsError,
    },
    /// The request is not signed with the key of the instance that delegates.
    #[error("the request for hop {hop} is not signed by the instance that delegates: {why}")]
    RequestSignature {
        /// Which hop.
        hop: usize,
        /// What is wrong with it.
        why: VerifyError,
    },
    /// The claims are not a request.
    #[error("the request for hop {hop} is not readable: {why}")]
    RequestClaims {
        /// Which hop.
        hop: usize,
        /// What is wrong with it.
        why: GrantError,
    },
    /// The instance asked for something else than was granted.
    #[error("the delegator of hop {hop} did not ask for this grant: `{claim}` differs")]
    RequestScope {
        /// Which hop.
        hop: usize,
        /// Which claim.
        claim: &'static str,
    },
    /// The token that binds the delegating instance's key was not good when it asked.
    #[error("the identity of the instance that delegates hop {hop}: {why}")]
    Identity {
        /// Which hop.
        hop: usize,
        /// What is wrong with it.
        why: WorkloadIdentityError,
    },
    /// The token that binds the key is that of another instance or agent.
    #[error(
        "the identity of the instance that delegates hop {hop} is another's: `{claim}` differs"
    )]
    IdentityScope {
        /// Which hop.
        hop: usize,
        /// Which claim.
        claim: &'static str,
    },
    /// The hop allows more than the one above, or is not proven to allow less.
    #[error("hop {hop} is wider than the hop above: {why}")]
    Wider {
        /// Which hop.
        hop: usize,
        /// In what.
        why: Wider,
    },
    /// The consent at the root is not readable.
    #[error("the person's consent is not readable: {0}")]
    ConsentForm(ParseJwsError),
    /// The consent is not signed by the person.
    #[error("the consent is not signed by the person's enrolled key: {0}")]
    ConsentSignature(VerifyError),
    /// The claims are not a consent.
    #[error("the consent is not readable: {0}")]
    ConsentClaims(GrantError),
    /// The person consented to something else than was granted.
    #[error("the person did not consent to this grant: `{0}` differs")]
    ConsentScope(&'static str),
}
