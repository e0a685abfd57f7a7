//! Looking at a tool server that is to be registered: what tools it has, to be pinned.

use std::sync::Arc;

use aims_crypto::sha256;
use aims_json::to_canonical_exact;
use aims_links::InspectError;
use aims_mcp::tools::Tool;
use aims_model::server::TOOLS_MAX;
use aims_model::{ServerSpec, ToolPin};
use aims_types::Name;

use crate::core::Core;
use crate::mcp::open::{converse, greet};
use crate::mcp::session::ToolTable;
use crate::tool::peer::PeerFault;

/// Starts the server in walls, asks for its tools, and ends it.
pub(crate) async fn inspect(
    core: &Arc<Core>,
    name: Name,
    spec: ServerSpec,
) -> Result<Vec<ToolPin>, InspectError> {
    let task = Arc::clone(core);
    // In a task of its own, so that the server is ended even if nobody waits any more.
    let inspected = core
        .tasks
        .spawn(async move { inspect_tracked(&task, &name, &spec).await });
    inspected
        .await
        .unwrap_or_else(|error| Err(InspectError::Start(error.to_string())))
}

async fn inspect_tracked(
    core: &Arc<Core>,
    name: &Name,
    spec: &ServerSpec,
) -> Result<Vec<ToolPin>, InspectError> {
    let child = core.tools.start(name, spec).await;
    let child = child.map_err(|fault| InspectError::Start(fault.to_string()))?;
    let (peer, process) = converse(core, child);
    let greeted = tokio::time::timeout(core.config.limits.tool_start, greet(core, &peer)).await;
    peer.stop(PeerFault::Stopped);
    let ended = process.end().await;
    let how = ended.unwrap_or_else(|error| format!("could not be ended: {error}"));
    let greeted = greeted.map_err(|_| InspectError::Protocol("it is too slow".to_owned()))?;
    let (_, table) = greeted.map_err(|fault| InspectError::Protocol(format!("{fault} ({how})")))?;
    pins(&table)
}

fn pins(table: &ToolTable) -> Result<Vec<ToolPin>, InspectError> {
    if table.tools().len() > TOOLS_MAX {
        let text = format!("it has more than {TOOLS_MAX} tools");
        return Err(InspectError::Protocol(text));
    }
    table.tools().iter().map(pin).collect()
}

fn pin(tool: &Tool) -> Result<ToolPin, InspectError> {
    let schema = to_canonical_exact(tool.input_schema())
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| InspectError::Protocol(format!("the schema of `{}`", tool.name())))?;
    Ok(ToolPin {
        name: tool.name().to_owned(),
        digest: sha256(tool.pin_bytes()),
        input_schema: schema,
        description: tool.description().unwrap_or_default().to_owned(),
    })
}
