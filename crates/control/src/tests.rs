//! Tests of the use cases over the real embedded store. The gateway is a small peer of its own.

mod access;
mod agents;
mod attacks;
mod authn;
mod events;
mod init;
mod instances;
mod joins;
mod peer;
mod people;
mod publish;
mod races;
mod runs;
mod servers;
mod tasks;
mod tokens;
mod world;
