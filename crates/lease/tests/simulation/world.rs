//! The queue of events and who handles them.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

use aims_lease::{Granted, Terms};

use crate::sim::faults::Faults;
use crate::sim::host::{MILLI, Time};
use crate::sim::oracle::{Cuts, Oracle};
use crate::sim::point::{PointState, PointTask};
use crate::sim::random::Random;
use crate::sim::server::{ServerState, ServerTask};
use crate::sim::trees::{Answer, Asked};
use crate::sim::{Finding, Stats, Variant};

/// Most gateways and nodes of one world.
pub(crate) const POINTS_MAX: usize = 13;
/// Delegation trees.
pub(crate) const TREES: usize = 6;
/// Agents.
pub(crate) const AGENTS: usize = 3;
/// Instances, each with one credential.
pub(crate) const INSTANCES: usize = 8;
/// What can be killed.
pub(crate) const SUBJECTS: usize = TREES + AGENTS + INSTANCES;
/// Approvals of each tree that needs some.
pub(crate) const APPROVALS: usize = 64;
/// How many of them are given together. Those of a take-over and before it are void after it.
pub(crate) const APPROVALS_AT_ONCE: usize = 8;

/// A credential.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Credential {
    pub(crate) instance: usize,
    pub(crate) minted: u64,
}

impl Credential {
    pub(crate) const fn tree(self) -> usize {
        self.instance % TREES
    }

    pub(crate) const fn subjects(self) -> [usize; 3] {
        let agent = TREES + self.instance % AGENTS;
        [self.tree(), agent, TREES + AGENTS + self.instance]
    }

    pub(crate) fn is_cut(self, cuts: &Cuts) -> bool {
        self.subjects().iter().any(|s| self.minted <= cuts[*s])
    }
}

/// What a tree allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TreeSpec {
    pub(crate) budget: Option<u32>,
    pub(crate) approvals: bool,
    /// Whether what one call uses is not bounded.
    pub(crate) summed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Process {
    Server,
    Point(usize),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) credential: Credential,
    pub(crate) approval: Option<u8>,
    pub(crate) forwarded: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Message {
    LeaseAsk {
        number: u64,
        in_force: u64,
        /// The end of the log.
        head: usize,
    },
    Acknowledged {
        in_force: u64,
    },
    Claim(Asked),
    Shipped {
        upto: usize,
    },
    /// The server has so much of the log.
    Took {
        upto: usize,
    },
    Release {
        tree: usize,
        epoch: u64,
        upto: usize,
    },
    Granted {
        number: u64,
        granted: Granted,
    },
    State {
        revision: u64,
        cuts: Cuts,
    },
    Claimed {
        asked: Asked,
        answer: Answer,
    },
    Call(Call),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    Deliver {
        from: Process,
        to: Process,
        message: Message,
    },
    Server {
        incarnation: u32,
        task: ServerTask,
    },
    Point {
        point: usize,
        incarnation: u32,
        task: PointTask,
    },
    Start(Process),
    Crash(usize),
    Fault,
    Client,
    Killer,
}

#[derive(Debug)]
struct Entry {
    at: Time,
    order: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// One world.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) variant: Variant,
    pub(crate) random: Random,
    pub(crate) terms: Terms,
    pub(crate) now: Time,
    pub(crate) server: ServerState,
    pub(crate) points: Vec<PointState>,
    pub(crate) gateways: usize,
    pub(crate) credentials: [Credential; INSTANCES],
    /// What was issued before; some go on using it.
    pub(crate) outdated: [Credential; INSTANCES],
    pub(crate) trees: [TreeSpec; TREES],
    pub(crate) faults: Faults,
    pub(crate) oracle: Oracle,
    queue: BinaryHeap<Reverse<Entry>>,
    order: u64,
}

/// What a run came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) stats: Stats,
    /// What did not hold; the run ended with this step.
    pub(crate) finding: Option<Finding>,
}

impl World {
    /// Runs one world for at most `steps` steps.
    pub(crate) fn run(seed: u64, variant: Variant, steps: u64) -> Report {
        let mut world = Self::new(seed, variant);
        while world.oracle.finding.is_none() && world.oracle.stats.steps < steps {
            world.step();
        }
        Report {
            seed,
            stats: world.oracle.stats,
            finding: world.oracle.finding,
        }
    }

    fn new(seed: u64, variant: Variant) -> Self {
        let mut random = Random::new(seed);
        let (length, margin) =
            [(1_000, 15), (1_000, 100), (2_000, 40), (5_000, 500)][random.index(4)];
        let (length, margin) = (Duration::from_millis(length), Duration::from_millis(margin));
        let terms = Terms::new(length, margin);
        let terms = terms.unwrap_or_default();
        let gateways = random.index(10) + 1;
        let nodes = random.index(POINTS_MAX - 10 + 1);
        let faults = Faults::new(&mut random);
        let tree = |random: &mut Random, number: usize| {
            let most = if random.chance(500) { 40 } else { 1_000 };
            let budget = u32::try_from(random.between(2, most)).unwrap_or(2);
            TreeSpec {
                budget: matches!(number % 4, 0 | 2).then_some(budget),
                approvals: matches!(number % 4, 1 | 2),
                summed: number == 4,
            }
        };
        let trees = std::array::from_fn(|number| tree(&mut random, number));
        let points = (0..gateways + nodes)
            .map(|number| PointState::new(terms, number >= gateways))
            .collect();
        let credentials = std::array::from_fn(|instance| Credential {
            instance,
            minted: 1,
        });
        let mut world = Self {
            variant,
            terms,
            now: 0,
            server: ServerState::new(terms),
            points,
            gateways,
            credentials,
            outdated: credentials,
            trees,
            faults,
            oracle: Oracle::new(),
            queue: BinaryHeap::new(),
            order: 0,
            random,
        };
        world.schedule(0, Event::Start(Process::Server));
        for point in 0..gateways + nodes {
            world.schedule(MILLI, Event::Start(Process::Point(point)));
        }
        for event in [Event::Fault, Event::Client, Event::Killer] {
            world.schedule(10 * MILLI, event);
        }
        world
    }

