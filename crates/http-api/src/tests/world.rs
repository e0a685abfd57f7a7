//! A control plane over a store in a folder of its own, behind the real router.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Admin;
use aims_control::{Config, ControlPlane, EnrolPerson, Init, NoLog, Parts, initialise};
use aims_crypto::{Alg, Signer, SigningKey, sha256};
use aims_jose::{Jwk, Thumbprint};
use aims_keys::{KeyStore, MasterKey};
use aims_lease::Terms;
use aims_links::{
    Applied, ControlState, Cut, Enforce, EnforceError, InspectError, LinkError, Vouch,
};
use aims_model::receipt::Ended;
use aims_model::{Record, Role, ServerSpec, ToolPin};
use aims_oauth::{AssertionClaims, HttpUri, PersonGrant, TokenRequest, TokenResponse, dpop};
use aims_store_sqlite::SqliteStore;
use aims_types::ambient::SystemEntropy;
use aims_types::{
    self as types, Actor, BootTime, Clock, Cx, Id, Name, Node, Revision, Secret, Timestamp,
};
use async_trait::async_trait;
use axum::Router;
use bytes::Bytes;
use http::{Request, StatusCode};
use tower::ServiceExt;

pub(super) const ISSUER: &str = "https://aims.local";
pub(super) const RESOURCE: &str = "https://gateway.aims.local";
pub(super) const POLICY: &str = "@id(\"all\")\npermit (principal, action, resource);\n";
const START: u64 = 1_795_307_428_000;

/// A clock that only the test moves.
pub(super) struct FakeClock(AtomicU64);

impl FakeClock {
    pub(super) fn forward(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap();
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.0.load(Ordering::SeqCst))
    }

    fn boot(&self) -> BootTime {
        BootTime::from_nanos(self.0.load(Ordering::SeqCst) * 1_000_000)
    }
}

/// A gateway that takes everything over.
struct Gateway;

#[async_trait]
impl Enforce for Gateway {
    async fn inspect(&self, _: Name, _: ServerSpec) -> Result<Vec<ToolPin>, InspectError> {
        Ok(vec![ToolPin {
            name: "git_log".to_owned(),
            digest: sha256(b"git_log"),
            input_schema: r#"{"properties":{"repo_path":{"type":"string"}},"type":"object"}"#
                .to_owned(),
            description: "reads the log".to_owned(),
        }])
    }

    async fn apply(&self, state: Arc<ControlState>) -> Result<Applied, EnforceError> {
        Ok(Applied {
            earlier: Vec::new(),
            revision: state.revision,
            ended: Ended::default(),
        })
    }
}

/// A node that ends whatever it is told to.
struct Walls;

#[async_trait]
impl Vouch for Walls {
    async fn end(&self, _: Cut) -> Result<Ended, LinkError> {
        Ok(Ended::default())
    }

    async fn held(&self) -> Result<Vec<Id<types::Instance>>, LinkError> {
        Ok(Vec::new())
    }
}

/// A person with their key.
pub(super) struct Somebody {
    pub(super) id: Id<types::Person>,
    pub(super) key: SigningKey,
}

/// An answer, read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: http::HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// The code of a problem.
    pub(super) fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        problem["code"].as_str().unwrap_or_default().to_owned()
    }
}

pub(super) struct World {
    pub(super) plane: ControlPlane,
    pub(super) parts: Parts,
    pub(super) clock: Arc<FakeClock>,
    pub(super) router: Router,
    pub(super) operator: Somebody,
    pub(super) node: (Id<Node>, SigningKey),
    pub(super) gateway: Id<types::Gateway>,
    pub(super) directory: tempfile::TempDir,
}

pub(super) fn new_key() -> SigningKey {
    SigningKey::generate(Alg::Es256).unwrap()
}

pub(super) fn jwk(key: &SigningKey) -> String {
    Jwk::new(*key.public()).to_value().to_string()
}

pub(super) fn kid(key: &SigningKey) -> String {
    Thumbprint::of(key.public()).to_string()
}

