//! A server and a gateway that say yes to what is as registered, and remember what they were told.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aims_crypto::base64url;
use aims_lease::Terms;
use aims_links::{
    Attestation, Body, Chain, ConnectReply, Control, CredentialAsk, CredentialLease, DelegateCall,
    EndedInstance, Endpoint, InstanceGrant, LaunchOrder, LeaseAsk, LeaseGrant, LinkError,
    OwnedTree, Refusal, RequestedRun, ShippedRecord, TokenCall, TokenReply, TreeClaim,
};
use aims_model::approval::Asked;
use aims_model::{
    Agent, Approval, Assurance, DelegationRequest, Evidence, EvidenceGap, Expected, Task, agent,
    task,
};
use aims_oauth::{TokenResponse, TokenType};
use aims_types::ambient::SystemClock;
use aims_types::{self as types, Clock, Digest, Id, Node, Revision, Secret, Timestamp};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tokio::io::DuplexStream;
use tokio::sync::Notify;

pub(crate) const TICKET: &str = "aims_rt_good";
pub(crate) const TOKEN: &str = "aims.secret.token";
pub(crate) const WIT: &str = "aims.secret.wit";
pub(crate) const RESOURCE: &str = "https://gateway.aims.test";

/// The server.
#[derive(Default)]
pub(crate) struct Server {
    pub(crate) expected: Mutex<Option<Expected>>,
    pub(crate) uids: Mutex<Vec<u32>>,
    pub(crate) refused: Mutex<Vec<Refusal>>,
    pub(crate) ended: Mutex<Vec<String>>,
    /// The instances that were attested, in order.
    pub(crate) attested: Mutex<Vec<Id<types::Instance>>>,
    /// What instances asked to hand on.
    pub(crate) delegated: Mutex<Vec<DelegationRequest>>,
    /// Whether leases are not renewed any more.
    pub(crate) silent: AtomicBool,
    /// Whether who asks for an attestation waits until `released`, from the second one on.
    pub(crate) slow: AtomicBool,
    pub(crate) released: Notify,
    /// The revision that leases need.
    pub(crate) revision: AtomicU64,
    pub(crate) changed: Notify,
    /// Whether everything that is issued is over at once.
    pub(crate) brief: AtomicBool,
    /// Whether it refuses to hear of ends.
    pub(crate) refuses_ends: AtomicBool,
    /// What was not as registered, at each renewal.
    pub(crate) renewed: Mutex<Vec<Vec<EvidenceGap>>>,
    next: AtomicU64,
}

/// The gateway.
#[derive(Default)]
pub(crate) struct Gateway {
    pub(crate) requests: Mutex<Vec<http::Request<Bytes>>>,
    /// The other ends of the tunnels that were opened.
    pub(crate) tunnels: Mutex<Vec<DuplexStream>>,
    /// How many pieces of endless answers were sent. Each of these answers holds it.
    pub(crate) flood: Arc<AtomicU64>,
}

fn unavailable<T>() -> Result<T, LinkError> {
    Err(LinkError {
        peer: "server",
        reason: "nobody asks this here".to_owned(),
    })
}

fn now() -> Timestamp {
    SystemClock.now()
}

impl Server {
    fn order(&self) -> LaunchOrder {
        let id = u128::from(self.next.fetch_add(1, Ordering::Relaxed));
        let agent = Agent {
            id: Id::from_u128(1),
            name: "notes".parse().unwrap(),
            spiffe_id: "spiffe://aims.test/agent/notes".parse().unwrap(),
            owner: Id::from_u128(2),
            purpose: "tests".parse().unwrap(),
            environment: "test".parse().unwrap(),
            service: None,
            evidence: self.expected.lock().unwrap().clone(),
            assurance: Assurance::Confined,
            stage: agent::Stage::Active { since: now() },
            registered_at: now(),
        };
        let task = Task {
            id: Id::from_u128(3),
            purpose: "tests".parse().unwrap(),
            agent: agent.id,
            initiator: agent.owner,
            root: Id::from_u128(4),
            deadline: now().plus(Duration::from_hours(1)),
            stage: task::Stage::Open { since: now() },
        };
        let run = Id::from_u128(id);
        LaunchOrder {
            run,
            agent,
            delegation: task.root,
            task,
        }
    }

