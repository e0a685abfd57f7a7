//! What has been used of an authority: uses, rate and sums, calls in flight included.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use aims_json::{Decimal, Object, Value};
use aims_types::Timestamp;

use crate::limits::RATE_COUNT_MAX;
use crate::{ArgumentName, Call, HttpCall, Limits, Rate, Refusal, Rule, Sum};

/// The counts of one delegation: a state machine without clock or I/O.
///
/// A call is reserved before it is decided finally, and then settled (it happened, or may have)
/// or released (it certainly did not). What is reserved counts as used, so no interleaving of
/// calls passes a limit. The state is the fold of its [`Entry`]s, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    /// The number of the next reservation.
    next: u64,
    /// The latest instant seen; time does not go back here whatever the caller's clock does.
    latest: Option<Timestamp>,
    uses: u64,
    /// Number and instant of the youngest reservations, oldest first.
    recent: VecDeque<(u64, Timestamp)>,
    totals: BTreeMap<ArgumentName, Decimal>,
    open: BTreeMap<u64, Reservation>,
}

/// One use set aside for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    number: u64,
    at: Timestamp,
    amounts: BTreeMap<ArgumentName, Decimal>,
}

/// One step of a ledger, as a log keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A use was set aside.
    Reserved(Reservation),
    /// The call with this number happened, or may have happened.
    Settled(u64),
    /// The call with this number certainly did not happen.
    Released(u64),
}

/// An entry that does not fit the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// No call with this number is in flight.
    #[error("no reservation {number} is in flight")]
    NotInFlight {
        /// The number.
        number: u64,
    },
    /// The number was given out before.
    #[error("reservation {number} comes after {next} was expected; replay entries in their order")]
    OutOfOrder {
        /// The number of the entry.
        number: u64,
        /// The least number that fits.
        next: u64,
    },
    /// Numbers or sums are beyond what can be counted exactly.
    #[error("the ledger cannot count any further")]
    Overflow,
}

/// A JSON value is not a reservation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a reservation has a whole `number`, `at` in milliseconds and `amounts` as decimal texts")]
pub struct ReservationError;

impl Ledger {
    /// A ledger in which nothing has been used.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one use aside for `call` within `limits`, or says which limit it would pass.
    pub fn reserve(
        &mut self,
        limits: &Limits,
        call: &Call<'_>,
        now: Timestamp,
    ) -> Result<Reservation, Refusal> {
        let at = self.latest.map_or(now, |latest| latest.max(now));
        self.latest = Some(at);
        self.forget(limits.rate(), at);
        if let Some(uses) = limits.uses() {
            self.check_uses(uses)?;
        }
        if let Some(rate) = limits.rate() {
            self.check_rate(rate, at)?;
        }
        let mut amounts = BTreeMap::new();
        for sum in limits.sums() {
            if let Some(amount) = amount_of(sum, call)? {
                self.check_sum(sum, amount)?;
                amounts.insert(sum.argument().clone(), amount);
            }
        }
        let reservation = Reservation {
            number: self.next,
            at,
            amounts,
        };
        match self.apply(&Entry::Reserved(reservation.clone())) {
            Ok(()) => Ok(reservation),
            Err(_) => Err(Refusal::new(Rule::UsesExhausted).saw("more than can be counted")),
        }
    }

    /// The call happened, or may have: its use stays taken.
    pub fn settle(&mut self, number: u64) -> Result<(), LedgerError> {
        self.apply(&Entry::Settled(number))
    }

    /// The call certainly did not happen: its use is given back.
    pub fn release(&mut self, number: u64) -> Result<(), LedgerError> {
        self.apply(&Entry::Released(number))
    }

    /// Takes back a use that a log tells of, whichever ledger gave it out: here it gets the next
    /// number, and is settled. Uses are taken back in the order of their instants.
    pub fn restore(&mut self, earlier: &Reservation) -> Result<(), LedgerError> {
        let amounts = earlier.amounts.clone();
        self.take(earlier.at, amounts)
    }

