//! Server, node and gateway as processes of their own, linked over mutual TLS.

mod config;
mod member;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use aims_edge::{Enrolled, Served};
use aims_gateway::{EdgeConfig, EgressConfig, Gateway, GatewayConfig, GatewayLimits};
use aims_http_api::Health;
use aims_links::{Control, Endpoint, Enforce, Services, Vouch};
use aims_model::{Point, PointKind};
use aims_node::{Node, NodeConfig};
use aims_server::{Config, LinksConfig, Server, bind_socket};
use aims_types::ambient::{SystemClock, SystemEntropy};
use aims_types::{Gateway as GatewayKind, Id, Node as NodeKind};
use anyhow::{Context, Result};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use config::PointConfig;
pub(crate) use member::join;

use crate::up::{
    DRAIN_TIMEOUT, host_name, listen_for_agents, log_to_stderr, serve_oauth, stop_signal,
};
use config::AgentsSection;
use member::Member;

/// The server alone.
pub(crate) async fn server(config: &Path) -> Result<()> {
    let config = Config::load(config, std::env::vars())?;
    log_to_stderr();
    let health = health()?;
    let server = Server::open(&config).await?;
    server.listen(&config, health.clone()).await?;
    let links: LinksConfig = config.links.clone().unwrap_or_default();
    let bound = server.link(links.listen).await?;
    serve_oauth(&config, &server).await?;
    health.set_ready(true);
    tracing::info!(
        trust_domain = %config.trust_domain, api = %config.api.listen, links = %bound,
        socket = %config.api_socket().display(), "the server is up"
    );
    tokio::select! {
        stopped = stop_signal() => stopped?,
        why = server.failure() => anyhow::bail!("{why}; look at the disk, then start again"),
    }
    tracing::info!("stopping: no new work is taken");
    health.set_ready(false);
    server.drain().await;
    tracing::info!("stopped");
    Ok(())
}

/// A gateway that has joined.
pub(crate) async fn gateway(config: &Path) -> Result<()> {
    let config = PointConfig::load(config)?;
    let section = config.gateway()?.clone();
    log_to_stderr();
    let health = health()?;
    let member = Member::open(&config, PointKind::Gateway)?;
    let Point::Gateway(id) = member.point() else {
        anyhow::bail!("`{}` is no gateway", member.point());
    };
    let links = member.links()?;
    let enrolled = Enrolled::default();
    let settings = gateway_config(&config, &member, id, enrolled.clone())?;
    let control = Arc::new(links.clone()) as Arc<dyn Control>;
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let gateway = Gateway::start(settings, control, clock.clone(), entropy).await?;
    let listener = TcpListener::bind(section.listen)
        .await
        .with_context(|| format!("port {} can't be used", section.listen))?;
    let acceptor = aims_edge::acceptor(clock, member.identity(), member.trust())?;
    let endpoint = Arc::clone(&gateway) as Arc<dyn Endpoint>;
    let served = aims_edge::serve(listener, endpoint, acceptor, enrolled);
    let agents = serve_agents(section.agents.as_ref(), &gateway).await?;
    let (tasks, stopping) = (TaskTracker::new(), CancellationToken::new());
    let enforce = Arc::clone(&gateway) as Arc<dyn Enforce>;
    let (asked, until) = (links.clone(), stopping.clone());
    tasks.spawn(async move { asked.keep_gateway(enforce, until).await });
    tasks.spawn(member.keep_renewed(links, stopping.clone()));
    let works = Arc::clone(&gateway);
    let health = health.while_works(move || works.revision().is_some());
    show(config.api_listen(), health.clone(), (&tasks, &stopping)).await?;
    tracing::info!(gateway = %id, address = section.address, "the gateway is up");
    tokio::select! {
        stopped = stop_signal() => stopped?,
        // Stopping beats going on without a record: nothing would be allowed any more.
        why = gateway.failure() => anyhow::bail!("the gateway's log failed: {why}"),
    }
    tracing::info!("stopping: no new work is taken");
    health.set_ready(false);
    if let Some(agents) = agents {
        agents.end().await;
    }
    served.end().await;
    if !gateway.drain(DRAIN_TIMEOUT).await {
        tracing::warn!("records are left on disk; they are handed over at the next start");
    }
    stopping.cancel();
    tasks.close();
    tasks.wait().await;
    tracing::info!("stopped");
    Ok(())
}

/// Serves agents that run elsewhere, where configured.
async fn serve_agents(
    section: Option<&AgentsSection>,
    gateway: &Arc<Gateway>,
) -> Result<Option<Served>> {
    let Some(agents) = section else {
        return Ok(None);
    };
    let shown = aims_server::shown(&agents.tls)?;
    listen_for_agents(gateway, agents.listen, shown)
        .await
        .map(Some)
}

