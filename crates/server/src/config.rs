//! `aims.toml`. An unknown key is an error with its line; every key can be overridden by an
//! environment variable: `AIMS_` and the key in capitals, with `__` between table and key
//! (`AIMS_API__LISTEN`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aims_control::{ServiceTerms, ServiceTermsError};
use aims_lease::{Terms, TermsError};
use aims_oauth::HttpUri;
use aims_types::TrustDomain;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What every override starts with.
const PREFIX: &str = "AIMS_";
/// The name of the SPIFFE Workload API's socket in the runtime directory.
pub const WORKLOAD_SOCKET: &str = "workload.sock";
/// Variables of the command line that are no configuration keys.
const NOT_KEYS: [&str; 2] = ["AIMS_PROFILE", "AIMS_LOG"];

/// How AIMS is set up on one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The trust domain: the first part of every identifier.
    pub trust_domain: TrustDomain,
    /// Database, encrypted keys, log. Readable by AIMS only.
    pub data_dir: PathBuf,
    /// Measured copies of what agents and tools run. Readable by their uids.
    pub stage_dir: PathBuf,
    /// The Unix sockets.
    pub runtime_dir: PathBuf,
    /// The key that the keys are encrypted under; outside `data_dir`, mode 600.
    pub master_key_file: PathBuf,
    /// The HTTP listener.
    #[serde(default)]
    pub api: ApiConfig,
    /// The enforcement point.
    #[serde(default)]
    pub gateway: GatewayConfig,
    /// Connections to hosts outside.
    #[serde(default)]
    pub egress: EgressConfig,
    /// Where nodes and gateways of other hosts reach the server; absent where there are none.
    /// `aims server` listens at its default without it.
    pub links: Option<LinksConfig>,
    /// The OAuth endpoints, for agents that run elsewhere; absent where there are none.
    pub oauth: Option<OAuthConfig>,
    /// Leases of nodes and gateways; the same on all hosts.
    #[serde(default)]
    pub lease: LeaseConfig,
    /// Services that others start, and the SPIFFE Workload API that they ask.
    #[serde(default)]
    pub services: ServicesConfig,
}

/// Services that others start, and the SPIFFE Workload API that they ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServicesConfig {
    /// How long their X.509-SVIDs live, in seconds.
    pub x509_secs: u64,
    /// How long their JWT-SVIDs live, in seconds.
    pub jwt_secs: u64,
    /// The socket of the Workload API; `workload.sock` in the runtime directory unless it is said.
    pub socket: Option<PathBuf>,
}

/// The OAuth endpoints, for agents that run elsewhere and hold their own keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OAuthConfig {
    /// Where it listens, over HTTPS.
    #[serde(default = "oauth_listen")]
    pub listen: SocketAddr,
    /// Where agents reach it, and the issuer of all tokens: `https://aims.example:8720`.
    pub issuer: String,
    /// Where agents reach the gateway, and the audience of all tokens.
    pub resource: String,
    /// The certificate that agents are shown; one of the trust domain's own authority without it.
    pub tls: Option<PemFiles>,
}

/// A certificate from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PemFiles {
    /// The chain in PEM form, leaf first.
    pub certificate: PathBuf,
    /// The private key of the leaf in PEM form.
    pub key: PathBuf,
}

/// Where a gateway listens for agents that run elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentsConfig {
    /// Where it listens, over HTTPS.
    #[serde(default = "agents_listen")]
    pub listen: SocketAddr,
    /// The certificate that agents are shown. Beside the server, one of the trust domain's own
    /// authority without it.
    pub tls: Option<PemFiles>,
}

/// Where nodes and gateways of other hosts reach the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinksConfig {
    /// Where it listens.
    pub listen: SocketAddr,
}

/// Leases: how long a kill waits for a node or gateway that does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeaseConfig {
    /// How long one is, in milliseconds.
    pub length_millis: u64,
    /// How much of it is left to clocks and pauses, in milliseconds.
    pub drift_margin_millis: u64,
}

/// The HTTP listener: health, metrics, and the public parts of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Where it listens.
    pub listen: SocketAddr,
}

