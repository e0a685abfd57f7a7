//! The server: revisions, rows of leases, kills that wait, owners of trees.

use std::collections::BTreeMap;

use aims_lease::{Barrier, Book, Claim, Granted, Owner, Standing, Terms, Told, Verdict, window};
use aims_model::{LeaseRow, Point, TreeOwner};
use aims_types::{BootTime, Id, Revision};

use crate::sim::host::{Host, MILLI, Time};
use crate::sim::oracle::Cuts;
use crate::sim::trees::{Answer, Asked, number_of};
use crate::sim::world::{
    APPROVALS_AT_ONCE, Event, INSTANCES, Message, POINTS_MAX, Process, SUBJECTS, TREES, World,
};
use crate::sim::{Finding, Variant};

const PUSH_EVERY: Time = 300 * MILLI;
const POLL_EVERY: Time = 80 * MILLI;
const FLUSH_EVERY: Time = 400 * MILLI;

#[derive(Debug, Clone, Copy)]
pub(crate) enum ServerTask {
    WriteRow(RowToWrite),
    WriteOwner { from: usize, asked: Asked },
    Kill { subject: usize },
    KillAgain,
    Issue,
    Push,
    Poll,
    Flush,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct RowToWrite {
    from: usize,
    number: u64,
    arrived: BootTime,
    in_force: u64,
    /// The end of the log that the request told.
    head: usize,
    /// The revision when the request arrived.
    early: u64,
}

/// What survives the end of the process.
#[derive(Debug, Clone)]
struct Disk {
    revision: u64,
    cuts: Cuts,
    kills: Vec<(u64, usize)>,
    rows: BTreeMap<Point, LeaseRow>,
    owners: [Option<TreeOwner>; TREES],
    /// How many approvals are void, because they may have been used before a take-over.
    void: [usize; TREES],
    shipped: [usize; POINTS_MAX],
    uses: [u32; TREES],
    used: [u64; TREES],
}

#[derive(Debug)]
struct OpenKill {
    subject: usize,
    since: Time,
    barrier: Barrier,
}

#[derive(Debug)]
pub(crate) struct ServerState {
    pub(crate) host: Host,
    pub(crate) up: bool,
    pub(crate) incarnation: u32,
    pub(crate) stopped_until: Time,
    started: Time,
    book: Book,
    disk: Disk,
    /// What is really on disk, where commits are acted on before they are.
    flushed: Option<Disk>,
    kills: Vec<OpenKill>,
    acknowledged: [u64; POINTS_MAX],
    /// The first end of its log that each gateway told and that was not reached then.
    told: [Option<Told>; POINTS_MAX],
}

impl ServerState {
    pub(crate) fn new(terms: Terms) -> Self {
        let disk = Disk {
            revision: 1,
            cuts: [0; SUBJECTS],
            kills: Vec::new(),
            rows: BTreeMap::new(),
            owners: std::array::from_fn(|_| None),
            void: [0; TREES],
            shipped: [0; POINTS_MAX],
            uses: [0; TREES],
            used: [0; TREES],
        };
        Self {
            host: Host::new(),
            up: false,
            incarnation: 0,
            stopped_until: 0,
            started: 0,
            book: Book::new(terms, "", BootTime::from_nanos(0)),
            disk,
            flushed: None,
            kills: Vec::new(),
            acknowledged: [0; POINTS_MAX],
            told: [None; POINTS_MAX],
        }
    }

    /// Whether a point owns a tree.
    pub(crate) fn owns(&self, gateway: usize, tree: usize) -> bool {
        let owner = self.disk.owners[tree].as_ref();
        owner.is_some_and(|owner| number_of(owner.gateway) == gateway)
    }

    /// How many approvals of a tree are void.
    pub(crate) const fn approvals_void(&self, tree: usize) -> usize {
        self.disk.void[tree]
    }

    /// Whether cut-offs hold all kills up to a revision.
    pub(crate) fn is_within(&self, revision: u64, cuts: &Cuts) -> bool {
        let mut kills = self.disk.kills.iter();
        kills.all(|(at, subject)| *at > revision || cuts[*subject] >= *at)
    }
}

impl World {
    pub(crate) fn server_later(&mut self, after: Time, task: ServerTask) {
        let incarnation = self.server.incarnation;
        self.schedule(after, Event::Server { incarnation, task });
    }

    fn server_clock(&self) -> BootTime {
        self.server.host.boot_time(self.now)
    }

    fn point(&self, number: usize) -> Point {
        if number < self.gateways {
            Point::Gateway(Id::from_u128(number as u128))
        } else {
            Point::Node(Id::from_u128(number as u128))
        }
    }

