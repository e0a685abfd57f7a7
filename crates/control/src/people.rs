//! People: enrolment, removal, listing.

mod enrol;
mod list;
mod remove;

use aims_json::Object;
use aims_model::{EnrolledKey, Event, EventKind, KeyOwner, KeyPurpose, Person};
use aims_store::Reader;
use aims_types::Cx;

pub use enrol::{EnrolPerson, EnrolPersonError};
pub use list::ListPeopleError;
pub use remove::RemovePersonError;

use crate::recording::event;

/// The key with this name, if it is one that the person signs with now.
pub(crate) async fn key_of(
    reader: &mut dyn Reader,
    kid: &str,
    person: &Person,
) -> Result<Option<EnrolledKey>, aims_store::Error> {
    let theirs = |key: &EnrolledKey| {
        key.purpose == KeyPurpose::Person
            && key.owner == KeyOwner::Person(person.id)
            && key.retired_at.is_none()
    };
    Ok(reader.key(kid).await?.filter(theirs))
}

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
