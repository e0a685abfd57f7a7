//! Tool servers.

use aims_client::Client;
use aims_model::ToolServer;
use anyhow::Result;

use crate::args::ToolsCommand;
use crate::manifest::{self, ToolsManifest};
use crate::output::{Output, table};

pub(super) async fn run(command: ToolsCommand, mut client: Client, output: Output) -> Result<()> {
    match command {
        ToolsCommand::Register { manifest } => {
            let manifest: ToolsManifest = manifest::read(&manifest)?;
            let body = serde_json::json!({
                "name": manifest.name,
                "purpose": manifest.purpose,
                "spec": manifest.spec()?,
            });
            let server: ToolServer = client.post("/v1/servers", &body).await?;
            output.show(&server, |server| {
                let tools = server.tools.iter();
                format!(
                    "{} is registered with {} tools\n{}",
                    server.name,
                    server.tools.len(),
                    table(
                        ["tool", "pinned"],
                        tools.map(|tool| [tool.name.clone(), tool.digest.to_string()]),
                    )
                )
            })
        }
        ToolsCommand::List => {
            let servers: Vec<ToolServer> = client.get("/v1/servers").await?;
            output.show(&servers, |servers| {
                table(
                    ["name", "tools", "network", "purpose"],
                    servers.iter().map(|server| {
                        [
                            server.name.to_string(),
                            server.tools.len().to_string(),
                            if server.spec.network { "host" } else { "none" }.to_owned(),
                            server.purpose.to_string(),
                        ]
                    }),
                )
            })
        }
    }
}
