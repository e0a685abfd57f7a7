//! The routers over a real control plane and a real store: every route of the table, attacked.

mod bodies;
mod credentials;
mod oauth;
mod people;
mod public;
mod stage;
mod table;
mod world;
