//! OAuth 2.1 as AIMS uses it: sender-constrained tokens, token exchange, JWT assertions.
//!
//! Pure: every time is passed in, nothing is fetched, keys come through traits.
//!
//! # In scope
//! - [`dpop`]: proofs of possession and the cache that refuses their replay;
//! - [`ClientAssertion`], [`PersonGrant`], [`SvidAssertion`]: who asks, by a signed assertion;
//! - [`WorkloadIdentity`]: the workload identity token of an instance;
//! - [`TokenRequest`], [`TokenResponse`], [`ErrorResponse`]: the messages of the token endpoint;
//! - [`AccessToken`]: what a resource reads, and [`authenticate`]: token and proof together;
//! - [`ReceivedTokenHandle`], [`active`] and [`inactive`]: introspection and revocation;
//! - [`Challenge`], [`Nonces`], metadata documents, well-known URLs.
//!
//! # Out of scope
//! - the authorization endpoint, refresh tokens, bearer tokens: AIMS has none;
//! - policy, revocation, storage of replay state across processes, HTTP itself.
//!
//! # Specifications
//! - RFC 6749 §4.4 and §5, OAuth 2.1 (draft of 2026-05), RFC 7009, RFC 7519, RFC 7662, RFC 7523
//!   with draft-ietf-oauth-rfc7523bis-11, RFC 8414, RFC 8693, RFC 8707, RFC 9068, RFC 9396,
//!   RFC 9449, RFC 9728, draft-ietf-wimse-workload-creds (2026-08),
//!   draft-ietf-oauth-spiffe-client-auth (2026-08), draft-mcguinness-oauth-actor-profile.
//!
//! # Limits
//! - [`ACT_DEPTH_MAX`], [`CHAIN_LEN_MAX`], [`ACCESS_TOKEN_LIFE_MAX`], [`ASSERTION_LIFE_MAX`],
//!   [`WORKLOAD_IDENTITY_LIFE_MAX`], [`FORM_LEN_MAX`], [`FORM_PARAMETERS_MAX`],
//!   [`AUTHORIZATION_DETAILS_LEN_MAX`], [`AUTHORIZATION_DETAILS_MAX`], [`JTI_LEN_MAX`],
//!   [`dpop::PROOF_WINDOW`], [`NONCE_LIFE`], [`CLOCK_LEEWAY`].
//!
//! ```
//! use aims_crypto::{Alg, SigningKey};
//! use aims_oauth::HttpUri;
//! use aims_oauth::dpop::{Expect, PROOF_WINDOW, Proof};
//! use aims_types::Timestamp;
//!
//! let key = SigningKey::generate(Alg::Es256)?;
//! let htu = HttpUri::of_request("https://gateway.example/mcp?session=1")?;
//! let iat = Timestamp::from_unix_secs(1_800_000_000);
//! let proof = Proof { htm: "POST", htu: &htu, iat, jti: "n4yJ2c", access_token: Some("at") };
//! let text = proof.create(&key)?;
//!
//! let now = Timestamp::from_unix_secs(1_800_000_001);
//! let expect = Expect {
//!     htm: "POST",
//!     htu: &htu,
//!     now,
//!     access_token: Some("at"),
//!     jkt: None,
//!     window: PROOF_WINDOW,
//! };
//! assert_eq!(Proof::verify(&text, &expect)?.jti(), "n4yJ2c");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access_token;
mod act;
mod assertion;
mod authenticate;
mod challenge;
mod details;
pub mod dpop;
mod error_response;
mod form;
mod introspection;
mod life;
mod metadata;
mod nonce;
mod replay;
mod svid_assertion;
mod token_handle;
mod token_request;
mod token_response;
mod token_type;
mod uri;
mod workload_identity;

pub use access_token::{
    ACCESS_TOKEN_LIFE_MAX, ADMIN_SCOPE, AccessToken, AccessTokenError, CHAIN_LEN_MAX, Chain,
    ChainError, CreateAccessTokenError, InstanceToken, PersonToken, TokenCommon, TokenExpect,
    VerifiedAccessToken,
};
pub use act::{ACT_DEPTH_MAX, ActError, Actor, ActorChain};
pub use assertion::{
    ASSERTION_LIFE_MAX, AssertionClaims, AssertionError, AssertionExpect, ClientAssertion,
    PersonGrant, UnverifiedClientAssertion, UnverifiedPersonGrant,
};
pub use authenticate::{
    Authenticated, PresentationError, Presented, authenticate, prove_possession,
};
pub use challenge::{Challenge, ChallengeError};
pub use details::{
    AUTHORIZATION_DETAILS_LEN_MAX, AUTHORIZATION_DETAILS_MAX, AuthorizationDetailsError,
    check_authorization_details, parse_authorization_details,
};
pub use error_response::{ErrorCode, ErrorResponse, ParseErrorResponseError};
pub use form::{FORM_LEN_MAX, FORM_PARAMETERS_MAX, FormError};
pub use introspection::{active, inactive};
pub use life::{CLOCK_LEEWAY, JTI_LEN_MAX, LifeError};
pub use metadata::{
    AuthorizationServerMetadata, MetadataError, ProtectedResourceMetadata, WellKnown, well_known,
};
pub use nonce::{NONCE_LIFE, NonceError, Nonces};
pub use replay::{ReplayCache, ReplayError, UseOnce};
pub use svid_assertion::{
    PROCESS_CLAIM, SvidAssertion, SvidAssertionError, UnverifiedSvidAssertion,
};
pub use token_handle::{ReceivedTokenHandle, invalid_client};
pub use token_request::{
    ClientCredential, ClientCredentials, ReceivedClient, ReceivedTokenRequest, TokenExchange,
    TokenRequest, TokenRequestError, TypedToken,
};
pub use token_response::{ParseTokenResponseError, TokenResponse};
pub use token_type::{TokenType, UnknownTokenType};
pub use uri::{HttpUri, HttpUriError};
pub use workload_identity::{
    CreateWorkloadIdentityError, WORKLOAD_IDENTITY_LIFE_MAX, WorkloadIdentity,
    WorkloadIdentityClaims, WorkloadIdentityError, WorkloadIdentityExpect,
};

#[cfg(test)]
mod testing;