    pub(crate) fn server_starts(&mut self) {
        let now = self.server_clock();
        let boot = match self.variant {
            Variant::RebootNotSeen => String::new(),
            _ => self.server.host.boot.to_string(),
        };
        self.server.book = Book::new(self.terms, boot, now);
        self.server.up = true;
        self.server.incarnation += 1;
        self.server.started = self.now;
        let mut returned = self.oracle.returned.iter().zip(&self.server.disk.cuts);
        if returned.any(|(returned, cut)| returned > cut) {
            self.oracle.finds(Finding::RecordLost);
        }
        for task in [ServerTask::Push, ServerTask::Poll, ServerTask::Flush] {
            self.server_later(0, task);
        }
    }

    pub(crate) fn crash_server(&mut self) {
        if !self.server.up {
            return;
        }
        let (after, reboots) = self.outage();
        self.server.up = false;
        self.server.stopped_until = 0;
        self.server.kills.clear();
        self.server.acknowledged = [0; POINTS_MAX];
        self.server.told = [None; POINTS_MAX];
        if let Some(flushed) = &self.server.flushed {
            self.server.disk = flushed.clone();
        }
        if reboots {
            let running = self.random.between(1, 40_000) * MILLI;
            self.server.host.reboot(self.now, running);
        }
        self.schedule(after, Event::Start(Process::Server));
    }

    pub(crate) fn server_receives(&mut self, from: usize, message: Message) {
        match message {
            Message::LeaseAsk {
                number,
                in_force,
                head,
            } => self.asked(from, number, (in_force, head)),
            Message::Acknowledged { in_force } => self.heard(from, in_force),
            Message::Claim(asked) => {
                let after = self.write_time();
                self.server_later(after, ServerTask::WriteOwner { from, asked });
            }
            Message::Shipped { upto } => self.shipped(from, upto),
            Message::Release { tree, epoch, upto } => {
                let unbound = self.variant == Variant::HandOverUnbound;
                let complete = self.server.disk.shipped[from] >= upto;
                let owner = self.server.disk.owners[tree].as_mut();
                let owner = owner.filter(|owner| number_of(owner.gateway) == from);
                if let Some(owner) = owner.filter(|owner| unbound || owner.epoch == epoch)
                    && complete
                {
                    owner.released = true;
                }
            }
            Message::Took { .. }
            | Message::Granted { .. }
            | Message::State { .. }
            | Message::Claimed { .. }
            | Message::Call(_) => {}
        }
    }

    pub(crate) fn server_does(&mut self, task: ServerTask) {
        match task {
            ServerTask::WriteRow(row) => self.write_row(row),
            ServerTask::WriteOwner { from, asked } => self.write_owner(from, asked),
            ServerTask::Kill { subject } => {
                let disk = &mut self.server.disk;
                disk.revision += 1;
                disk.cuts[subject] = disk.revision;
                disk.kills.push((disk.revision, subject));
                self.wait_for(subject);
                self.push();
            }
            ServerTask::KillAgain => self.kill_again(),
            ServerTask::Issue => self.issue(),
            ServerTask::Push => {
                self.push();
                self.server_later(PUSH_EVERY, ServerTask::Push);
            }
            ServerTask::Poll => {
                self.poll();
                self.server_later(POLL_EVERY, ServerTask::Poll);
            }
            ServerTask::Flush => {
                if self.variant == Variant::CommitNotSynced {
                    self.server.flushed = Some(self.server.disk.clone());
                    self.server_later(FLUSH_EVERY, ServerTask::Flush);
                }
            }
        }
    }

    /// How long a transaction takes.
    fn write_time(&mut self) -> Time {
        if self.random.chance(100) {
            self.random.between(5 * MILLI, 300 * MILLI)
        } else {
            self.random.between(100, 3 * MILLI)
        }
    }

    fn asked(&mut self, from: usize, number: u64, (in_force, head): (u64, usize)) {
        let row = RowToWrite {
            from,
            number,
            arrived: self.server_clock(),
            in_force,
            head,
            early: self.server.disk.revision,
        };
        if self.variant == Variant::RowAfterAnswer {
            self.answer(row, row.early);
        }
        let after = self.write_time();
        self.server_later(after, ServerTask::WriteRow(row));
        self.fault_while_granting(from, after);
        if in_force < self.server.disk.revision {
            self.send_state(from);
        }
    }

    /// One transaction; the answer follows it.
    fn write_row(&mut self, ask: RowToWrite) {
        let point = self.point(ask.from);
        let disk = &mut self.server.disk;
        let earlier = disk.rows.get(&point);
        let acknowledged = Revision::new(ask.in_force);
        let row = self
            .server
            .book
            .grant(point, ask.arrived, acknowledged, earlier);
        disk.rows.insert(point, row);
        self.account(ask.from, (ask.in_force, ask.head));
        let revision = self.server.disk.revision;
        match self.variant {
            Variant::RowAfterAnswer => {}
            Variant::RevisionReadEarly => self.answer(ask, ask.early),
            _ => self.answer(ask, revision),
        }
    }

