//! The budgets of all delegations that are in use: one ledger each, charged together or not.

use std::collections::HashMap;

use aims_authority::{Call, Ledger, LedgerError, Limits, Refusal, Reservation};
use aims_json::{Object, Value};
use aims_model::Unaccounted;
use aims_model::grant::CHAIN_LEN_MAX;
use aims_types::{Delegation, Id, Revision, Timestamp};

use crate::Permit;

/// The ledgers of the delegations in use. A state machine without clock or I/O.
#[derive(Debug, Default)]
pub struct Budgets {
    accounts: HashMap<Id<Delegation>, Account>,
    lost: Option<Lost>,
}

/// What may have been used besides what is known, not later than an instant.
#[derive(Debug)]
struct Lost {
    by: Vec<Unaccounted>,
    at: Timestamp,
}

/// One use set aside on each hop of a chain. Nothing is allowed without one.
#[must_use = "a reservation is settled when the call may have happened, else released"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved(Vec<(Id<Delegation>, Reservation)>);

/// A limit of one hop would be passed; nothing was set aside on any.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{refusal}")]
pub struct OverBudget {
    /// The hop whose limit it is.
    pub delegation: Id<Delegation>,
    /// Which limit.
    pub refusal: Refusal,
}

/// A JSON value is not a set of reservations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a reservation is a list of objects with `delegation` and `use`")]
pub struct ReservedError;

/// One hop as budgets see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Charged<'a> {
    /// The delegation.
    pub(crate) delegation: Id<Delegation>,
    /// Its limits.
    pub(crate) limits: &'a Limits,
    /// When it was granted.
    pub(crate) granted: Revision,
    /// When the delegation ends and its ledger is of no use any more.
    pub(crate) expires_at: Timestamp,
}

#[derive(Debug)]
struct Account {
    ledger: Ledger,
    /// `None` after the state was rebuilt, until the delegation is used again.
    expires_at: Option<Timestamp>,
}

impl Budgets {
    /// Nothing used yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, where besides earlier owners of the tree may have used what they say, not later
    /// than `at`. It is charged to each delegation that was granted before it was lost.
    #[must_use]
    pub fn without(self, lost: Vec<Unaccounted>, at: Timestamp) -> Self {
        let lost = Some(Lost { by: lost, at });
        Self { lost, ..self }
    }

    /// Sets one use of what was permitted aside on every hop, or on none and says which limit is
    /// in the way.
    pub fn reserve(&mut self, permit: &Permit<'_>, now: Timestamp) -> Result<Reserved, OverBudget> {
        self.charge(permit.charged(), permit.call(), now)
    }

