//! `aims up`: server, node and gateway in one process, linked by the same traits that a network
//! carries.

use std::path::Path;
use std::sync::Arc;

use aims_control::ControlPlane;
use aims_crypto::Signer;
use aims_gateway::{EgressConfig, Gateway, GatewayConfig, GatewayLimits};
use aims_http_api::Health;
use aims_jose::Jwk;
use aims_links::{Control, Enforce};
use aims_node::{Node, NodeConfig};
use aims_server::{Config, Server, bind_socket};
use aims_types::ambient::{SystemClock, SystemEntropy};
use aims_types::{Actor, Id};
use anyhow::{Context, Result};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::TaskTracker;
use tracing_subscriber::EnvFilter;

/// How long what is under way may take to end.
const DRAIN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);
/// The file that remembers which gateway this data directory belongs to.
const GATEWAY_ID_FILE: &str = "gateway.id";

/// Runs until SIGTERM or SIGINT, then drains: no new work, what is under way ends, nothing is lost.
pub(crate) async fn up(config: &Path) -> Result<()> {
    let config = Config::load(config, std::env::vars())?;
    log_to_stderr();
    let metrics = PrometheusBuilder::new()
        .install_recorder()
        .context("metrics")?;
    let health = Health::new(metrics);
    let self_exe = std::env::current_exe()?;
    let server = Server::open(&config).await?;
    let gateway = start_gateway(&config, &server, &self_exe).await?;
    let node = start_node(&config, &server, Arc::clone(&gateway), self_exe).await?;
    let tasks = TaskTracker::new();
    tasks.spawn(Arc::clone(&node).serve(bind_socket(&config.node_socket())?));
    server.listen(&config, health.clone()).await?;
    health.set_ready(true);
    tracing::info!(
        trust_domain = %config.trust_domain, api = %config.api.listen,
        socket = %config.api_socket().display(), "AIMS is up"
    );
    tokio::select! {
        stopped = stop_signal() => stopped?,
        // Stopping beats going on without a record: nothing would be allowed any more.
        why = gateway.failure() => anyhow::bail!("the gateway's log failed: {why}"),
    }
    tracing::info!("stopping: no new work is taken");
    health.set_ready(false);
    node.drain().await;
    if !gateway.drain(DRAIN_TIMEOUT).await {
        tracing::warn!("records are left on disk; they are handed over at the next start");
    }
    tasks.close();
    tasks.wait().await;
    server.drain().await;
    tracing::info!("stopped");
    Ok(())
}

async fn start_gateway(config: &Config, server: &Server, self_exe: &Path) -> Result<Arc<Gateway>> {
    let plane = server.plane();
    let id = gateway_id(config)?;
    let is_root = rustix::process::geteuid().is_root();
    let limits = GatewayLimits {
        call: std::time::Duration::from_secs(config.gateway.call_secs_max),
        ..GatewayLimits::default()
    };
    let settings = GatewayConfig {
        id,
        trust_domain: config.trust_domain.clone(),
        resource: config.resource(),
        issuer: config.issuer(),
        wal_dir: config.data_dir.join("gateway"),
        stage_dir: config.stage_dir.clone(),
        self_exe: self_exe.to_owned(),
        // The first half of the reserved uids is for tools, the second for agents.
        uid_base: is_root.then_some(config.gateway.uid_base),
        egress: EgressConfig {
            hosts: config.egress.hosts.clone(),
        },
        limits,
        wal: aims_wal::Limits::default(),
    };
    let control: Arc<dyn Control> = Arc::new(plane.clone());
    let gateway = Gateway::start(
        settings,
        control,
        Arc::new(SystemClock),
        Arc::new(SystemEntropy),
    )
    .await?;
    let link: Arc<dyn Enforce> = gateway.clone();
    plane
        .gateway_join(&plane.cx(Actor::Server)?, id, link)
        .await?;
    Ok(gateway)
}

async fn start_node(
    config: &Config,
    server: &Server,
    gateway: Arc<Gateway>,
    self_exe: std::path::PathBuf,
) -> Result<Arc<Node>> {
    let plane: &ControlPlane = server.plane();
    let key = Arc::new(server.node_key()?);
    let jwk = Jwk::new(*key.public()).to_value().to_string();
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let id = plane
        .node_join(&plane.cx(Actor::Server)?, &jwk, &host)
        .await?;
    let half = config.gateway.uid_count / 2;
    let settings = NodeConfig {
        id,
        spiffe_id: config.trust_domain.id(&format!("node/{id}"))?,
        host,
        stage_dir: config.stage_dir.clone(),
        self_exe,
        uid_base: config.gateway.uid_base + half,
        uid_count: half,
    };
    let links = (
        Arc::new(plane.clone()) as Arc<dyn Control>,
        gateway as Arc<dyn Enforce>,
    );
    Node::new(
        settings,
        key,
        links,
        Arc::new(SystemClock),
        Arc::new(SystemEntropy),
    )
}

/// The gateway's identity: made once for a data directory, because its log belongs to it.
fn gateway_id(config: &Config) -> Result<Id<aims_types::Gateway>> {
    let path = config.data_dir.join(GATEWAY_ID_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => text
            .trim()
            .parse()
            .with_context(|| path.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = Id::new(aims_types::Clock::now(&SystemClock), &SystemEntropy)?;
            std::fs::write(&path, format!("{id}\n")).with_context(|| path.display().to_string())?;
            Ok(id)
        }
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Structured logs on standard error; `AIMS_LOG` sets the level.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("AIMS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}

async fn stop_signal() -> Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}