/// The enforcement point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// How long one tool call may take, in seconds.
    pub call_secs_max: u64,
    /// First of the host uids reserved for agents and tools; used as root only.
    pub uid_base: u32,
    /// How many uids are reserved.
    pub uid_count: u32,
    /// Where it listens for agents that run elsewhere; absent where there are none.
    pub agents: Option<AgentsConfig>,
}

/// Connections to hosts outside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EgressConfig {
    /// Names that are resolved here instead of by DNS; their addresses may be private.
    pub hosts: BTreeMap<String, IpAddr>,
}

impl EgressConfig {
    /// Refuses a name that no connection ever names: they are compared in the one spelling of a
    /// host (RFC 1123 §2.1), in lower case and without a dot at the end.
    pub fn check(&self) -> Result<(), ConfigError> {
        let is_label = |label: &str| {
            let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            !label.is_empty() && label.bytes().all(allowed)
        };
        match self
            .hosts
            .keys()
            .find(|name| !name.split('.').all(is_label))
        {
            Some(name) => Err(ConfigError::Host(name.clone())),
            None => Ok(()),
        }
    }
}

/// The configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("`{path}` can't be read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A key is unknown, missing or has the wrong form.
    #[error("`{path}`: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, column, and what is wrong.
        reason: String,
    },
    /// Leases would be useless or unsafe.
    #[error("`lease`: {0}")]
    Lease(#[from] TermsError),
    /// What is issued to services would live too long, or too short to be renewed.
    #[error("`services`: {0}")]
    Services(#[from] ServiceTermsError),
    /// A name that agents use is not the base of URLs over HTTPS.
    #[error("`oauth.{key}` must be `https://` with a host and perhaps a port, without a path")]
    Base {
        /// Which key.
        key: &'static str,
    },
    /// Agents would get tokens for a gateway that does not listen, or the other way round.
    #[error("`gateway.agents` listens for tokens that nobody gets; add a table `oauth`")]
    NoOAuth,
    /// A host in a spelling that no connection has.
    #[error(
        "`egress.hosts` names `{0}`: write a host in lower case, with letters, digits and hyphens"
    )]
    Host(String),
    /// The keys' key lies where the keys are.
    #[error(
        "`master_key_file` lies inside `data_dir`; a backup of one would hold both: put it elsewhere"
    )]
    MasterKeyInside,
}

impl Default for ApiConfig {
    fn default() -> Self {
        let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8700);
        Self { listen }
    }
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            call_secs_max: 120,
            uid_base: 2_000_000_000,
            uid_count: 65_536,
            agents: None,
        }
    }
}

impl Default for LinksConfig {
    fn default() -> Self {
        let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8701);
        Self { listen }
    }
}

impl Default for LeaseConfig {
    fn default() -> Self {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let terms = Terms::default();
        Self {
            length_millis: millis(terms.length()),
            drift_margin_millis: millis(terms.drift_margin()),
        }
    }
}

impl Default for ServicesConfig {
    fn default() -> Self {
        let terms = ServiceTerms::default();
        Self {
            x509_secs: terms.x509().as_secs(),
            jwt_secs: terms.jwt().as_secs(),
            socket: None,
        }
    }
}

impl ServicesConfig {
    /// The lives, if they are neither too long nor too short.
    pub fn terms(&self) -> Result<ServiceTerms, ServiceTermsError> {
        ServiceTerms::new(
            Duration::from_secs(self.x509_secs),
            Duration::from_secs(self.jwt_secs),
        )
    }
}

impl LeaseConfig {
    /// The terms, if they work together.
    pub fn terms(&self) -> Result<Terms, TermsError> {
        Terms::new(
            Duration::from_millis(self.length_millis),
            Duration::from_millis(self.drift_margin_millis),
        )
    }
}

/// Reads a configuration at `path`, with overrides from `vars`, the environment.
pub fn load<T: Serialize + DeserializeOwned>(
    path: &Path,
    vars: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Io {
        path: path.to_owned(),
        source,
    })?;
    read(path, &text, vars)
}

