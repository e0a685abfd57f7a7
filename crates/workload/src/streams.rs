//! Streams of whole states: one at once, and one after every change, until what they tell of is
//! over.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tonic::Status;

use crate::api::Inner;
use crate::bundle::Bundle;
use crate::process::{Holds, Issued, Process};

/// What a streaming call answers.
pub(crate) type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What a caller is told of, at one moment.
pub(crate) struct State {
    pub(crate) issued: Option<Arc<Issued>>,
    pub(crate) bundle: Arc<Bundle>,
}

/// What a stream looks at.
struct Sources {
    holds: watch::Receiver<Holds>,
    bundle: watch::Receiver<Option<Arc<Bundle>>>,
    /// Certificates are told of, and not only bundles.
    with_svids: bool,
}

/// Tells of every state of a process in the form that `message` gives it.
pub(crate) fn stream<T: PartialEq + Clone + Send + 'static>(
    inner: &Arc<Inner>,
    (process, place): (&Arc<Process>, OwnedSemaphorePermit),
    with_svids: bool,
    message: impl Fn(&State) -> T + Send + Sync + 'static,
) -> Messages<T> {
    let (sender, mut receiver) = mpsc::channel(1);
    let mut sources = Sources {
        holds: process.holds.subscribe(),
        bundle: inner.bundle.subscribe(),
        with_svids,
    };
    let listening = with_svids.then(|| Arc::clone(&process.listening));
    let stopping = inner.stopping.clone();
    inner.tasks.spawn(async move {
        let telling = async {
            let mut told = None;
            loop {
                let state = match sources.now() {
                    Ok(state) => state.map(|state| message(&state)),
                    Err(why) => return drop(sender.send(Err(why)).await),
                };
                if let Some(new) = state.filter(|new| told.as_ref() != Some(new)) {
                    told = Some(new.clone());
                    if sender.send(Ok(new)).await.is_err() {
                        return;
                    }
                }
                if !sources.changed(&sender).await {
                    return;
                }
            }
        };
        stopping.run_until_cancelled(telling).await;
        drop((place, listening));
    });
    Box::pin(futures_util::stream::poll_fn(move |cx| {
        receiver.poll_recv(cx)
    }))
}

impl Sources {
    /// The newest state, if there is one to tell of.
    fn now(&mut self) -> Result<Option<State>, Status> {
        let issued = match &*self.holds.borrow_and_update() {
            Holds::Over(why) => return Err(why.clone()),
            Holds::Nothing => None,
            Holds::These(issued) => Some(Arc::clone(issued)),
        };
        let Some(bundle) = self.bundle.borrow_and_update().clone() else {
            return Ok(None);
        };
        if self.with_svids && issued.is_none() {
            return Ok(None);
        }
        Ok(Some(State { issued, bundle }))
    }

    /// Waits for another state; false when nobody listens any more.
    async fn changed<T>(&mut self, sender: &mpsc::Sender<Result<T, Status>>) -> bool {
        tokio::select! {
            changed = self.holds.changed() => changed.is_ok(),
            changed = self.bundle.changed() => changed.is_ok(),
            () = sender.closed() => false,
        }
    }
}
