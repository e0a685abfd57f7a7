//! Tests of the use cases over the real embedded store. The gateway is a small peer of its own.

mod access;
mod admit;
mod agents;
mod approvals;
mod attacks;
mod authn;
mod checked;
mod delegations;
mod erase;
mod events;
mod init;
mod instances;
mod joins;
mod kill;
mod leases;
mod peer;
mod people;
mod publish;
mod races;
mod runs;
mod servers;
mod tasks;
mod tokens;
mod trees;
mod world;
