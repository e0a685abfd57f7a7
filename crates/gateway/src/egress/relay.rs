//! Carrying the bytes of a connection out, after its first message was checked.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use aims_lease::Held;
use aims_links::ConnectReply;
use aims_types::{BootTime, Clock};
use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::hello;
use super::tunnel::GatedTunnel;
use crate::authn::Caller;
use crate::core::Core;
use crate::lease::Lease;
use crate::lease::late::{Doing, Piece};
use crate::live::Live;
use crate::stream::Gate;

/// Bytes that wait in each direction.
const BUFFER_LEN: usize = 64 << 10;
/// How long what the agent had sent may take to go out after it went away.
const LEFT_OVER: Duration = Duration::from_secs(5);
/// How often it is looked whether there is a lease again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How often a connection is asked whether it is idle.
const IDLE_CHECK: Duration = Duration::from_secs(5);

/// What a connection carried and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) outcome: &'static str,
    pub(crate) why: String,
    pub(crate) up: u64,
    pub(crate) down: u64,
}

/// Bytes so far, and when the last ones came.
#[derive(Clone)]
struct Meter {
    up: Arc<AtomicU64>,
    down: Arc<AtomicU64>,
    last: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
}

/// The lease that is looked at around everything that goes out.
#[derive(Clone, Copy)]
struct Outgoing<'a> {
    lease: &'a Lease,
    doing: Doing,
}

impl Flow {
    /// A connection that carried nothing.
    pub(crate) const fn nothing(outcome: &'static str, why: String) -> Self {
        Self {
            outcome,
            why,
            up: 0,
            down: 0,
        }
    }
}

/// Hands the agent its end, checks what comes first, and carries bytes until either side ends, a
/// limit is reached, or it is cut off. Returns when the agent can read nothing more.
pub(crate) async fn relay(
    core: &Core,
    (live, caller, doing): (&Live, &Caller, Doing),
    host: &str,
    mut upstream: TcpStream,
    reply: oneshot::Sender<ConnectReply>,
) -> Flow {
    let (mut ours, theirs) = duplex(BUFFER_LEN);
    let gate = Gate::open(Arc::clone(&core.lease), doing);
    let gone = CancellationToken::new();
    let tunnel = GatedTunnel::new(theirs, gate.clone(), gone.clone().drop_guard());
    let response = Response::new(Bytes::new());
    let _ = reply.send(ConnectReply {
        response,
        tunnel: Some(Box::new(tunnel)),
    });
    metrics::gauge!("aims_gateway_tunnels").increment(1.0);
    let meter = Meter::new(Arc::clone(&core.clock));
    let limits = &core.config.limits;
    // Right before the first byte goes out.
    let leave = || {
        let held = core.look_again(caller).ok()?;
        live.effect().begin().then_some(held)
    };
    let (outcome, why) = tokio::select! {
        biased;
        () = live.cut().cancelled() => ("cut", "cut off".to_owned()),
        () = core.stopping.cancelled() => ("failed", "the gateway is stopping".to_owned()),
        () = tokio::time::sleep(limits.tunnel_life) => ("timeout", "its life is over".to_owned()),
        () = meter.idle(limits.tunnel_idle) => ("timeout", "it was idle".to_owned()),
        ended = async {
            match hello::read(&mut ours, host, limits.client_hello).await {
                Err(fault) => ("failed", fault.to_string()),
                Ok(first) => match leave() {
                    None => ("cut", "it may not begin any more".to_owned()),
                    Some(held) => {
                        let outgoing = Outgoing { lease: &core.lease, doing };
                        let ends = (&mut ours, &mut upstream);
                        carry(ends, (&first, held), &meter, outgoing).await
                    }
                },
            }
        } => ended,
        () = left(&gone) => ("ok", "the agent went away".to_owned()),
    };
    if outcome == "cut" {
        gate.close();
        // The other side learns at once, and nothing that waits is sent on.
        let _ = upstream.set_zero_linger();
    }
    drop((ours, upstream));
    if outcome != "cut" {
        // What arrived may still be read, but not after a cut-off.
        tokio::select! {
            biased;
            () = live.cut().cancelled() => gate.close(),
            () = gone.cancelled() => {}
            () = tokio::time::sleep(limits.tunnel_idle) => gate.close(),
        }
    }
    metrics::gauge!("aims_gateway_tunnels").decrement(1.0);
    let (up, down) = meter.totals();
    Flow {
        outcome,
        why,
        up,
        down,
    }
}

