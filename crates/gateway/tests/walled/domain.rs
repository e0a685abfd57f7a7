//! A trust domain with one task and one instance.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aims_authority::{Authority, Detail};
use aims_crypto::{Alg, Signer, SigningKey, sha256};
use aims_gateway::Gateway;
use aims_jose::{Jwk, SigningHeader, Thumbprint, sign};
use aims_json::{Limits, parse};
use aims_links::{
    Attestation, Chain, ChainHop, Control, ControlState, CredentialAsk, CredentialLease,
    DelegateCall, EndedInstance, Endpoint, InstanceGrant, LaunchOrder, LeaseAsk, LeaseGrant,
    LinkError, OwnedTree, PrincipalFacts, Refusal, RequestedRun, ShippedRecord, TokenCall,
    TokenReply, TreeClaim, TreeGrant,
};
use aims_model::approval::Asked;
use aims_model::grant::{CONSENT_TYP, Consent, Delegator, GRANT_TYP, grant_digest};
use aims_model::{
    Approval, EnrolledKey, Evidence, Grant, KeyOwner, KeyPurpose, MaterialKey, Person,
    PolicyVersion, Record, Role, ToolServer,
};
use aims_oauth::dpop::Proof;
use aims_oauth::{AccessToken, Actor, ActorChain, HttpUri, InstanceToken, TokenCommon};
use aims_types::ambient::SystemClock;
use aims_types::{self as types, Clock, Digest, Id, Revision, Secret, Timestamp, TrustDomain};
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt;

pub(crate) const ISSUER: &str = "https://aims.test";
pub(crate) const RESOURCE: &str = "https://gateway.aims.test";
const AGENT: &str = "spiffe://aims.test/agent/notes";
const POLICY: &str = r#"@id("all") permit (principal, action, resource);"#;
const AUTHORITY: &str = r#"{"authorization_details":[{"type":"mcp_tool","server":"small",
    "actions":["read","whoami"],"arguments":{"path":"any"}}],"limits":{}}"#;

/// The one instance.
pub(crate) const INSTANCE: Id<types::Instance> = Id::from_u128(5);

/// Keys, one chain, one instance.
pub(crate) struct Domain {
    token: SigningKey,
    grant: SigningKey,
    person: SigningKey,
    instance: SigningKey,
    started: Timestamp,
    jws: String,
    next: AtomicU64,
    records: Mutex<Vec<ShippedRecord>>,
    revision: AtomicU64,
}

pub(crate) fn trust_domain() -> TrustDomain {
    "aims.test".parse().unwrap()
}

fn key() -> SigningKey {
    SigningKey::generate(Alg::Es256).unwrap()
}

fn kid(key: &SigningKey) -> String {
    Thumbprint::of(key.public()).to_string()
}

impl Domain {
    pub(crate) fn new() -> Self {
        let (token, grant, person, instance) = (key(), key(), key(), key());
        let started = SystemClock.now();
        let jws = root_grant(&grant, &person, started);
        let (next, records) = (AtomicU64::new(0), Mutex::default());
        Self {
            token,
            grant,
            person,
            instance,
            started,
            jws,
            next,
            records,
            revision: AtomicU64::new(0),
        }
    }

    pub(crate) const fn now(&self) -> Timestamp {
        self.started
    }

    pub(crate) fn shipped(&self) -> u64 {
        let records = self.records.lock().unwrap();
        records.last().map_or(0, |record| record.seq)
    }

    /// The newest state is at this revision.
    pub(crate) fn note_revision(&self, revision: Revision) {
        self.revision.store(revision.number(), Ordering::SeqCst);
    }

    pub(crate) fn state(&self, server: ToolServer) -> ControlState {
        let enrolled = |key: &SigningKey, purpose, owner| EnrolledKey {
            kid: kid(key),
            jwk: Jwk::new(*key.public()).to_value().to_string(),
            purpose,
            owner,
            enrolled_at: self.started,
            retired_at: None,
            certificate: None,
        };
        ControlState {
            revision: Revision::new(10),
            issuer: ISSUER.to_owned(),
            policy: Arc::new(PolicyVersion {
                id: Id::from_u128(6),
                text: POLICY.to_owned(),
                digest: sha256(POLICY.as_bytes()),
                author: None,
                activated_at: self.started,
            }),
            servers: Arc::new(vec![server]),
            upstreams: Arc::default(),
            keys: Arc::new(vec![
                enrolled(&self.token, KeyPurpose::Token, KeyOwner::Server),
                enrolled(&self.grant, KeyPurpose::Grant, KeyOwner::Server),
                enrolled(
                    &self.person,
                    KeyPurpose::Person,
                    KeyOwner::Person(Id::from_u128(2)),
                ),
            ]),
            cutoffs: Arc::default(),
            approvals: Arc::default(),
        }
    }

