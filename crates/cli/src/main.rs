//! The one binary of AIMS.

mod apart;
mod args;
mod commands;
mod durable;
mod failure;
mod manifest;
mod output;
mod up;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // First of all: a process that is re-executed to build walls must have one thread only.
    if let Some(code) = aims_walls::reexec_entry(std::env::args_os()) {
        return code;
    }
    let args = args::Args::parse();
    let json = args.json;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(commands::run(args));
            // A thread that waits for the keyboard must not keep the command alive.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(code) => code,
        Err(error) => failure::tell(&error, json),
    }
}