    /// How long what is issued lives.
    fn life(&self) -> Duration {
        let brief = self.brief.load(Ordering::Relaxed);
        if brief {
            Duration::ZERO
        } else {
            Duration::from_mins(5)
        }
    }

    fn grant(&self, instance: Id<types::Instance>) -> InstanceGrant {
        InstanceGrant {
            instance,
            wit: WIT.to_owned(),
            expires_at: now().plus(self.life()),
            grant: "a.b.c".to_owned(),
            issuer: "https://aims.test".to_owned(),
            resource: RESOURCE.to_owned(),
            deadline: now().plus(Duration::from_hours(1)),
        }
    }
}

#[async_trait]
impl Control for Server {
    async fn run_redeem(
        &self,
        run: RequestedRun,
    ) -> Result<Result<LaunchOrder, Refusal>, LinkError> {
        if run.ticket.expose() == TICKET {
            return Ok(Ok(self.order()));
        }
        Ok(Err(Refusal {
            code: "unknown_ticket".into(),
            reason: "no such ticket".to_owned(),
            gaps: Vec::new(),
        }))
    }

    async fn run_refused(
        &self,
        _: Id<Node>,
        _: Id<types::Run>,
        refusal: Refusal,
    ) -> Result<(), LinkError> {
        self.refused.lock().unwrap().push(refusal);
        Ok(())
    }

    async fn instance_attest(
        &self,
        attestation: Attestation,
    ) -> Result<Result<InstanceGrant, Refusal>, LinkError> {
        let expected = self.expected.lock().unwrap().clone().unwrap();
        let gaps = expected.gaps(&attestation.posture.evidence);
        if gaps.is_empty() {
            let uid = attestation.posture.host_uid;
            self.uids.lock().unwrap().push(uid);
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let instance = Id::from_u128(u128::from(number));
            let earlier = {
                let mut attested = self.attested.lock().unwrap();
                attested.push(instance);
                attested.len() - 1
            };
            if earlier > 0 && self.slow.load(Ordering::Relaxed) {
                self.changed.notify_one();
                self.released.notified().await;
            }
            return Ok(Ok(self.grant(instance)));
        }
        let reason = "not as registered".to_owned();
        let code = "evidence_mismatch".into();
        Ok(Err(Refusal { code, reason, gaps }))
    }

    async fn instance_renew(
        &self,
        _: Id<Node>,
        instance: Id<types::Instance>,
        evidence: Evidence,
    ) -> Result<Result<InstanceGrant, Refusal>, LinkError> {
        let expected = self.expected.lock().unwrap().clone().unwrap();
        let gaps = expected.gaps(&evidence);
        self.renewed.lock().unwrap().push(gaps.clone());
        self.changed.notify_one();
        if gaps.is_empty() {
            return Ok(Ok(self.grant(instance)));
        }
        let reason = "it changed".to_owned();
        let code = "evidence_mismatch".into();
        Ok(Err(Refusal { code, reason, gaps }))
    }

    async fn delegate(
        &self,
        call: DelegateCall,
    ) -> Result<Result<LaunchOrder, Refusal>, LinkError> {
        let claims = call.request.split('.').nth(1).unwrap();
        let request = DelegationRequest::from_claims(&base64url::decode(claims).unwrap()).unwrap();
        assert_eq!((request.instance, call.wit.as_str()), (call.instance, WIT));
        if request.agent.as_str() == "forbidden" {
            return Ok(Err(Refusal {
                code: "not_narrower".into(),
                reason: "argument `path`: `/` is not below `/work`".to_owned(),
                gaps: Vec::new(),
            }));
        }
        self.delegated.lock().unwrap().push(request);
        Ok(Ok(self.order()))
    }

