//! `aims log check`: everything recorded, verified with nothing but the log's public key.

use std::fs;
use std::path::Path;

use aims_audit::{LogReport, TileDir, check_extends, check_log};
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
use crate::output::{Output, instant, plain, table};

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
    let kept = checkpoint.as_deref().map(read_note).transpose()?;
    let checked = match (dir, kept) {
        (Some(dir), Some(kept)) => {
            tokio::task::spawn_blocking(move || {
                check_log(&TileDir::new(dir), &kept, &key).map_err(|error| error.to_string())
            })
            .await?
        }
        (_, kept) => {
            let newest = String::from_utf8(remote.fetch("checkpoint").await?.to_vec())?;
            let newest: SignedNote = newest.parse()?;
            let work = move || check_newest(&remote, kept.as_ref(), &newest, &key);
            tokio::task::spawn_blocking(work).await?
        }
    };
    let report =
        checked.map_err(|reason| DoesNotHold(format!("the log does not hold: {reason}")))?;
    let value = serde_json::json!({
        "origin": report.origin,
        "size": report.size,
        "root": report.root,
        "kinds": report.claimed.kinds,
        "keys": report.claimed.keys,
        "open_intents": report.claimed.open_intents,
        "grants_verified": report.claimed.grants_verified,
        "permits_verified": report.claimed.permits_verified,
        "answers_verified": report.claimed.answers_verified,
        "open_kills": report.claimed.open_kills,
    });
    output.show(&value, |_| show(&report))
}

fn read_note(file: &Path) -> Result<SignedNote> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    text.parse()
        .with_context(|| format!("`{}` is no checkpoint", file.display()))
}

/// Checks the newest checkpoint, and that it continues the one that was kept.
fn check_newest(
    remote: &Remote,
    kept: Option<&SignedNote>,
    newest: &SignedNote,
    key: &VerifierKey,
) -> Result<LogReport, String> {
    let report = check_log(remote, newest, key).map_err(|error| error.to_string())?;
    if let Some(kept) = kept {
        check_extends(remote, kept, newest, key).map_err(|error| error.to_string())?;
    }
    Ok(report)
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
        .claimed
        .kinds
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    format!(
        "{} holds {} records under {}\n{}\n{}\n{} keys enrolled; verified: {} grants, {} permits, \
         {} answers of people; {} permitted actions without an outcome so far{}",
        report.origin,
        report.size,
        report.root,
        table(["source", "records", "chain", "last"], sources),
        kinds.join(", "),
        report.claimed.keys.len(),
        report.claimed.grants_verified,
        report.claimed.permits_verified,
        report.claimed.answers_verified,
        report.claimed.open_intents.len(),
        open_kills(report),
    )
}

/// The kills whose receipt is missing: each of them, since there should be none for long.
fn open_kills(report: &LogReport) -> String {
    if report.claimed.open_kills.is_empty() {
        return "; every kill has its receipt".to_owned();
    }
    let kills: Vec<_> = report
        .claimed
        .open_kills
        .iter()
        .map(|kill| plain(kill))
        .collect();
    format!("\nkills without a receipt so far: {}", kills.join(", "))
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
            .header(http::header::CONNECTION, "close")
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