    pub(crate) async fn initialize(&self, gateway: &Gateway) -> String {
        let body = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
        let response = gateway.http(self.request(body, None)).await.unwrap();
        let session = response.headers().get("mcp-session-id").cloned();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        let session = session.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&text)));
        session.to_str().unwrap().to_owned()
    }

    pub(crate) async fn call(
        &self,
        gateway: &Gateway,
        session: &str,
        tool: &str,
        arguments: &str,
    ) -> String {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
        );
        let response = gateway
            .http(self.request(&body, Some(session)))
            .await
            .unwrap();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(text.to_vec()).unwrap()
    }

    fn request(&self, body: &str, session: Option<&str>) -> http::Request<Bytes> {
        let token = self.token();
        let htu = HttpUri::parse(&format!("{RESOURCE}/mcp/small")).unwrap();
        let jti = format!("jti-{}", self.next.fetch_add(1, Ordering::SeqCst));
        let proof = Proof {
            htm: "POST",
            htu: &htu,
            iat: SystemClock.now(),
            jti: &jti,
            access_token: Some(&token),
        };
        let mut request = http::Request::builder()
            .method("POST")
            .uri("/mcp/small")
            .header("authorization", format!("DPoP {token}"))
            .header("dpop", proof.create(&self.instance).unwrap())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        request.body(Bytes::from(body.to_owned())).unwrap()
    }

    fn token(&self) -> String {
        let actor = Actor {
            sub: AGENT.to_owned(),
            iss: None,
        };
        let details = authority().details().iter().map(Detail::to_value).collect();
        let token = InstanceToken {
            assurance: "confined".to_owned(),
            common: TokenCommon {
                issuer: ISSUER.to_owned(),
                client_id: AGENT.to_owned(),
                audience: RESOURCE.to_owned(),
                issued_at: self.started,
                expires_at: self.started.plus(Duration::from_mins(10)),
                token: Id::from_u128(9),
                jkt: Thumbprint::of(self.instance.public()),
            },
            subject: Id::<types::Person>::from_u128(2).to_string(),
            act: Some(ActorChain::new(actor, Vec::new()).unwrap()),
            authorization_details: aims_json::Value::Array(details),
            task: Id::from_u128(3),
            instance: INSTANCE,
            chain: aims_oauth::Chain::new(vec![grant_digest(&self.jws)]).unwrap(),
            revision: Revision::new(10),
        };
        AccessToken::Instance(token)
            .create(&self.token, &kid(&self.token))
            .unwrap()
    }
}

fn authority() -> Authority {
    let value = parse(AUTHORITY.as_bytes(), &Limits::MESSAGE).unwrap();
    Authority::from_value(&value).unwrap()
}

fn root_grant(grant_key: &SigningKey, person_key: &SigningKey, now: Timestamp) -> String {
    let authority = authority();
    let consent = Consent {
        person: Id::from_u128(2),
        audience: trust_domain(),
        jti: "consent".to_owned(),
        issued_at: now,
        agent: "notes".parse().unwrap(),
        purpose: "tests".parse().unwrap(),
        deadline: now.plus(Duration::from_hours(1)),
        authority: authority.clone(),
    };
    let header = SigningHeader::new(CONSENT_TYP).kid(kid(person_key));
    let consent = sign(&header, &consent.to_claims().unwrap(), person_key).unwrap();
    let grant = Grant {
        id: Id::from_u128(4),
        issuer: trust_domain(),
        task: Id::from_u128(3),
        purpose: "tests".parse().unwrap(),
        delegator: Delegator::Person {
            id: Id::from_u128(2),
            name: "alice".parse().unwrap(),
            consent,
        },
        delegate: Id::from_u128(7),
        delegate_spiffe_id: AGENT.parse().unwrap(),
        ancestors: Vec::new(),
        parent: None,
        authority,
        revision: Revision::new(9),
        issued_at: now,
        expires_at: now.plus(Duration::from_hours(1)),
    };
    let header = SigningHeader::new(GRANT_TYP).kid(kid(grant_key));
    sign(&header, &grant.to_claims().unwrap(), grant_key).unwrap()
}

fn unused<T>() -> Result<T, LinkError> {
    Err(LinkError {
        peer: "server",
        reason: "the gateway does not ask this".to_owned(),
    })
}