/// A node that has joined.
pub(crate) async fn node(config: &Path) -> Result<()> {
    let config = PointConfig::load(config)?;
    let section = config.node()?.clone();
    log_to_stderr();
    let health = health()?;
    let member = Member::open(&config, PointKind::Node)?;
    let Point::Node(id) = member.point() else {
        anyhow::bail!("`{}` is no node", member.point());
    };
    let links = member.links()?;
    let enrolled = Enrolled::default();
    let settings = node_config(&config, &member, id, enrolled.clone())?;
    let clock = Arc::new(SystemClock);
    let connector = aims_edge::connector(
        clock.clone(),
        member.identity(),
        member.trust(),
        aims_edge::any_gateway(),
    )?;
    let gateway = aims_edge::RemoteEndpoint::new(section.gateway.clone(), connector, enrolled);
    let ends = (
        Arc::new(links.clone()) as Arc<dyn Control>,
        Arc::new(gateway) as Arc<dyn Endpoint>,
    );
    let entropy = Arc::new(SystemEntropy);
    let node = Node::new(settings, member.signer(), ends, clock, entropy)?;
    let (tasks, stopping) = (TaskTracker::new(), CancellationToken::new());
    let vouch = Arc::clone(&node) as Arc<dyn Vouch>;
    let (asked, services, until) = (links.clone(), links.clone(), stopping.clone());
    tasks.spawn(async move { asked.keep_node(vouch, until).await });
    tasks.spawn(member.keep_renewed(links, stopping.clone()));
    let socket = config.node_socket()?;
    tasks.spawn(Arc::clone(&node).serve(bind_socket(&socket)?));
    let services = Arc::new(services) as Arc<dyn Services>;
    let workloads = config.workload_socket()?;
    let listener = bind_socket(&workloads)?;
    tasks.spawn(Arc::clone(&node).serve_workloads(services, listener)?);
    let works = Arc::clone(&node);
    let health = health.while_works(move || works.is_ready());
    show(config.api_listen(), health.clone(), (&tasks, &stopping)).await?;
    tracing::info!(
        node = %id, socket = %socket.display(), workloads = %workloads.display(),
        "the node is up"
    );
    stop_signal().await?;
    tracing::info!("stopping: what runs here ends");
    health.set_ready(false);
    node.drain().await;
    stopping.cancel();
    tasks.close();
    tasks.wait().await;
    tracing::info!("stopped");
    Ok(())
}

fn gateway_config(
    config: &PointConfig,
    member: &Member,
    id: Id<GatewayKind>,
    enrolled: Enrolled,
) -> Result<GatewayConfig> {
    let section = config.gateway()?;
    let limits = GatewayLimits {
        call: std::time::Duration::from_secs(section.call_secs_max),
        ..GatewayLimits::default()
    };
    Ok(GatewayConfig {
        id,
        trust_domain: member.trust_domain().clone(),
        resource: member.resource().to_owned(),
        issuer: member.issuer().to_owned(),
        wal_dir: config.data_dir.join("gateway"),
        stage_dir: config.stage_dir.clone(),
        self_exe: std::env::current_exe()?,
        uid_base: is_root().then_some(section.uid_base),
        egress: EgressConfig {
            hosts: config.egress.hosts.clone(),
        },
        limits,
        wal: aims_wal::Limits::default(),
        lease: config.lease.terms()?,
        edge: Some(EdgeConfig {
            address: section.address.clone(),
            identity: member.identity(),
            trust: member.trust(),
            enrolled,
        }),
    })
}

fn node_config(
    config: &PointConfig,
    member: &Member,
    id: Id<NodeKind>,
    enrolled: Enrolled,
) -> Result<NodeConfig> {
    let section = config.node()?;
    Ok(NodeConfig {
        id,
        spiffe_id: member.trust_domain().id(&format!("node/{id}"))?,
        host: host_name(),
        stage_dir: config.stage_dir.clone(),
        self_exe: std::env::current_exe()?,
        uid_base: section.uid_base,
        uid_count: section.uid_count,
        terms: config.lease.terms()?,
        enrolled,
    })
}

/// Shows health and metrics of a node or gateway, which is ready while it `works`.
async fn show(
    listen: SocketAddr,
    health: Health,
    (tasks, stopping): (&TaskTracker, &CancellationToken),
) -> Result<()> {
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("port {listen} can't be used"))?;
    let bound = listener.local_addr()?;
    let router = health.clone().router();
    tasks.spawn(aims_http_api::serve_tcp(listener, router, stopping.clone()));
    health.set_ready(true);
    tracing::info!(api = %bound, "health and metrics are shown");
    Ok(())
}

fn health() -> Result<Health> {
    let metrics = PrometheusBuilder::new()
        .install_recorder()
        .context("metrics")?;
    Ok(Health::new(metrics))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