    /// Counts uses of which nothing is known but that they were not later than `at`. They may pass
    /// a limit: then nothing is left.
    pub fn charge(&mut self, uses: u32, at: Timestamp) {
        for _ in 0..uses {
            // What can't be counted any further allows nothing either.
            if self.take(at, BTreeMap::new()).is_err() {
                return;
            }
        }
    }

    /// Takes one step without looking at limits: they were looked at when it was first taken.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), LedgerError> {
        match entry {
            Entry::Reserved(reservation) => self.add(reservation),
            Entry::Settled(number) => self.take_open(*number).map(drop),
            Entry::Released(number) => {
                let reservation = self.take_open(*number)?;
                self.give_back(&reservation);
                Ok(())
            }
        }
    }

    /// How many uses are taken, in flight or settled.
    pub const fn uses(&self) -> u64 {
        self.uses
    }

    /// The sum taken over an argument, in flight or settled.
    pub fn total(&self, argument: &str) -> Decimal {
        self.totals.get(argument).copied().unwrap_or(Decimal::ZERO)
    }

    /// The reservations neither settled nor released, by their numbers.
    pub fn in_flight(&self) -> impl ExactSizeIterator<Item = &Reservation> {
        self.open.values()
    }

    fn add(&mut self, reservation: &Reservation) -> Result<(), LedgerError> {
        let number = reservation.number;
        if number < self.next {
            return Err(LedgerError::OutOfOrder {
                number,
                next: self.next,
            });
        }
        let next = number.checked_add(1).ok_or(LedgerError::Overflow)?;
        let uses = self.uses.checked_add(1).ok_or(LedgerError::Overflow)?;
        // All sums before any change, so that a failure leaves the state as it was.
        let add = |(name, amount): (&ArgumentName, &Decimal)| {
            let total = self.total(name.as_str()).checked_add(*amount)?;
            Some((name.clone(), total))
        };
        let totals = reservation
            .amounts
            .iter()
            .map(add)
            .collect::<Option<Vec<_>>>();
        self.totals.extend(totals.ok_or(LedgerError::Overflow)?);
        (self.next, self.uses) = (next, uses);
        self.latest = self.latest.max(Some(reservation.at));
        self.recent.push_back((number, reservation.at));
        // No rate looks further back than its count, so older instants are never asked for.
        if self.recent.len() > usize::try_from(RATE_COUNT_MAX).unwrap_or(usize::MAX) {
            self.recent.pop_front();
        }
        self.open.insert(number, reservation.clone());
        Ok(())
    }

    /// A settled use with the next number; time does not go back.
    fn take(
        &mut self,
        at: Timestamp,
        amounts: BTreeMap<ArgumentName, Decimal>,
    ) -> Result<(), LedgerError> {
        let number = self.next;
        let at = self.latest.map_or(at, |latest| latest.max(at));
        self.add(&Reservation {
            number,
            at,
            amounts,
        })?;
        self.take_open(number).map(drop)
    }

    fn take_open(&mut self, number: u64) -> Result<Reservation, LedgerError> {
        self.open
            .remove(&number)
            .ok_or(LedgerError::NotInFlight { number })
    }

    fn give_back(&mut self, reservation: &Reservation) {
        self.uses = self.uses.saturating_sub(1);
        self.recent
            .retain(|(number, _)| *number != reservation.number);
        for (name, amount) in &reservation.amounts {
            // What cannot be subtracted exactly stays counted: too much used is safe.
            if let Some(total) = self.totals.get_mut(name)
                && let Some(less) = total.checked_sub(*amount)
            {
                *total = less;
            }
        }
    }

    /// Drops the instants that no rate will ask for: `at` is the latest there is.
    fn forget(&mut self, rate: Option<Rate>, at: Timestamp) {
        let Some(rate) = rate else {
            return self.recent.clear();
        };
        let period = Duration::from_secs(rate.per_secs().into());
        while self
            .recent
            .front()
            .is_some_and(|(_, earlier)| earlier.plus(period) <= at)
        {
            self.recent.pop_front();
        }
    }

    fn check_uses(&self, max: u64) -> Result<(), Refusal> {
        if self.uses < max {
            return Ok(());
        }
        let seen = format!("{} used, {} of them in flight", self.uses, self.open.len());
        Err(Refusal::new(Rule::UsesExhausted)
            .saw(&seen)
            .allows(format_args!("{max} uses")))
    }

    fn check_rate(&self, rate: Rate, at: Timestamp) -> Result<(), Refusal> {
        let period = Duration::from_secs(rate.per_secs().into());
        let back = usize::try_from(rate.count()).unwrap_or(usize::MAX);
        // The call `count` places back must lie a whole period back.
        let Some(index) = self.recent.len().checked_sub(back) else {
            return Ok(());
        };
        let Some((_, earlier)) = self.recent.get(index) else {
            return Ok(());
        };
        let free = earlier.plus(period);
        if at >= free {
            return Ok(());
        }
        let (count, secs) = (rate.count(), rate.per_secs());
        Err(Refusal::new(Rule::RateExceeded).allows(format_args!(
            "{count} calls within {secs} seconds, the next one at {free}"
        )))
    }

    fn check_sum(&self, sum: &Sum, amount: Decimal) -> Result<(), Refusal> {
        let taken = self.total(sum.argument().as_str());
        let total = taken.checked_add(amount);
        if total.is_some_and(|total| total <= sum.max()) {
            return Ok(());
        }
        Err(Refusal::new(Rule::SumExceeded)
            .of_argument(sum.argument().as_str())
            .saw(&amount.to_string())
            .allows(format_args!(
                "a sum of {}, of which {taken} is taken",
                sum.max()
            )))
    }
}

