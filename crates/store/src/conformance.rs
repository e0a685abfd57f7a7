//! The claims that every engine must hold, as a program that tries them on an empty store each.
//!
//! What only an engine can show of itself, that what was acknowledged survives a crash, is tested
//! beside the engine.

mod approvals;
mod atomicity;
mod entities;
mod log;
mod log_names;
mod materials;
mod names;
mod order;
mod outcome;
mod paging;
mod points;
mod replay;
mod sample;
mod snapshots;
mod upstreams;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::Store;
use outcome::Outcome;

type Checking = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A claim about an engine.
#[derive(Clone, Copy)]
pub struct Claim {
    /// What is claimed, as the path of a function.
    pub name: &'static str,
    check: fn(Arc<dyn Store>) -> Checking,
}

/// The claims that an engine does not hold.
#[derive(Debug)]
pub struct Failures {
    /// Name of the claim, and what was seen instead.
    pub claims: Vec<(&'static str, String)>,
}

macro_rules! claims {
    ($($module:ident::$claim:ident),* $(,)?) => {
        /// Every claim.
        pub const CLAIMS: &[Claim] = &[$(Claim {
            name: concat!(stringify!($module), "::", stringify!($claim)),
            check: |store| Box::pin($module::$claim(store)),
        }),*];
    };
}

claims! {
    approvals::approvals_round_trip,
    approvals::every_way_to_be_over_closes_the_question_for_ever,
    approvals::the_same_question_is_open_once,
    approvals::what_is_asked_never_changes,
    approvals::of_racing_questions_and_uses_exactly_one_wins,
    atomicity::what_is_dropped_leaves_no_trace,
    atomicity::what_is_committed_is_there_for_everybody,
    atomicity::an_event_that_no_record_can_hold_undoes_everything,
    atomicity::a_refused_change_leaves_the_transaction_usable,
    atomicity::a_dangling_reference_ends_the_transaction,
    entities::people_round_trip,
    entities::keys_round_trip,
    entities::agents_round_trip,
    entities::servers_round_trip,
    entities::services_round_trip,
    names::a_service_has_a_name_for_ever_and_a_process_a_service,
    entities::policies_round_trip_and_the_last_is_in_force,
    entities::tasks_and_grants_round_trip,
    entities::runs_round_trip,
    entities::instances_round_trip,
    entities::cutoffs_of_every_kind_round_trip,
    entities::the_trust_domain_is_created_once,
    entities::what_is_not_there_is_not_found,
    log::a_log_grows_and_is_read_back,
    log::what_does_not_continue_the_log_is_refused,
    log::another_head_than_expected_loses,
    log::of_racing_appends_exactly_one_wins,
    log_names::an_entry_is_found_by_each_of_its_names,
    log_names::what_was_not_appended_is_not_found,
    materials::material_is_kept_once,
    materials::a_key_is_kept_once,
    materials::what_is_erased_stays_erased,
    materials::an_erasure_that_is_rolled_back_is_none,
    materials::of_racing_erasures_exactly_one_is_the_first,
    names::a_name_is_taken_for_ever,
    names::ids_and_digests_are_taken_once,
    names::nothing_is_renamed,
    names::an_update_of_what_is_not_there_fails,
    names::what_is_referred_to_must_be_there,
    order::a_revision_is_taken_once_per_transaction,
    order::records_are_chained_in_the_order_given,
    order::concurrent_transactions_get_gapless_numbers_in_commit_order,
    order::a_revision_is_locked_until_its_transaction_ends,
    paging::the_outbox_is_read_in_pages,
    paging::the_log_is_read_in_pages,
    paging::tasks_come_newest_first,
    points::a_join_token_is_used_once,
    points::of_racing_joins_exactly_one_wins,
    points::leases_are_replaced_and_forgotten,
    points::a_lease_that_is_rolled_back_is_none,
    points::a_tree_has_one_owner_after_the_other,
    points::who_is_unaccounted_for_stays_until_it_is_not,
    points::of_racing_claims_on_a_tree_exactly_one_wins,
    replay::a_value_is_used_once,
    replay::of_two_racing_uses_exactly_one_is_the_first,
    replay::a_use_that_is_rolled_back_is_none,
    replay::what_expired_is_forgotten,
    snapshots::a_look_up_does_not_move,
    snapshots::an_uncommitted_change_is_seen_by_itself_only,
    upstreams::upstreams_round_trip,
    upstreams::a_credential_is_replaced_and_forgotten,
    upstreams::a_credential_belongs_to_an_upstream,
}

/// Tries every claim on a store of its own, which `fresh` makes; it must be empty.
///
/// Needs a runtime of several threads to find races.
pub async fn run<F, T>(fresh: F) -> Result<(), Failures>
where
    F: Fn() -> T,
    T: Future<Output = Arc<dyn Store>>,
{
    let mut claims = Vec::new();
    for claim in CLAIMS {
        if let Err(broken) = (claim.check)(fresh().await).await {
            claims.push((claim.name, broken.to_string()));
        }
    }
    if claims.is_empty() {
        Ok(())
    } else {
        Err(Failures { claims })
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} claim(s) do not hold", self.claims.len())?;
        self.claims
            .iter()
            .try_for_each(|(name, seen)| write!(f, "\n{name}: {seen}"))
    }
}

impl std::error::Error for Failures {}
