//! What was used of each delegation, over the records of all gateways.

use std::collections::{BTreeMap, HashMap};

use aims_json::{Decimal, Value};
use aims_types::{Delegation, Id};

use super::PermitProblem;
use super::claims::Body;
use super::grants::Recorded;
use super::permit::Wrong;

/// The uses of every hop.
#[derive(Default)]
pub(super) struct Budgets(HashMap<Id<Delegation>, Used>);

#[derive(Default)]
struct Used {
    uses: u64,
    sums: BTreeMap<String, Decimal>,
}

impl Budgets {
    /// Takes a permit into account on every hop of its chain. Whether it went well does not
    /// matter: what was permitted may have happened.
    pub(super) fn charge<'a>(
        &mut self,
        body: Body<'_>,
        chain: impl Iterator<Item = &'a Recorded>,
    ) -> Result<(), Wrong> {
        let reserved = body.members.get("reserved").and_then(Value::as_array);
        let reserved = reserved.unwrap_or_default();
        for hop in chain {
            let used = self.0.entry(hop.id).or_default();
            used.uses = used.uses.saturating_add(1);
            let limits = hop.authority.limits();
            if let Some(max) = limits.uses().filter(|max| used.uses > *max) {
                let delegation = hop.id.to_string();
                return Err(PermitProblem::OverUses { delegation, max }.into());
            }
            let id = hop.id.to_string();
            for of_hop in reserved
                .iter()
                .filter(|item| text(item, "delegation") == Some(&id))
            {
                used.add(of_hop).ok_or_else(|| body.missing("reserved"))?;
            }
            for sum in limits.sums() {
                let argument = sum.argument().as_str();
                if used
                    .sums
                    .get(argument)
                    .is_some_and(|total| *total > sum.max())
                {
                    let (delegation, argument) = (id, argument.to_owned());
                    return Err(PermitProblem::OverSum {
                        delegation,
                        argument,
                    }
                    .into());
                }
            }
        }
        Ok(())
    }
}

impl Used {
    /// Adds the amounts of one reservation, if it can be read.
    fn add(&mut self, reserved: &Value) -> Option<()> {
        for (name, amount) in reserved.get("use")?.get("amounts")?.as_object()?.iter() {
            let amount: Decimal = amount.as_str()?.parse().ok()?;
            let total = self.sums.entry(name.to_owned()).or_insert(Decimal::ZERO);
            *total = total.checked_add(amount)?;
        }
        Some(())
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}
