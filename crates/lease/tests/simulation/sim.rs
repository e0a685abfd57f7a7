//! A seeded world in which server, gateways and nodes speak over a network that fails, on machines
//! that stop, with clocks that drift and jump.
//!
//! The protocol is that of the crate: [`aims_lease::Holder`], [`aims_lease::Book`],
//! [`aims_lease::Barrier`] and [`aims_lease::Claim`] are used as they are, and what is around them
//! does what a server, gateway or node does. One step is one event. Every step is looked at
//! ([`oracle`]); nothing but the seed decides what happens.

#![expect(
    clippy::indexing_slicing,
    reason = "tables are indexed by the simulation's own numbers, which are bounded by constants"
)]

mod faults;
mod host;
mod oracle;
mod point;
mod random;
mod server;
mod trees;
mod variant;
mod world;

pub(crate) use oracle::{Finding, Stats};
pub(crate) use variant::Variant;
pub(crate) use world::{Report, World};
