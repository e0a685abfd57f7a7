//! Names: each is one thing's, of whatever kind, for ever.

use std::sync::atomic::Ordering;

use aims_model::Role;

use super::services::service;
use super::world::{World, agent, jwk, new_key, server, upstream};
use crate::{EnrolPerson, Refused};

/// One name of each kind that is or was in use.
const USED: [(&str, &str); 5] = [
    ("agent", "notes"),
    ("person", "mia"),
    ("server", "git"),
    ("service", "mail"),
    ("upstream", "model"),
];

/// Registers something of this kind; the code that it is refused with.
async fn register(world: &World, kind: &str, name: &str) -> Result<(), &'static str> {
    let (plane, cx) = (&world.plane, world.cx(&world.operator));
    let code = |error: &dyn Refused| error.code();
    match kind {
        "agent" => {
            let done = plane.agent_register(&cx, agent(name, "mia")).await;
            done.map(drop).map_err(|error| code(&error))
        }
        "person" => {
            let person = EnrolPerson {
                name: name.to_owned(),
                role: Role::Member,
                jwk: jwk(&new_key()),
            };
            let done = plane.person_enrol(&cx, person).await;
            done.map(drop).map_err(|error| code(&error))
        }
        "server" => {
            let done = plane.server_register(&cx, server(name)).await;
            done.map(drop).map_err(|error| code(&error))
        }
        "service" => {
            let done = plane.service_register(&cx, service(world, name)).await;
            done.map(drop).map_err(|error| code(&error))
        }
        _ => {
            let done = plane.upstream_add(&cx, upstream(name)).await;
            done.map(drop).map_err(|error| code(&error))
        }
    }
}

/// A world in which each kind has one, of which two are over.
async fn with_one_of_each() -> World {
    let (world, _) = World::ready().await;
    for (kind, name) in [("service", "mail"), ("upstream", "model")] {
        register(&world, kind, name).await.unwrap();
    }
    let cx = world.cx(&world.operator);
    let (service, upstream) = ("mail".parse().unwrap(), "model".parse().unwrap());
    world.plane.service_retire(&cx, &service).await.unwrap();
    world.plane.upstream_retire(&cx, &upstream).await.unwrap();
    world
}

#[tokio::test]
async fn a_name_is_one_things_for_ever_whatever_its_kind() {
    let world = with_one_of_each().await;
    let before = world.revision().await;
    let inspections = world.gateway.inspections.load(Ordering::SeqCst);
    for (kind, _) in USED {
        for (of, name) in USED {
            let code = if of == kind {
                "name_taken"
            } else {
                "borrowed_identity"
            };
            let done = register(&world, kind, name).await;
            assert_eq!(done, Err(code), "a new {kind} with the name of the {of}");
            assert_eq!(world.refused().await, code);
        }
        for name in ["", "Mail", "agent/notes", "../agent/notes", "a\u{202e}b"] {
            let done = register(&world, kind, name).await;
            assert_eq!(done, Err("bad_name"), "{kind} {name}");
        }
    }
    assert_eq!(world.revision().await, before);
    let after = world.gateway.inspections.load(Ordering::SeqCst);
    assert_eq!(after, inspections, "nothing is started for it");
}

#[tokio::test]
async fn what_acts_has_no_name_that_many_share() {
    let (world, _) = World::ready().await;
    for kind in ["agent", "service"] {
        for name in crate::SHARED_NAMES {
            let done = register(&world, kind, name).await;
            assert_eq!(done, Err("borrowed_identity"), "{kind} {name}");
        }
    }
}
