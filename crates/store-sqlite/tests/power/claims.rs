//! What must be true of a store whose disk forgets, fills up or fails.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use aims_powerloss::{Call, Disk, Image, Luck, Noted, Step, Watch, trace};
use aims_store::Store;
use aims_store_sqlite::SqliteStore;
use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use tokio::runtime::Runtime;

use crate::work::{
    BEGUN, CLOSED, DONE, END, IN_DOUBT, IN_TIME, REFUSED, STOPPED, TOO_EARLY, found, go_on,
};

/// A claim: its name, and what holds it and says what it saw.
type Claim = (&'static str, fn() -> Result<String>);

pub(crate) const ALL: [Claim; 5] = [
    (
        "what_was_acknowledged_is_there_after_a_crash_at_any_write",
        what_was_acknowledged_is_there,
    ),
    (
        "a_disk_that_lies_about_syncs_is_found_out",
        a_disk_that_lies_is_found_out,
    ),
    (
        "an_acknowledgement_before_the_commit_is_found_out",
        an_early_acknowledgement_is_found_out,
    ),
    (
        "a_full_disk_refuses_and_changes_nothing",
        a_full_disk_refuses,
    ),
    (
        "a_failed_sync_or_write_stops_the_store",
        a_failed_sync_or_write_stops_the_store,
    ),
];

/// Rounds of the long run: enough that the journal is folded several times.
const ROUNDS: u64 = 64;
/// Rounds of each run in which something fails.
const ROUNDS_FAILING: u64 = 9;
/// In how many steps one fate of the unsynced part is tried; at a sync and at an answer all are.
const SPARSE: usize = 9;
/// Fates by chance that are tried at a sync and at an answer.
const DICE: u64 = 2;
/// In how many images the store has to go on.
const GOES_ON: usize = 7;
/// Memory that connections share.
const VOLATILE: [&str; 1] = ["-shm"];

/// Where images are opened: in memory if there is room, since nothing has to last there.
fn memory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

/// What was promised up to a step.
#[derive(Clone, Copy, Default)]
struct Promised {
    begun: u64,
    done: u64,
}

impl Promised {
    fn hear(&mut self, call: &Call) {
        let Call::Say { line } = call else { return };
        let mut words = line.split(' ');
        let said = (words.next(), words.next().and_then(|n| n.parse().ok()));
        match said {
            (Some(BEGUN), Some(n)) => self.begun = n,
            (Some(DONE), Some(n)) => self.done = n,
            _ => {}
        }
    }
}

/// Runs the child on an empty directory; what it did.
fn run(
    rounds: u64,
    when: &str,
    fault: impl FnMut(&Call) -> Option<Errno>,
) -> Result<(Noted, Image)> {
    let directory = tempfile::tempdir()?;
    let top = directory.path().canonicalize()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg(crate::CHILD)
        .arg(top.join("state/store.db"))
        .args([&rounds.to_string(), when]);
    let watch = Watch {
        top: &top,
        volatile: &VOLATILE,
    };
    let noted = trace(&mut command, watch, fault)?;
    ensure!(
        noted.exit == Some(0),
        "the child failed: {:?}",
        said(&noted)
    );
    let left = Image::read_from(&top)?.without(&VOLATILE);
    Ok((noted, left))
}

fn said(noted: &Noted) -> Vec<&str> {
    let lines = noted.steps.iter().filter_map(|step| match &step.call {
        Call::Say { line } => Some(line.as_str()),
        _ => None,
    });
    lines.collect()
}

/// Everything that could be found, tried once each.
struct Crashes {
    runtime: Runtime,
    tried: HashMap<u64, u64>,
    went_on: usize,
}

impl Crashes {
    fn new() -> Result<Self> {
        Ok(Self {
            runtime: Runtime::new()?,
            tried: HashMap::new(),
            went_on: 0,
        })
    }

    /// Crashes at every step from `from` on.
    fn everywhere(&mut self, steps: &[Step], mut disk: Disk, from: usize) -> Result<Disk> {
        let mut promised = Promised::default();
        for (at, step) in steps.iter().enumerate() {
            let chance = Luck::Dice(at as u64 * DICE);
            let telling = matches!(step.call, Call::Sync { .. } | Call::Say { .. });
            if at >= from && telling {
                self.fates(&disk, promised, at)?;
            } else if at >= from && at % SPARSE == 0 {
                self.crash(&disk, promised, chance)
                    .with_context(|| format!("before step {at}, {chance:?}"))?;
            }
            disk.apply(step)?;
            promised.hear(&step.call);
        }
        self.fates(&disk, promised, steps.len())?;
        Ok(disk)
    }

    fn fates(&mut self, disk: &Disk, promised: Promised, at: usize) -> Result<()> {
        let dice = (0..DICE).map(|n| Luck::Dice(at as u64 * DICE + n));
        for luck in [Luck::Killed, Luck::Forgotten].into_iter().chain(dice) {
            self.crash(disk, promised, luck)
                .with_context(|| format!("before step {at}, {luck:?}"))?;
        }
        Ok(())
    }

    fn crash(&mut self, disk: &Disk, promised: Promised, luck: Luck) -> Result<()> {
        let image = disk.crash(luck);
        let print = image.fingerprint();
        let there = if let Some(there) = self.tried.get(&print) {
            *there
        } else {
            let there = self.open(&image)?;
            self.tried.insert(print, there);
            there
        };
        ensure!(
            promised.done <= there && there <= promised.begun,
            "{} rounds were promised and {} begun, {there} are there",
            promised.done,
            promised.begun
        );
        Ok(())
    }

    /// How many rounds are in the store, each of them whole.
    fn open(&mut self, image: &Image) -> Result<u64> {
        let directory = tempfile::tempdir_in(memory())?;
        image.write_to(directory.path())?;
        let go_on_too = self.tried.len().is_multiple_of(GOES_ON);
        let (there, went_on) = self.runtime.block_on(async {
            let store = SqliteStore::open(directory.path().join("state/store.db")).await?;
            let there = store.read().await?.revision().await?.number();
            found(&store, there).await?;
            if go_on_too {
                go_on(&store, there + 1).await?;
            }
            store.close().await;
            anyhow::Ok((there, usize::from(go_on_too)))
        })?;
        self.went_on += went_on;
        Ok(there)
    }
}

fn what_was_acknowledged_is_there() -> Result<String> {
    let (noted, left) = run(ROUNDS, IN_TIME, |_| None)?;
    ensure!(said(&noted).last() == Some(&END), "{:?}", said(&noted));
    let mut crashes = Crashes::new()?;
    let disk = crashes.everywhere(&noted.steps, Disk::default(), 0)?;
    // The model is the real disk, or nothing of this means anything.
    ensure!(disk.crash(Luck::Killed) == left, "the model went astray");
    let folds = noted
        .steps
        .iter()
        .filter(|step| is_fold(&step.call))
        .count();
    ensure!(folds > 4, "the journal was folded {folds} times only");
    Ok(format!(
        "{} steps, {folds} folds, {} different disks, {} went on",
        noted.steps.len(),
        crashes.tried.len(),
        crashes.went_on
    ))
}

/// Looks for a loss, which must be there.
fn loss(steps: &[Step], disk: Disk) -> Result<String> {
    let lost = Crashes::new()?.everywhere(steps, disk, 0);
    let error = lost.err().context("no loss was found")?;
    Ok(format!("{error:#}"))
}

fn a_disk_that_lies_is_found_out() -> Result<String> {
    let (noted, _) = run(ROUNDS_FAILING, IN_TIME, |_| None)?;
    loss(&noted.steps, Disk::lying())
}

fn an_early_acknowledgement_is_found_out() -> Result<String> {
    let (noted, _) = run(ROUNDS_FAILING, TOO_EARLY, |_| None)?;
    loss(&noted.steps, Disk::default())
}

/// A call that fails, in a run of so many rounds.
#[derive(Clone, Copy)]
struct Fault {
    kind: fn(&Call) -> bool,
    errno: Errno,
    rounds: u64,
}

/// What a run did in which a call failed.
struct Failed {
    steps: Vec<Step>,
    /// Which step.
    at: usize,
    lines: Vec<String>,
}

impl Fault {
    /// How many calls could fail.
    fn count(self) -> Result<usize> {
        let (noted, _) = run(self.rounds, IN_TIME, |_| None)?;
        let calls = noted.steps.iter().filter(|step| (self.kind)(&step.call));
        Ok(calls.count())
    }

    /// A run in which the call number `which` fails.
    fn strike(self, which: usize) -> Result<Failed> {
        let mut seen = 0;
        let (noted, _) = run(self.rounds, IN_TIME, |call| {
            let mine = (self.kind)(call);
            seen += usize::from(mine);
            (mine && seen == which + 1).then_some(self.errno)
        })?;
        let at = noted.steps.iter().position(|step| step.failed.is_some());
        let lines = said(&noted).into_iter().map(str::to_owned).collect();
        Ok(Failed {
            steps: noted.steps,
            at: at.context("nothing failed")?,
            lines,
        })
    }
}

impl Failed {
    /// The first word of the last line.
    fn end(&self) -> &str {
        let line = self.lines.last().map_or("", String::as_str);
        line.split(' ').next().unwrap_or_default()
    }

    fn says(&self, word: &str) -> bool {
        self.lines.iter().any(|line| line.starts_with(word))
    }

    fn describe(&self) -> String {
        format!(
            "{:?} failed, then {:?}",
            self.steps.get(self.at),
            self.lines
        )
    }

    /// Whether the child did more than to end after the failure.
    fn went_on(&self) -> bool {
        let after = self.steps.iter().skip(self.at);
        after
            .into_iter()
            .any(|step| matches!(&step.call, Call::Say { line } if line.starts_with(BEGUN)))
    }
}

fn a_full_disk_refuses() -> Result<String> {
    let fault = Fault {
        kind: |call| matches!(call, Call::Write { .. } | Call::Create { .. }),
        errno: Errno::ENOSPC,
        rounds: ROUNDS_FAILING,
    };
    let (mut refused, mut closed) = (0, 0);
    let mut crashes = Crashes::new()?;
    for which in (0..fault.count()?).step_by(11) {
        let failed = fault.strike(which)?;
        let context = || failed.describe();
        ensure!([END, CLOSED].contains(&failed.end()), context());
        // Refused, not in doubt: nothing of it may ever come to light.
        ensure!(!failed.says(IN_DOUBT), context());
        closed += usize::from(failed.says(CLOSED));
        refused += usize::from(failed.says(REFUSED));
        let end = (failed.at + 40).min(failed.steps.len());
        let steps = failed.steps.get(..end).unwrap_or_default();
        crashes
            .everywhere(steps, Disk::default(), failed.at)
            .with_context(context)?;
    }
    ensure!(
        refused > 10 && closed > 0,
        "{refused} refused, {closed} not opened"
    );
    Ok(format!("{refused} refused, {closed} not opened"))
}

fn a_failed_sync_or_write_stops_the_store() -> Result<String> {
    let io = |kind, rounds| Fault {
        kind,
        errno: Errno::EIO,
        rounds,
    };
    let syncs = io(|call| matches!(call, Call::Sync { .. }), ROUNDS_FAILING);
    let writes = io(|call| matches!(call, Call::Write { .. }), ROUNDS_FAILING);
    let folds = io(is_fold, ROUNDS);
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    let mut crashes = Crashes::new()?;
    for (fault, step) in [(syncs, 1), (writes, 23), (folds, 1)] {
        for which in (0..fault.count()?).step_by(step) {
            let failed = fault.strike(which)?;
            let context = || failed.describe();
            // SQLite keeps quiet about a directory, which the store syncs itself, and at the end.
            let of_dir = failed.steps.get(failed.at).is_some_and(
                |step| matches!(&step.call, Call::Sync { path } if path.extension().is_none()),
            );
            let quiet = failed.end() == END && (of_dir || !failed.went_on());
            ensure!(
                quiet || [STOPPED, CLOSED].contains(&failed.end()),
                context()
            );
            crashes
                .everywhere(&failed.steps, Disk::default(), failed.at)
                .with_context(context)?;
            *ends.entry(failed.end().to_owned()).or_default() += 1;
        }
    }
    ensure!(
        ends.contains_key(STOPPED) && ends.contains_key(CLOSED),
        "{ends:?}"
    );
    Ok(format!("{ends:?}, {} disks", crashes.tried.len()))
}

/// The journal is folded into the file.
fn is_fold(call: &Call) -> bool {
    matches!(call, Call::Sync { path } if path.ends_with("store.db"))
}
