//! `aims proof`: the proof of one permitted action, as a file.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use aims_client::Client;
use aims_crypto::{base64url, sha256};
use anyhow::{Context, Result};

use crate::output::Output;

pub(super) async fn export(
    mut client: Client,
    decision: &str,
    (out, since): (Option<PathBuf>, Option<PathBuf>),
    output: Output,
) -> Result<()> {
    let mut path = format!("/v1/decisions/{decision}/proof");
    if let Some(file) = since {
        let kept = fs::read(&file).with_context(|| file.display().to_string())?;
        path = format!("{path}?since={}", base64url::encode(&kept));
    }
    let proof: String = client.get(&path).await?;
    let Some(out) = out else {
        // Nothing but the file itself, without a line feed: its bytes are what is verified.
        return Ok(io::stdout().lock().write_all(proof.as_bytes())?);
    };
    fs::write(&out, &proof).with_context(|| out.display().to_string())?;
    let value = serde_json::json!({
        "decision": decision,
        "file": out,
        "bytes": proof.len(),
        "sha256": sha256(proof.as_bytes()),
    });
    output.show(&value, |_| {
        format!(
            "the proof of {decision} is in {} ({} bytes)\nverify it anywhere: aims verify {} \
             --log-key {}",
            out.display(),
            proof.len(),
            out.display(),
            client.profile().log_key,
        )
    })
}