/// What a call adds to a sum: nothing if it has no such argument, which
/// [`crate::allows`] accepts only where the detail does not name the argument.
fn amount_of(sum: &Sum, call: &Call<'_>) -> Result<Option<Decimal>, Refusal> {
    let name = sum.argument().as_str();
    let arguments = match call {
        Call::Tool { arguments, .. } => *arguments,
        Call::Http(HttpCall {
            body: Some(members),
            ..
        }) => members,
        Call::Http(HttpCall { body: None, .. }) | Call::Egress { .. } => return Ok(None),
    };
    let Some(value) = arguments.get(name) else {
        return Ok(None);
    };
    let amount = value.as_number().and_then(aims_json::Number::as_decimal);
    // A negative amount would give back what others spent.
    amount
        .filter(|amount| *amount >= Decimal::ZERO)
        .map(Some)
        .ok_or_else(|| {
            Refusal::new(Rule::SumNotCountable)
                .of_argument(name)
                .saw_value(value)
        })
}

impl Reservation {
    /// Its number in the ledger that gave it out.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// When it was made.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// What it takes of each sum.
    pub fn amounts(&self) -> impl ExactSizeIterator<Item = (&str, Decimal)> {
        self.amounts
            .iter()
            .map(|(name, amount)| (name.as_str(), *amount))
    }

    /// The JSON form that a record keeps.
    pub fn to_value(&self) -> Value {
        let amounts = self
            .amounts
            .iter()
            .fold(Object::new(), |object, (name, amount)| {
                object.with(name.as_str(), amount.to_string())
            });
        let number = Object::new().with("number", self.number);
        number
            .with("at", self.at.unix_millis())
            .with("amounts", amounts)
            .into()
    }

    /// Reads the JSON form.
    pub fn from_value(value: &Value) -> Result<Self, ReservationError> {
        let object = value.as_object().filter(|object| object.len() == 3);
        let whole = |name| object?.get(name)?.as_u64();
        let amounts = object.and_then(|object| object.get("amounts")?.as_object());
        let read = |(name, value): (&str, &Value)| {
            let amount = value
                .as_str()?
                .parse()
                .ok()
                .filter(|a| *a >= Decimal::ZERO)?;
            Some((name.parse().ok()?, amount))
        };
        let amounts = amounts.and_then(|amounts| amounts.iter().map(read).collect::<Option<_>>());
        match (whole("number"), whole("at"), amounts) {
            (Some(number), Some(at), Some(amounts)) => Ok(Self {
                number,
                at: Timestamp::from_unix_millis(at),
                amounts,
            }),
            _ => Err(ReservationError),
        }
    }
}

#[cfg(test)]
mod tests;