/// The agent went away, and what it had sent has had time to go out.
async fn left(gone: &CancellationToken) {
    gone.cancelled().await;
    tokio::time::sleep(LEFT_OVER).await;
}

async fn carry(
    (client, upstream): (&mut DuplexStream, &mut TcpStream),
    (first, held): (&[u8], Held),
    meter: &Meter,
    outgoing: Outgoing<'_>,
) -> (&'static str, String) {
    if let Err(error) = outgoing.write(upstream, first, Some(held)).await {
        return ("failed", error.to_string());
    }
    meter.count(&meter.up, first.len());
    let (client_read, client_write) = split(client);
    let (upstream_read, upstream_write) = upstream.split();
    let up = copy(
        client_read,
        upstream_write,
        (meter, &meter.up),
        Some(outgoing),
    );
    // What goes to the agent is looked at when it reads it.
    let down = copy(upstream_read, client_write, (meter, &meter.down), None);
    match tokio::try_join!(up, down) {
        Ok(_) => ("ok", "ended by both sides".to_owned()),
        Err(error) => ("ok", format!("ended: {}", error.kind())),
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    (meter, counter): (&Meter, &AtomicU64),
    outgoing: Option<Outgoing<'_>>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        let count = from.read(&mut buffer).await?;
        let Some(bytes @ [_, ..]) = buffer.get(..count) else {
            return to.shutdown().await;
        };
        match outgoing {
            Some(outgoing) => outgoing.write(&mut to, bytes, None).await?,
            None => to.write_all(bytes).await?,
        }
        meter.count(counter, count);
    }
}

impl Outgoing<'_> {
    /// Writes everything, with a look at the lease in the same breath before each piece, and one
    /// after it; `cleared` is the look that the first piece had. After a pause the lease may be
    /// gone, and what ends this may not have run yet: then nothing is written.
    async fn write(
        self,
        to: &mut (impl AsyncWrite + Unpin),
        mut bytes: &[u8],
        mut cleared: Option<Held>,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = poll_fn(|cx| {
                let Some(held) = cleared.or_else(|| self.lease.holds().ok()) else {
                    return Poll::Ready(Ok(None));
                };
                let written = Pin::new(&mut *to).poll_write(cx, bytes)?;
                if written.is_ready() {
                    self.lease.look_back(held, self.doing, Piece::Sent);
                }
                written.map(|count| Ok(Some(count)))
            });
            let written: io::Result<Option<usize>> = written.await;
            cleared = None;
            match written? {
                None => tokio::time::sleep(LOOK_AGAIN).await,
                Some(0) => return Err(io::ErrorKind::WriteZero.into()),
                Some(count) => bytes = bytes.get(count..).unwrap_or_default(),
            }
        }
        Ok(())
    }
}

impl Meter {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let last = Arc::new(AtomicU64::new(clock.boot().nanos()));
        Self {
            up: Arc::default(),
            down: Arc::default(),
            last,
            clock,
        }
    }

    fn count(&self, counter: &AtomicU64, bytes: usize) {
        counter.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.last
            .store(self.clock.boot().nanos(), Ordering::Relaxed);
    }

    fn totals(&self) -> (u64, u64) {
        (
            self.up.load(Ordering::Relaxed),
            self.down.load(Ordering::Relaxed),
        )
    }

    async fn idle(&self, limit: Duration) {
        loop {
            tokio::time::sleep(IDLE_CHECK.min(limit)).await;
            let last = BootTime::from_nanos(self.last.load(Ordering::Relaxed));
            if self.clock.boot().since(last) >= limit {
                return;
            }
        }
    }
}
