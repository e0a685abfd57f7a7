//! Upstreams and their credentials.

use aims_crypto::SealKey;
use aims_links::{Control, CredentialAsk, LeaseAsk};
use aims_model::{EventKind, Point, Upstream};
use aims_types::{Id, Secret};

use super::world::{World, secret, upstream};
use crate::Refused;

/// A world whose gateway holds a lease, with the upstream `model`.
async fn leased() -> (World, Upstream) {
    let (world, _) = World::ready().await;
    let cx = world.cx(&world.operator);
    let ask = LeaseAsk {
        point: Point::Gateway(world.gateway_id),
        in_force: world.revision().await,
        head: None,
        address: None,
        telling: None,
    };
    world.plane.lease_renew(ask).await.unwrap().unwrap();
    let added = world.plane.upstream_add(&cx, upstream("model")).await;
    (world, added.unwrap().value)
}

async fn ask(world: &World, upstream: &Upstream) -> Result<Vec<u8>, String> {
    let ask = CredentialAsk {
        upstream: upstream.id,
        version: upstream.version,
    };
    let lease = world.plane.credential_lease(world.gateway_id, ask).await;
    let lease = lease
        .unwrap()
        .map_err(|refusal| refusal.code.into_owned())?;
    let key = <[u8; 32]>::try_from(lease.key.expose().as_slice()).unwrap();
    let key = SealKey::new(&Secret::new(key)).unwrap();
    let opened = key.open(upstream.binding().as_bytes(), &lease.sealed);
    Ok(opened.map_err(|error| error.to_string())?.expose().clone())
}

#[tokio::test]
async fn a_gateway_with_a_lease_gets_the_credential_in_force_and_it_is_on_record() {
    let (world, mut model) = leased().await;
    assert_eq!(ask(&world, &model).await.unwrap(), b"hush-0123456789");
    let leases = world.records_of(EventKind::UpstreamLeased).await;
    assert_eq!(leases.len(), 1);
    let gateway = leases[0].event.body.get("gateway").unwrap().as_str();
    assert_eq!(gateway, Some(world.gateway_id.to_string().as_str()));
    let cx = world.cx(&world.operator);
    let fresh = secret("another-0123456789");
    let rotated = world.plane.upstream_rotate(&cx, &model.name, fresh).await;
    assert_eq!(ask(&world, &model).await, Err("old_version".to_owned()));
    model = rotated.unwrap().value;
    assert_eq!(model.version, 2);
    assert_eq!(ask(&world, &model).await.unwrap(), b"another-0123456789");
    assert_eq!(*world.gateway.newest().upstreams, [model.clone()]);
    world.plane.upstream_retire(&cx, &model.name).await.unwrap();
    assert_eq!(
        ask(&world, &model).await,
        Err("unknown_upstream".to_owned())
    );
    assert!(world.gateway.newest().upstreams.is_empty());
    let mut reader = world.parts.store.read().await.unwrap();
    assert_eq!(reader.credential(model.id).await.unwrap(), None);
}

#[tokio::test]
async fn a_gateway_that_has_no_lease_or_has_not_joined_gets_no_credential() {
    let (world, model) = leased().await;
    world.clock.forward(std::time::Duration::from_hours(1));
    assert_eq!(ask(&world, &model).await, Err("no_lease".to_owned()));
    let ask = CredentialAsk {
        upstream: model.id,
        version: 1,
    };
    let stranger = Id::from_u128(99);
    assert!(world.plane.credential_lease(stranger, ask).await.is_err());
    assert!(world.records_of(EventKind::UpstreamLeased).await.is_empty());
}

#[tokio::test]
async fn a_credential_does_not_open_for_a_changed_registration() {
    let (world, model) = leased().await;
    let mut moved = model.clone();
    let spec = r#"{"url":"https://evil.example","endpoints":[{"methods":["POST"],"path":"/v1"}]}"#;
    moved.spec = aims_json::from_slice(spec.as_bytes(), &aims_json::Limits::MESSAGE).unwrap();
    let mut txn = world.parts.store.begin().await.unwrap();
    txn.upstream_update(&moved).await.unwrap();
    txn.commit(Vec::new()).await.unwrap();
    assert!(
        ask(&world, &moved)
            .await
            .unwrap_err()
            .contains("does not open")
    );
}

#[tokio::test]
async fn no_credential_is_stored_or_recorded_as_it_is() {
    let (world, model) = leased().await;
    let cx = world.cx(&world.operator);
    let fresh = secret("hush-hush-hush-hush");
    world
        .plane
        .upstream_rotate(&cx, &model.name, fresh)
        .await
        .unwrap();
    let mut reader = world.parts.store.read().await.unwrap();
    let stored = format!("{:?}", reader.credential(model.id).await.unwrap());
    let bytes: Vec<String> = b"hush".iter().map(ToString::to_string).collect();
    assert!(!stored.contains(&bytes.join(", ")), "{stored}");
    let records = format!("{:?}", world.records().await);
    assert!(!records.contains("hush"));
    let listed = world.plane.upstreams(&cx).await.unwrap();
    assert!(!format!("{listed:?}").contains("hush"));
    assert!(!format!("{:?}", upstream("x")).contains("hush"));
}

#[tokio::test]
async fn what_can_not_be_an_upstream_is_refused_and_names_are_taken_for_ever() {
    let (world, model) = leased().await;
    let cx = world.cx(&world.operator);
    world.plane.upstream_retire(&cx, &model.name).await.unwrap();
    for (name, key, code) in [
        ("model", "hush-0123456789", "name_taken"),
        ("Model", "hush-0123456789", "bad_name"),
        ("other", "short", "bad_credential"),
        ("other", "with a space 0123", "bad_credential"),
    ] {
        let mut request = upstream(name);
        request.secret = secret(key);
        let error = world.plane.upstream_add(&cx, request).await.unwrap_err();
        assert_eq!(error.code(), code, "{name}: {error}");
        assert_eq!(world.refused().await, code);
    }
    let nothing = "nothing".parse().unwrap();
    let unknown = world.plane.upstream_retire(&cx, &nothing);
    assert_eq!(unknown.await.unwrap_err().code(), "unknown_upstream");
    let again = world
        .plane
        .upstream_rotate(&cx, &model.name, secret("hush-0123456789"));
    assert_eq!(again.await.unwrap_err().code(), "upstream_retired");
}
