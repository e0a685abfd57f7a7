//! Leases: until when a node or gateway may act on what the server said last, when a kill is
//! complete, and who owns a delegation tree.
//!
//! Pure state machines. The instants come from the caller, on `CLOCK_BOOTTIME`, which goes on while
//! a machine sleeps and does not follow the wall clock.
//!
//! # In scope
//! - [`Holder`]: a point's lease; [`Book`]: the rows that the server writes; [`Barrier`]: what a
//!   kill waits for; [`Claim`]: who owns a delegation tree;
//! - a deterministic simulation of server, gateways, nodes and a network that fails, which breaks
//!   the rules one by one to see that each is needed (`tests/`, `examples/simulate.rs`).
//!
//! # Out of scope
//! - transports, storage, clocks; what a cut-off covers (`aims-model`), budgets (`aims-authority`).
//!
//! # What a server, gateway or node has to do for this to hold
//! - The row of a lease is durable before its answer, and the answer's revision is read in the same
//!   transaction or later; a [`Barrier`] is made from the rows in the transaction of its cut-off.
//! - A point numbers its requests from a random number and reads boot time before it sends one.
//! - A new state is seen by every look at once. It is *in force* (for [`Holder::holds`], for
//!   renewals, and acknowledged) only when all that it cuts off has ended, what is between look and
//!   write included; so an effect is registered before its last look.
//! - That look, before the first byte and before each further one, is [`Holder::clears`] and the
//!   cut-offs and, for a gateway, that it owns the tree with an unchanged [`Held::term`].
//! - The owner of a tree names the epoch when it gives the tree back. It has at most its *window*
//!   of uses recorded, or about to be, that the server has not acknowledged, over all its epochs.
//! - Whoever takes a tree over charges what is unaccounted for to everything that was delegated
//!   before, and counts no approval of a state older than the take-over. An owner is accounted for
//!   by the end of its log, read after the revision of the take-over was in force there ([`Told`]).
//!
//! # Limits
//! - A lease is between [`LENGTH_MIN`] and [`LENGTH_MAX`]; the rates of two clocks may differ from
//!   true time by [`Terms::drift_margin`] per [`Terms::length`] each.
//! - No program can exclude that it is stopped between its last look at the lease and its write.
//!   [`Holder::clears`] demands that a margin is left, so a stop of up to that margin is covered.
//!   After a longer one an effect may start, or a chunk of bytes may go out, after the kill had
//!   returned. A holder that asks [`Holder::overrun`] right afterwards finds that out; the
//!   simulation does, the programs do not yet. This concerns lapsed points only: before a point
//!   acknowledges, it waits for everything between look and write.
//! - Rows of another boot of the server's host are waited for with the length in force now. If
//!   leases are made shorter, the server has to run for one of the longer leases before its host is
//!   started again.

mod book;
mod holder;
mod owners;
mod terms;

pub use book::{Barrier, Book, Standing};
pub use holder::{ASKS_MAX, Ask, Granted, Held, Holder, Ignored, LEASES_MAX, NotHeld};
pub use owners::{
    Claim, EPOCH_FIRST, Owner, Ownership, Told, UNACCOUNTED_MAX, Unavailable, Verdict, WINDOW_MAX,
    WINDOW_SHARE, window,
};
pub use terms::{
    DRIFT_MARGIN_DEFAULT, DRIFT_MARGIN_LEAST, DRIFT_MARGIN_MOST, LENGTH_DEFAULT, LENGTH_MAX,
    LENGTH_MIN, RENEWALS_PER_LEASE, Terms, TermsError,
};
