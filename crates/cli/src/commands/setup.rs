//! Creating a trust domain, and looking at its settings.

use std::fs;
use std::path::Path;

use aims_client::{PersonKey, Profile};
use aims_server::Config;
use aims_types::Name;
use anyhow::{Context, Result};
use clap::CommandFactory;
use serde::Serialize;

use crate::apart::PointConfig;
use crate::args::Args;
use crate::output::Output;

pub(super) async fn init(
    config: &Path,
    operator: &str,
    profile_path: &Path,
    output: Output,
) -> Result<()> {
    let config = Config::load(config, std::env::vars())?;
    let operator: Name = operator.parse()?;
    let dir = std::path::absolute(profile_path)?;
    let key_file = dir.with_file_name(format!("{operator}.pem"));
    let key = if key_file.exists() {
        PersonKey::load(&key_file)?
    } else {
        PersonKey::create(&key_file)?
    };
    let jwk = key.jwk().to_value().to_string();
    let domain = aims_server::initialise(&config, operator.clone(), jwk).await?;
    let profile = Profile {
        person: operator,
        person_id: domain.initialised.operator.id,
        key_file,
        api_socket: config.api_socket(),
        node_socket: config.node_socket(),
        issuer: config.issuer(),
        trust_domain: config.trust_domain.to_string(),
        log_key: domain.log_key.to_string(),
        log_url: format!("http://{}/log", config.api.listen),
    };
    profile.save(profile_path)?;
    output.show(&profile, |profile| {
        format!(
            "trust domain {} is ready\noperator     {} ({})\nyour key     {}\nlog key      {}",
            profile.trust_domain,
            profile.person,
            profile.person_id,
            profile.key_file.display(),
            profile.log_key,
        )
    })
}

pub(super) fn check_config(file: &Path, output: Output) -> Result<()> {
    let written = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    if is_of_point(&written) {
        let config = PointConfig::load(file)?;
        return show(&config, config.kind().as_str(), output);
    }
    show(&Config::load(file, std::env::vars())?, "server", output)
}

/// Whether a text is the configuration of a node or gateway on a host of its own: it says which
/// server is its. What can't be read is told by whoever reads all of it.
fn is_of_point(text: &str) -> bool {
    text.parse::<toml::Table>()
        .is_ok_and(|table| table.contains_key("server"))
}

fn show(config: &impl Serialize, kind: &str, output: Output) -> Result<()> {
    let text = toml::to_string(config).context("the configuration can't be shown")?;
    output.show(config, |_| {
        format!("# of a {kind}: every key, with its value in force\n{text}")
    })
}

pub(super) fn completions(shell: clap_complete::Shell) {
    let mut command = Args::command();
    clap_complete::generate(shell, &mut command, "aims", &mut std::io::stdout());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configurations_of_all_three_programs_are_checked_as_what_they_are() {
        let common = "data_dir = \"/d\"\nstage_dir = \"/s\"\nmaster_key_file = \"/m\"\n";
        let server = format!("trust_domain = \"a.test\"\nruntime_dir = \"/r\"\n{common}");
        let point = format!("server = \"a:8701\"\n{common}");
        let gateway = format!("{point}[gateway]\naddress = \"g:8710\"\n");
        let node = format!("{point}[node]\nruntime_dir = \"/r\"\ngateway = \"g:8710\"\n");
        let dir = tempfile::tempdir().unwrap();
        let check = |text: &str| {
            let file = dir.path().join("aims.toml");
            fs::write(&file, text).unwrap();
            check_config(&file, Output { json: true })
        };
        for good in [&server, &gateway, &node] {
            check(good).unwrap();
        }
        let mistakes = [
            format!("{server}uid_base = 1\n"),
            format!("{node}uid_bass = 1\n"),
            format!("{gateway}runtime_dir = \"/r\"\n"),
            point,
            "server = ".to_owned(),
        ];
        for bad in &mistakes {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
