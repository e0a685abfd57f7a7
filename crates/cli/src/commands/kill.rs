//! Kills, freezing and resuming, each with what it did.

use aims_client::Client;
use aims_model::receipt::{Ended, How, PointReceipt};
use aims_model::{Receipt, Task};
use anyhow::Result;

use crate::args::KillKind;
use crate::output::{Output, instant, table};

pub(super) async fn kill(
    mut client: Client,
    (kind, id, reason): (KillKind, String, String),
    output: Output,
) -> Result<()> {
    let body = serde_json::json!({"kind": kind.as_str(), "id": id, "reason": reason});
    let receipt: Receipt = client.post("/v1/kills", &body).await?;
    output.show(&receipt, |receipt| shown(kind, &id, receipt))
}

pub(super) async fn freeze(mut client: Client, task: &str, output: Output) -> Result<()> {
    let path = format!("/v1/tasks/{task}/freeze");
    let task: Task = client.post(&path, &serde_json::json!({})).await?;
    output.show(&task, |task| {
        format!(
            "{} is frozen: nothing of it runs, and what was issued for it is dead for ever\n\
             `aims resume {}` lets new instances start on the same authority",
            task.id, task.id
        )
    })
}

pub(super) async fn resume(mut client: Client, task: &str, output: Output) -> Result<()> {
    let path = format!("/v1/tasks/{task}/resume");
    let task: Task = client.post(&path, &serde_json::json!({})).await?;
    output.show(&task, |task| {
        format!(
            "{} is open again, until {}",
            task.id,
            instant(task.deadline)
        )
    })
}

/// A receipt in words: what answered how, and what can't be known or undone.
fn shown(kind: KillKind, id: &str, receipt: &Receipt) -> String {
    let head = format!(
        "{} {id} is killed: nothing minted under it up to revision {} is valid\n\
         complete after {} ms",
        kind.as_str(),
        receipt.revision,
        receipt.millis
    );
    let points = table(
        ["point", "how", "after", "ended"],
        receipt.points.iter().map(|point| row(point, receipt)),
    );
    let unknown = receipt.points.iter().flat_map(|point| &point.ended.unknown);
    let mut effects: Vec<String> = unknown
        .map(|effect| format!("  {} ({})", effect.what, effect.decision))
        .collect();
    let more: u32 = receipt.points.iter().map(|p| p.ended.unknown_more).sum();
    if more > 0 {
        effects.push(format!("  and {more} more"));
    }
    let is_silent = |p: &PointReceipt| p.how == How::Lapsed || p.untold;
    let is_silent = receipt.points.iter().any(is_silent);
    let effects = if effects.is_empty() && is_silent {
        "what a point had handed on that lapsed or did not tell is unknown".to_owned()
    } else if effects.is_empty() {
        "no call had been handed on: no effect is unknown".to_owned()
    } else {
        if is_silent {
            effects.push("  and what a point had handed on that lapsed or did not tell".to_owned());
        }
        let listed = effects.join("\n");
        format!("handed on before the cut, effect unknown:\n{listed}")
    };
    let foreign = receipt.foreign_until.map_or_else(
        || "no credential of it is valid outside AIMS".to_owned(),
        |until| {
            let until = instant(until);
            format!("verifiers outside AIMS may accept its credentials until {until}")
        },
    );
    format!("{head}\n{points}\n{effects}\n{foreign}")
}

fn row(point: &PointReceipt, receipt: &Receipt) -> [String; 4] {
    let (how, ended) = match point.how {
        How::Acknowledged if point.untold => ("acknowledged".to_owned(), "not told".to_owned()),
        How::Acknowledged => ("acknowledged".to_owned(), ended(&point.ended)),
        // Silence tells nothing of what was under way.
        How::Lapsed => (
            format!("lapsed: its lease of {} ms ran out", receipt.lease_millis),
            "unknown".to_owned(),
        ),
    };
    [
        point.point.to_string(),
        how,
        format!("{} ms", point.millis),
        ended,
    ]
}

fn ended(ended: &Ended) -> String {
    let counts = [
        (ended.calls, "call"),
        (ended.servers, "tool server"),
        (ended.tunnels, "tunnel"),
        (ended.instances, "instance"),
    ];
    let words: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }))
        .collect();
    if words.is_empty() {
        "nothing was under way".to_owned()
    } else {
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use aims_model::receipt::UnknownEffect;
    use aims_model::{Point, Subject};
    use aims_types::{Id, Revision, Timestamp};

    use super::*;

    #[test]
    fn a_receipt_names_each_point_and_what_is_unknown() {
        let point = |point, how, ended| PointReceipt {
            point,
            how,
            millis: 12,
            ended,
            untold: false,
        };
        let cut = Ended {
            calls: 1,
            servers: 2,
            unknown: vec![UnknownEffect {
                decision: Id::from_u128(7),
                what: "git/git_commit".to_owned(),
            }],
            ..Ended::default()
        };
        let gateway = Point::Gateway(Id::from_u128(1));
        let node = Point::Node(Id::from_u128(2));
        let receipt = Receipt {
            subject: Subject::Task(Id::from_u128(3)),
            revision: Revision::new(9),
            asked_at: Timestamp::from_unix_secs(1),
            millis: 5_600,
            lease_millis: 5_000,
            points: vec![
                point(gateway, How::Acknowledged, cut),
                point(node, How::Lapsed, Ended::default()),
            ],
            foreign_until: Some(Timestamp::from_unix_secs(61)),
        };
        let text = shown(KillKind::Task, "tsk_x", &receipt);
        assert!(!text.contains("nothing was under way"), "{text}");
        for words in [
            "task tsk_x is killed",
            "revision 9",
            "complete after 5600 ms",
            "1 call, 2 tool servers",
            "its lease of 5000 ms ran out",
            "git/git_commit",
            "and what a point had handed on that lapsed",
            "1970-01-01 00:01:01Z",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}
