//! What a failed command says, and what it exits with.

use std::io::Write;
use std::process::ExitCode;

use aims_client::ClientError;
use aims_grpc_api::JoinError;

/// The server refused, or what was checked does not hold.
pub(crate) const EXIT_REFUSED: u8 = 1;
/// The command line or a file of the caller is wrong.
pub(crate) const EXIT_USAGE: u8 = 2;
/// The server could not be reached or did not accept the key.
const EXIT_UNREACHABLE: u8 = 3;
/// Everything holds, but the decision can't be made again: what it used is not in the file.
pub(crate) const EXIT_NOT_RERUNNABLE: u8 = 4;
/// `aims run` could not start the program, as `env` and `timeout` say it.
pub(crate) const EXIT_NOT_STARTED: u8 = 125;

/// Nothing was started: what the node or the server said.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct NotStarted {
    pub(crate) code: String,
    pub(crate) reason: String,
}

/// Something that was checked does not hold.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct DoesNotHold(pub(crate) String);

/// Says what went wrong, and gives the exit code for it.
pub(crate) fn tell(error: &anyhow::Error, json: bool) -> ExitCode {
    let (code, exit) = classify(error);
    let message = message(error);
    if json {
        let body = serde_json::json!({"error": {"code": code, "message": message}});
        // There is nobody to tell if this fails.
        drop(writeln!(std::io::stdout(), "{body}"));
    } else {
        drop(writeln!(std::io::stderr(), "error: {message}"));
    }
    ExitCode::from(exit)
}

fn classify(error: &anyhow::Error) -> (String, u8) {
    if let Some(refused) = error.downcast_ref::<NotStarted>() {
        return (refused.code.clone(), EXIT_NOT_STARTED);
    }
    if error.downcast_ref::<DoesNotHold>().is_some() {
        return ("does_not_hold".to_owned(), EXIT_REFUSED);
    }
    match error.downcast_ref::<JoinError>() {
        Some(JoinError::Refused(refusal)) => {
            return (refusal.code.clone().into_owned(), EXIT_REFUSED);
        }
        Some(JoinError::Link(_)) => return ("unreachable".to_owned(), EXIT_UNREACHABLE),
        None => {}
    }
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Refused(problem)) => (problem.code.clone(), EXIT_REFUSED),
        Some(ClientError::NotAuthenticated(_)) => ("unauthenticated".to_owned(), EXIT_UNREACHABLE),
        Some(_) => ("unreachable".to_owned(), EXIT_UNREACHABLE),
        None => ("usage".to_owned(), EXIT_USAGE),
    }
}

/// The chain of causes in one line; a cause that repeats what was said is left out.
fn message(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if said.contains(&cause) {
            continue;
        }
        if !said.is_empty() {
            said.push_str(": ");
        }
        said.push_str(&cause);
    }
    said
}
