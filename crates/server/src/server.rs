//! The running server.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aims_audit::{Sequencer, TileDir, Vault};
use aims_control::{ControlPlane, RecordSink};
use aims_crypto::{Alg, SigningKey};
use aims_http_api::{Admin, Health, Public};
use aims_keys::Purpose;
use aims_store::Store;
use aims_store_sqlite::SqliteStore;
use aims_tlog::NoteSigner;
use aims_types::Actor;
use anyhow::{Context, Result};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Config;
use crate::init::{log_name, open_store, parts};
use crate::log::keep_folding;

/// How long after its deadline a task may stay open in the records.
const EXPIRE_EVERY: Duration = Duration::from_millis(500);

/// Store, keys, log and control plane, with their listeners.
pub struct Server {
    pub(crate) plane: ControlPlane,
    store: Arc<SqliteStore>,
    tiles: TileDir,
    pub(crate) tasks: TaskTracker,
    /// Ends the listeners.
    pub(crate) stopping: CancellationToken,
    /// Ends the log, after everything that writes records has ended.
    closing: CancellationToken,
    /// The log's tiles could not be synced.
    lost: CancellationToken,
}

impl Server {
    /// Opens what was initialised.
    pub async fn open(config: &Config) -> Result<Self> {
        let store = Arc::new(open_store(config).await?);
        let shared = Arc::clone(&store) as Arc<dyn Store>;
        let mut parts = parts(config, Arc::clone(&shared))?;
        let key = aims_control::log_key(shared.as_ref(), &parts.keys).await?;
        let signer = NoteSigner::new(log_name(config)?, Arc::new(key))?;
        let tiles = TileDir::new(config.tile_dir());
        let vault = Vault::new(Arc::clone(&parts.keys), Arc::clone(&parts.entropy));
        let sequencer = Sequencer::open(shared, signer, tiles.clone(), vault).await?;
        let sequencer = Arc::new(sequencer);
        parts.records = Arc::clone(&sequencer) as Arc<dyn RecordSink>;
        let plane = ControlPlane::open(parts).await?;
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        let lost = CancellationToken::new();
        tasks.spawn(keep_folding(sequencer, closing.clone(), lost.clone()));
        tasks.spawn(keep_expiring(plane.clone(), closing.clone()));
        Ok(Self {
            plane,
            store,
            tiles,
            tasks,
            stopping: CancellationToken::new(),
            closing,
            lost,
        })
    }

    /// The control plane, to be linked with nodes and gateways.
    pub const fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// The key of the node or gateway in this process: made once, so that one that starts again is
    /// the same one, and what it vouched for before is known to be gone.
    pub fn own_key(&self, purpose: Purpose) -> Result<SigningKey> {
        let parts = self.plane.parts();
        let held = parts.keys.list()?;
        let id = if let Some(key) = held.iter().find(|key| key.purpose == purpose) {
            key.id
        } else {
            let id = self.plane.cx(Actor::Server)?.id()?;
            parts
                .keys
                .create(id, purpose, Alg::Es256, parts.entropy.as_ref())?;
            id
        };
        Ok(parts.keys.load(id)?.key)
    }

    /// Starts to serve: the admin API on its Unix socket, health, metrics and log on TCP.
    pub async fn listen(&self, config: &Config, health: Health) -> Result<()> {
        let unix = bind_socket(&config.api_socket())?;
        let tcp = TcpListener::bind(config.api.listen)
            .await
            .with_context(|| format!("port {} can't be used", config.api.listen))?;
        let admin = Admin::new(self.plane.clone()).router();
        let store = Arc::clone(&self.store) as Arc<dyn Store>;
        let public = Public::new(store, self.tiles.clone(), health).router();
        let stopping = &self.stopping;
        self.tasks
            .spawn(aims_http_api::serve_unix(unix, admin, stopping.clone()));
        self.tasks
            .spawn(aims_http_api::serve_tcp(tcp, public, stopping.clone()));
        Ok(())
    }

    /// Resolves when the disk of the store or of the log has failed, and says how: the process must
    /// end then, because only one that reads the disk anew knows what is on it.
    pub async fn failure(&self) -> String {
        tokio::select! {
            why = self.store.failure() => format!("the store can't be written: {why}"),
            () = self.lost.cancelled() => "the log's tiles can't be synced".to_owned(),
        }
    }

    /// Stops accepting, lets what is under way end, folds what is left, and closes the store. Call
    /// it when nodes and gateways are drained.
    pub async fn drain(self) {
        self.stopping.cancel();
        self.plane.drained().await;
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.store.close().await;
    }
}

/// Ends tasks whose deadline has passed, and what nodes vouched for that fell silent, with
/// everything issued for them.
async fn keep_expiring(plane: ControlPlane, stopping: CancellationToken) {
    while !stopping.is_cancelled() {
        stopping
            .run_until_cancelled(tokio::time::sleep(EXPIRE_EVERY))
            .await;
        let expired = match plane.cx(Actor::Server) {
            Ok(cx) => plane
                .expire(&cx)
                .await
                .map(drop)
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = plane.end_elsewhere().await {
            tracing::error!(%error, "what runs elsewhere and is over can't be ended now");
        }
        if let Err(error) = plane.end_silent().await {
            tracing::error!(%error, "what silent nodes vouched for can't be ended now");
        }
        if let Err(error) = expired {
            // Gateways look at deadlines themselves; the record of the end waits.
            tracing::error!(%error, "tasks that are over can't be ended now");
        }
    }
}

/// Binds a Unix socket that everybody on this machine may connect to: every request is
/// authenticated. A socket that a dead process left behind is replaced.
pub fn bind_socket(path: &Path) -> Result<UnixListener> {
    let context = || format!("the socket `{}` can't be used", path.display());
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(context)?;
        let found = fs::symlink_metadata(dir).with_context(context)?;
        // Whoever owns the directory could put a socket of their own in its place.
        anyhow::ensure!(
            found.is_dir() && found.uid() == rustix::process::geteuid().as_raw(),
            "`{}` must be a directory of the user that AIMS runs as",
            dir.display()
        );
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).with_context(context)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        anyhow::bail!("another AIMS serves `{}`; stop it first", path.display());
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(context);
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).with_context(context)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).with_context(context)?;
    Ok(listener)
}
