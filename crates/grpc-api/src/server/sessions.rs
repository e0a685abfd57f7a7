//! Sessions that are open: one of each point, the newest.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use aims_links::Admit;
use aims_model::Point;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Status, Streaming};

use crate::fault::{refused, unavailable};
use crate::peer::{Caller, check_enrolled};
use crate::session::Remote;

/// The sessions of this server.
#[derive(Clone)]
pub(crate) struct Sessions(Arc<Inner>);

pub(crate) struct Inner {
    admit: Arc<dyn Admit>,
    tasks: TaskTracker,
    stopping: CancellationToken,
    /// As many as there are points that ever opened one.
    newest: Mutex<HashMap<Point, Newest>>,
}

#[derive(Default)]
struct Newest {
    /// Ends it.
    ended: Option<CancellationToken>,
    /// Held while a session of the point is linked, so that a point that opens many costs no more
    /// than one that opens one.
    linking: Arc<tokio::sync::Mutex<()>>,
}

impl Deref for Sessions {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Sessions {
    pub(crate) fn new(
        admit: Arc<dyn Admit>,
        tasks: TaskTracker,
        stopping: CancellationToken,
    ) -> Self {
        let newest = Mutex::default();
        Self(Arc::new(Inner {
            admit,
            tasks,
            stopping,
            newest,
        }))
    }

    /// Opens a session with `remote`, which `caller` speaks for. An earlier one of the same point
    /// ends.
    pub(crate) fn open<R: Remote>(&self, caller: Caller, says: Streaming<R::Says>, remote: Arc<R>) {
        let turn = self.replace(caller.point, remote.ended().clone());
        let (sessions, linked, point) = (self.clone(), Arc::clone(&remote), caller.point);
        self.tasks.spawn(async move {
            let stopping = sessions.stopping.clone();
            stopping
                .run_until_cancelled(sessions.link(point, linked, turn))
                .await;
        });
        let sessions = self.clone();
        self.tasks.spawn(async move {
            let ended = remote.ended().clone();
            let hearing = sessions.hear(&caller, says, remote.as_ref());
            match ended.run_until_cancelled(hearing).await {
                Some(Err(why)) => {
                    tracing::warn!(%point, %why, "a session is ended");
                    remote.end(Some(why));
                }
                _ => remote.end(None),
            }
        });
    }
}

impl Inner {
    /// What ends a session that is to be opened; it ends with the server.
    pub(crate) fn child_token(&self) -> CancellationToken {
        self.stopping.child_token()
    }

    fn replace(&self, point: Point, ended: CancellationToken) -> Arc<tokio::sync::Mutex<()>> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = newest.entry(point).or_default();
        if let Some(before) = newest.ended.replace(ended) {
            before.cancel();
        }
        Arc::clone(&newest.linking)
    }

    /// Links the point. Its first state is asked of it over its session already.
    async fn link<R: Remote>(
        &self,
        point: Point,
        remote: Arc<R>,
        turn: Arc<tokio::sync::Mutex<()>>,
    ) {
        let ended = remote.ended().clone();
        // One that was replaced before its turn came is not linked.
        let Some(_turn) = ended.run_until_cancelled(turn.lock()).await else {
            return;
        };
        let attached = Arc::clone(&remote).attach(self.admit.as_ref(), point).await;
        let attached = attached.map_err(unavailable);
        if let Err(why) = attached.and_then(|attached| attached.map_err(refused)) {
            tracing::warn!(%point, %why, "a point could not be linked");
            remote.end(Some(why));
        }
    }

    /// Hands what is said to whoever waits for it. Whose key was retired meanwhile is not heard.
    async fn hear<R: Remote>(
        &self,
        caller: &Caller,
        mut says: Streaming<R::Says>,
        remote: &R,
    ) -> Result<(), Status> {
        while let Some(said) = says.message().await? {
            check_enrolled(self.admit.as_ref(), caller).await?;
            remote.hear(said)?;
        }
        Ok(())
    }
}