    pub(crate) fn schedule(&mut self, after: Time, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Entry {
            at: self.now + after,
            order: self.order,
            event,
        }));
    }

    fn step(&mut self) {
        let Some(Reverse(entry)) = self.queue.pop() else {
            return;
        };
        self.now = entry.at;
        let (process, incarnation) = match entry.event {
            Event::Deliver { to, .. } => (Some(to), None),
            Event::Server { incarnation, .. } => (Some(Process::Server), Some(incarnation)),
            Event::Point {
                point, incarnation, ..
            } => (Some(Process::Point(point)), Some(incarnation)),
            Event::Start(_) | Event::Crash(_) | Event::Fault | Event::Client | Event::Killer => {
                (None, None)
            }
        };
        if let Some(process) = process {
            let (up, current, stopped_until) = self.process(process);
            if !up || incarnation.is_some_and(|incarnation| incarnation != current) {
                return;
            }
            if stopped_until > self.now {
                return self.schedule(stopped_until - self.now, entry.event);
            }
        }
        self.oracle.stats.steps += 1;
        self.handle(entry.event);
        if let Some(Process::Point(point)) = process {
            self.look_at(point);
        }
        self.look_at_kills();
    }

    fn process(&self, process: Process) -> (bool, u32, Time) {
        match process {
            Process::Server => {
                let server = &self.server;
                (server.up, server.incarnation, server.stopped_until)
            }
            Process::Point(point) => {
                let point = &self.points[point];
                (point.up, point.incarnation, point.stopped_until)
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver {
                from: Process::Point(from),
                to: Process::Server,
                message,
            } => self.server_receives(from, message),
            Event::Deliver {
                to: Process::Point(to),
                message,
                ..
            } => self.point_receives(to, message),
            Event::Deliver { .. } => {}
            Event::Server { task, .. } => self.server_does(task),
            Event::Point { point, task, .. } => self.point_does(point, task),
            Event::Start(Process::Server) => self.server_starts(),
            Event::Start(Process::Point(point)) => self.point_starts(point),
            Event::Crash(point) => self.crash_point(point),
            Event::Fault => self.fault(),
            Event::Client => self.client(),
            Event::Killer => self.killer(),
        }
    }

    /// Sends a message over a network that loses, delays, repeats and reorders.
    pub(crate) fn send(&mut self, from: Process, to: Process, message: Message) {
        let copies = self.faults.copies(&mut self.random, self.now, from, to);
        for _ in 0..copies {
            let after = self.faults.delay(&mut self.random);
            self.schedule(after, Event::Deliver { from, to, message });
        }
    }

    /// Some credential, mostly the newest of its instance.
    pub(crate) fn credential(&mut self) -> Credential {
        let instance = self.random.index(INSTANCES);
        if self.random.chance(200) {
            self.outdated[instance]
        } else {
            self.credentials[instance]
        }
    }

    /// Something calls a gateway.
    fn client(&mut self) {
        let after = self.random.between(2, 40) * MILLI;
        self.schedule(after, Event::Client);
        let credential = self.credential();
        let spec = self.trees[credential.tree()];
        // One that was given, mostly of the last ones.
        let void = self.server.approvals_void(credential.tree());
        let given = (void + APPROVALS_AT_ONCE).min(APPROVALS);
        let approval = if self.random.chance(800) {
            given - 1 - self.random.index(APPROVALS_AT_ONCE)
        } else {
            self.random.index(given)
        };
        let approval = u8::try_from(approval).unwrap_or(0);
        let call = Call {
            credential,
            approval: spec.approvals.then_some(approval),
            forwarded: false,
        };
        // Most calls for a tree come to the same gateway, as clients stay with theirs.
        let to = if self.random.chance(600) {
            credential.instance % self.gateways
        } else {
            self.random.index(self.gateways)
        };
        let to = Process::Point(to);
        let message = Message::Call(call);
        let from = to;
        self.schedule(0, Event::Deliver { from, to, message });
    }

    /// Somebody kills something, waits again for a kill that was interrupted, or issues anew.
    fn killer(&mut self) {
        let after = self.random.between(100, 1_500) * MILLI;
        self.schedule(after, Event::Killer);
        if !self.server.up || self.server.stopped_until > self.now {
            return;
        }
        let subject = self.random.index(SUBJECTS);
        let task = match self.random.below(8) {
            0..4 => ServerTask::Kill { subject },
            4 => ServerTask::KillAgain,
            _ => ServerTask::Issue,
        };
        let after = self.random.between(0, 3) * MILLI;
        self.server_later(after, task);
    }
}
