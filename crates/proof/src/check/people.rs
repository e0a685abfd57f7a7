//! People: enrolled once, with a role, until they are removed.

use std::collections::HashMap;

use aims_types::{Id, Name, Person};

use super::Problem;
use super::claims::Body;

/// The roles that may answer requests for approval.
const APPROVERS: [&str; 2] = ["operator", "approver"];

/// Everybody who was ever enrolled.
#[derive(Default)]
pub(super) struct People(HashMap<Id<Person>, Enrolled>);

struct Enrolled {
    name: Name,
    may_approve: bool,
    removed: bool,
}

impl People {
    pub(super) fn enrolled(&mut self, body: Body<'_>) -> Result<(), Problem> {
        let id: Id<Person> = body.parsed("person")?;
        let enrolled = Enrolled {
            name: body.parsed("name")?,
            may_approve: APPROVERS.contains(&body.text("role")?),
            removed: false,
        };
        match self.0.insert(id, enrolled) {
            None => Ok(()),
            Some(_) => Err(Problem::PersonTwice(id.to_string())),
        }
    }

    pub(super) fn removed(&mut self, body: Body<'_>) -> Result<(), Problem> {
        if let Some(person) = self.0.get_mut(&body.parsed("person")?) {
            person.removed = true;
        }
        Ok(())
    }

    /// Whether the person is enrolled under this name now.
    pub(super) fn is_named(&self, id: Id<Person>, name: &Name) -> bool {
        self.found(id).is_some_and(|person| person.name == *name)
    }

    /// Whether the person may answer requests for approval now.
    pub(super) fn may_approve(&self, id: Id<Person>) -> bool {
        self.found(id).is_some_and(|person| person.may_approve)
    }

    fn found(&self, id: Id<Person>) -> Option<&Enrolled> {
        self.0.get(&id).filter(|person| !person.removed)
    }
}