impl World {
    /// A domain with an operator, a node and a gateway.
    pub(super) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(FakeClock(AtomicU64::new(START)));
        let parts = parts(directory.path(), clock.clone()).await;
        let key = new_key();
        let init = Init {
            trust_domain: "aims.local".parse().unwrap(),
            operator_name: "olga".parse().unwrap(),
            operator_jwk: jwk(&key),
            default_policy: POLICY,
        };
        let id = initialise(&parts, init).await.unwrap().operator.id;
        let plane = ControlPlane::open(parts.clone()).await.unwrap();
        let server = plane.cx(Actor::Server).unwrap();
        let gateway = Id::from_u128(42);
        plane
            .gateway_join(&server, gateway, &jwk(&new_key()), Arc::new(Gateway))
            .await
            .unwrap();
        let node = new_key();
        let walls = Arc::new(Walls);
        let node_id = plane.node_join(&server, &jwk(&node), "host", walls).await;
        Self {
            router: Admin::new(plane.clone()).router(),
            plane,
            parts,
            clock,
            operator: Somebody { id, key },
            node: (node_id.unwrap(), node),
            gateway,
            directory,
        }
    }

    pub(super) fn cx(&self, person: &Somebody) -> Cx {
        self.plane.cx(Actor::Person(person.id)).unwrap()
    }

    pub(super) async fn enrol(&self, name: &str, role: Role) -> Somebody {
        let key = new_key();
        let person = EnrolPerson {
            name: name.to_owned(),
            role,
            jwk: jwk(&key),
        };
        let cx = self.cx(&self.operator);
        let done = self.plane.person_enrol(&cx, person).await;
        let id = done.unwrap().value.id;
        Somebody { id, key }
    }

    pub(super) fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn jti(&self) -> String {
        self.plane.cx(Actor::Server).unwrap().request.to_string()
    }

    /// A proof of possession for a request to `path`.
    pub(super) fn proof(
        &self,
        key: &SigningKey,
        (htm, path): (&str, &str),
        token: Option<&str>,
    ) -> String {
        let proof = dpop::Proof {
            htm,
            htu: &HttpUri::parse(&format!("{ISSUER}{path}")).unwrap(),
            iat: self.clock.now(),
            jti: &self.jti(),
            access_token: token,
        };
        proof.create(key).unwrap()
    }

    /// The form with which a person logs in.
    pub(super) fn login_form(&self, person: &Somebody) -> String {
        let claims = AssertionClaims {
            audience: ISSUER,
            kid: Some(&kid(&person.key)),
            jti: &self.jti(),
            now: self.clock.now(),
        };
        let assertion = PersonGrant::create(&person.key, person.id, &claims).unwrap();
        let request = TokenRequest::JwtBearer {
            assertion: Secret::new(assertion),
            scope: None,
        };
        request.to_form(None).expose().clone()
    }

    /// A token of the person, got over the router.
    pub(super) async fn log_in(&self, person: &Somebody) -> String {
        let request = Request::post("/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("dpop", self.proof(&person.key, ("POST", "/token"), None))
            .body(self.login_form(person).into())
            .unwrap();
        let answer = self.send(request).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.headers["cache-control"], "no-store");
        let response = TokenResponse::parse(&answer.body).unwrap();
        response.access_token.expose().clone()
    }

    pub(super) async fn send(&self, request: Request<axum::body::Body>) -> Answer {
        read(self.router.clone(), request).await
    }

    /// Every record of the server so far.
    pub(super) async fn records(&self) -> Vec<Record> {
        let mut reader = self.parts.store.read().await.unwrap();
        let rows = reader.outbox_after(0, 10_000).await.unwrap();
        rows.iter()
            .map(|(_, bytes)| Record::decode(bytes).unwrap())
            .collect()
    }

    /// What must not move: the revision, and how many records there are.
    pub(super) async fn state(&self) -> (Revision, usize) {
        let revision = self.parts.store.read().await.unwrap().revision().await;
        (revision.unwrap(), self.records().await.len())
    }
}

async fn parts(directory: &std::path::Path, clock: Arc<FakeClock>) -> Parts {
    let entropy = Arc::new(SystemEntropy);
    let master = MasterKey::create(&directory.join("master"), entropy.as_ref()).unwrap();
    let keys = KeyStore::open(&directory.join("keys"), master, entropy.as_ref()).unwrap();
    let store = SqliteStore::open(directory.join("aims.db")).await.unwrap();
    Parts {
        store: Arc::new(store),
        keys: Arc::new(keys),
        clock,
        boot: "boot-1".to_owned(),
        entropy,
        records: Arc::new(NoLog),
        config: Config {
            lease: Terms::default(),
            services: aims_control::ServiceTerms::default(),
            issuer: ISSUER.to_owned(),
            resource: RESOURCE.to_owned(),
        },
    }
}

/// Sends a request to a router and reads the answer.
pub(super) async fn read(router: Router, request: Request<axum::body::Body>) -> Answer {
    let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
    let body = axum::body::to_bytes(body, 16 << 20).await.unwrap();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}
