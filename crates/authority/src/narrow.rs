//! Whether one authority is contained in another: what may be delegated.

mod example;
mod http;
mod implies;

use std::fmt;

use aims_json::Object;

use self::example::{Search, call};
use self::http::http_within;
use self::implies::unproven;
use crate::call::tools_of;
use crate::detail::Listed;
use crate::{
    Argument, ArgumentName, Arguments, Authority, Constraint, Detail, Egress, Example, ExampleCall,
    Limits, Rate, Sum, Tools, Widening, Wider,
};

/// Proves that `child` lies within `parent` and is one hop further down, or says what is wider.
///
/// If it answers `Ok`, then every call that `child` [allows](crate::allows) at some instant,
/// `parent` allows at that instant, and every sequence of calls within the limits of `child` is
/// within those of `parent`. What cannot be proven is refused, so an `Err` without an
/// [example](Wider::example) may be one too many.
///
/// - Each tool and each method of each detail of `child` has to be within a *single* detail of
///   `parent`, and each host be named by one: never is a detail put together from two.
/// - `child` states its own limit wherever `parent` has one, at least as tight. A sum is needed
///   only if `child` names the summed argument at all.
/// - The depth of `child` is below that of `parent`; so nothing is narrower than itself, but an
///   authority is always narrower than the same one with a greater depth. The order is transitive.
pub fn narrower(child: &Authority, parent: &Authority) -> Result<(), Wider> {
    depth_within(child.limits(), parent.limits())?;
    let pair = Search::new(child, parent);
    for (index, detail) in child.details().iter().enumerate() {
        match detail {
            Detail::Tools(tools) => tools_within(&pair, index, tools)?,
            Detail::Egress(egress) => egress_within(&pair, index, egress)?,
            Detail::Http(http) => http_within(&pair, index, http)?,
        }
    }
    end_within(&pair)?;
    uses_within(child.limits(), parent.limits())?;
    rate_within(child.limits(), parent.limits())?;
    sums_within(child, parent.limits())
}

/// Where one detail of a parent does not contain one of a child.
#[derive(Debug, Clone, Copy)]
struct Gap<'a> {
    rule: Widening,
    argument: &'a ArgumentName,
    /// The parent's constraint that is not proven to follow.
    constraint: Option<&'a Constraint>,
}

fn tools_within(pair: &Search<'_>, index: usize, tools: &Tools) -> Result<(), Wider> {
    let server = tools.server();
    let shares_a_tool =
        |held: &&Tools| held.server() == server && !held.actions().is_disjoint(tools.actions());
    let held = pair
        .parent
        .details()
        .iter()
        .filter_map(|detail| match detail {
            Detail::Tools(held) => Some(held),
            Detail::Egress(_) | Detail::Http(_) => None,
        });
    // The arguments are the same for all tools of a detail, and so compared once.
    let held: Vec<(&Tools, Vec<Gap<'_>>)> = held
        .filter(shares_a_tool)
        .map(|held| (held, gaps(pair, tools.arguments(), held.arguments())))
        .collect();
    for tool in tools.actions() {
        let naming = held
            .iter()
            .filter(|(held, _)| held.actions().contains(tool));
        let resource = format!("{server}/{tool}");
        let Some((held, gaps)) = naming.min_by_key(|(_, gaps)| gaps.len()) else {
            let make = |arguments| call(tools, tool, arguments);
            let example = pair.call_of(tools.arguments(), make);
            let allowed = tools_of(pair.parent, server);
            return Err(
                Wider::new(Widening::Tool, format_args!("`{resource}`"), allowed)
                    .in_detail(index, resource)
                    .shown_by(example),
            );
        };
        if let Some(gap) = gaps.first() {
            let both = (tools.arguments(), held.arguments());
            let example = gap.example(pair, both, |arguments| call(tools, tool, arguments));
            let wider = gap.wider(both.0, both.1);
            return Err(wider.in_detail(index, resource).shown_by(example));
        }
    }
    Ok(())
}

/// All arguments in which `held`, of the parent, do not contain those of the child.
fn gaps<'a>(pair: &Search<'_>, wanted: &'a Arguments, held: &'a Arguments) -> Vec<Gap<'a>> {
    let values = wanted.iter().filter_map(|(argument, wanted)| {
        let (rule, constraint) = match held.get(argument) {
            None => (Widening::ArgumentNamed, None),
            Some(allowed) => (Widening::ArgumentValues, Some(unproven(wanted, allowed)?)),
        };
        Some(Gap {
            rule,
            argument,
            constraint,
        })
    });
    let presence = held.keys().filter_map(|argument| {
        let wider =
            may_omit(wanted, pair.child, argument) && !may_omit(held, pair.parent, argument);
        wider.then_some(Gap {
            rule: Widening::ArgumentOptional,
            argument,
            constraint: None,
        })
    });
    values.chain(presence).collect()
}

/// Whether a call that a detail of `authority` allows may be without the argument.
fn may_omit(arguments: &Arguments, authority: &Authority, argument: &ArgumentName) -> bool {
    let summed = authority.limits().sums_over(argument.as_str());
    let named = arguments.get(argument);
    named.is_none_or(|named| named.may_be_absent() && !summed)
}

