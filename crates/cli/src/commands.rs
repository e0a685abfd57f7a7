//! One module per command.

mod agent;
mod approval;
mod erase;
mod kill;
mod log;
mod mcp;
mod person;
mod point;
mod policy;
mod proof;
mod run;
mod service;
mod setup;
mod task;
mod tools;
mod trace;
mod upstream;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use aims_client::{Client, PersonKey, Profile};
use aims_types::ambient::{SystemClock, SystemEntropy};
use anyhow::{Context, Result};

use crate::args::{Args, Command};
use crate::output::Output;

/// Runs one command.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let output = Output { json: args.json };
    let profile = args.profile;
    let client = || Ok(client(profile.clone())?.telling_of_lapsed(output.warning_of_lapsed()));
    match args.command {
        Command::Init { config, operator } => {
            setup::init(&config, &operator, &profile_path(profile)?, output).await?;
        }
        Command::Up { config } => crate::up::up(&config).await?,
        Command::Server { config } => crate::apart::server(&config).await?,
        Command::Node { config } => crate::apart::node(&config).await?,
        Command::Gateway { config } => crate::apart::gateway(&config).await?,
        Command::Join {
            config,
            token,
            bundle,
        } => crate::apart::join(&config, &token, &bundle, output).await?,
        Command::Point(command) => point::run(command, client()?, output).await?,
        Command::CheckConfig { file } => setup::check_config(&file, output)?,
        Command::Completions { shell } => setup::completions(shell),
        Command::Person(command) => person::run(command, client, output).await?,
        Command::Agent(command) => agent::run(command, client()?, output).await?,
        Command::Service(command) => service::run(command, client()?, output).await?,
        Command::Tools(command) => tools::run(command, client()?, output).await?,
        Command::Upstream(command) => upstream::run(command, client()?, output).await?,
        Command::Policy(command) => policy::run(command, client()?, output).await?,
        Command::Task(command) => task::run(command, client()?, output).await?,
        Command::Run {
            task,
            agent,
            command,
        } => {
            return run::run(client()?, &task, &agent, command).await;
        }
        Command::Kill { kind, id, reason } => {
            kill::kill(client()?, (kind, id, reason), output).await?;
        }
        Command::Freeze { task } => kill::freeze(client()?, &task, output).await?,
        Command::Resume { task } => kill::resume(client()?, &task, output).await?,
        Command::Erase { task, reason } => {
            erase::run(client()?, (&task, &reason), output).await?;
        }
        Command::Approvals { all } => approval::list(client()?, all, output).await?,
        Command::Approval { id } => approval::show(client()?, &id, output).await?,
        Command::Approve { id, reason } => {
            approval::answer(client()?, (&id, true, reason), output).await?;
        }
        Command::Deny { id, reason } => {
            approval::answer(client()?, (&id, false, reason), output).await?;
        }
        Command::Trace { task } => trace::run(client()?, &task, output).await?,
        Command::Proof {
            decision,
            out,
            since,
        } => proof::export(client()?, &decision, (out, since), output).await?,
        Command::Verify {
            files,
            log_key,
            checkpoint,
            witness,
        } => {
            let trusted = (log_key.as_str(), witness.as_slice(), checkpoint.as_deref());
            return verify::verify(&files, trusted, output);
        }
        Command::Log(command) => log::run(command, profile_of(profile)?, output).await?,
        Command::Mcp(command) => mcp::run(command).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn client(profile: Option<PathBuf>) -> Result<Client> {
    let profile = profile_of(profile)?;
    let key = PersonKey::load(&profile.key_file)?;
    Ok(Client::new(
        profile,
        key,
        Arc::new(SystemClock),
        Arc::new(SystemEntropy),
    ))
}

fn profile_of(profile: Option<PathBuf>) -> Result<Profile> {
    Ok(Profile::load(&profile_path(profile)?)?)
}

/// Where the caller's settings are.
fn profile_path(given: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path);
    }
    let home = std::env::home_dir().context("there is no home directory; give `--profile`")?;
    Ok(home.join(".config/aims/profile.toml"))
}
