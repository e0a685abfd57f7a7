//! The server as a program part: configuration, wiring, the log's rhythm, shutdown.
//!
//! # In scope
//! - [`Config`]: `aims.toml`, every key overridable by the environment;
//! - [`initialise`]: bringing a trust domain into being on the embedded store;
//! - [`Server::link`]: nodes and gateways of other hosts, over gRPC and mutual TLS;
//! - [`Server::oauth`]: the OAuth endpoints for agents that run elsewhere, over HTTPS;
//! - [`Server`]: store, keys, log, control plane and their listeners, wired and drained.
//!
//! # Out of scope
//! - use cases (`aims-control`), routes (`aims-http-api`), node and gateway.

mod config;
mod init;
mod links;
mod log;
mod server;
mod web;

pub use config::{
    AgentsConfig, ApiConfig, Config, ConfigError, EgressConfig, GatewayConfig, LeaseConfig,
    LinksConfig, OAuthConfig, PemFiles, ServicesConfig, WORKLOAD_SOCKET, load,
};
pub use init::{NewDomain, initialise, private_dir};
pub use server::{Server, bind_socket};
pub use web::shown;

/// The policies that a new trust domain starts with.
pub const DEFAULT_POLICY: &str = include_str!("default_policy.cedar");
