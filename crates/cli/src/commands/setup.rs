//! Creating a trust domain, and looking at its settings.

use std::path::Path;

use aims_client::{PersonKey, Profile};
use aims_server::Config;
use aims_types::Name;
use anyhow::{Context, Result};
use clap::CommandFactory;

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
    let config = Config::load(file, std::env::vars())?;
    let text = toml::to_string(&config).context("the configuration can't be shown")?;
    output.show(&config, |_| {
        format!("# every key, with its value in force\n{text}")
    })
}

pub(super) fn completions(shell: clap_complete::Shell) {
    let mut command = Args::command();
    clap_complete::generate(shell, &mut command, "aims", &mut std::io::stdout());
}