    fn charge(
        &mut self,
        hops: &[Charged<'_>],
        call: &Call<'_>,
        now: Timestamp,
    ) -> Result<Reserved, OverBudget> {
        let mut taken = Reserved(Vec::with_capacity(hops.len()));
        for hop in hops {
            let account = self.accounts.entry(hop.delegation);
            let account = account.or_insert_with(Account::new);
            // The first time that it is used again.
            if account.expires_at.replace(hop.expires_at).is_none()
                && let Some(lost) = &self.lost
            {
                lost.charge(account, hop);
            }
            match account.ledger.reserve(hop.limits, call, now) {
                Ok(reservation) => taken.0.push((hop.delegation, reservation)),
                Err(refusal) => {
                    self.release(&taken);
                    return Err(OverBudget {
                        delegation: hop.delegation,
                        refusal,
                    });
                }
            }
        }
        Ok(taken)
    }

    /// The call happened, or may have: its uses stay taken.
    pub fn settle(&mut self, reserved: &Reserved) {
        self.each(reserved, Ledger::settle);
    }

    /// The call certainly did not happen: its uses are given back.
    pub fn release(&mut self, reserved: &Reserved) {
        self.each(reserved, Ledger::release);
    }

    /// Takes back what a log says was used, all of it settled. The log's order need not be the
    /// order of use, and the numbers are those of the owners who gave them out: two of them may
    /// have given out the same, and both uses count.
    pub fn restore(
        &mut self,
        records: impl IntoIterator<Item = Reserved>,
    ) -> Result<(), LedgerError> {
        let used = records.into_iter().flat_map(|reserved| reserved.0);
        let mut in_order: Vec<(Id<Delegation>, Reservation)> = used.collect();
        in_order.sort_by_key(|(_, reservation)| reservation.at());
        for (delegation, reservation) in in_order {
            let account = self.accounts.entry(delegation);
            let account = account.or_insert_with(Account::new);
            account.ledger.restore(&reservation)?;
        }
        Ok(())
    }

    /// Forgets the ledgers of delegations that have ended: they allow nothing any more.
    pub fn forget_expired(&mut self, now: Timestamp) {
        self.accounts.retain(|_, account| {
            account.expires_at.is_none_or(|end| now < end) || account.ledger.in_flight().len() > 0
        });
    }

    /// How many uses of a delegation are taken, in flight or settled.
    pub fn uses(&self, delegation: Id<Delegation>) -> u64 {
        let account = self.accounts.get(&delegation);
        account.map_or(0, |account| account.ledger.uses())
    }

    fn each(
        &mut self,
        reserved: &Reserved,
        mut step: impl FnMut(&mut Ledger, u64) -> Result<(), LedgerError>,
    ) {
        for (delegation, reservation) in &reserved.0 {
            if let Some(account) = self.accounts.get_mut(delegation) {
                // Not in flight any more means that it was settled before: too much used is safe.
                let _ = step(&mut account.ledger, reservation.number());
            }
        }
    }
}

impl Lost {
    /// Charges a delegation that was granted before something was lost.
    fn charge(&self, account: &mut Account, hop: &Charged<'_>) {
        let lost = self.by.iter().filter(|lost| hop.granted < lost.since);
        for lost in lost {
            account.ledger.charge(lost.uses, self.at);
        }
    }
}

impl Account {
    fn new() -> Self {
        Self {
            ledger: Ledger::new(),
            expires_at: None,
        }
    }
}

impl Reserved {
    /// The JSON form that the record of an intent keeps.
    pub fn to_value(&self) -> Value {
        let hop = |(delegation, reservation): &(Id<Delegation>, Reservation)| {
            let object = Object::new().with("delegation", delegation.to_string());
            Value::from(object.with("use", reservation.to_value()))
        };
        Value::Array(self.0.iter().map(hop).collect())
    }

    /// Reads the JSON form.
    pub fn from_value(value: &Value) -> Result<Self, ReservedError> {
        let hops = value.as_array().filter(|hops| hops.len() <= CHAIN_LEN_MAX);
        let read = |hop: &Value| {
            let object = hop.as_object().filter(|object| object.len() == 2)?;
            let delegation = object.get("delegation")?.as_str()?.parse().ok()?;
            Some((
                delegation,
                Reservation::from_value(object.get("use")?).ok()?,
            ))
        };
        let hops = hops.and_then(|hops| hops.iter().map(read).collect::<Option<Vec<_>>>());
        hops.map(Self).ok_or(ReservedError)
    }
}

#[cfg(test)]
mod tests {
    use aims_types::Name;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_secs(1_000);
    const LATER: Timestamp = Timestamp::from_unix_secs(2_000);

    fn hop(n: u128, limits: &Limits) -> Charged<'_> {
        Charged {
            delegation: Id::from_u128(n),
            limits,
            granted: Revision::new(5),
            expires_at: LATER,
        }
    }

