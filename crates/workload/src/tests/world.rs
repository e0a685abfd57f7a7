//! A node with its API, and a server that is played.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aims_crypto::{Alg, Signer, SigningKey, sha256};
use aims_jose::Jwk;
use aims_links::{
    EndedInstance, JwtSvid, LinkError, Refusal, ServiceAttestation, ServiceCall, ServiceGrant,
    Services, Svid, TrustBundle,
};
use aims_model::ProcessSeen;
use aims_types::ambient::{SystemClock, SystemEntropy};
use aims_types::{Clock, Digest, Id, Instance, Secret};
use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Streaming};

use crate::proto::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use crate::proto::{JwtsvidRequest, X509svidRequest, X509svidResponse};
use crate::{SECURITY_HEADER, WorkloadApi, WorkloadConfig};

pub(super) const INSTANCE: Id<Instance> = Id::from_u128(1);
pub(super) const OTHER_INSTANCE: Id<Instance> = Id::from_u128(77);

/// A server that knows whoever asks as two services, unless it refuses.
pub(super) struct FakeServices {
    refuses: AtomicBool,
    attested: AtomicUsize,
    issued: AtomicUsize,
    told: AtomicUsize,
    seen: Mutex<Option<ProcessSeen>>,
    life: Mutex<Duration>,
    authority: Mutex<&'static str>,
    jwk: String,
}

pub(super) struct World {
    pub(super) services: Arc<FakeServices>,
    pub(super) api: WorkloadApi,
    held: Arc<AtomicBool>,
    directory: tempfile::TempDir,
}

impl FakeServices {
    fn new() -> Self {
        let key = SigningKey::generate(Alg::Es256).unwrap();
        Self {
            refuses: AtomicBool::new(false),
            attested: AtomicUsize::new(0),
            issued: AtomicUsize::new(0),
            told: AtomicUsize::new(0),
            seen: Mutex::default(),
            life: Mutex::new(Duration::from_secs(3)),
            authority: Mutex::new("authority"),
            jwk: Jwk::new(*key.public()).with_kid("k").to_value().to_string(),
        }
    }

    pub(super) fn refuse(&self) {
        self.refuses.store(true, Ordering::SeqCst);
    }

    pub(super) fn live_for(&self, life: Duration) {
        *self.life.lock().unwrap() = life;
    }

    pub(super) fn other_authority(&self) {
        *self.authority.lock().unwrap() = "another";
    }

    pub(super) fn attested(&self) -> usize {
        self.attested.load(Ordering::SeqCst)
    }

    pub(super) fn issued(&self) -> usize {
        self.issued.load(Ordering::SeqCst)
    }

    pub(super) fn told(&self) -> usize {
        self.told.load(Ordering::SeqCst)
    }

    pub(super) fn seen(&self) -> ProcessSeen {
        self.seen.lock().unwrap().clone().unwrap()
    }

    fn answer<T>(&self, value: T) -> Result<T, Refusal> {
        if !self.refuses.load(Ordering::SeqCst) {
            return Ok(value);
        }
        Err(Refusal {
            code: "no_service".into(),
            reason: "no service is registered for it".to_owned(),
            gaps: Vec::new(),
        })
    }
}

#[async_trait]
impl Services for FakeServices {
    async fn service_attest(
        &self,
        attestation: ServiceAttestation,
    ) -> Result<Result<Vec<ServiceGrant>, Refusal>, LinkError> {
        *self.seen.lock().unwrap() = Some(attestation.seen);
        self.attested.fetch_add(1, Ordering::SeqCst);
        let grant = |n, name: &str| ServiceGrant {
            instance: Id::from_u128(n),
            spiffe_id: format!("spiffe://aims.local/service/{name}")
                .parse()
                .unwrap(),
            hint: name.to_owned(),
        };
        Ok(self.answer(vec![grant(1, "mail"), grant(2, "post")]))
    }

    async fn service_svid(
        &self,
        call: ServiceCall,
        _: Vec<u8>,
    ) -> Result<Result<Svid, Refusal>, LinkError> {
        assert_eq!(call.seen, self.seen());
        self.issued.fetch_add(1, Ordering::SeqCst);
        let life = *self.life.lock().unwrap();
        Ok(self.answer(Svid {
            chain: vec![call.instance.to_string().into_bytes()],
            bundle: Vec::new(),
            expires_at: SystemClock.now().plus(life),
        }))
    }

    async fn service_jwt(
        &self,
        _: ServiceCall,
        audience: Vec<String>,
    ) -> Result<Result<JwtSvid, Refusal>, LinkError> {
        Ok(self.answer(JwtSvid {
            token: Secret::new(audience.join(" ")),
            expires_at: SystemClock.now(),
        }))
    }

    async fn service_ended(&self, _: EndedInstance) -> Result<(), LinkError> {
        self.told.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn trust_bundle(&self) -> Result<TrustBundle, LinkError> {
        Ok(TrustBundle {
            trust_domain: "aims.local".parse().unwrap(),
            authorities: vec![self.authority.lock().unwrap().as_bytes().to_vec()],
            jwt_keys: vec![self.jwk.clone()],
            sequence: 1,
            refresh: Duration::from_secs(1),
        })
    }
}

impl World {
    pub(super) fn start() -> Self {
        Self::start_with(0..0)
    }

    /// The same, where agents have these uids.
    pub(super) fn start_with(instances: Range<u32>) -> Self {
        let services = Arc::new(FakeServices::new());
        let held = Arc::new(AtomicBool::new(true));
        let is_held = Arc::clone(&held);
        let config = WorkloadConfig {
            node: Id::from_u128(9),
            boot: "boot-1".to_owned(),
            instances,
            is_held: Arc::new(move || is_held.load(Ordering::SeqCst)),
        };
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let shared = Arc::clone(&services) as Arc<dyn Services>;
        let api = WorkloadApi::new(config, shared, clock, entropy);
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("w.sock")).unwrap();
        let serving = api.clone();
        api.inner
            .tasks
            .spawn(async move { serving.serve(listener).await.unwrap() });
        Self {
            services,
            api,
            held,
            directory,
        }
    }

    pub(super) fn client(&self) -> SpiffeWorkloadApiClient<Channel> {
        let path = self.directory.path().join("w.sock");
        let connect = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        SpiffeWorkloadApiClient::new(endpoint.connect_with_connector_lazy(connect))
    }

    pub(super) async fn svids(&self) -> Streaming<X509svidResponse> {
        let answer = self.client().fetch_x509svid(good(X509svidRequest {})).await;
        answer.unwrap().into_inner()
    }

    pub(super) fn lose_lease(&self) {
        self.held.store(false, Ordering::SeqCst);
    }

    pub(super) fn take_place(&self) -> Option<OwnedSemaphorePermit> {
        let own = rustix::process::geteuid().as_raw();
        self.api.inner.calls.take(own)
    }
}

/// A request with the header.
pub(super) fn good<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = "true".parse().unwrap();
    request.metadata_mut().insert(SECURITY_HEADER, value);
    request
}

pub(super) fn asks(audience: &str) -> JwtsvidRequest {
    JwtsvidRequest {
        audience: vec![audience.to_owned()],
        spiffe_id: String::new(),
    }
}

pub(super) fn digest_of(path: &Path) -> Digest {
    sha256(&std::fs::read(path).unwrap())
}

/// How a stream ends.
pub(super) async fn end_of(stream: &mut Streaming<X509svidResponse>) -> Code {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Code::Ok,
            Err(status) => return status.code(),
        }
    }
}
