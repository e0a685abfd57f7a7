//! Sizes, ambient authority, and documents that name what exists.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::conclude;
use crate::layers::Workspace;

/// Longest source file, tests excluded, in lines.
const FILE_LINES_MAX: usize = 800;
/// Longest line, in characters.
const LINE_CHARS_MAX: usize = 100;
/// Longest ARCHITECTURE.md, in lines.
const ARCHITECTURE_LINES_MAX: usize = 300;
/// Largest file in the tree.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Words that promise what is not there.
const MARKS: [&str; 3] = ["TODO", "FIXME", "HACK"];

/// Checks every tracked source file and the documents.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut findings = Vec::new();
    let mut files = Vec::new();
    for dir in ["crates", "xtask"] {
        sources(&workspace.root.join(dir), &mut files)?;
    }
    for file in &files {
        source(workspace, file, &mut findings)?;
    }
    architecture(workspace, &mut findings)?;
    conclude("tidy", &findings)
}

fn source(workspace: &Workspace, file: &Path, findings: &mut Vec<String>) -> Result<()> {
    let name = file
        .strip_prefix(&workspace.root)
        .unwrap_or(file)
        .display()
        .to_string();
    let text = fs::read_to_string(file).with_context(|| name.clone())?;
    if fs::metadata(file)?.len() > FILE_BYTES_MAX {
        findings.push(format!("{name} is larger than 1 MiB"));
    }
    let is_test =
        name.contains("/tests/") || name.ends_with("tests.rs") || name.ends_with("properties.rs");
    let code = text
        .split("\n#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    if !is_test && code.lines().count() > FILE_LINES_MAX {
        findings.push(format!(
            "{name} has more than {FILE_LINES_MAX} lines; split it"
        ));
    }
    let ambient = format!(
        "crates/{}/{}",
        workspace.ambient.name, workspace.ambient.module
    );
    for (number, line) in (1..).zip(text.lines()) {
        let too_long = line.chars().count() > LINE_CHARS_MAX && !line.contains('"');
        if too_long && !is_test && !line.contains("http") {
            findings.push(format!(
                "{name}:{number} is longer than {LINE_CHARS_MAX} characters"
            ));
        }
        let marked = MARKS.iter().find(|mark| line.contains(**mark));
        if let Some(mark) = marked.filter(|_| !name.ends_with("xtask/src/tidy.rs")) {
            findings.push(format!(
                "{name}:{number} says {mark}; finish it or remove it"
            ));
        }
        let reads_clock = line.contains("clock_gettime(") || line.contains("rand::fill(");
        if reads_clock && name != ambient && !is_test && !name.contains("xtask") {
            findings.push(format!(
                "{name}:{number} reads the clock or entropy outside {ambient}"
            ));
        }
    }
    Ok(())
}

/// ARCHITECTURE.md is short, and every crate, file and test it names exists.
fn architecture(workspace: &Workspace, findings: &mut Vec<String>) -> Result<()> {
    let path = workspace.root.join("ARCHITECTURE.md");
    let text = fs::read_to_string(path).context("ARCHITECTURE.md")?;
    if text.lines().count() > ARCHITECTURE_LINES_MAX {
        findings.push(format!(
            "ARCHITECTURE.md has more than {ARCHITECTURE_LINES_MAX} lines"
        ));
    }
    let named = text.split('`').skip(1).step_by(2);
    for name in named.filter(|name| name.starts_with("crates/") || name.starts_with("docs/")) {
        let (file, item) = name.split_once("::").unwrap_or((name, ""));
        let file = workspace.root.join(file);
        if !file.exists() {
            findings.push(format!(
                "ARCHITECTURE.md names `{name}`, which does not exist"
            ));
            continue;
        }
        let last = item.rsplit("::").next().unwrap_or_default();
        if !last.is_empty() && !fs::read_to_string(&file)?.contains(last) {
            findings.push(format!(
                "ARCHITECTURE.md names `{name}`; `{last}` is not there"
            ));
        }
    }
    for name in workspace.crates().keys() {
        if !text.contains(&format!("`{name}`")) {
            findings.push(format!("ARCHITECTURE.md does not name the crate `{name}`"));
        }
    }
    Ok(())
}

fn sources(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, files)?;
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}
