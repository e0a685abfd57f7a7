//! Upstreams.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use aims_client::Client;
use aims_model::Upstream;
use aims_model::upstream::{CREDENTIAL_LEN_MAX, check_credential};
use aims_types::Secret;
use anyhow::{Context, Result, bail};

use crate::args::UpstreamCommand;
use crate::manifest::{self, UpstreamManifest};
use crate::output::{Output, table};

pub(super) async fn run(command: UpstreamCommand, client: Client, output: Output) -> Result<()> {
    match command {
        UpstreamCommand::Add {
            name,
            manifest,
            secret_file,
        } => add(client, (&name, &manifest, &secret_file), output).await,
        UpstreamCommand::List => list(client, output).await,
        UpstreamCommand::Rotate { name, secret_file } => {
            let secret = read_secret(&secret_file)?;
            let body = serde_json::json!({"secret": secret.expose()});
            let path = format!("/v1/upstreams/{name}/rotate");
            let mut client = client;
            let upstream: Upstream = client.post(&path, &body).await?;
            output.show(&upstream, |upstream| {
                let (name, version) = (&upstream.name, upstream.version);
                format!("{name} has version {version} of its credential; the one before is gone")
            })
        }
        UpstreamCommand::Remove { name } => {
            let mut client = client;
            let path = format!("/v1/upstreams/{name}/retire");
            let upstream: Upstream = client.post(&path, &serde_json::json!({})).await?;
            output.show(&upstream, |upstream| {
                format!("{} is retired; its credential is gone", upstream.name)
            })
        }
    }
}

async fn add(
    mut client: Client,
    (name, file, secret_file): (&str, &Path, &Path),
    output: Output,
) -> Result<()> {
    let manifest: UpstreamManifest = manifest::read(file)?;
    let secret = read_secret(secret_file)?;
    let body = serde_json::json!({
        "name": name,
        "purpose": manifest.purpose,
        "spec": manifest.spec(file)?,
        "secret": secret.expose(),
    });
    let upstream: Upstream = client.post("/v1/upstreams", &body).await?;
    output.show(&upstream, |upstream| {
        let (name, origin) = (&upstream.name, upstream.spec.origin());
        format!("{name} is registered: `/http/{name}/…` at the door is {origin}")
    })
}

async fn list(mut client: Client, output: Output) -> Result<()> {
    let upstreams: Vec<Upstream> = client.get("/v1/upstreams").await?;
    output.show(&upstreams, |upstreams| {
        table(
            ["name", "at", "credential", "state", "purpose"],
            upstreams.iter().map(|upstream| {
                [
                    upstream.name.to_string(),
                    upstream.spec.origin().to_string(),
                    format!("version {}", upstream.version),
                    if upstream.is_active() {
                        "active"
                    } else {
                        "retired"
                    }
                    .to_owned(),
                    upstream.purpose.to_string(),
                ]
            }),
        )
    })
}

/// The credential, without a line end after it.
fn read_secret(path: &Path) -> Result<Secret<String>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(CREDENTIAL_LEN_MAX)?.saturating_add(2);
    if path == Path::new("-") {
        stdin().lock().take(most).read_to_end(&mut bytes)?;
    } else {
        let file = File::open(path).with_context(|| format!("`{}`", path.display()))?;
        file.take(most).read_to_end(&mut bytes)?;
    }
    let text = Secret::new(String::from_utf8(bytes).context("the credential is not text")?);
    let line = text.expose().strip_suffix('\n').unwrap_or(text.expose());
    let line = line.strip_suffix('\r').unwrap_or(line);
    match check_credential(line.as_bytes()) {
        Ok(()) => Ok(Secret::new(line.to_owned())),
        Err(error) => bail!("`{}`: {error}", path.display()),
    }
}
