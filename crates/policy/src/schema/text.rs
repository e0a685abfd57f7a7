//! The schema in Cedar's JSON form. Names from outside become JSON strings, never syntax.

use aims_json::{Object, Value};

use super::shape::{Kind, Shape};

/// The schema with one action per tool, whose arguments have these shapes.
pub(super) fn schema<'a>(tools: impl Iterator<Item = (String, &'a Shape)>) -> Value {
    let request = context([("method", simple("String")), ("path", simple("String"))]);
    let mut actions = Object::new()
        .with("call", Object::new())
        .with(
            "connect",
            action(&["Host"], context([("port", simple("Long"))])),
        )
        .with("request", action(&["Upstream"], request));
    for (id, arguments) in tools {
        let group = Object::new().with("id", "call");
        let action = action(&["Tool"], context([("arguments", shape(arguments))]));
        actions = actions.with(id, action.with("memberOf", vec![group.into()]));
    }
    let namespace = Object::new()
        .with("entityTypes", entity_types())
        .with("actions", actions);
    Object::new().with("", namespace).into()
}

fn entity_types() -> Object {
    let (text, person) = (|| simple("String"), || entity("Person"));
    let named = || record([("name", text())]);
    let agent = record([
        ("name", text()),
        ("owner", person()),
        ("environment", text()),
        ("assurance", text()),
    ]);
    let tool = record([("name", text()), ("server", entity("Server"))]);
    let within = |parent: &str, shape: Object| {
        let parents = vec![Value::from(parent)];
        Object::new()
            .with("memberOfTypes", parents)
            .with("shape", shape)
    };
    let plain = |shape: Object| Object::new().with("shape", shape);
    Object::new()
        .with("Agent", plain(agent))
        .with("Person", plain(named()))
        .with("Task", plain(record([("purpose", text())])))
        .with("Server", plain(named()))
        .with("Tool", within("Server", tool))
        .with("Host", plain(named()))
        .with("Upstream", plain(named()))
}

fn action(resources: &[&str], context: Object) -> Object {
    let names = |names: &[&str]| names.iter().copied().map(Value::from).collect::<Vec<_>>();
    let applies_to = Object::new()
        .with("principalTypes", names(&["Agent", "Person"]))
        .with("resourceTypes", names(resources))
        .with("context", context);
    Object::new().with("appliesTo", applies_to)
}

/// The context of an action: its own attributes, and those of every action.
fn context<const N: usize>(own: [(&str, Object); N]) -> Object {
    let common = [
        ("task", entity("Task")),
        ("session", record([("calls", simple("Long"))])),
        ("posture", record([("assurance", simple("String"))])),
    ];
    record(own.into_iter().chain(common))
}

fn shape(shape: &Shape) -> Object {
    record(
        shape
            .typed()
            .map(|(name, kind)| (name, of_kind(kind).with("required", false))),
    )
}

fn of_kind(kind: &Kind) -> Object {
    match kind {
        Kind::Text => simple("String"),
        Kind::Long => simple("Long"),
        Kind::Boolean => simple("Boolean"),
        Kind::Record(members) => shape(members),
        Kind::Set(item) => simple("Set").with("element", of_kind(item)),
    }
}

fn simple(kind: &str) -> Object {
    Object::new().with("type", kind)
}

fn entity(name: &str) -> Object {
    simple("Entity").with("name", name)
}

fn record<'a>(attributes: impl IntoIterator<Item = (&'a str, Object)>) -> Object {
    let attributes = attributes
        .into_iter()
        .fold(Object::new(), |object, (name, kind)| {
            object.with(name, kind)
        });
    simple("Record").with("attributes", attributes)
}
