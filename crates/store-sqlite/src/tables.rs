//! One module per table or group of tables. The SQL is what PostgreSQL accepts too.

pub(crate) mod agents;
pub(crate) mod approvals;
pub(crate) mod cutoffs;
pub(crate) mod grants;
pub(crate) mod heads;
pub(crate) mod instances;
pub(crate) mod join_tokens;
pub(crate) mod keys;
pub(crate) mod leases;
pub(crate) mod log;
pub(crate) mod materials;
pub(crate) mod people;
pub(crate) mod policies;
pub(crate) mod replays;
pub(crate) mod runs;
pub(crate) mod servers;
pub(crate) mod services;
pub(crate) mod tasks;
pub(crate) mod tree_owners;
pub(crate) mod upstreams;
