//! The MCP endpoints: sessions of agents, each with a tool server of its own.

pub(crate) mod call;
pub(crate) mod endpoint;
pub(crate) mod flight;
pub(crate) mod open;
pub(crate) mod parked;
pub(crate) mod registry;
pub(crate) mod session;