    fn answer(&mut self, ask: RowToWrite, revision: u64) {
        let granted = Granted {
            length: self.terms.length(),
            revision: Revision::new(revision),
            server_time: self.server.host.wall(self.now),
        };
        let number = ask.number;
        let to = Process::Point(ask.from);
        self.send(Process::Server, to, Message::Granted { number, granted });
        self.fault_after_grant(ask.from);
    }

    fn heard(&mut self, from: usize, in_force: u64) {
        let point = self.point(from);
        let now = self.server_clock();
        let newest = &mut self.server.acknowledged[from];
        *newest = (*newest).max(in_force);
        for kill in &mut self.server.kills {
            kill.barrier
                .acknowledged(point, Revision::new(in_force), now);
        }
        self.poll();
    }

    /// Rows of a log that arrived: they are taken over in order, and once.
    fn shipped(&mut self, from: usize, upto: usize) {
        let disk = &mut self.server.disk;
        let log = self.points[from].synced();
        let have = disk.shipped[from];
        for intent in log.iter().take(upto).skip(have) {
            disk.uses[intent.tree] += 1;
            disk.used[intent.tree] |= intent.approval_bit();
        }
        let upto = have.max(upto.min(log.len()));
        disk.shipped[from] = upto;
        self.send(
            Process::Server,
            Process::Point(from),
            Message::Took { upto },
        );
    }

    /// Forgets that a gateway is unaccounted for, as far as the end of its log that it tells shows
    /// that everything is here. What is not reached yet is looked at again when it tells again.
    fn account(&mut self, from: usize, (in_force, head): (u64, usize)) {
        let told = Told {
            in_force: match self.variant {
                Variant::HeadToldBefore => Revision::new(u64::MAX),
                _ => Revision::new(in_force),
            },
            head: head as u64,
        };
        let ServerState {
            disk,
            told: earlier,
            ..
        } = &mut self.server;
        let shipped = disk.shipped[from] as u64;
        let first = earlier[from].unwrap_or(told);
        let mut accounted = Vec::new();
        for (tree, owner) in disk.owners.iter_mut().enumerate() {
            let Some(owner) = owner else { continue };
            owner.unaccounted.retain(|lost| {
                let mut told = [first, told].into_iter();
                let is_whole = number_of(lost.gateway) == from
                    && told.any(|told| told.accounts_for(lost, shipped));
                accounted.extend(is_whole.then_some(tree));
                !is_whole
            });
        }
        earlier[from] = Some(if shipped >= first.head { told } else { first });
        for tree in accounted {
            self.look_at_accounted(from, tree);
        }
    }

    /// What a gateway had recorded about a tree when it was taken from it has to be here.
    fn look_at_accounted(&mut self, from: usize, tree: usize) {
        self.oracle.stats.accounted += 1;
        let log = self.points[from].synced();
        let had = log.iter().take(self.oracle.lost[tree][from]);
        let mut missing = had.skip(self.server.disk.shipped[from]);
        if missing.any(|intent| intent.tree == tree) {
            self.oracle.finds(Finding::AccountedEarly);
        }
    }

    fn write_owner(&mut self, from: usize, asked: Asked) {
        let (tree, spec) = (asked.tree, self.trees[asked.tree]);
        let row = self.server.disk.owners[tree].clone();
        let owner = row.as_ref().map(|row| Owner {
            row,
            lease_ended: self.variant == Variant::TakesOverEarly
                || self.has_ended(number_of(row.gateway)),
            summed: spec.summed,
        });
        let claim = Claim {
            claimant: Id::from_u128(from as u128),
            task: Id::from_u128(tree as u128),
            window: window(spec.budget.map(u64::from)),
            next: Revision::new(self.server.disk.revision + 1),
            owner,
        };
        let (stats, disk) = (&mut self.oracle.stats, &mut self.server.disk);
        let answer = match claim.decide() {
            Verdict::Granted(ownership) => {
                if let Some(lost) = ownership.taken_from {
                    let lost = number_of(lost);
                    self.oracle.lost[tree][lost] = self.points[lost].synced().len();
                    stats.taken_over += 1;
                    disk.revision += 1;
                    disk.void[tree] += APPROVALS_AT_ONCE;
                } else if row.is_some_and(|row| row.gateway != ownership.row.gateway) {
                    stats.handed_over += 1;
                }
                let lost = ownership.row.unaccounted.iter().map(|lost| lost.uses);
                let charge = match self.variant {
                    Variant::UnaccountedNotCharged => 0,
                    _ => lost.sum(),
                };
                let granted = Answer::Granted {
                    epoch: ownership.row.epoch,
                    window: ownership.row.window,
                    uses: disk.uses[tree] + charge,
                    used: disk.used[tree],
                    void: match self.variant {
                        Variant::ApprovalsKept => 0,
                        _ => disk.void[tree],
                    },
                    shipped: disk.shipped[from],
                };
                disk.owners[tree] = Some(ownership.row);
                granted
            }
            Verdict::Owner { gateway, .. } => Answer::Owner(number_of(gateway)),
            Verdict::Unavailable { .. } => {
                stats.unavailable += 1;
                Answer::Unavailable
            }
        };
        let message = Message::Claimed { asked, answer };
        self.send(Process::Server, Process::Point(from), message);
    }

