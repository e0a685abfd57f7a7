//! What nodes ask on behalf of services arrives as it was meant, in the name of their certificate.

use std::time::Duration;

use aims_crypto::sha256;
use aims_links::{
    EndedInstance, JwtSvid, LinkError, Refusal, ServiceAttestation, ServiceCall, ServiceGrant,
    Services, Svid, TrustBundle,
};
use aims_model::evidence::Measured;
use aims_model::{Point, ProcessSeen};
use aims_types::{Id, Node, Secret, Timestamp};
use async_trait::async_trait;

use super::asked::FakeControl;
use super::rich;
use super::world::{World, node};

const END: Timestamp = Timestamp::from_unix_millis(77_001);

fn grants() -> Vec<ServiceGrant> {
    let grant = |n, name: &str| ServiceGrant {
        instance: Id::from_u128(n),
        spiffe_id: format!("spiffe://aims.local/service/{name}")
            .parse()
            .unwrap(),
        hint: name.to_owned(),
    };
    vec![grant(1, "mail"), grant(u128::MAX, "post")]
}

fn bundle() -> TrustBundle {
    TrustBundle {
        trust_domain: "aims.local".parse().unwrap(),
        authorities: vec![vec![1, 255], Vec::new()],
        jwt_keys: vec!["{\"kid\":\"é\"}".to_owned()],
        sequence: u64::MAX,
        refresh: Duration::from_millis(1_500),
    }
}

fn seen() -> ProcessSeen {
    ProcessSeen {
        boot: "boot-1".to_owned(),
        pid: u32::MAX,
        started: u64::MAX,
        executable: Measured {
            path: "/srv/mail é".to_owned(),
            digest: sha256(b"mail"),
        },
        host_uid: 0,
        cgroup: "/".to_owned(),
    }
}

#[async_trait]
impl Services for FakeControl {
    async fn service_attest(
        &self,
        attestation: ServiceAttestation,
    ) -> Result<Result<Vec<ServiceGrant>, Refusal>, LinkError> {
        self.answer(attestation, grants()).await
    }

    async fn service_svid(
        &self,
        call: ServiceCall,
        csr: Vec<u8>,
    ) -> Result<Result<Svid, Refusal>, LinkError> {
        self.answer((call, csr), rich::svid()).await
    }

    async fn service_jwt(
        &self,
        call: ServiceCall,
        audience: Vec<String>,
    ) -> Result<Result<JwtSvid, Refusal>, LinkError> {
        let token = Secret::new("a.b.c".to_owned());
        let svid = JwtSvid {
            token,
            expires_at: END,
        };
        self.answer((call, audience), svid).await
    }

    async fn service_ended(&self, ended: EndedInstance) -> Result<(), LinkError> {
        self.hear(ended, ()).await
    }

    async fn trust_bundle(&self) -> Result<TrustBundle, LinkError> {
        self.hear("bundle", bundle()).await
    }
}

fn call(node: Id<Node>) -> ServiceCall {
    ServiceCall {
        node,
        instance: Id::from_u128(6),
        seen: seen(),
    }
}

#[tokio::test]
async fn what_a_node_asks_for_services_arrives_in_the_name_of_its_certificate() {
    let world = World::start().await;
    let links = world.links(node());
    let Point::Node(me) = node() else {
        panic!("no node");
    };
    let other = Id::from_u128(99);
    let asked = |node| ServiceAttestation { node, seen: seen() };
    let got = links.service_attest(asked(other)).await.unwrap();
    assert_eq!(got.unwrap(), grants());
    assert_eq!(world.control.take(), [format!("{:?}", asked(me))]);

    let got = links.service_svid(call(other), vec![0, 255]).await.unwrap();
    assert_eq!(got.unwrap(), rich::svid());
    let told = format!("{:?}", (call(me), vec![0_u8, 255]));
    assert_eq!(world.control.take(), [told]);

    let audience = vec!["bank".to_owned(), String::new()];
    let got = links.service_jwt(call(other), audience.clone()).await;
    let got = got.unwrap().unwrap();
    assert_eq!(
        (got.token.expose().as_str(), got.expires_at),
        ("a.b.c", END)
    );
    assert_eq!(
        world.control.take(),
        [format!("{:?}", (call(me), audience))]
    );

    let ended = |node| EndedInstance {
        node,
        instance: Id::from_u128(6),
        how: "exited".to_owned(),
    };
    links.service_ended(ended(other)).await.unwrap();
    assert_eq!(world.control.take(), [format!("{:?}", ended(me))]);
    assert_eq!(links.trust_bundle().await.unwrap(), bundle());
}
