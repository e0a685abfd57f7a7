//! How an upstream is reached and what may be asked of it.

mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use aims_authority::{Host, HttpMethod, HttpPath, Problem};
use serde::{Deserialize, Serialize};

/// Most endpoints of one upstream.
pub const ENDPOINTS_MAX: usize = 64;
/// Most headers that are added to each request.
pub const HEADERS_MAX: usize = 16;
/// Longest bundle of certificates, in bytes.
pub const CA_LEN_MAX: usize = 64 << 10;
/// Longest body of a request, in bytes: what the door takes.
pub const REQUEST_BYTES_MAX: u64 = 1 << 20;
/// Longest body of an answer, in bytes.
pub const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// Longest time that one request may take, in seconds.
pub const SECONDS_MAX: u32 = 3600;

/// How an upstream is reached and what may be asked of it: nothing that is not named here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawUpstreamSpec", into = "RawUpstreamSpec")]
pub struct UpstreamSpec {
    origin: Origin,
    ca: Option<String>,
    private: bool,
    credential: CredentialUse,
    headers: BTreeMap<String, String>,
    endpoints: Vec<Endpoint>,
    bounds: Bounds,
}

/// Scheme, host and port (RFC 6454); the scheme is always `https`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    host: Host,
    port: NonZeroU16,
}

/// How the credential goes into a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialUse {
    header: String,
    scheme: Option<String>,
}

/// A part of what the upstream offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    methods: BTreeSet<HttpMethod>,
    path: HttpPath,
}

/// Bounds on one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Longest body of the request, in bytes.
    pub request_bytes: u64,
    /// Longest body of the answer, in bytes.
    pub answer_bytes: u64,
    /// How long it may take until the answer's last byte, in seconds.
    pub seconds: u32,
}

/// The form of [`UpstreamSpec`] before it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawUpstreamSpec {
    /// `https://host` or `https://host:port`.
    pub url: String,
    /// The certificates that the server's has to lead to (PEM); without them those that the
    /// gateway's host trusts.
    #[serde(default)]
    pub ca: Option<String>,
    /// Whether its name may lead to an address that is not public.
    #[serde(default)]
    pub private: bool,
    /// How the credential goes into a request.
    #[serde(default)]
    pub credential: RawCredentialUse,
    /// Headers that are added to each request, instead of the agent's.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What it offers.
    pub endpoints: Vec<RawEndpoint>,
    /// Bounds on one request.
    #[serde(default)]
    pub limits: RawBounds,
}

/// The form of [`CredentialUse`] before it is read: by default `authorization: Bearer …`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCredentialUse {
    /// The header.
    #[serde(default)]
    pub header: Option<String>,
    /// What stands before the credential in it.
    #[serde(default)]
    pub scheme: Option<String>,
}

/// The form of [`Endpoint`] before it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawEndpoint {
    /// The methods.
    pub methods: Vec<String>,
    /// The path at or below which requests go.
    pub path: String,
}

/// The form of [`Bounds`] before it is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawBounds {
    /// Longest body of the request, in bytes.
    #[serde(default)]
    pub request_bytes: Option<u64>,
    /// Longest body of the answer, in bytes.
    #[serde(default)]
    pub answer_bytes: Option<u64>,
    /// How long it may take, in seconds.
    #[serde(default)]
    pub seconds: Option<u32>,
}

/// Why something does not describe an upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The URL is not an `https` origin.
    #[error("`url` is `https://host` or `https://host:port`, without path, query and user")]
    Url,
    /// The certificates are not PEM.
    #[error("`ca` holds certificates in PEM, and nothing else, at most {CA_LEN_MAX} bytes")]
    Ca,
    /// The header of the credential can't be one.
    #[error("the credential can't go into a header `{0}`")]
    CredentialHeader(String),
    /// What stands before the credential is not a token.
    #[error("`scheme` is a word such as `Bearer`")]
    Scheme,
    /// A fixed header can't be one.
    #[error("the header `{0}` can't be added to requests")]
    Header(String),
    /// Too many headers.
    #[error("at most {HEADERS_MAX} headers are added to requests")]
    Headers,
    /// An endpoint can't be read.
    #[error("endpoint `{path}`: {problem}")]
    Endpoint {
        /// Its path.
        path: String,
        /// What is wrong.
        problem: Problem,
    },
    /// There is nothing that may be asked, or too much.
    #[error("1 to {ENDPOINTS_MAX} endpoints are accepted, each with at least one method")]
    Endpoints,
    /// A bound is outside of what a gateway can do.
    #[error("`{name}` is a whole number from 1 to {max}")]
    Bound {
        /// Which.
        name: &'static str,
        /// The most that is accepted.
        max: u64,
    },
}

impl UpstreamSpec {
    /// Where it is.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The certificates that the server's has to lead to (PEM), if they are named.
    pub fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    /// Whether its name may lead to an address that is not public.
    pub const fn private(&self) -> bool {
        self.private
    }

    /// How the credential goes into a request.
    pub const fn credential(&self) -> &CredentialUse {
        &self.credential
    }

    /// Headers that are added to each request, by name in lower case.
    pub const fn headers(&self) -> &BTreeMap<String, String> {
        &self.headers
    }

    /// What it offers.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Bounds on one request.
    pub const fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Whether it offers this at all.
    pub fn offers(&self, method: HttpMethod, path: &str) -> bool {
        let offered = |one: &Endpoint| one.methods.contains(&method) && one.path.holds(path);
        self.endpoints.iter().any(offered)
    }
}

impl Origin {
    /// The host.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port.get()
    }

    /// Host and port as the header `Host` has them (RFC 9110 §7.2): the usual port is left out.
    pub fn authority(&self) -> String {
        let host = self.host.as_str();
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        match self.port.get() {
            443 => host,
            port => format!("{host}:{port}"),
        }
    }
}

impl CredentialUse {
    /// The header, in lower case.
    pub fn header(&self) -> &str {
        &self.header
    }

    /// What stands before the credential.
    pub fn scheme(&self) -> Option<&str> {
        self.scheme.as_deref()
    }
}

impl Endpoint {
    /// The methods.
    pub const fn methods(&self) -> &BTreeSet<HttpMethod> {
        &self.methods
    }

    /// The path at or below which requests go.
    pub const fn path(&self) -> &HttpPath {
        &self.path
    }
}

impl FromStr for Origin {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("https://").ok_or(SpecError::Url)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = if let Some(bracketed) = rest.strip_prefix('[') {
            let (host, port) = bracketed.split_once(']').ok_or(SpecError::Url)?;
            if !host.contains(':') {
                return Err(SpecError::Url);
            }
            (host, port)
        } else {
            rest.find(':').map_or((rest, ""), |at| rest.split_at(at))
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => 443,
            Some(digits) if !digits.starts_with(['0', '+']) => {
                digits.parse::<u16>().map_err(|_| SpecError::Url)?
            }
            _ => return Err(SpecError::Url),
        };
        Ok(Self {
            host: host.parse().map_err(|_| SpecError::Url)?,
            port: NonZeroU16::new(port).ok_or(SpecError::Url)?,
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority())
    }
}
