//! Runs the simulation of `tests/simulation` for longer, and for each broken variant.
//!
//! `cargo run -p aims-lease --example simulate -- --seeds 1000 --from 0 --steps 10000 --broken`

#![expect(clippy::print_stdout, reason = "an example says what it found")]

#[path = "../tests/simulation/sim.rs"]
mod sim;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::thread;

use aims_types::Clock;
use aims_types::ambient::SystemClock;
use sim::{Report, Stats, Variant, World};

/// What the command line says.
#[derive(Debug, Clone, Copy)]
struct Options {
    from: u64,
    seeds: u64,
    steps: u64,
    broken: bool,
}

fn main() -> ExitCode {
    let Some(options) = options(std::env::args().skip(1)) else {
        println!("usage: simulate [--seeds N] [--from SEED] [--steps N] [--broken]");
        return ExitCode::from(2);
    };
    let found = check(Variant::Correct, options);
    if options.broken {
        for variant in Variant::BROKEN {
            check(variant, options);
        }
    }
    ExitCode::from(u8::from(found))
}

fn options(mut arguments: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options {
        from: 0,
        seeds: 100,
        steps: 10_000,
        broken: false,
    };
    while let Some(name) = arguments.next() {
        let mut number = || arguments.next()?.parse().ok();
        match name.as_str() {
            "--seeds" => options.seeds = number()?,
            "--from" => options.from = number()?,
            "--steps" => options.steps = number()?,
            "--broken" => options.broken = true,
            _ => return None,
        }
    }
    Some(options)
}

/// Runs all seeds of a variant on all processors; says what was found. Whether there was a finding.
fn check(variant: Variant, options: Options) -> bool {
    let began = SystemClock.boot();
    let threads = thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let run = |first: u64| -> Vec<Report> {
        let seeds = (options.from + first..options.from + options.seeds)
            .step_by(usize::try_from(threads).unwrap_or(1));
        seeds
            .map(|seed| World::run(seed, variant, options.steps))
            .collect()
    };
    let mut reports: Vec<Report> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|n| scope.spawn(move || run(n))).collect();
        let reports = workers.into_iter().filter_map(|worker| worker.join().ok());
        reports.flatten().collect()
    });
    reports.sort_by_key(|report| report.seed);
    let mut stats = Stats::default();
    let mut findings: BTreeMap<String, u64> = BTreeMap::new();
    for report in &reports {
        stats.add(&report.stats);
        if let Some(finding) = report.finding {
            *findings.entry(format!("{finding:?}")).or_default() += 1;
        }
    }
    let secs = SystemClock.boot().since(began).as_secs_f64();
    println!(
        "{variant:?}: {} seeds in {secs:.1} s, found {findings:?}",
        reports.len()
    );
    for report in reports.iter().filter(|r| r.finding.is_some()).take(3) {
        let (seed, steps) = (report.seed, report.stats.steps);
        println!("  seed {seed} at step {steps}: {:?}", report.finding);
    }
    println!("  {stats:?}");
    !findings.is_empty()
}
