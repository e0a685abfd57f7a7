//! The exchange itself: a connection, a request, an answer that is looked through as it comes.

use std::time::Duration;

use aims_crypto::Hasher;
use aims_json::Object;
use aims_links::Body;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

use super::answer::{self, Unfit};
use super::credentials::CredentialFault;
use super::dial::{DialFault, dial};
use super::flight::{Begun, Reply, Seen};
use super::outgoing::{MakeFault, outgoing};
use super::scrub::Scrubber;
use crate::respond;
use crate::stream::{Stream, Writer};

/// Longest head of an answer, in bytes.
const HEAD_LEN_MAX: usize = 64 << 10;
/// Most headers of an answer.
const HEADERS_MAX: usize = 128;

/// How a request ended.
pub(super) enum End {
    /// The whole answer went on.
    Answered,
    /// The agent went away.
    Gone,
    /// It was cut off.
    Cut,
    /// It took too long.
    Timeout,
    /// Something went wrong: what.
    Failed(String),
}

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Credential(#[from] CredentialFault),
    #[error(transparent)]
    Dial(#[from] DialFault),
    #[error(transparent)]
    Make(#[from] MakeFault),
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Something that it stands on has ended.
    #[error("the request was not sent: something that it stands on has ended; make it again")]
    Withheld,
    /// The other side broke off, or does not speak HTTP.
    #[error("the upstream broke off or does not speak HTTP")]
    Broken(#[from] hyper::Error),
    /// The agent went away.
    #[error("nobody waits for the answer any more")]
    Gone,
}

/// One exchange.
pub(super) struct Exchange<'a> {
    begun: &'a Begun,
    writer: &'a Writer,
    seen: Seen,
    /// Ends the connection.
    stop: CancellationToken,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(begun: &'a Begun, writer: &'a Writer) -> Self {
        Self {
            begun,
            writer,
            seen: Seen::default(),
            stop: CancellationToken::new(),
        }
    }

    /// What was seen of the answer.
    pub(super) const fn seen(&self) -> Seen {
        self.seen
    }

    /// Runs it to its end. When it returns, there is no connection any more.
    pub(super) async fn run(&mut self, (reply, stream): (Reply, Stream)) -> End {
        let (begun, stop) = (self.begun, self.stop.clone());
        let bounds = begun.setting.upstream.spec.bounds();
        let within = Duration::from_secs(bounds.seconds.into());
        let core = &begun.setting.core;
        let mut answering = Some((reply, stream));
        let mut connection = None;
        let end = tokio::select! {
            biased;
            () = begun.live.cut().cancelled() => End::Cut,
            () = core.stopping.cancelled() => End::Failed("the gateway is stopping".to_owned()),
            () = begun.gone.cancelled() => End::Gone,
            () = tokio::time::sleep(within) => End::Timeout,
            asked = self.ask(&mut answering, &mut connection) => match asked {
                Ok(()) => End::Answered,
                Err(Fault::Gone) => End::Gone,
                Err(fault) => End::Failed(told(&fault)),
            },
        };
        stop.cancel();
        if let Some(connection) = connection {
            // Only when nothing can go out any more may a cut-off be acknowledged.
            let _ = connection.await;
        }
        if let Some((reply, _)) = answering {
            let _ = reply.send(self.unanswered(&end));
        }
        end
    }

    /// Asks, and hands the answer on.
    async fn ask(
        &mut self,
        answering: &mut Option<(Reply, Stream)>,
        connection: &mut Option<tokio::task::JoinHandle<()>>,
    ) -> Result<(), Fault> {
        let setting = &self.begun.setting;
        let (core, upstream) = (&setting.core, &setting.upstream);
        let spec = &upstream.spec;
        let credential = core.upstreams.credentials.of(core, upstream).await?;
        let line = dial(core, spec, self.begun.live.cut()).await?;
        let builder = http1::Builder::new()
            .max_buf_size(HEAD_LEN_MAX)
            .max_headers(HEADERS_MAX)
            .to_owned();
        let (mut sender, driving) = builder.handshake(TokioIo::new(line)).await?;
        let stop = self.stop.clone();
        *connection = Some(core.tasks.spawn(async move {
            // What went wrong is told by the request.
            let _ = stop.run_until_cancelled(driving).await;
        }));
        let mut scrubber = Scrubber::new(credential.expose());
        let request = outgoing(&setting.asked, spec, &credential)?;
        drop(credential);
        if !self.begun.leave() {
            return Err(Fault::Withheld);
        }
        let answer = sender.send_request(request).await?;
        self.seen.status = Some(answer.status().as_u16());
        let bytes_max = spec.bounds().answer_bytes;
        let (status, headers) = answer::head(&answer, bytes_max, &scrubber)?;
        if let Some((reply, stream)) = answering.take() {
            let mut response = Response::new(stream.boxed_unsync());
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            reply.send(response).map_err(|_| Fault::Gone)?;
        }
        self.carry(answer.into_body(), &mut scrubber, bytes_max)
            .await
    }

    /// Hands the body on as it comes, without what may be the credential.
    async fn carry(
        &mut self,
        mut body: Incoming,
        scrubber: &mut Scrubber,
        bytes_max: u64,
    ) -> Result<(), Fault> {
        let mut digest = Hasher::new();
        let mut taken: u64 = 0;
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame?.into_data() else {
                continue;
            };
            taken = taken.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            if taken > bytes_max {
                return Err(Unfit::TooLong(bytes_max).into());
            }
            let clean = scrubber.take(&piece).map_err(|_| self.leaked())?;
            self.pass(clean, &mut digest).await;
        }
        let rest = scrubber.rest();
        self.pass(rest, &mut digest).await;
        self.seen.digest = Some(digest.finish());
        Ok(())
    }

    async fn pass(&mut self, clean: Vec<u8>, digest: &mut Hasher) {
        if clean.is_empty() {
            return;
        }
        digest.update(&clean);
        let length = u64::try_from(clean.len()).unwrap_or(u64::MAX);
        self.seen.bytes = self.seen.bytes.saturating_add(length);
        self.writer.send(clean).await;
    }

    fn leaked(&self) -> Fault {
        let upstream = &self.begun.setting.upstream.name;
        tracing::error!(%upstream, "an upstream answered with its own credential: replace it");
        metrics::counter!("aims_gateway_credentials_withheld_total").increment(1);
        Unfit::Leaked.into()
    }

    /// The answer where the upstream's did not begin.
    fn unanswered(&self, end: &End) -> Response<Body> {
        let (status, code, text) = match end {
            End::Timeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "timeout",
                "the upstream did not answer in time",
            ),
            End::Cut => (StatusCode::FORBIDDEN, "cut_off", "the request was cut off"),
            End::Failed(why) => (StatusCode::BAD_GATEWAY, "failed", why.as_str()),
            End::Answered | End::Gone => (StatusCode::BAD_GATEWAY, "failed", "there is no answer"),
        };
        let members = Object::new()
            .with("code", code)
            .with("detail", text)
            .with("decision_id", self.begun.action.decision.to_string());
        respond::problem(status, "the upstream did not answer", members)
    }
}

/// A fault as it is recorded and told; what is below it is for the operator's log.
fn told(fault: &Fault) -> String {
    let mut below = std::error::Error::source(fault);
    let mut why = String::new();
    while let Some(error) = below {
        why = format!("{why}: {error}");
        below = error.source();
    }
    tracing::warn!(error = %fault, below = why, "a request to an upstream failed");
    fault.to_string()
}
