//! Both sides, over loopback TCP with mutual TLS.

mod asked;
mod bounds;
mod joining;
pub(crate) mod rich;
mod routes;
mod services;
mod sessions;
mod stopping;
mod world;
