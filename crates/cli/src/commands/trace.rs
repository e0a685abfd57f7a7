//! `aims trace`: the whole story of a task.

use std::io::IsTerminal;

use aims_audit::story::STORY_RECORDS_MAX;
use aims_audit::{Story, Style};
use aims_client::Client;
use anyhow::{Result, ensure};
use serde::Deserialize;

use crate::output::Output;

/// Width of the tree where the terminal does not say.
const WIDTH: usize = 100;

/// A part of what is on record, and where the next part begins.
#[derive(Deserialize)]
struct Page {
    records: Vec<String>,
    next: Option<u64>,
}

pub(super) async fn run(mut client: Client, task: &str, output: Output) -> Result<()> {
    let (mut records, mut from) = (Vec::new(), 0);
    // Who tells the story says of more that they are too many.
    while records.len() <= STORY_RECORDS_MAX {
        let path = format!("/v1/tasks/{task}/trace?from={from}");
        let page: Page = client.get(&path).await?;
        records.extend(page.records);
        let Some(next) = page.next else { break };
        ensure!(next > from, "the server answered with the same page again");
        from = next;
    }
    let story = Story::read(records.iter().map(String::as_bytes))?;
    let style = Style {
        width: WIDTH,
        color: std::io::stdout().is_terminal(),
    };
    output.show(&story, |story| aims_audit::render(story, style))
}
