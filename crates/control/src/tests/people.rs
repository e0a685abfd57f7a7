//! Enrolment and removal of people.

use aims_model::{EventKind, Role, Subject, agent};
use aims_types::Name;

use super::world::{World, jwk, new_key};
use crate::{EnrolPerson, Refused};

fn person(name: &str, jwk: String) -> EnrolPerson {
    EnrolPerson {
        name: name.to_owned(),
        role: Role::Member,
        jwk,
    }
}

#[tokio::test]
async fn names_and_keys_are_enrolled_once_for_ever() {
    let (world, mia) = World::ready().await;
    let cx = world.cx(&world.operator);
    let fresh = || jwk(&new_key());
    let private = r#"{"kty":"EC","crv":"P-256","d":"AA","x":"AA","y":"AA"}"#.to_owned();
    world
        .plane
        .person_remove(&cx, &"mia".parse().unwrap())
        .await
        .unwrap();
    let before = world.revision().await;
    for (request, code) in [
        (person("mia", fresh()), "name_taken"),
        (person("olga", fresh()), "name_taken"),
        (person("notes", fresh()), "borrowed_identity"),
        (person("No", fresh()), "bad_name"),
        (person("new", jwk(&mia.key)), "key_taken"),
        (person("new", jwk(&world.node.key)), "key_taken"),
        (person("new", private), "bad_key"),
        (person("new", "{}".to_owned()), "bad_key"),
    ] {
        let error = world.plane.person_enrol(&cx, request).await.unwrap_err();
        assert_eq!(error.code(), code);
        assert_eq!(world.refused().await, code);
    }
    assert_eq!(world.revision().await, before);
}

#[tokio::test]
async fn removing_a_person_ends_what_they_delegated_and_suspends_what_they_own() {
    let (world, mia) = World::ready().await;
    let running = world.running(&mia, "notes").await;
    let minted = world.revision().await;
    let cx = world.cx(&world.operator);
    let mia_name: Name = "mia".parse().unwrap();
    let done = world.plane.person_remove(&cx, &mia_name).await.unwrap();
    assert!(done.lapsed.is_empty());
    assert!(world.gateway.cuts(&Subject::Person(mia.id), minted));
    let agents = world.plane.agents(&cx).await.unwrap();
    assert!(matches!(agents[0].stage, agent::Stage::Suspended { .. }));
    assert!(world.gateway.cuts(&Subject::Agent(agents[0].id), minted));
    let key = world
        .gateway
        .newest()
        .keys
        .iter()
        .find(|k| k.jwk.contains("EC") && { k.owner == aims_model::KeyOwner::Person(mia.id) })
        .cloned();
    assert!(key.unwrap().retired_at.is_some());
    assert_eq!(world.records_of(EventKind::KeyRetired).await.len(), 1);
    let refused = world
        .plane
        .agent_activate(&cx, &agents[0].name)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "no_owner");
    let again = world.plane.person_remove(&cx, &mia_name).await.unwrap_err();
    assert_eq!(again.code(), "already_removed");
    assert_eq!(running.grant.issuer, super::world::ISSUER);
}

#[tokio::test]
async fn the_last_operator_stays() {
    let (world, _) = World::ready().await;
    let (cx, olga) = (world.cx(&world.operator), "olga".parse().unwrap());
    let error = world.plane.person_remove(&cx, &olga).await.unwrap_err();
    assert_eq!(error.code(), "last_operator");
    world.enrol("oscar", Role::Operator).await;
    world.plane.person_remove(&cx, &olga).await.unwrap();
    let nobody = world
        .plane
        .person_remove(&cx, &"zoe".parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(nobody.code(), "not_enrolled");
}
