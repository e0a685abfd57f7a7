//! Objects with unique member names.

use crate::value::Value;

/// The members of a JSON object: unique names, in the order they were written or added.
///
/// Two objects are equal when they have the same members, in whatever order (RFC 8259 §4).
#[derive(Debug, Clone, Default)]
pub struct Object {
    members: Vec<(String, Value)>,
    /// Indices into `members`, sorted by name: finds a member, and duplicates, in log time
    /// whatever names a sender chooses.
    by_name: Vec<usize>,
}

/// The object has this member already.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the object has a member `{name}` already")]
pub struct DuplicateMember {
    /// The name.
    pub name: String,
}

impl Object {
    /// An object without members.
    pub const fn new() -> Self {
        Self {
            members: Vec::new(),
            by_name: Vec::new(),
        }
    }

    /// Takes all members at once; gives index and name of the second member of a name, if there
    /// is one.
    pub(crate) fn from_members(members: Vec<(String, Value)>) -> Result<Self, (usize, String)> {
        let name = |index: usize| members.get(index).map(|(name, _)| name.as_str());
        let mut by_name: Vec<usize> = (0..members.len()).collect();
        by_name.sort_by(|a, b| name(*a).cmp(&name(*b)).then(a.cmp(b)));
        let twice = by_name.windows(2).find_map(|pair| match pair {
            [a, b] if name(*a) == name(*b) => Some((*b, name(*b).unwrap_or("").to_owned())),
            _ => None,
        });
        match twice {
            Some(second) => Err(second),
            None => Ok(Self { members, by_name }),
        }
    }

    /// Adds a member or, if the name is there, replaces its value in place.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let name = name.into();
        match self.place(&name) {
            Ok(at) => {
                if let Some((_, old)) = self.members.get_mut(at) {
                    *old = value.into();
                }
            }
            Err(place) => self.add(place, name, value.into()),
        }
        self
    }

    /// Adds a member at the end.
    pub fn insert(
        &mut self,
        name: impl Into<String>,
        value: impl Into<Value>,
    ) -> Result<(), DuplicateMember> {
        let name = name.into();
        match self.place(&name) {
            Ok(_) => Err(DuplicateMember { name }),
            Err(place) => {
                self.add(place, name, value.into());
                Ok(())
            }
        }
    }

    /// Takes a member out; the others keep their order.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.place(name).ok()?;
        let (_, value) = self.members.remove(at);
        self.by_name.retain(|index| *index != at);
        for index in &mut self.by_name {
            if *index > at {
                *index -= 1;
            }
        }
        Some(value)
    }

    /// The value of the member with this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members
            .get(self.place(name).ok()?)
            .map(|(_, value)| value)
    }

    /// Whether there is a member with this name.
    pub fn contains(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// The members in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.members
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// The members sorted by the bytes of their names.
    pub(crate) fn iter_by_name(&self) -> impl Iterator<Item = (&str, &Value)> {
        let member = |index: &usize| self.members.get(*index);
        self.by_name
            .iter()
            .filter_map(member)
            .map(|(name, value)| (name.as_str(), value))
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The position of the member called `name` in order of writing, which is also the position
    /// of its span.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.place(name).ok()
    }

    /// Index of the member, or where its index belongs in `by_name`.
    fn place(&self, name: &str) -> Result<usize, usize> {
        let name_at = |index: usize| self.members.get(index).map(|(name, _)| name.as_str());
        let place = self
            .by_name
            .binary_search_by(|index| name_at(*index).cmp(&Some(name)))?;
        self.by_name.get(place).copied().ok_or(place)
    }

    fn add(&mut self, place: usize, name: String, value: Value) {
        self.by_name.insert(place, self.members.len());
        self.members.push((name, value));
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter_by_name().eq(other.iter_by_name())
    }
}

impl Eq for Object {}
