//! `aims up`: server, node and gateway in one process, linked by the same traits that a network
//! carries.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use aims_control::ControlPlane;
use aims_crypto::{Signer, SigningKey};
use aims_edge::{Enrolled, Served};
use aims_gateway::{Agents, EgressConfig, Gateway, GatewayConfig, GatewayLimits};
use aims_http_api::Health;
use aims_jose::Jwk;
use aims_keys::Purpose;
use aims_links::{Control, Cut, Endpoint, Enforce, LinkError, Services, Vouch};
use aims_model::receipt::Ended;
use aims_node::{Node, NodeConfig};
use aims_server::{Config, Server, bind_socket};
use aims_tls::WebAcceptor;
use aims_types::ambient::{SystemClock, SystemEntropy};
use aims_types::{Actor, Id, Instance, Revision};
use anyhow::{Context, Result};
use async_trait::async_trait;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::TaskTracker;
use tracing_subscriber::EnvFilter;

use crate::durable;

/// How long what is under way may take to end.
pub(crate) const DRAIN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);
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
    let services = Arc::new(server.plane().clone()) as Arc<dyn Services>;
    let workloads = bind_socket(&config.workload_socket())?;
    tasks.spawn(Arc::clone(&node).serve_workloads(services, workloads)?);
    server.listen(&config, health.clone()).await?;
    if let Some(links) = &config.links {
        let bound = server.link(links.listen).await?;
        tracing::info!(%bound, "nodes and gateways of other hosts may join");
    }
    let agents = serve_agents(&config, &server, &gateway).await?;
    gateway.leased().await;
    health.set_ready(true);
    tracing::info!(
        trust_domain = %config.trust_domain, api = %config.api.listen,
        socket = %config.api_socket().display(), "AIMS is up"
    );
    tokio::select! {
        stopped = stop_signal() => stopped?,
        // Stopping beats going on without a record: nothing would be allowed any more.
        why = gateway.failure() => anyhow::bail!("the gateway's log failed: {why}"),
        why = server.failure() => anyhow::bail!("{why}; look at the disk, then start again"),
    }
    tracing::info!("stopping: no new work is taken");
    health.set_ready(false);
    if let Some(agents) = agents {
        agents.end().await;
    }
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
        lease: config.lease.terms()?,
        edge: None,
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
    let jwk = jwk_of(&server.own_key(Purpose::Gateway)?);
    plane
        .gateway_join(&plane.cx(Actor::Server)?, id, &jwk, link)
        .await?;
    Ok(gateway)
}

/// Serves the OAuth endpoints, and the gateway to agents that run elsewhere, where configured.
async fn serve_agents(
    config: &Config,
    server: &Server,
    gateway: &Arc<Gateway>,
) -> Result<Option<Served>> {
    serve_oauth(config, server).await?;
    let Some(agents) = &config.gateway.agents else {
        return Ok(None);
    };
    let shown = server.web(config, agents.tls.as_ref()).await?;
    listen_for_agents(gateway, agents.listen, shown)
        .await
        .map(Some)
}

/// Serves the OAuth endpoints, where configured.
pub(crate) async fn serve_oauth(config: &Config, server: &Server) -> Result<()> {
    if let Some(oauth) = &config.oauth {
        let shown = server.web(config, oauth.tls.as_ref()).await?;
        let bound = server.oauth(oauth, shown).await?;
        tracing::info!(%bound, issuer = oauth.issuer, "agents that run elsewhere get tokens");
    }
    Ok(())
}

/// Serves a gateway to agents that run elsewhere.
pub(crate) async fn listen_for_agents(
    gateway: &Arc<Gateway>,
    listen: SocketAddr,
    shown: WebAcceptor,
) -> Result<Served> {
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("port {listen} can't be used"))?;
    let face = Agents::new(Arc::clone(gateway), Arc::new(SystemClock), &SystemEntropy)?;
    tracing::info!(%listen, "agents that run elsewhere are served");
    let served = aims_edge::serve_agents(listener, Arc::new(face), shown);
    Ok(served)
}

async fn start_node(
    config: &Config,
    server: &Server,
    gateway: Arc<Gateway>,
    self_exe: std::path::PathBuf,
) -> Result<Arc<Node>> {
    let plane: &ControlPlane = server.plane();
    let key = Arc::new(server.own_key(Purpose::Node)?);
    let (jwk, host) = (jwk_of(&key), host_name());
    let link = Arc::new(Later::new());
    let id = plane
        .node_join(
            &plane.cx(Actor::Server)?,
            &jwk,
            &host,
            Arc::clone(&link) as Arc<dyn Vouch>,
        )
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
        terms: config.lease.terms()?,
        enrolled: Enrolled::default(),
    };
    let links = (
        Arc::new(plane.clone()) as Arc<dyn Control>,
        gateway as Arc<dyn Endpoint>,
    );
    let node = Node::new(
        settings,
        key,
        links,
        Arc::new(SystemClock),
        Arc::new(SystemEntropy),
    )?;
    link.is(&node);
    Ok(node)
}

/// The link to a node that is made only when its id is known, which the server gives. Until then
/// nothing runs there, so there is nothing to end.
struct Later(Mutex<Known>);

struct Known {
    node: Option<Arc<Node>>,
    told: Revision,
}

impl Later {
    const fn new() -> Self {
        Self(Mutex::new(Known {
            node: None,
            told: Revision::ZERO,
        }))
    }

    fn is(&self, node: &Arc<Node>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        node.joined(known.told);
        known.node = Some(Arc::clone(node));
    }

    fn node(&self, told: Revision) -> Option<Arc<Node>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.told = known.told.max(told);
        known.node.clone()
    }
}

#[async_trait]
impl Vouch for Later {
    async fn end(&self, cut: Cut) -> Result<Ended, LinkError> {
        match self.node(cut.revision) {
            Some(node) => node.end(cut).await,
            None => Ok(Ended::default()),
        }
    }

    async fn held(&self) -> Result<Vec<Id<Instance>>, LinkError> {
        match self.node(Revision::ZERO) {
            Some(node) => node.held().await,
            None => Ok(Vec::new()),
        }
    }
}

pub(crate) fn jwk_of(key: &SigningKey) -> String {
    Jwk::new(*key.public()).to_value().to_string()
}

pub(crate) fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
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
            durable::write(&path, format!("{id}\n").as_bytes())?;
            Ok(id)
        }
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Structured logs on standard error; `AIMS_LOG` sets the level.
pub(crate) fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("AIMS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}

pub(crate) async fn stop_signal() -> Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}
