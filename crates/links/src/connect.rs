//! What a CONNECT request is for, in the one spelling that proofs, decisions and records name.

use std::fmt;

use http::{Method, Request};

/// The host and port that a CONNECT request names (RFC 9110 §9.3.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectTarget {
    /// The host in lower case and without a dot at the end, as authority spells it.
    pub host: String,
    /// The port; never 0.
    pub port: u16,
}

impl ConnectTarget {
    /// What the request names, if it is a CONNECT request to a host and a port and names no user.
    pub fn of<T>(request: &Request<T>) -> Option<Self> {
        if request.method() != Method::CONNECT {
            return None;
        }
        let authority = request.uri().authority()?;
        let (host, port) = (authority.host(), authority.port()?);
        // Nothing stands before the host, between it and the port, or behind.
        if authority.as_str() != format!("{host}:{port}") || port.as_u16() == 0 {
            return None;
        }
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host).to_owned();
        let port = port.as_u16();
        // No label is empty (RFC 1034 §3.1): a second dot at the end would make two spellings.
        let named = host.split('.').all(|label| !label.is_empty());
        named.then_some(Self { host, port })
    }

    /// What the proof of such a request names, at the gateways whose resource this is.
    pub fn resource(&self, resource: &str) -> String {
        format!("{resource}/connect/{self}")
    }
}

impl fmt::Display for ConnectTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str) -> Option<ConnectTarget> {
        let request = Request::connect(uri).body(()).ok()?;
        ConnectTarget::of(&request)
    }

    #[test]
    fn a_target_is_a_host_in_its_one_spelling_and_a_port() {
        let good = Some(ConnectTarget {
            host: "a.example".to_owned(),
            port: 443,
        });
        assert_eq!(target("a.example:443"), good);
        assert_eq!(target("A.Example.:443"), good);
        for bad in [
            "a.example",
            "a.example:0",
            "u@a.example:443",
            "/x",
            ".:443",
            "a..:443",
            "a..b:443",
            "~[2001:db8::1]:443",
        ] {
            assert_eq!(target(bad), None, "{bad}");
        }
        let get = Request::get("a.example:443").body(()).unwrap();
        assert_eq!(ConnectTarget::of(&get), None);
    }

    /// A node that passes a request on proves what the gateway expects.
    #[test]
    fn however_a_host_is_spelled_its_proof_names_the_same() {
        for uri in ["a.example:443", "A.EXAMPLE:443", "a.example.:443"] {
            let named = target(uri).map(|target| target.resource("https://g.example"));
            let expected = "https://g.example/connect/a.example:443";
            assert_eq!(named.as_deref(), Some(expected), "{uri}");
            // What goes on is read as the same.
            let again = target(uri).map(|target| target.to_string());
            assert_eq!(again.as_deref().and_then(target), target(uri));
        }
    }
}
