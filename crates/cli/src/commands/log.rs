//! `aims log check`: everything recorded, verified with nothing but the log's public key.

use std::fs;
use std::path::PathBuf;

use aims_audit::{LogReport, TileDir, check_log};
use aims_client::Profile;
use aims_tlog::{SignedNote, TilePath, TileReader, VerifierKey};
use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use crate::args::LogCommand;
use crate::failure::DoesNotHold;
use crate::output::{Output, instant, table};

/// Longest file of the log, in bytes: a full bundle of the longest entries.
const FILE_LEN_MAX: usize = 256 * (65_535 + 2);

pub(super) async fn run(command: LogCommand, profile: Profile, output: Output) -> Result<()> {
    let LogCommand::Check { dir, checkpoint } = command;
    let key: VerifierKey = profile
        .log_key
        .parse()
        .context("the log key in the profile")?;
    let remote = Remote {
        url: profile.log_url.parse()?,
        runtime: Handle::current(),
    };
    let note = match checkpoint {
        Some(file) => fs::read_to_string(&file).with_context(|| file.display().to_string())?,
        None => String::from_utf8(remote.fetch("checkpoint").await?.to_vec())?,
    };
    let note: SignedNote = note.parse()?;
    let checked = tokio::task::spawn_blocking(move || check(dir, &remote, &note, &key)).await?;
    let report =
        checked.map_err(|reason| DoesNotHold(format!("the log does not hold: {reason}")))?;
    let value = serde_json::json!({
        "origin": report.origin,
        "size": report.size,
        "root": report.root,
        "kinds": report.kinds,
        "keys": report.keys,
        "open_intents": report.open_intents,
    });
    output.show(&value, |_| show(&report))
}

fn check(
    dir: Option<PathBuf>,
    remote: &Remote,
    note: &SignedNote,
    key: &VerifierKey,
) -> Result<LogReport, String> {
    match dir {
        Some(dir) => check_log(&TileDir::new(dir), note, key).map_err(|e| e.to_string()),
        None => check_log(remote, note, key).map_err(|e| e.to_string()),
    }
}

fn show(report: &LogReport) -> String {
    let sources = report.sources.iter().map(|(source, chain)| {
        [
            source.to_string(),
            format!("1–{}", chain.records),
            "gapless, chained".to_owned(),
            instant(chain.last_at),
        ]
    });
    let kinds: Vec<String> = report
        .kinds
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    format!(
        "{} holds {} records under {}\n{}\n{}\n{} keys enrolled; {} permitted actions without an \
         outcome so far",
        report.origin,
        report.size,
        report.root,
        table(["source", "records", "chain", "last"], sources),
        kinds.join(", "),
        report.keys.len(),
        report.open_intents.len(),
    )
}

/// The log over HTTP, as anybody may read it.
struct Remote {
    url: url::Url,
    runtime: Handle,
}

impl Remote {
    async fn fetch(&self, path: &str) -> Result<Bytes> {
        let host = self.url.host_str().context("the log's URL has no host")?;
        let port = self.url.port_or_known_default().unwrap_or(80);
        let stream = TcpStream::connect((host, port))
            .await
            .with_context(|| format!("the log does not answer at {host}:{port}"))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = http::Request::builder()
            .uri(format!("{}/{path}", self.url.path()))
            .header(http::header::HOST, host)
            .body(Empty::<Bytes>::new())?;
        let answer = async {
            let response = sender.send_request(request).await?;
            anyhow::ensure!(
                response.status().is_success(),
                "{path}: {}",
                response.status()
            );
            let body = Limited::new(response.into_body(), FILE_LEN_MAX)
                .collect()
                .await;
            let body = body.map_err(|error| anyhow::anyhow!("{path}: {error}"))?;
            Ok(body.to_bytes())
        };
        let (answered, _closed) = tokio::join!(answer, connection);
        answered
    }
}

/// A file of the log could not be fetched.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
struct FetchError(anyhow::Error);

impl TileReader for Remote {
    type Error = FetchError;

    fn read(&self, path: &TilePath) -> Result<Vec<u8>, FetchError> {
        let fetched = self.runtime.block_on(self.fetch(&path.to_string()));
        fetched.map(|bytes| bytes.to_vec()).map_err(FetchError)
    }
}
