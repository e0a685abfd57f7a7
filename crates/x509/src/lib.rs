//! X.509-SVIDs: the certificates that say which SPIFFE ID holds a key, and their one authority.
//!
//! # In scope
//! - [`CaCertificate`]: the self-signed signing certificate of a trust domain; its digest is what
//!   a joining process pins;
//! - [`SvidRequest`]: a PKCS#10 request, of which nothing is believed but the key whose possession
//!   it proves;
//! - [`Svid`]: leaf certificates, issued and read; [`Bundle`]; [`verify_svid`], the only way to a
//!   [`PeerId`].
//!
//! # Out of scope
//! - TLS (`aims-tls`); who may have which SPIFFE ID, and whether a key is still enrolled (the
//!   control plane); revocation lists; intermediate authorities.
//!
//! # Specifications
//! - SPIFFE X.509-SVID 1.0, SPIFFE-ID 1.0, RFC 5280 (certificates and paths), RFC 2986 (PKCS#10),
//!   RFC 5758 (ECDSA with SHA-256), RFC 7638 (thumbprints of keys).
//!
//! # Stricter than the specifications have to be
//! - keys and signatures are ES256 (P-256 with SHA-256) only;
//! - a leaf is signed directly by an authority of the bundle: the path length of ours is zero;
//! - an authority has no other use of its key than to sign certificates and revocation lists.
//!
//! # Limits
//! - [`CERTIFICATE_LEN_MAX`], [`REQUEST_LEN_MAX`], [`CHAIN_LEN_MAX`], [`BUNDLE_LEN_MAX`],
//!   [`HOSTS_MAX`], [`SERIAL_LEN_MAX`].
//!
//! ```
//! use aims_crypto::{Alg, Signer, SigningKey};
//! use aims_types::{Timestamp, TrustDomain};
//! use aims_x509::{Bundle, CaCertificate, Serial, Svid, SvidTemplate, Validity, verify_svid};
//!
//! let domain: TrustDomain = "aims.local".parse()?;
//! let validity = Validity::new(Timestamp::from_unix_secs(0), Timestamp::from_unix_secs(3600))?;
//! let ca_key = SigningKey::generate(Alg::Es256)?;
//! let ca = CaCertificate::issue(&ca_key, &domain, validity, &Serial::from_random([1; 16]))?;
//!
//! let key = SigningKey::generate(Alg::Es256)?;
//! let svid = Svid::issue(&ca, &ca_key, &SvidTemplate {
//!     public: key.public(),
//!     spiffe_id: &domain.id("server")?,
//!     hosts: &[],
//!     validity,
//!     serial: &Serial::from_random([2; 16]),
//! })?;
//!
//! let bundle = Bundle::new(vec![ca])?;
//! let peer = verify_svid(&[svid.der()], &bundle, Timestamp::from_unix_secs(60))?;
//! assert_eq!(peer.spiffe_id().as_str(), "spiffe://aims.local/server");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bundle;
mod ca;
mod certificate;
mod der;
mod issue;
mod request;
mod serial;
mod signer;
mod svid;
#[cfg(test)]
mod testing;
mod validity;
mod verify;

pub use bundle::{BUNDLE_LEN_MAX, Bundle, BundleError};
pub use ca::{CaCertificate, ParseCaError};
pub use certificate::{CERTIFICATE_LEN_MAX, CertificateError};
pub use issue::{HOSTS_MAX, IssueError};
pub use request::{
    CreateRequestError, IdMismatch, ParseRequestError, REQUEST_LEN_MAX, SvidRequest,
    VerifiedRequest,
};
pub use serial::{SERIAL_LEN_MAX, Serial};
pub use signer::signature_to_der;
pub use svid::{ParseSvidError, Svid, SvidTemplate};
pub use validity::{Validity, ValidityError};
pub use verify::{CHAIN_LEN_MAX, PeerId, VerifySvidError, verify_svid};
