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
    /// The engine failed while a commit was under way: the change may have happened or not. Read
    /// again before repeating it.
    #[error("the store failed during a commit, which may have happened or not: {0}")]
    InDoubt(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Something with this name or id exists already, perhaps retired.
    #[error("a {what} with this name or id exists or existed")]
    Duplicate {
        /// What kind of thing.
        what: &'static str,
    },
    /// The value refers to something that is not there.
    #[error("the {what} refers to something that does not exist")]
    Dangling {
        /// What kind of thing refers to it.
        what: &'static str,
    },
    /// The value is too large to be stored, or contradicts itself.
    #[error("the {what} can't be stored: {reason}")]
    Unstorable {
        /// What kind of thing.
        what: &'static str,
        /// Why it can't.
        reason: String,
    },
    /// An entry does not continue the log; nothing changed.
    #[error("entry {index} does not continue the log: {reason}")]
    Broken {
        /// The index the entry would have in the log.
        index: u64,
        /// What does not fit.
        reason: String,
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
