//! Nodes and gateways: who is linked, and who may join.

use aims_client::Client;
use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::args::{PointArg, PointCommand};
use crate::output::{Output, instant, table};

/// A node or gateway as the server tells it.
#[derive(Serialize, Deserialize)]
struct View {
    point: aims_model::Point,
    linked: bool,
    lease_left_millis: Option<u64>,
    acknowledged: aims_types::Revision,
    address: Option<String>,
}

/// A permission to join.
#[derive(Serialize, Deserialize)]
struct Allowed {
    token: String,
    expires_at: aims_types::Timestamp,
    bundle: aims_types::Digest,
}

pub(super) async fn run(command: PointCommand, mut client: Client, output: Output) -> Result<()> {
    match command {
        PointCommand::List => {
            let points: Vec<View> = client.get("/v1/points").await?;
            output.show(&points, |points| {
                let rows = points.iter().map(|view| {
                    let left = view.lease_left_millis;
                    [
                        view.point.to_string(),
                        if view.linked { "yes" } else { "no" }.to_owned(),
                        left.map_or("none".to_owned(), |left| format!("{left} ms left")),
                        view.acknowledged.to_string(),
                        view.address.clone().unwrap_or_default(),
                    ]
                });
                table(["point", "linked", "lease", "revision", "address"], rows)
            })
        }
        PointCommand::Allow { kind } => {
            let kind = match kind {
                PointArg::Node => "node",
                PointArg::Gateway => "gateway",
            };
            let body = serde_json::json!({ "kind": kind });
            let allowed: Allowed = client.post("/v1/join-tokens", &body).await?;
            output.show(&allowed, |allowed| {
                format!(
                    "token  {}\nbundle {}\nOne {kind} may join with it until {}: write the token \
                     into a file that only its user can read, and there run\n  \
                     aims join --config FILE --token FILE --bundle {}",
                    allowed.token,
                    allowed.bundle,
                    instant(allowed.expires_at),
                    allowed.bundle,
                )
            })
        }
    }
}