#[async_trait]
impl Control for Domain {
    async fn run_redeem(&self, _: RequestedRun) -> Result<Result<LaunchOrder, Refusal>, LinkError> {
        unused()
    }

    async fn run_refused(
        &self,
        _: Id<types::Node>,
        _: Id<types::Run>,
        _: Refusal,
    ) -> Result<(), LinkError> {
        unused()
    }

    async fn delegate(&self, _: DelegateCall) -> Result<Result<LaunchOrder, Refusal>, LinkError> {
        unused()
    }

    async fn instance_attest(
        &self,
        _: Attestation,
    ) -> Result<Result<InstanceGrant, Refusal>, LinkError> {
        unused()
    }

    async fn instance_renew(
        &self,
        _: Id<types::Node>,
        _: Id<types::Instance>,
        _: Evidence,
    ) -> Result<Result<InstanceGrant, Refusal>, LinkError> {
        unused()
    }

    async fn instance_ended(&self, _: EndedInstance) -> Result<Result<(), Refusal>, LinkError> {
        unused()
    }

    async fn token(&self, _: TokenCall) -> Result<TokenReply, LinkError> {
        unused()
    }

    async fn chain(&self, leaf: Digest) -> Result<Option<Chain>, LinkError> {
        assert_eq!(leaf, grant_digest(&self.jws));
        let delegate = PrincipalFacts {
            id: Id::from_u128(7),
            name: "notes".parse().unwrap(),
            spiffe_id: AGENT.parse().unwrap(),
            owner: "alice".parse().unwrap(),
            environment: "production".parse().unwrap(),
        };
        let person = Person {
            id: Id::from_u128(2),
            name: "alice".parse().unwrap(),
            role: Role::Member,
            enrolled_at: self.started,
            removed_at: None,
        };
        Ok(Some(Chain {
            person,
            hops: vec![ChainHop {
                jws: self.jws.clone(),
                delegate,
            }],
            materials: MaterialKey::new(Secret::new([3; 32])),
        }))
    }

    async fn records_ship(
        &self,
        _: Id<types::Gateway>,
        shipped: Vec<ShippedRecord>,
    ) -> Result<u64, LinkError> {
        let mut records = self.records.lock().unwrap();
        records.extend(shipped);
        Ok(records.last().map_or(0, |record| record.seq))
    }

    async fn records_head(&self, _: Id<types::Gateway>) -> Result<u64, LinkError> {
        Ok(self.shipped())
    }

    async fn lease_renew(&self, _: LeaseAsk) -> Result<Result<LeaseGrant, Refusal>, LinkError> {
        Ok(Ok(LeaseGrant {
            length: aims_lease::Terms::default().length(),
            revision: Revision::new(self.revision.load(Ordering::SeqCst)),
            server_time: SystemClock.now(),
        }))
    }

    async fn approval_ask(
        &self,
        _: Id<types::Gateway>,
        _: Asked,
    ) -> Result<Result<Approval, Refusal>, LinkError> {
        unused()
    }

    async fn approval(&self, _: Id<types::Approval>) -> Result<Option<Approval>, LinkError> {
        Ok(None)
    }

    async fn credential_lease(
        &self,
        _: Id<types::Gateway>,
        _: CredentialAsk,
    ) -> Result<Result<CredentialLease, Refusal>, LinkError> {
        unused()
    }

    async fn tree_claim(
        &self,
        _: Id<types::Gateway>,
        _: Id<types::Task>,
    ) -> Result<TreeClaim, LinkError> {
        // There is one gateway, which owns every tree.
        Ok(TreeClaim::Owned(TreeGrant {
            epoch: 1,
            before: true,
            window: 16,
            revision: Revision::ZERO,
            unaccounted: Vec::new(),
        }))
    }

    async fn tree_release(
        &self,
        _: Id<types::Gateway>,
        _: Vec<OwnedTree>,
    ) -> Result<(), LinkError> {
        Ok(())
    }

    async fn task_records(
        &self,
        _: Id<types::Gateway>,
        task: Id<types::Task>,
        skip: u64,
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, LinkError> {
        let records = self.records.lock().unwrap();
        let about = records.iter().filter(|shipped| {
            let record = Record::decode(&shipped.record).unwrap();
            record.event.task == Some(task)
        });
        let (skip, limit) = (
            usize::try_from(skip).unwrap(),
            usize::try_from(limit).unwrap(),
        );
        let about = about.skip(skip).take(limit);
        Ok(about.map(|shipped| shipped.record.clone()).collect())
    }
}
