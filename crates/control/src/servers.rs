//! Tool servers: registration with pinned tools.

mod list;
mod register;

pub use list::ListServersError;
pub use register::{RegisterServer, RegisterServerError};