/// Reads the text of the configuration at `path`.
pub(crate) fn read<T: Serialize + DeserializeOwned>(
    path: &Path,
    text: &str,
    vars: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let malformed = |error: toml::de::Error| ConfigError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    // Read once as written, so that a mistake is told with its line.
    let written: T = toml::from_str(text).map_err(malformed)?;
    let mut table = toml::Table::try_from(&written).map_err(|error| ConfigError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    for (name, value) in vars {
        if let Some(key) = key_of(&name) {
            override_key(&mut table, &key, &value);
        }
    }
    table.try_into().map_err(malformed)
}

impl Config {
    /// Reads `path`, with overrides from `vars`, the environment.
    pub fn load(
        path: &Path,
        vars: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        load::<Self>(path, vars)?.checked()
    }

    /// This, if its parts work together.
    pub(crate) fn checked(self) -> Result<Self, ConfigError> {
        self.lease.terms()?;
        self.services.terms()?;
        self.check_names()?;
        self.egress.check()?;
        if self.master_key_file.starts_with(&self.data_dir) {
            return Err(ConfigError::MasterKeyInside);
        }
        Ok(self)
    }

    fn check_names(&self) -> Result<(), ConfigError> {
        let Some(oauth) = &self.oauth else {
            return match self.gateway.agents {
                Some(_) => Err(ConfigError::NoOAuth),
                None => Ok(()),
            };
        };
        for (key, base) in [("issuer", &oauth.issuer), ("resource", &oauth.resource)] {
            host_of(base).ok_or(ConfigError::Base { key })?;
        }
        Ok(())
    }

    /// The issuer of tokens.
    pub fn issuer(&self) -> String {
        match &self.oauth {
            Some(oauth) => oauth.issuer.clone(),
            None => format!("https://{}", self.trust_domain),
        }
    }

    /// The resource (audience) of the gateway's endpoints.
    pub fn resource(&self) -> String {
        match &self.oauth {
            Some(oauth) => oauth.resource.clone(),
            None => format!("https://gateway.{}", self.trust_domain),
        }
    }

    /// The hosts by which agents know the server and the gateway.
    pub fn hosts(&self) -> Vec<String> {
        let bases = self.oauth.iter().flat_map(|o| [&o.issuer, &o.resource]);
        let hosts: BTreeSet<String> = bases.filter_map(|base| host_of(base)).collect();
        hosts.into_iter().collect()
    }

    /// The admin API's Unix socket.
    pub fn api_socket(&self) -> PathBuf {
        self.runtime_dir.join("api.sock")
    }

    /// The node's Unix socket.
    pub fn node_socket(&self) -> PathBuf {
        self.runtime_dir.join("node.sock")
    }

    /// The socket of the SPIFFE Workload API.
    pub fn workload_socket(&self) -> PathBuf {
        let default = || self.runtime_dir.join(WORKLOAD_SOCKET);
        self.services.socket.clone().unwrap_or_else(default)
    }

    /// Where the log's tiles are.
    pub fn tile_dir(&self) -> PathBuf {
        self.data_dir.join("log")
    }
}

/// The host of a base of URLs: `https://`, a host, perhaps a port, and nothing else, in the one
/// spelling in which it is compared byte by byte (RFC 8414 §3.3, RFC 9728 §3.3).
fn host_of(base: &str) -> Option<String> {
    let uri = HttpUri::parse(base).ok()?;
    let spelt_once = base.starts_with("https://") && uri.as_str().strip_suffix('/') == Some(base);
    let uri: http::Uri = base.parse().ok()?;
    let authority = uri.authority().filter(|_| spelt_once)?;
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    (authority.port_u16() != Some(0) && !host.is_empty()).then(|| host.to_owned())
}

const fn oauth_listen() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8720)
}

const fn agents_listen() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8711)
}

/// The path of keys that an environment variable names: `AIMS_API__LISTEN` is `api`, `listen`.
fn key_of(name: &str) -> Option<Vec<String>> {
    let rest = name
        .strip_prefix(PREFIX)
        .filter(|_| !NOT_KEYS.contains(&name))?;
    Some(rest.split("__").map(str::to_lowercase).collect())
}

