//! People: enrolment, removal, listing.

mod enrol;
mod list;
mod remove;

use aims_json::Object;
use aims_model::{Event, EventKind, Person};
use aims_types::Cx;

pub use enrol::{EnrolPerson, EnrolPersonError};
pub use list::ListPeopleError;
pub use remove::RemovePersonError;

use crate::recording::event;

/// The record of a person's enrolment.
pub(crate) fn enrolled_event(cx: &Cx, person: &Person) -> Event {
    event(cx, EventKind::PersonEnrolled, body(person))
}

fn body(person: &Person) -> Object {
    Object::new()
        .with("person", person.id.to_string())
        .with("name", person.name.as_str())
        .with("role", person.role.as_str())
}
