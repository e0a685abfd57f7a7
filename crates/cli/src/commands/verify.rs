//! `aims verify`: a proof, with nothing but keys.

mod several;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aims_proof::{FILE_LEN_MAX, Rerun, Trust, Verified, VerifyError};
use aims_tlog::{KeyKind, SignedNote, VerifierKey};
use anyhow::{Context, Result, bail};

use crate::failure::{DoesNotHold, EXIT_NOT_RERUNNABLE};
use crate::output::{Output, instant, table};

/// The log's key, the keys of witnesses, a kept checkpoint.
type Trusted<'a> = (&'a str, &'a [String], Option<&'a Path>);

pub(super) fn verify(
    files: &[PathBuf],
    (log, witnesses, kept): Trusted<'_>,
    output: Output,
) -> Result<ExitCode> {
    let log = key(log, KeyKind::Note).context("the log's key")?;
    let witnesses = witnesses.iter().map(|text| key(text, KeyKind::Cosignature));
    let witnesses: Vec<VerifierKey> = witnesses
        .collect::<Result<_>>()
        .context("a witness's key")?;
    let kept = kept.map(note).transpose()?;
    let trust = Trust {
        log: &log,
        witnesses: &witnesses,
        kept: kept.as_ref(),
    };
    match files {
        [file] => one(file, &trust, output),
        files => several::verify(files, &trust, output),
    }
}

fn one(file: &Path, trust: &Trust<'_>, output: Output) -> Result<ExitCode> {
    let verified = aims_proof::verify(&read(file)?, trust);
    let verified = verified.map_err(|error| DoesNotHold(does_not_hold(&error)))?;
    output.show(&verified, show)?;
    Ok(match verified.rerun {
        Rerun::Same => ExitCode::SUCCESS,
        Rerun::NotRerunnable => ExitCode::from(EXIT_NOT_RERUNNABLE),
    })
}

fn does_not_hold(error: &VerifyError) -> String {
    format!("the proof does not hold: {error}")
}

/// The file's bytes; of one that is longer than any proof, just enough to see that.
fn read(file: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(FILE_LEN_MAX)?.saturating_add(1);
    File::open(file)
        .and_then(|opened| opened.take(most).read_to_end(&mut bytes))
        .with_context(|| file.display().to_string())?;
    Ok(bytes)
}

/// A key, or the one that a file holds. A log's signs notes, a witness's signs with the time: one
/// can't stand for the other.
fn key(text: &str, kind: KeyKind) -> Result<VerifierKey> {
    let key: VerifierKey = if let Ok(key) = text.parse() {
        key
    } else {
        let held = fs::read_to_string(text)
            .with_context(|| format!("`{text}` is neither a key nor a file that can be read"))?;
        held.trim().parse()?
    };
    if key.kind() != kind {
        bail!("`{text}` is a key of another type: 1 for a log, 4 for a witness");
    }
    Ok(key)
}

fn note(file: &Path) -> Result<SignedNote> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    text.parse()
        .with_context(|| format!("`{}` is no checkpoint", file.display()))
}

fn show(verified: &Verified) -> String {
    let shown = table(["decision", &verified.decision.to_string()], rows(verified));
    let limits: Vec<String> = verified
        .limits
        .iter()
        .map(|limit| format!("  - {limit}"))
        .collect();
    format!(
        "{}\n{shown}\nthis file alone does not show\n{}",
        headline(verified),
        limits.join("\n")
    )
}

fn headline(verified: &Verified) -> &'static str {
    match verified.rerun {
        Rerun::Same => {
            "the proof holds: everything was verified, and the decision made again is the same"
        }
        Rerun::NotRerunnable => {
            "included, not re-runnable: everything else was verified, but what the decision used \
             is not in the file, because it was erased or left out"
        }
    }
}

fn rows(verified: &Verified) -> Vec<[String; 2]> {
    let row = |what: &str, said: String| [what.to_owned(), said];
    let mut rows = vec![
        row("what", format!("{} {}", verified.action, verified.resource)),
        row(
            "when",
            format!("{} by {}", instant(verified.at), verified.gateway),
        ),
        row(
            "outcome",
            verified
                .outcome
                .clone()
                .unwrap_or_else(|| "not in the file".to_owned()),
        ),
        row(
            "on behalf of",
            format!("{} ({})", verified.person_name, verified.person),
        ),
        row("task", format!("{}: {}", verified.task, verified.purpose)),
    ];
    for hop in &verified.chain {
        let from = hop.from.map_or_else(
            || "signed by the person".to_owned(),
            |instance| format!("asked for by {instance}"),
        );
        rows.push(row(
            "delegation",
            format!("{} to {}, {from}", hop.delegation, hop.agent),
        ));
    }
    rows.push(row("instance", instance_of(verified)));
    rows.push(row(
        "policy",
        format!("{} {}", verified.policy, verified.policy_digest),
    ));
    rows.extend(verified.reasons.iter().map(|one| row("", one.clone())));
    if let Some(approval) = &verified.approval {
        let said = format!("{} by {}: {}", approval.id, approval.by, approval.reason);
        rows.push(row("approval", said));
    }
    rows.push(row("revision", verified.revision.to_string()));
    rows.push(row("log", log(verified)));
    rows
}

fn instance_of(verified: &Verified) -> String {
    let posture = &verified.posture;
    format!(
        "{}, {} on {}\n{} {}",
        verified.instance,
        posture.assurance.as_str(),
        posture.host,
        posture.evidence.program.path,
        posture.evidence.program.digest,
    )
}

fn log(verified: &Verified) -> String {
    let log = &verified.log;
    let mut said = format!(
        "{}: {} of {} records, root {}",
        log.origin, log.records, log.size, log.root
    );
    if let Some(since) = log.since {
        said = format!("{said}\ncontinues the checkpoint of {since} records");
    }
    if log.kept {
        said.push_str("\nagrees with the checkpoint that was kept");
    }
    for (witness, _) in &log.witnesses {
        said = format!("{said}\nseen by {witness}");
    }
    said
}