impl Gap<'_> {
    /// A call that shows it, made of arguments by `make`.
    fn example(
        &self,
        pair: &Search<'_>,
        (wanted, held): (&Arguments, &Arguments),
        make: impl Fn(Object) -> ExampleCall,
    ) -> Option<Example> {
        match self.rule {
            Widening::ArgumentOptional => pair.call_without((wanted, held), self.argument, make),
            _ => pair.call_with((wanted, held), self.argument, make),
        }
    }

    /// The gap in words.
    fn wider(&self, wanted: &Arguments, held: &Arguments) -> Wider {
        let asked = wanted.get(self.argument);
        let asked: &dyn fmt::Display = match (self.rule, asked) {
            (Widening::ArgumentOptional, _) | (_, None) => &"calls without it",
            (_, Some(asked)) => asked,
        };
        let named = Listed::arguments(held.keys());
        let allowed: &dyn fmt::Display = match self.constraint {
            Some(constraint) => constraint,
            None => match held.get(self.argument) {
                Some(Argument::Any) => &"any value, but one has to be given",
                Some(allowed) => allowed,
                None => &named,
            },
        };
        Wider::new(self.rule, asked, allowed).of_argument(self.argument)
    }
}

fn egress_within(pair: &Search<'_>, index: usize, egress: &Egress) -> Result<(), Wider> {
    let hosts = || {
        pair.parent
            .details()
            .iter()
            .filter_map(|detail| match detail {
                Detail::Egress(held) => Some(held),
                Detail::Tools(_) | Detail::Http(_) => None,
            })
    };
    if hosts().any(|held| held == egress) {
        return Ok(());
    }
    let name = |egress: &Egress| format!("{}:{}", egress.host(), egress.port());
    let resource = name(egress);
    let allowed = Listed::new("hosts", hosts().map(name));
    Err(
        Wider::new(Widening::Host, format_args!("`{resource}`"), allowed)
            .in_detail(index, resource)
            .shown_by(pair.connection(egress)),
    )
}

fn depth_within(child: &Limits, parent: &Limits) -> Result<(), Wider> {
    if child.depth() < parent.depth() {
        return Ok(());
    }
    let asked = format_args!("a hop that may be delegated {} further", child.depth());
    let wider = |allowed: &dyn fmt::Display| Err(Wider::new(Widening::Depth, asked, allowed));
    match parent.depth().checked_sub(1) {
        Some(left) => wider(&format_args!("a hop that may be delegated {left} further")),
        None => wider(&"no further delegation"),
    }
}

fn end_within(pair: &Search<'_>) -> Result<(), Wider> {
    let Some(end) = pair.parent.limits().not_after() else {
        return Ok(());
    };
    let asked = pair.child.limits().not_after();
    if asked.is_some_and(|asked| asked <= end) {
        return Ok(());
    }
    Err(Wider::new(
        Widening::End,
        Asked::of("until", asked),
        Asked::of("until", Some(end)),
    )
    .shown_by(pair.call_after(end)))
}

fn uses_within(child: &Limits, parent: &Limits) -> Result<(), Wider> {
    match (child.uses(), parent.uses()) {
        (_, None) => Ok(()),
        (Some(asked), Some(held)) if asked <= held => Ok(()),
        (asked, held) => Err(Wider::new(
            Widening::Uses,
            Asked::of("uses at most", asked),
            Asked::of("uses at most", held),
        )),
    }
}

fn rate_within(child: &Limits, parent: &Limits) -> Result<(), Wider> {
    match (child.rate(), parent.rate()) {
        (_, None) => Ok(()),
        (Some(asked), Some(held)) if is_slower(asked, held) => Ok(()),
        (asked, held) => Err(Wider::new(
            Widening::Rate,
            Asked::of("calls at most", asked.map(Words)),
            Asked::of("calls at most", held.map(Words)),
        )),
    }
}

/// Whether no calls within the rate `slower` ever break the rate `faster`: as many of the shorter
/// periods as touch one of the longer ones may each be full at once.
fn is_slower(slower: Rate, faster: Rate) -> bool {
    let periods = u64::from(faster.per_secs().div_ceil(slower.per_secs()));
    u64::from(slower.count()).saturating_mul(periods) <= u64::from(faster.count())
}

fn sums_within(child: &Authority, parent: &Limits) -> Result<(), Wider> {
    let names = |argument: &ArgumentName| {
        child.details().iter().any(|detail| match detail {
            // A body that may be anything may hold it.
            Detail::Http(http) if http.members().is_none() => true,
            _ => detail
                .named_arguments()
                .is_some_and(|named| named.contains_key(argument)),
        })
    };
    // No call that the child allows has an argument that none of its details names.
    for held in parent.sums().iter().filter(|sum| names(sum.argument())) {
        let same = |sum: &&Sum| sum.argument() == held.argument();
        let asked = child.limits().sums().iter().find(same).map(Sum::max);
        if asked.is_none_or(|asked| asked > held.max()) {
            let allowed = Asked::of("a sum of at most", Some(held.max()));
            let asked = Asked::of("a sum of at most", asked);
            return Err(Wider::new(Widening::Sum, asked, allowed).of_argument(held.argument()));
        }
    }
    Ok(())
}

/// A limit in words, or that there is none.
struct Asked<T> {
    what: &'static str,
    limit: Option<T>,
}

impl<T> Asked<T> {
    const fn of(what: &'static str, limit: Option<T>) -> Self {
        Self { what, limit }
    }
}

impl<T: fmt::Display> fmt::Display for Asked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.limit {
            Some(limit) => write!(f, "{} {limit}", self.what),
            None => f.write_str("no limit, where one has to be stated"),
        }
    }
}

struct Words(Rate);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} within {} seconds", self.0.count(), self.0.per_secs())
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod second_opinion;
#[cfg(test)]
mod tests;
