//! The server as a program part: configuration, wiring, the log's rhythm, shutdown.
//!
//! # In scope
//! - [`Config`]: `aims.toml`, every key overridable by the environment;
//! - [`initialise`]: bringing a trust domain into being on the embedded store;
//! - [`Server::link`]: nodes and gateways of other hosts, over gRPC and mutual TLS;
//! - [`Server`]: store, keys, log, control plane and their listeners, wired and drained.
//!
//! # Out of scope
//! - use cases (`aims-control`), routes (`aims-http-api`), node and gateway.

mod config;
mod init;
mod links;
mod log;
mod server;

pub use config::{
    ApiConfig, Config, ConfigError, EgressConfig, GatewayConfig, LeaseConfig, LinksConfig,
    ServicesConfig, WORKLOAD_SOCKET, load,
};
pub use init::{NewDomain, initialise, private_dir};
pub use server::{Server, bind_socket};

/// The policies that a new trust domain starts with.
pub const DEFAULT_POLICY: &str = include_str!("default_policy.cedar");
