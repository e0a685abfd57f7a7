//! Services: who may be one, what its processes get, and when nothing any more.

use std::time::Duration;

use aims_crypto::SigningKey;
use aims_jose::{Jwk, Jws, JwsLimits, Thumbprint, typ};
use aims_json::{Limits, Value};
use aims_links::{
    EndedInstance, Refusal, ServiceAttestation, ServiceCall, ServiceGrant, Services, Svid,
};
use aims_model::evidence::Measured;
use aims_model::{EventKind, Point, ProcessSeen, Role};
use aims_types::{Actor, Digest, Id, Instance};
use aims_x509::{Bundle, CaCertificate, SvidRequest, verify_svid};

use super::kill::killing;
use super::world::{World, new_key, text};
use crate::{
    AUDIENCE_LEN_MAX, AUDIENCES_MAX, Refused, RegisterService, SERVICE_JWT_LIFE, SERVICE_X509_LIFE,
    STRANGERS_RECORDED_MAX, bundle_document,
};

/// Which part of the evidence is wrong after which change.
type Change = (&'static str, fn(&mut ProcessSeen));

const ID: &str = "spiffe://aims.local/service/mail";

pub(super) fn service(world: &World, name: &str) -> RegisterService {
    RegisterService {
        name: name.to_owned(),
        owner: Some("mia".to_owned()),
        purpose: Some("sends letters".to_owned()),
        node: Some(world.node.id.to_string()),
        executable: Measured {
            path: "/usr/bin/mail".to_owned(),
            digest: Digest::from_bytes([6; 32]),
        },
        host_uid: 1001,
        cgroup: Some("/system.slice/mail.service".to_owned()),
        key_export: true,
    }
}

pub(super) fn seen() -> ProcessSeen {
    ProcessSeen {
        boot: "boot-1".to_owned(),
        pid: 4711,
        started: 99,
        executable: Measured {
            path: "/usr/bin/mail".to_owned(),
            digest: Digest::from_bytes([6; 32]),
        },
        host_uid: 1001,
        cgroup: "/system.slice/mail.service".to_owned(),
    }
}

/// A world with the service `mail` of mia.
async fn with_mail() -> World {
    let (world, _) = World::ready().await;
    let mail = service(&world, "mail");
    let cx = world.cx(&world.operator);
    world.plane.service_register(&cx, mail).await.unwrap();
    world
}

pub(super) async fn attest(world: &World, seen: ProcessSeen) -> Result<Vec<ServiceGrant>, Refusal> {
    let node = world.node.id;
    let attestation = ServiceAttestation { node, seen };
    world.plane.service_attest(attestation).await.unwrap()
}

pub(super) fn call(world: &World, instance: Id<Instance>) -> ServiceCall {
    ServiceCall {
        node: world.node.id,
        instance,
        seen: seen(),
    }
}

pub(super) async fn svid(world: &World, call: ServiceCall) -> Result<(Svid, SigningKey), Refusal> {
    let key = new_key();
    let csr = SvidRequest::create(&key, Some(&ID.parse().unwrap())).unwrap();
    let svid = world.plane.service_svid(call, csr.into_der()).await;
    svid.unwrap().map(|svid| (svid, key))
}

/// The one process of `mail`.
pub(super) async fn running(world: &World) -> Id<Instance> {
    let grants = attest(world, seen()).await.unwrap();
    assert_eq!(grants.len(), 1);
    grants[0].instance
}

#[tokio::test]
async fn keys_are_exported_only_where_that_is_said() {
    let (world, _) = World::ready().await;
    let mut silent = service(&world, "mail");
    silent.key_export = false;
    let cx = world.cx(&world.operator);
    let done = world.plane.service_register(&cx, silent);
    assert_eq!(done.await.unwrap_err().code(), "missing_key_export");
}

#[tokio::test]
async fn a_service_is_on_a_node_that_has_joined_and_that_is_certain() {
    let (world, _) = World::ready().await;
    let cx = world.cx(&world.operator);
    let mut nowhere = service(&world, "mail");
    nowhere.node = Some(Id::<aims_types::Node>::from_u128(7).to_string());
    let done = world.plane.service_register(&cx, nowhere).await;
    assert_eq!(done.unwrap_err().code(), "bad_node");
    let mut only = service(&world, "mail");
    only.node = None;
    let made = world.plane.service_register(&cx, only).await.unwrap();
    assert_eq!(made.value.node, world.node.id);
    world.other_node().await;
    let mut either = service(&world, "post");
    either.node = None;
    let done = world.plane.service_register(&cx, either).await;
    assert_eq!(done.unwrap_err().code(), "bad_node");
}

#[tokio::test]
async fn each_part_of_the_evidence_is_needed_and_nothing_is_told_of_what_is_registered() {
    let world = with_mail().await;
    let changes: [Change; 5] = [
        ("path", |seen| seen.executable.path = "/tmp/mail".to_owned()),
        ("digest", |seen| {
            seen.executable.digest = Digest::from_bytes([7; 32]);
        }),
        ("user", |seen| seen.host_uid = 0),
        ("cgroup", |seen| seen.cgroup = "/".to_owned()),
        ("length", |seen| seen.cgroup = "/".repeat(5000)),
    ];
    for (part, change) in changes {
        let mut seen = seen();
        change(&mut seen);
        let refusal = attest(&world, seen).await.unwrap_err();
        assert!(!refusal.reason.contains("1001") || part != "user", "{part}");
        assert!(!refusal.reason.contains("mail.service"), "{part}");
    }
    let other = world.other_node().await;
    let attestation = ServiceAttestation {
        node: other.id,
        seen: seen(),
    };
    let refused = world.plane.service_attest(attestation).await.unwrap();
    assert_eq!(refused.unwrap_err().code, "no_service");
    assert_eq!(world.records_of(EventKind::ServiceAttested).await.len(), 0);
}

#[tokio::test]
async fn a_process_is_one_instance_however_often_it_asks() {
    let world = with_mail().await;
    let first = running(&world).await;
    assert_eq!(running(&world).await, first);
    let mut later = seen();
    later.started += 1;
    let other = attest(&world, later).await.unwrap();
    assert_ne!(other[0].instance, first);
    assert_eq!(world.records_of(EventKind::ServiceAttested).await.len(), 2);
}

#[tokio::test]
async fn an_svid_lives_minutes_and_its_key_is_on_record_as_exported() {
    let world = with_mail().await;
    let instance = running(&world).await;
    let (svid, key) = svid(&world, call(&world, instance)).await.unwrap();
    let authority = CaCertificate::from_der(&svid.bundle[0]).unwrap();
    let bundle = Bundle::new(vec![authority]).unwrap();
    let peer = verify_svid(&[svid.chain[0].as_slice()], &bundle, world.now()).unwrap();
    assert_eq!(peer.spiffe_id().as_str(), ID);
    assert_eq!(
        peer.kid(),
        Thumbprint::of(aims_crypto::Signer::public(&key))
    );
    assert!(svid.expires_at.since(world.now()) <= SERVICE_X509_LIFE);
    let exported = world.records_of(EventKind::KeyExported).await;
    let [record] = exported.as_slice() else {
        panic!("{exported:?}");
    };
    for (member, expected) in [
        ("spiffe_id", ID.to_owned()),
        ("assurance", "observed".to_owned()),
        ("instance", instance.to_string()),
        ("node", world.node.id.to_string()),
        ("by", world.node.id.to_string()),
    ] {
        assert_eq!(text(record, member), expected, "{member}");
    }
    let seen_member = record.event.body.get("seen").unwrap();
    assert!(seen_member.to_string().contains("/usr/bin/mail"));
}

#[tokio::test]
async fn a_request_that_names_another_identity_is_refused() {
    let world = with_mail().await;
    let instance = running(&world).await;
    for other in [
        "spiffe://aims.local/agent/notes",
        "spiffe://aims.local/server",
        "spiffe://other.example/service/mail",
    ] {
        let csr = SvidRequest::create(&new_key(), Some(&other.parse().unwrap())).unwrap();
        let done = world
            .plane
            .service_svid(call(&world, instance), csr.into_der());
        let refusal = done.await.unwrap().unwrap_err();
        assert_eq!(refusal.code, "bad_certificate_request", "{other}");
    }
}

#[tokio::test]
async fn a_jwt_svid_has_the_header_and_the_claims_of_the_standard_and_the_bundle_its_key() {
    let world = with_mail().await;
    let instance = running(&world).await;
    let audience = vec!["spiffe://bank.example/api".to_owned()];
    let issued = world
        .plane
        .service_jwt(call(&world, instance), audience)
        .await;
    let issued = issued.unwrap().unwrap();
    let bundle = world.plane.trust_bundle().await.unwrap();
    let key = aims_json::parse(bundle.jwt_keys[0].as_bytes(), &Limits::TOKEN).unwrap();
    let key = Jwk::parse(&key).unwrap();
    let jws = Jws::parse(issued.token.expose(), &JwsLimits::TOKEN).unwrap();
    let header = jws.unverified_header();
    assert_eq!(header.kid.as_deref(), key.kid());
    assert_eq!(header.typ.as_deref(), Some("JWT"));
    let claims = jws.verify(key.key(), typ::JWT).unwrap();
    assert_eq!(claims.text("sub").unwrap(), ID);
    assert_eq!(claims.sole_audience().unwrap(), "spiffe://bank.example/api");
    assert_eq!(claims.time("exp").unwrap(), issued.expires_at);
    assert!(issued.expires_at.since(world.now()) <= SERVICE_JWT_LIFE);
    assert_eq!(world.records_of(EventKind::JwtSvidIssued).await.len(), 1);
    // The keys of tokens and grants verify nothing of services.
    assert_eq!(bundle.jwt_keys.len(), 1);
}

#[tokio::test]
async fn audiences_are_few_short_and_there() {
    let world = with_mail().await;
    let instance = running(&world).await;
    let long = "a".repeat(AUDIENCE_LEN_MAX + 1);
    for audience in [
        vec![],
        vec![String::new()],
        vec![long],
        vec!["a\nb".to_owned()],
        vec!["a".to_owned(); AUDIENCES_MAX + 1],
    ] {
        let done = world
            .plane
            .service_jwt(call(&world, instance), audience)
            .await;
        assert_eq!(done.unwrap().unwrap_err().code, "bad_audience");
    }
}

#[tokio::test]
async fn a_process_that_is_not_what_was_attested_ends_with_the_next_call() {
    let changes: [Change; 4] = [
        ("exec", |seen| seen.executable.path = "/bin/sh".to_owned()),
        ("digest", |seen| {
            seen.executable.digest = Digest::from_bytes([7; 32]);
        }),
        ("pid", |seen| seen.pid += 1),
        ("start", |seen| seen.started += 1),
    ];
    for (part, change) in changes {
        let world = with_mail().await;
        let instance = running(&world).await;
        let mut other = call(&world, instance);
        change(&mut other.seen);
        let refusal = svid(&world, other).await.unwrap_err();
        assert_eq!(refusal.code, "evidence_mismatch", "{part}");
        let refusal = svid(&world, call(&world, instance)).await.unwrap_err();
        assert_eq!(refusal.code, "instance_ended", "{part}");
        assert_eq!(world.records_of(EventKind::ServiceEnded).await.len(), 1);
        assert_eq!(world.records_of(EventKind::KeyExported).await.len(), 0);
    }
}

#[tokio::test]
async fn another_node_can_not_ask_for_a_process_nor_end_it() {
    let world = with_mail().await;
    let instance = running(&world).await;
    let other = world.other_node().await;
    let mut foreign = call(&world, instance);
    foreign.node = other.id;
    let refusal = svid(&world, foreign).await.unwrap_err();
    assert_eq!(refusal.code, "unknown_instance");
    let ended = EndedInstance {
        node: other.id,
        instance,
        how: "exited".to_owned(),
    };
    assert!(world.plane.service_ended(ended).await.is_err());
    svid(&world, call(&world, instance)).await.unwrap();
}

#[tokio::test]
async fn a_retired_service_gets_nothing_and_its_node_is_told_of_its_processes() {
    let world = with_mail().await;
    let instance = running(&world).await;
    let cx = world.cx(&world.operator);
    let name = "mail".parse().unwrap();
    world.plane.service_retire(&cx, &name).await.unwrap();
    assert!(world.walls.ended().contains(&instance));
    let refusal = svid(&world, call(&world, instance)).await.unwrap_err();
    assert_eq!(refusal.code, "instance_ended");
    let refusal = attest(&world, seen()).await.unwrap_err();
    assert_eq!(refusal.code, "no_service");
    let again = world.plane.service_retire(&cx, &name).await.unwrap_err();
    assert_eq!(again.code(), "invalid_transition");
    let same = world.plane.service_register(&cx, service(&world, "mail"));
    assert_eq!(same.await.unwrap_err().code(), "name_taken");
}

#[tokio::test]
async fn a_killed_process_never_comes_back_and_a_new_one_does() {
    let world = with_mail().await;
    let instance = running(&world).await;
    let cx = world.cx(&world.operator);
    let kill = killing("instance", &instance.to_string());
    let receipt = world.plane.kill(&cx, kill).await.unwrap();
    assert!(receipt.foreign_until.unwrap().since(world.now()) >= SERVICE_X509_LIFE);
    assert!(world.walls.ended().contains(&instance));
    let refusal = attest(&world, seen()).await.unwrap_err();
    assert_eq!(refusal.code, "cut_off");
    let mut other = seen();
    other.pid += 1;
    attest(&world, other).await.unwrap();
}

#[tokio::test]
async fn a_process_is_killed_by_operators_and_the_owner_and_by_nobody_else() {
    let (world, mia) = World::ready().await;
    let cx = world.cx(&world.operator);
    let mail = service(&world, "mail");
    world.plane.service_register(&cx, mail).await.unwrap();
    let instance = running(&world).await;
    let max = world.enrol("max", Role::Member).await;
    let kill = || killing("instance", &instance.to_string());
    let refused = world.plane.kill(&world.cx(&max), kill()).await;
    assert_eq!(refused.unwrap_err().code(), "unknown_instance");
    svid(&world, call(&world, instance)).await.unwrap();
    world.plane.kill(&world.cx(&mia), kill()).await.unwrap();
    svid(&world, call(&world, instance)).await.unwrap_err();
}

#[tokio::test]
async fn nothing_is_issued_when_nobody_answers_for_the_service() {
    let world = with_mail().await;
    let instance = running(&world).await;
    let cx = world.cx(&world.operator);
    let mia = "mia".parse().unwrap();
    world.plane.person_remove(&cx, &mia).await.unwrap();
    let refusal = svid(&world, call(&world, instance)).await.unwrap_err();
    assert_eq!(refusal.code, "no_service");
}

#[tokio::test]
async fn what_a_silent_node_vouched_for_ends_and_may_be_attested_again() {
    let world = with_mail().await;
    let point = Point::Node(world.node.id);
    world.renew(point, world.revision().await).await.unwrap();
    let instance = running(&world).await;
    world.clock.forward(Duration::from_hours(1));
    world.plane.end_silent().await.unwrap();
    let refusal = svid(&world, call(&world, instance)).await.unwrap_err();
    assert_eq!(refusal.code, "instance_ended");
    assert_ne!(running(&world).await, instance);
}

#[tokio::test]
async fn refusals_of_processes_that_fit_nothing_do_not_fill_the_log() {
    let world = with_mail().await;
    let before = world.records().await.len();
    let mut stranger = seen();
    stranger.host_uid = 7;
    for _ in 0..STRANGERS_RECORDED_MAX + 5 {
        attest(&world, stranger.clone()).await.unwrap_err();
    }
    let recorded = world.records().await.len() - before;
    assert_eq!(recorded, usize::try_from(STRANGERS_RECORDED_MAX).unwrap());
    world.clock.forward(Duration::from_mins(2));
    attest(&world, stranger).await.unwrap_err();
    let last = world.records_of(EventKind::RequestRefused).await;
    let left_out = last.last().unwrap().event.body.get("left_out").cloned();
    assert_eq!(left_out.and_then(|value| value.as_u64()), Some(5));
}

#[tokio::test]
async fn the_bundle_document_is_that_of_the_standard() {
    let world = with_mail().await;
    let mut reader = world.parts.store.read().await.unwrap();
    let document = bundle_document(reader.as_mut()).await.unwrap();
    let keys = document.get("keys").and_then(Value::as_array).unwrap();
    let of = |name: &str| {
        let is_it = |key: &&Value| key.get("use").and_then(Value::as_str) == Some(name);
        keys.iter().find(is_it).unwrap()
    };
    assert_eq!(keys.len(), 2);
    let x509 = of("x509-svid");
    assert!(x509.get("kid").is_none(), "X.509-SVID §6: no kid");
    assert_eq!(x509.get("x5c").and_then(Value::as_array).unwrap().len(), 1);
    let jwt = of("jwt-svid");
    assert!(jwt.get("kid").is_some() && jwt.get("x5c").is_none());
    assert!(keys.iter().all(|key| key.get("d").is_none()));
    assert!(document.get("spiffe_sequence").unwrap().as_u64() >= Some(2));
    assert!(document.get("spiffe_refresh_hint").unwrap().as_u64() > Some(0));
}

#[tokio::test]
async fn the_key_of_jwt_svids_is_made_once_and_is_there_after_a_restart() {
    let world = with_mail().await;
    let before = world.plane.trust_bundle().await.unwrap();
    let again = crate::ControlPlane::open(world.parts.clone())
        .await
        .unwrap();
    assert_eq!(again.trust_bundle().await.unwrap(), before);
    let cx = again.cx(Actor::Server).unwrap();
    assert_eq!(cx.actor, Actor::Server);
}