fn override_key(table: &mut toml::Table, key: &[String], value: &str) {
    match key {
        [last] => {
            // Numbers, booleans and lists are written as in the file; anything else is text.
            let parsed = toml::from_str::<toml::Table>(&format!("value = {value}"));
            let parsed = parsed.ok().and_then(|mut table| table.remove("value"));
            let value = parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()));
            table.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let inner = table
                .entry(first.clone())
                .or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(inner) = inner {
                override_key(inner, rest, value);
            }
        }
        [] => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        trust_domain = "aims.local"
        data_dir = "/var/lib/aims/data"
        stage_dir = "/var/lib/aims/stage"
        runtime_dir = "/run/aims"
        master_key_file = "/etc/aims/master.key"
    "#;

    fn load(text: &str, vars: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("aims.toml");
        fs::write(&path, text).unwrap();
        let vars = vars
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(&path, vars)
    }

    #[test]
    fn keys_that_are_not_written_have_defaults() {
        let config = load(TEXT, &[]).unwrap();
        assert_eq!(config.api.listen.to_string(), "127.0.0.1:8700");
        assert_eq!(config.issuer(), "https://aims.local");
        assert_eq!(config.gateway, GatewayConfig::default());
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_line() {
        let error = load(&format!("{TEXT}\ndata_dirr = \"x\""), &[]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("data_dirr") && text.contains("line 8"),
            "{text}"
        );
    }

    #[test]
    fn the_environment_overrides_every_key() {
        let vars = [
            ("AIMS_TRUST_DOMAIN", "other.example"),
            ("AIMS_API__LISTEN", "127.0.0.1:9"),
            ("AIMS_GATEWAY__CALL_SECS_MAX", "7"),
            ("AIMS_PROFILE", "ignored"),
            ("PATH", "ignored"),
        ];
        let config = load(TEXT, &vars).unwrap();
        assert_eq!(config.trust_domain.as_str(), "other.example");
        assert_eq!(config.api.listen.port(), 9);
        assert_eq!(config.gateway.call_secs_max, 7);
    }

    #[test]
    fn an_override_of_an_unknown_key_is_an_error() {
        assert!(load(TEXT, &[("AIMS_API__LISTENN", "x")]).is_err());
        assert!(load(TEXT, &[("AIMS_SPEED", "fast")]).is_err());
    }

    #[test]
    fn hosts_are_named_in_the_one_spelling_that_connections_have() {
        let with = |host: &str| {
            let text = format!("{TEXT}\n[egress.hosts]\n\"{host}\" = \"127.0.0.1\"");
            load(&text, &[])
        };
        for good in ["pypi.org", "a", "xn--a-b.example", "10.0.0.1"] {
            assert_eq!(with(good).unwrap().egress.hosts.len(), 1, "{good}");
        }
        for bad in [
            "Pypi.org",
            "pypi.org.",
            ".",
            "",
            "a..b",
            "a_b.example",
            "é",
            "a b",
            "[::1]",
        ] {
            let refused = with(bad);
            assert!(matches!(refused, Err(ConfigError::Host(_))), "{bad}");
        }
    }

    #[test]
    fn agents_are_told_names_that_are_compared_byte_by_byte() {
        let with = |issuer: &str| {
            let text = format!(
                "{TEXT}\n[oauth]\nissuer = \"{issuer}\"\nresource = \"https://g.example:8711\""
            );
            load(&text, &[])
        };
        let good = with("https://as.example:8720").unwrap();
        assert_eq!(good.issuer(), "https://as.example:8720");
        assert_eq!(good.resource(), "https://g.example:8711");
        assert_eq!(good.hosts(), ["as.example", "g.example"]);
        assert_eq!(with("https://[::1]:8720").unwrap().hosts()[0], "::1");
        for bad in [
            "http://as.example",
            "https://as.example/",
            "https://as.example/x",
            "https://as.example?x",
            "https://as.example#x",
            "https://AS.example",
            "https://u@as.example",
            "https://as.example:443",
            "https://as.example:0",
            "https://as.example:872)",
            "https://as.example:08720",
            "https://1.2.3:8720",
            "https://",
            "https://:8720",
            "as.example",
        ] {
            let error = with(bad).unwrap_err();
            assert!(
                matches!(error, ConfigError::Base { key: "issuer" }),
                "{bad}"
            );
        }
        let alone = load(&format!("{TEXT}\n[gateway.agents]"), &[]);
        assert!(matches!(alone, Err(ConfigError::NoOAuth)));
    }

    #[test]
    fn the_keys_key_may_not_lie_with_the_keys() {
        let vars = [("AIMS_MASTER_KEY_FILE", "/var/lib/aims/data/master.key")];
        assert!(matches!(
            load(TEXT, &vars),
            Err(ConfigError::MasterKeyInside)
        ));
    }
}
