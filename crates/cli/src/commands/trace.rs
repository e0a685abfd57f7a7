//! `aims trace`: the whole story of a task.

use std::io::IsTerminal;

use aims_audit::{Story, Style};
use aims_client::Client;
use anyhow::Result;

use crate::output::Output;

/// Width of the tree where the terminal does not say.
const WIDTH: usize = 100;

pub(super) async fn run(mut client: Client, task: &str, output: Output) -> Result<()> {
    let records: Vec<String> = client.get(&format!("/v1/tasks/{task}/trace")).await?;
    let story = Story::read(records.iter().map(String::as_bytes))?;
    let style = Style {
        width: WIDTH,
        color: std::io::stdout().is_terminal(),
    };
    output.show(&story, |story| aims_audit::render(story, style))
}
