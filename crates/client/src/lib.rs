//! A person's side of the admin API: their key, their short token, a proof on every request.
//!
//! # In scope
//! - [`Profile`]: where the server is and which key is this person's;
//! - [`PersonKey`]: the key file, readable by its owner only;
//! - [`Client`]: authenticated calls over the server's Unix socket.
//!
//! # Out of scope
//! - what is asked and how answers are shown (the command line).
//!
//! # Specifications
//! - RFC 7523 (the person's assertion), RFC 9449 (DPoP), RFC 9457 (problem details),
//!   RFC 7468 and RFC 5958 (the key file: PKCS #8 in PEM).
//!
//! # Limits
//! - [`RESPONSE_LEN_MAX`].

mod call;
mod key;
mod profile;

pub use call::{Client, ClientError, Problem, RESPONSE_LEN_MAX};
pub use key::{PersonKey, PersonKeyError};
pub use profile::{Profile, ProfileError};
