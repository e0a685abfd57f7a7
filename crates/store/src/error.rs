//! What can go wrong in an engine.

/// A storage operation that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine can't be reached or is too busy; nothing changed; try again later.
    #[error("the store is unavailable: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another transaction was first; nothing changed; read again and retry.
    #[error("another change was first")]
    Raced,
    /// Something with this name or id exists already, perhaps retired.
    #[error("a {what} with this name or id exists or existed")]
    Duplicate {
        /// What kind of thing.
        what: &'static str,
    },
    /// A stored value can't be read back.
    #[error("table `{table}`, column `{column}`, row `{row}`: {reason}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// Which row.
        row: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An event can't become a record; nothing changed.
    #[error("the change can't be recorded: {0}")]
    Record(#[from] aims_model::RecordError),
}
