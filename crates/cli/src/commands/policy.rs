//! The organisation's policies.

use std::fs;

use aims_client::Client;
use aims_model::PolicyVersion;
use anyhow::{Context, Result};

use crate::args::PolicyCommand;
use crate::output::{Output, instant};

pub(super) async fn run(command: PolicyCommand, mut client: Client, output: Output) -> Result<()> {
    match command {
        PolicyCommand::Show => {
            let policy: PolicyVersion = client.get("/v1/policy").await?;
            output.show(&policy, |policy| policy.text.clone())
        }
        PolicyCommand::Set { file } => {
            let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            let body = serde_json::json!({"text": text});
            let policy: PolicyVersion = client.post("/v1/policy", &body).await?;
            output.show(&policy, |policy| {
                format!(
                    "{} is in force since {}",
                    policy.id,
                    instant(policy.activated_at)
                )
            })
        }
    }
}