    fn has_ended(&self, gateway: usize) -> bool {
        let row = self.server.disk.rows.get(&self.point(gateway));
        row.is_none_or(|row| self.server.book.has_ended(row, self.server_clock()))
    }

    /// Waits for a cut-off that is committed, with the rows of this moment.
    fn wait_for(&mut self, subject: usize) {
        let revision = Revision::new(self.server.disk.cuts[subject]);
        let rows = self.server.disk.rows.values();
        let barrier = Barrier::new(&self.server.book, rows, revision, self.server_clock());
        self.server.kills.push(OpenKill {
            subject,
            since: self.now,
            barrier,
        });
    }

    /// Waits again for a kill that was interrupted by the end of the server.
    fn kill_again(&mut self) {
        let first = self.random.index(SUBJECTS);
        let open = |subject: &usize| {
            self.server
                .kills
                .iter()
                .any(|kill| kill.subject == *subject)
        };
        let waits = |subject: &usize| {
            self.server.disk.cuts[*subject] > self.oracle.returned[*subject] && !open(subject)
        };
        let mut subjects = (0..SUBJECTS).map(|n| (n + first) % SUBJECTS);
        if let Some(subject) = subjects.find(waits) {
            self.wait_for(subject);
        }
    }

    /// Issues credentials in the place of those that were cut off, at a revision of their own.
    fn issue(&mut self) {
        let disk = &mut self.server.disk;
        disk.revision += 1;
        for instance in 0..INSTANCES {
            let credential = &mut self.credentials[instance];
            if credential.is_cut(&disk.cuts) {
                self.outdated[instance] = *credential;
                credential.minted = disk.revision;
            }
        }
        self.push();
    }

    /// Tells everyone who has not acknowledged the newest state.
    fn push(&mut self) {
        for point in 0..self.points.len() {
            if self.server.acknowledged[point] < self.server.disk.revision {
                self.send_state(point);
            }
        }
    }

    fn send_state(&mut self, point: usize) {
        let disk = &self.server.disk;
        let message = Message::State {
            revision: disk.revision,
            cuts: disk.cuts,
        };
        self.send(Process::Server, Process::Point(point), message);
    }

    /// Returns from the kills that wait for nothing any more.
    fn poll(&mut self) {
        let now = self.server_clock();
        let follows_rows = self.variant == Variant::BarrierFollowsRows;
        let kills = std::mem::take(&mut self.server.kills);
        for kill in kills {
            let revision = kill.barrier.revision();
            let is_over = if follows_rows {
                let rows = self.server.disk.rows.values();
                let pending = self.server.book.pending(rows, revision, now);
                let mut pending = pending.values();
                !pending.any(|standing| matches!(standing, Standing::Waiting { .. }))
            } else {
                kill.barrier.is_over(now)
            };
            if is_over {
                self.kill_returns(&kill, now);
            } else {
                self.server.kills.push(kill);
            }
        }
    }

    fn kill_returns(&mut self, kill: &OpenKill, now: BootTime) {
        let revision = kill.barrier.revision().number();
        for (point, standing) in kill.barrier.standings(now) {
            let number = match point {
                Point::Gateway(id) => id.as_u128(),
                Point::Node(id) => id.as_u128(),
            };
            match standing {
                Standing::Acknowledged { .. } => {
                    let point = usize::try_from(number).unwrap_or(0);
                    self.oracle.kill_acknowledged(point, kill.subject, revision);
                }
                Standing::Lapsed { .. } | Standing::Waiting { .. } => {
                    self.oracle.stats.lapsed += 1;
                }
            }
        }
        self.oracle.kill_returned(kill.subject, revision);
    }

    /// No kill waits for longer than a lease, while the server runs.
    pub(crate) fn look_at_kills(&mut self) {
        let server = &self.server;
        if !server.up || server.stopped_until > self.now {
            return;
        }
        let running = server.started.max(server.stopped_until);
        let span = u64::try_from(self.terms.span().as_micros()).unwrap_or(u64::MAX);
        // The slowest clock, and the next poll.
        let most = span * 100 / 90 + 3 * POLL_EVERY;
        let late = |kill: &OpenKill| self.now - kill.since.max(running) > most;
        if server.kills.iter().any(late) {
            self.oracle.finds(Finding::KillTooSlow);
        }
    }
}
