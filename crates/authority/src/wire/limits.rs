//! The wire form of limits.

use aims_json::{Object, Value};
use aims_types::Timestamp;

use super::reader::{Members, at_index, members};
use crate::problem::{counted, shown};
use crate::{
    AuthorityError, DEPTH_MAX, Limits, Problem, RATE_COUNT_MAX, RATE_SECS_MAX, Rate, SUMS_MAX, Sum,
    USES_MAX,
};

pub(super) fn read(value: &Value) -> Result<Limits, AuthorityError> {
    let members = members(value, &["not_after", "uses", "rate", "sums", "depth"])?;
    let depth = members.whole("depth", 0, DEPTH_MAX.into())?.unwrap_or(0);
    let depth = u8::try_from(depth).unwrap_or(0);
    let mut limits = Limits::default().with_depth(depth)?;
    if let Some(not_after) = not_after(&members)? {
        limits = limits.with_not_after(not_after);
    }
    if let Some(uses) = members.whole("uses", 0, USES_MAX)? {
        limits = limits.with_uses(uses)?;
    }
    if let Some(value) = members.get("rate") {
        limits = limits.with_rate(rate(value).map_err(|e| e.within("rate"))?);
    }
    if members.get("sums").is_some() {
        limits = limits
            .with_sums(sums(&members)?)
            .map_err(|p| AuthorityError::new("sums", p))?;
    }
    Ok(limits)
}

pub(super) fn write(limits: &Limits) -> Value {
    let mut object = Object::new();
    if let Some(not_after) = limits.not_after() {
        object = object.with("not_after", not_after.to_string());
    }
    if let Some(uses) = limits.uses() {
        object = object.with("uses", uses);
    }
    if let Some(rate) = limits.rate() {
        let count = Object::new().with("count", u64::from(rate.count()));
        object = object.with("rate", count.with("per_secs", u64::from(rate.per_secs())));
    }
    if !limits.sums().is_empty() {
        let sum = |sum: &Sum| {
            let argument = Object::new().with("argument", sum.argument().as_str());
            Value::from(argument.with("max", sum.max().to_string()))
        };
        object = object.with("sums", limits.sums().iter().map(sum).collect::<Vec<_>>());
    }
    object.with("depth", u64::from(limits.depth())).into()
}

/// An instant as RFC 3339 writes it, in whatever zone.
fn not_after(members: &Members<'_>) -> Result<Option<Timestamp>, AuthorityError> {
    let Some(value) = members.get("not_after") else {
        return Ok(None);
    };
    let error = |problem| AuthorityError::new("not_after", problem);
    let text = value
        .as_str()
        .ok_or(error(Problem::Type { expected: "a text" }))?;
    let expected = "an instant such as `2026-11-22T00:30:28.000Z`";
    text.parse().map(Some).map_err(|_| {
        error(Problem::Text {
            seen: shown(text),
            expected,
        })
    })
}

fn rate(value: &Value) -> Result<Rate, AuthorityError> {
    let members = members(value, &["count", "per_secs"])?;
    let whole = |name, max: u32| {
        let number = members.whole(name, 1, max.into())?;
        let number = number.and_then(|n| u32::try_from(n).ok());
        number.ok_or_else(|| AuthorityError::from(Problem::MissingMember { member: name }))
    };
    let (count, per_secs) = (
        whole("count", RATE_COUNT_MAX)?,
        whole("per_secs", RATE_SECS_MAX)?,
    );
    Ok(Rate::new(count, per_secs)?)
}

fn sums(members: &Members<'_>) -> Result<Vec<Sum>, AuthorityError> {
    let items = members.array("sums")?;
    // One form for one authority: no sums are written as no member.
    counted(items.len(), 1, SUMS_MAX).map_err(|p| AuthorityError::new("sums", p))?;
    let read = |(index, value)| sum(value).map_err(|e| e.within(&at_index(index)).within("sums"));
    items.iter().enumerate().map(read).collect()
}

fn sum(value: &Value) -> Result<Sum, AuthorityError> {
    let members = members(value, &["argument", "max"])?;
    let max = members
        .decimal("max")?
        .ok_or(Problem::MissingMember { member: "max" })?;
    Ok(Sum::new(members.parsed("argument")?, max))
}
