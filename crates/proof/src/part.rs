//! A part of a record, whose members have to be there.

use aims_json::{Limits, Object, Value, from_slice, to_canonical};
use aims_model::EventKind;
use serde::de::DeserializeOwned;

use crate::facts::FactError;

/// A part of a record.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) kind: EventKind,
    pub(crate) members: &'a Object,
}

impl<'a> Part<'a> {
    pub(crate) fn member(&self, member: &'static str) -> FactError {
        let kind = self.kind;
        FactError::Member { kind, member }
    }

    pub(crate) fn value(&self, name: &'static str) -> Result<&'a Value, FactError> {
        self.members.get(name).ok_or_else(|| self.member(name))
    }

    pub(crate) fn text(&self, name: &'static str) -> Result<&'a str, FactError> {
        self.value(name)?.as_str().ok_or_else(|| self.member(name))
    }

    pub(crate) fn number(&self, name: &'static str) -> Result<u64, FactError> {
        self.value(name)?.as_u64().ok_or_else(|| self.member(name))
    }

    pub(crate) fn array(&self, name: &'static str) -> Result<&'a [Value], FactError> {
        self.value(name)?
            .as_array()
            .ok_or_else(|| self.member(name))
    }

    pub(crate) fn part(&self, name: &'static str) -> Result<Self, FactError> {
        let members = self.value(name)?.as_object();
        let members = members.ok_or_else(|| self.member(name))?;
        Ok(Self {
            members,
            kind: self.kind,
        })
    }

    pub(crate) fn parsed<T: std::str::FromStr>(&self, name: &'static str) -> Result<T, FactError> {
        self.text(name)?.parse().map_err(|_| self.member(name))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !value.is_null())
    }

    /// A member that is one of our own types.
    pub(crate) fn read<T: DeserializeOwned>(&self, name: &'static str) -> Result<T, FactError> {
        let bytes = to_canonical(self.value(name)?).map_err(|_| self.member(name))?;
        from_slice(&bytes, &Limits::MESSAGE).map_err(|_| self.member(name))
    }
}