    async fn lease_renew(&self, _: LeaseAsk) -> Result<Result<LeaseGrant, Refusal>, LinkError> {
        if self.silent.load(Ordering::Relaxed) {
            return unavailable();
        }
        Ok(Ok(LeaseGrant {
            length: Terms::default().length(),
            revision: Revision::new(self.revision.load(Ordering::Relaxed)),
            server_time: now(),
        }))
    }

    async fn approval_ask(
        &self,
        _: Id<types::Gateway>,
        _: Asked,
    ) -> Result<Result<Approval, Refusal>, LinkError> {
        unavailable()
    }

    async fn approval(&self, _: Id<types::Approval>) -> Result<Option<Approval>, LinkError> {
        unavailable()
    }

    async fn credential_lease(
        &self,
        _: Id<types::Gateway>,
        _: CredentialAsk,
    ) -> Result<Result<CredentialLease, Refusal>, LinkError> {
        unavailable()
    }

    async fn tree_claim(
        &self,
        _: Id<types::Gateway>,
        _: Id<types::Task>,
    ) -> Result<TreeClaim, LinkError> {
        unavailable()
    }

    async fn tree_release(
        &self,
        _: Id<types::Gateway>,
        _: Vec<OwnedTree>,
    ) -> Result<(), LinkError> {
        unavailable()
    }

    async fn task_records(
        &self,
        _: Id<types::Gateway>,
        _: Id<types::Task>,
        _: u64,
        _: u32,
    ) -> Result<Vec<Vec<u8>>, LinkError> {
        unavailable()
    }

    async fn instance_ended(&self, ended: EndedInstance) -> Result<Result<(), Refusal>, LinkError> {
        self.ended.lock().unwrap().push(ended.how);
        self.changed.notify_one();
        if self.refuses_ends.load(Ordering::Relaxed) {
            return Ok(Err(Refusal {
                code: "unknown_instance".into(),
                reason: "there is no such instance".to_owned(),
                gaps: Vec::new(),
            }));
        }
        Ok(Ok(()))
    }

    async fn token(&self, _: TokenCall) -> Result<TokenReply, LinkError> {
        let answer = TokenResponse {
            access_token: Secret::new(TOKEN.to_owned()),
            issued_token_type: TokenType::AccessToken,
            expires_in: self.life(),
            scope: None,
            authorization_details: None,
        };
        let body = Bytes::copy_from_slice(answer.to_body().expose().as_bytes());
        Ok(TokenReply { status: 200, body })
    }

    async fn chain(&self, _: Digest) -> Result<Option<Chain>, LinkError> {
        unavailable()
    }

    async fn records_ship(
        &self,
        _: Id<types::Gateway>,
        _: Vec<ShippedRecord>,
    ) -> Result<u64, LinkError> {
        unavailable()
    }

    async fn records_head(&self, _: Id<types::Gateway>) -> Result<u64, LinkError> {
        unavailable()
    }
}

/// An answer without end.
fn flood(sent: &Arc<AtomicU64>) -> Body {
    static PIECE: [u8; 1 << 16] = [0; 1 << 16];
    let sent = Arc::clone(sent);
    let pieces = stream::repeat_with(move || {
        sent.fetch_add(1, Ordering::SeqCst);
        Ok(Frame::data(Bytes::from_static(&PIECE)))
    });
    StreamBody::new(pieces).boxed_unsync()
}

#[async_trait]
impl Endpoint for Gateway {
    async fn http(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, LinkError> {
        if request.uri().path() == "/flood" {
            return Ok(http::Response::new(flood(&self.flood)));
        }
        let text = match request.uri().path() {
            "/burst" => vec![0; 1 << 20],
            _ => b"answered".to_vec(),
        };
        self.requests.lock().unwrap().push(request);
        let body = Full::new(Bytes::from(text));
        let body = body.map_err(|never| match never {}).boxed_unsync();
        Ok(http::Response::new(body))
    }

    async fn connect(&self, _: http::Request<()>) -> Result<ConnectReply, LinkError> {
        let (ours, theirs) = tokio::io::duplex(64);
        self.tunnels.lock().unwrap().push(ours);
        Ok(ConnectReply {
            response: http::Response::new(Bytes::new()),
            tunnel: Some(Box::new(theirs)),
        })
    }
}