    fn reserve(budgets: &mut Budgets, hops: &[Charged<'_>]) -> Result<Reserved, OverBudget> {
        let (server, arguments): (Name, _) = ("git".parse().unwrap(), Object::new());
        let call = Call::Tool {
            server: &server,
            tool: "git_log",
            arguments: &arguments,
        };
        budgets.charge(hops, &call, NOW)
    }

    #[test]
    fn a_use_is_taken_on_every_hop_or_on_none() {
        let (wide, narrow) = (
            Limits::default().with_uses(5).unwrap(),
            Limits::default().with_uses(1).unwrap(),
        );
        let hops = [hop(1, &wide), hop(2, &narrow)];
        let mut budgets = Budgets::new();
        let first = reserve(&mut budgets, &hops).unwrap();
        let refused = reserve(&mut budgets, &hops).unwrap_err();
        assert_eq!(refused.delegation, Id::from_u128(2));
        assert_eq!(
            (
                budgets.uses(Id::from_u128(1)),
                budgets.uses(Id::from_u128(2))
            ),
            (1, 1)
        );
        budgets.release(&first);
        assert_eq!(
            (
                budgets.uses(Id::from_u128(1)),
                budgets.uses(Id::from_u128(2))
            ),
            (0, 0)
        );
    }

    #[test]
    fn what_the_log_says_was_used_stays_used_in_whatever_order_it_was_written() {
        let limits = Limits::default().with_uses(3).unwrap();
        let mut before = Budgets::new();
        let mut records: Vec<Reserved> = (0..3)
            .map(|_| reserve(&mut before, &[hop(1, &limits)]).unwrap())
            .collect();
        records.reverse();
        let read = |record: &Reserved| Reserved::from_value(&record.to_value()).unwrap();
        let mut after = Budgets::new();
        after.restore(records.iter().map(read)).unwrap();
        assert_eq!(after.uses(Id::from_u128(1)), 3);
        assert!(reserve(&mut after, &[hop(1, &limits)]).is_err());
    }

    #[test]
    fn uses_of_two_owners_with_the_same_number_both_count() {
        let limits = Limits::default().with_uses(2).unwrap();
        let mut owners = [Budgets::new(), Budgets::new()];
        let used = owners
            .each_mut()
            .map(|budgets| reserve(budgets, &[hop(1, &limits)]).unwrap());
        let mut after = Budgets::new();
        after.restore(used).unwrap();
        assert_eq!(after.uses(Id::from_u128(1)), 2);
        assert!(reserve(&mut after, &[hop(1, &limits)]).is_err());
    }

    #[test]
    fn what_is_unaccounted_for_is_charged_once_to_what_was_granted_before() {
        let lost = |uses, since| Unaccounted {
            gateway: Id::from_u128(1),
            uses,
            since: Revision::new(since),
        };
        let (five, many) = (
            Limits::default().with_uses(5).unwrap(),
            Limits::default().with_rate(aims_authority::Rate::new(3, 60).unwrap()),
        );
        // Hops are granted at 5.
        let cases = [
            (vec![], 5, 3),
            (vec![lost(3, 6)], 2, 0),
            (vec![lost(3, 5), lost(1, 6)], 4, 2),
            (vec![lost(3, 6), lost(16, 7)], 0, 0),
        ];
        for (lost, left, left_now) in cases {
            let mut budgets = Budgets::new().without(lost.clone(), NOW);
            let count = |budgets: &mut Budgets, limits| {
                let tries = (0..9).map(|_| reserve(budgets, &[hop(1, limits)]));
                tries.flatten().count()
            };
            assert_eq!(count(&mut budgets, &five), left, "{lost:?}");
            let mut budgets = Budgets::new().without(lost, NOW);
            assert_eq!(count(&mut budgets, &many), left_now);
        }
    }

    #[test]
    fn a_settled_use_cannot_be_released_again() {
        let limits = Limits::default().with_uses(1).unwrap();
        let mut budgets = Budgets::new();
        let taken = reserve(&mut budgets, &[hop(1, &limits)]).unwrap();
        budgets.settle(&taken);
        budgets.release(&taken);
        assert!(reserve(&mut budgets, &[hop(1, &limits)]).is_err());
    }

    #[test]
    fn ledgers_of_ended_delegations_are_forgotten_but_not_those_in_flight() {
        let limits = Limits::default();
        let mut budgets = Budgets::new();
        let flying = reserve(&mut budgets, &[hop(1, &limits)]).unwrap();
        let done = reserve(&mut budgets, &[hop(2, &limits)]).unwrap();
        budgets.settle(&done);
        budgets.forget_expired(LATER);
        assert_eq!(
            (
                budgets.uses(Id::from_u128(1)),
                budgets.uses(Id::from_u128(2))
            ),
            (1, 0)
        );
        budgets.settle(&flying);
    }
}
