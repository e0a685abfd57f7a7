//! Bringing a trust domain into being.

use aims_crypto::Alg;
use aims_keys::Purpose;
use aims_model::{EventKind, KeyPurpose, Role};

use super::world::{World, init, jwk, kid, new_key, parts};
use crate::{ControlPlane, InitError, OpenError, initialise, log_key};

#[tokio::test]
async fn initialisation_makes_keys_operator_and_policy_and_records_them_first() {
    let world = World::new().await;
    let records = world.records().await;
    let kinds: Vec<EventKind> = records.iter().map(|record| record.event.kind).collect();
    assert_eq!(kinds[0], EventKind::DomainCreated);
    assert_eq!(kinds[1..6], [EventKind::KeyEnrolled; 5]);
    assert_eq!(
        kinds[6..8],
        [EventKind::PersonEnrolled, EventKind::PolicyActivated]
    );
    let people = world
        .plane
        .people(&world.cx(&world.operator))
        .await
        .unwrap();
    assert_eq!(people.len(), 1);
    assert_eq!(people[0].role, Role::Operator);
    let custody = world.parts.keys.list().unwrap();
    let alg = |purpose| {
        let mut found = custody.iter().filter(|info| info.purpose == purpose);
        found.next().unwrap().public.alg()
    };
    // The fifth is made when the server is opened for the first time.
    assert_eq!(custody.len(), 5);
    assert_eq!(alg(Purpose::JwtSvid), Alg::Es256);
    assert_eq!(alg(Purpose::Ca), Alg::Es256);
    assert_eq!(alg(Purpose::Token), Alg::Es256);
    assert_eq!(alg(Purpose::Grant), Alg::Ed25519);
    assert_eq!(alg(Purpose::Log), Alg::Ed25519);
    let log = log_key(world.parts.store.as_ref(), &world.parts.keys)
        .await
        .unwrap();
    let mut reader = world.parts.store.read().await.unwrap();
    assert_eq!(
        reader.keys(KeyPurpose::Log).await.unwrap()[0].kid,
        kid(&log)
    );
}

#[tokio::test]
async fn a_store_is_initialised_once() {
    let world = World::new().await;
    let (before, records) = (world.revision().await, world.records().await.len());
    let again = initialise(&world.parts, init(&new_key())).await;
    assert!(matches!(again, Err(InitError::AlreadyInitialised(_))));
    assert_eq!(world.revision().await, before);
    assert_eq!(world.records().await.len(), records);
    assert_eq!(world.parts.keys.list().unwrap().len(), 5);
}

#[tokio::test]
async fn nothing_is_made_of_a_bad_key_or_policy() {
    let directory = tempfile::tempdir().unwrap();
    let (parts, _) = parts(directory.path()).await;
    let key = new_key();
    let mut bad_key = init(&key);
    bad_key.operator_jwk = jwk(&key).replace("\"x\"", "\"d\"");
    assert!(matches!(
        initialise(&parts, bad_key).await,
        Err(InitError::OperatorKey(_))
    ));
    let mut bad_policy = init(&key);
    bad_policy.default_policy = "permit (principal, action, resource);";
    assert!(matches!(
        initialise(&parts, bad_policy).await,
        Err(InitError::Policy(_))
    ));
    assert_eq!(parts.keys.list().unwrap(), []);
    let open = ControlPlane::open(parts).await;
    assert!(matches!(open, Err(OpenError::NotInitialised)));
}

#[tokio::test]
async fn a_control_plane_opens_again_with_the_same_keys() {
    let (world, mia) = World::ready().await;
    let task = world.start(&mia, "notes").await.task.id;
    let again = ControlPlane::open(world.parts.clone()).await.unwrap();
    let cx = world.cx(&mia);
    assert_eq!(again.task(&cx, task).await.unwrap().task.id, task);
    assert_eq!(again.keyring().grant.kid, world.plane.keyring().grant.kid);
}

#[tokio::test]
async fn a_server_without_its_private_keys_does_not_open() {
    let world = World::new().await;
    for info in world.parts.keys.list().unwrap() {
        if info.purpose == Purpose::Grant {
            world.parts.keys.destroy(info.id).unwrap();
        }
    }
    let open = ControlPlane::open(world.parts.clone()).await;
    assert!(matches!(open, Err(OpenError::Keyring(_))));
}
