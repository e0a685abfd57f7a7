//! Erasing what the decisions of a task used.

use aims_client::Client;
use aims_model::material::Erasure;
use anyhow::Result;

use crate::output::Output;

pub(super) async fn run(
    mut client: Client,
    (task, reason): (&str, &str),
    output: Output,
) -> Result<()> {
    let path = format!("/v1/tasks/{task}/erase");
    let body = serde_json::json!({"reason": reason});
    let erasure: Erasure = client.post(&path, &body).await?;
    output.show(&erasure, shown)
}

/// What went, and what did not.
fn shown(erasure: &Erasure) -> String {
    let task = erasure.task;
    let gone = match erasure.materials {
        Some(0) => format!("task {task} is erased: no decision of it had used anything"),
        Some(1) => format!("task {task} is erased: what 1 decision used is gone for good"),
        Some(many) => format!("task {task} is erased: what {many} decisions used is gone for good"),
        None => format!("task {task} was erased before; nothing of it had come back"),
    };
    let files = if erasure.scrubbed {
        "the key is in none of the server's files; cipher text elsewhere can't be read without it"
            .to_owned()
    } else {
        format!(
            "something under way still needs older pages of the server's store: the key may be in \
             its journal until you run `aims erase {task}` again"
        )
    };
    format!(
        "{gone}\n{files}\n\
         what stays: the records in the log, with purposes, reasons of denials, and digests of \
         arguments; exported proofs; backups of the store"
    )
}

#[cfg(test)]
mod tests {
    use aims_types::Id;

    use super::*;

    #[test]
    fn the_answer_says_what_went_and_what_stays() {
        let of = |materials, scrubbed| {
            shown(&Erasure {
                task: Id::from_u128(1),
                materials,
                scrubbed,
            })
        };
        for (text, words) in [
            (of(Some(0), true), "no decision"),
            (of(Some(1), true), "1 decision used"),
            (of(Some(7), true), "7 decisions used"),
            (of(None, true), "was erased before"),
            (of(Some(7), true), "in none of the server's files"),
            (of(None, false), "may be in its journal"),
            (of(None, false), "digests of arguments"),
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}
