//! A gateway or node: lease, cut-offs, and effects that are under way.

use aims_lease::{Granted, Held, Holder, Terms};
use aims_types::{BootTime, Revision};

use crate::sim::host::{Host, MILLI, Time};
use crate::sim::oracle::{Byte, Cuts, Use};
use crate::sim::trees::Local;
use crate::sim::world::{Call, Credential, Event, Message, Process, SUBJECTS, TREES, World};
use crate::sim::{Finding, Variant};

#[derive(Debug, Clone, Copy)]
pub(crate) enum PointTask {
    Renew,
    Sync { upto: usize },
    Look { effect: u64 },
    Write { effect: u64 },
    Housekeeping,
    Instance,
}

/// What a gateway's log says of a call before it starts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intent {
    pub(crate) tree: usize,
    pub(crate) approval: Option<u8>,
}

impl Intent {
    pub(crate) fn approval_bit(self) -> u64 {
        self.approval.map_or(0, |approval| 1 << approval)
    }
}

#[derive(Debug, Clone, Copy)]
struct Effect {
    id: u64,
    credential: Credential,
    /// Its place in the log; a node's instances have none.
    intent: Option<usize>,
    approval: Option<u8>,
    /// The lease when it was decided.
    decided: Held,
    /// The last look, while it is between look and write.
    looked: Option<(Held, BootTime)>,
    has_started: bool,
    chunks_left: u64,
}

#[derive(Debug)]
pub(crate) struct PointState {
    pub(crate) host: Host,
    pub(crate) up: bool,
    pub(crate) incarnation: u32,
    pub(crate) stopped_until: Time,
    is_node: bool,
    pub(crate) holder: Holder,
    /// The revision whose cut-offs new looks see.
    seen: u64,
    cuts: Cuts,
    /// The revision of which everything that it cuts off has ended.
    pub(crate) in_force: u64,
    effects: Vec<Effect>,
    next_effect: u64,
    log: Vec<Intent>,
    synced: usize,
    /// How much of the log the server has for certain.
    pub(crate) taken: usize,
    is_syncing: bool,
    /// How much of the log belongs to effects that have started.
    needed: usize,
    pub(crate) trees: [Local; TREES],
}

impl PointState {
    pub(crate) fn new(terms: Terms, is_node: bool) -> Self {
        Self {
            host: Host::new(),
            up: false,
            incarnation: 0,
            stopped_until: 0,
            is_node,
            holder: Holder::new(terms, 0),
            seen: 0,
            cuts: [0; SUBJECTS],
            in_force: 0,
            effects: Vec::new(),
            next_effect: 0,
            log: Vec::new(),
            synced: 0,
            taken: 0,
            is_syncing: false,
            needed: 0,
            trees: [Local::default(); TREES],
        }
    }

    /// The part of the log that is on disk.
    pub(crate) fn synced(&self) -> &[Intent] {
        &self.log[..self.synced]
    }

    pub(crate) fn log(&self) -> &[Intent] {
        &self.log
    }
}

impl World {
    fn point_later(&mut self, point: usize, after: Time, task: PointTask) {
        let incarnation = self.points[point].incarnation;
        self.schedule(
            after,
            Event::Point {
                point,
                incarnation,
                task,
            },
        );
    }

    /// The clock on which a point counts its lease.
    pub(crate) fn point_clock(&self, point: usize) -> BootTime {
        let host = &self.points[point].host;
        match self.variant {
            Variant::WallClock => {
                BootTime::from_nanos(host.wall(self.now).unix_millis() * 1_000_000)
            }
            Variant::MonotonicClock => host.monotonic(self.now),
            _ => host.boot_time(self.now),
        }
    }

    /// The revision that counts for the lease.
    pub(crate) fn in_force(&self, point: usize) -> Revision {
        match self.variant {
            Variant::RenewalCountsAtOnce => Revision::new(u64::MAX),
            _ => Revision::new(self.points[point].in_force),
        }
    }

    pub(crate) fn point_starts(&mut self, point: usize) {
        let first = match self.variant {
            Variant::NumbersFromZero => 0,
            _ => self.random.next(),
        };
        let terms = self.terms;
        let state = &mut self.points[point];
        state.up = true;
        state.incarnation += 1;
        state.holder = Holder::new(terms, first);
        state.taken = 0;
        for tree in &mut state.trees {
            tree.start(first);
        }
        let is_node = state.is_node;
        let task = if is_node {
            PointTask::Instance
        } else {
            PointTask::Housekeeping
        };
        self.fault_after_start(point);
        self.point_later(point, 0, PointTask::Renew);
        self.point_later(point, MILLI, task);
    }

    pub(crate) fn crash_point(&mut self, point: usize) {
        if !self.points[point].up {
            return;
        }
        let (after, reboots) = self.outage();
        let running = self.random.between(1, 40_000) * MILLI;
        let now = self.now;
        let state = &mut self.points[point];
        if state.needed > state.synced {
            self.oracle.finds(Finding::RecordLost);
        }
        state.up = false;
        state.stopped_until = 0;
        state.log.truncate(state.synced);
        state.needed = state.synced;
        state.is_syncing = false;
        state.effects.clear();
        (state.seen, state.in_force, state.cuts) = (0, 0, [0; SUBJECTS]);
        if reboots {
            state.host.reboot(now, running);
        }
        self.schedule(after, Event::Start(Process::Point(point)));
    }

    pub(crate) fn point_receives(&mut self, point: usize, message: Message) {
        match message {
            Message::Granted { number, granted } => self.granted(point, number, granted),
            Message::State { revision, cuts } => self.apply(point, revision, cuts),
            Message::Claimed { asked, answer } => self.claimed(point, asked, answer),
            Message::Took { upto } => {
                let taken = &mut self.points[point].taken;
                *taken = upto.max(*taken);
            }
            Message::Call(call) => self.decide(point, call),
            Message::LeaseAsk { .. }
            | Message::Acknowledged { .. }
            | Message::Claim { .. }
            | Message::Shipped { .. }
            | Message::Release { .. } => {}
        }
    }

    pub(crate) fn point_does(&mut self, point: usize, task: PointTask) {
        match task {
            PointTask::Renew => {
                let now = self.point_clock(point);
                let state = &mut self.points[point];
                let number = state.holder.ask(now).number;
                let (in_force, head) = (state.in_force, state.synced);
                let message = Message::LeaseAsk {
                    number,
                    in_force,
                    head,
                };
                self.send(Process::Point(point), Process::Server, message);
                let every = self.terms.renew_every().as_micros();
                let every = u64::try_from(every).unwrap_or(u64::MAX);
                self.point_later(point, every, PointTask::Renew);
            }
            PointTask::Sync { upto } => self.sync_done(point, upto),
            PointTask::Look { effect } => self.look(point, effect),
            PointTask::Write { effect } => self.write(point, effect),
            PointTask::Housekeeping => {
                self.housekeeping(point);
                let after = self.random.between(200, 700) * MILLI;
                self.point_later(point, after, PointTask::Housekeeping);
            }
            PointTask::Instance => {
                self.instance(point);
                let after = self.random.between(10, 120) * MILLI;
                self.point_later(point, after, PointTask::Instance);
            }
        }
    }

    fn granted(&mut self, point: usize, number: u64, granted: Granted) {
        let now = self.point_clock(point);
        let holder = &mut self.points[point].holder;
        if self.variant != Variant::CountsFromArrival {
            // An answer that does not count is of no interest.
            let _counted = holder.granted(number, granted, now);
        } else if holder.clone().granted(number, granted, now).is_ok() {
            let ask = holder.ask(now);
            let _counted = holder.granted(ask.number, granted, now);
        }
    }

    /// Takes over a state: new looks see it at once, what it cuts off is ended, and what is between
    /// look and write is waited for.
    fn apply(&mut self, point: usize, revision: u64, cuts: Cuts) {
        let replaces = self.variant == Variant::OlderStateReplaces;
        let state = &mut self.points[point];
        if revision > state.seen || replaces {
            state.seen = revision;
            state.cuts = cuts;
            state
                .effects
                .retain(|effect| effect.looked.is_some() || !effect.credential.is_cut(&cuts));
            self.fault_after_state(point);
            if !self.server.is_within(revision, &cuts) {
                self.oracle.finds(Finding::CutOffMissing);
            }
        }
        self.settle(point);
    }

    /// Acknowledges the state that was seen, once nothing of what it cuts off can go on.
    fn settle(&mut self, point: usize) {
        let early = self.variant == Variant::AcknowledgesEarly;
        let state = &mut self.points[point];
        let cuts = state.cuts;
        let mut effects = state.effects.iter();
        if early || !effects.any(|effect| effect.credential.is_cut(&cuts)) {
            state.in_force = state.seen;
        }
        let in_force = state.in_force;
        let message = Message::Acknowledged { in_force };
        self.send(Process::Point(point), Process::Server, message);
    }

    /// Decides on a call, and writes down what it is going to do.
    fn decide(&mut self, point: usize, call: Call) {
        let tree = call.credential.tree();
        let now = self.point_clock(point);
        let state = &self.points[point];
        let held = state.holder.clears(now, self.in_force(point));
        let (Ok(held), false) = (held, call.credential.is_cut(&state.cuts)) else {
            self.oracle.stats.refused += 1;
            return;
        };
        if !self.owns(point, tree, held) {
            return self.elsewhere(point, call, held);
        }
        if !self.charge(point, call) {
            self.oracle.stats.refused += 1;
            return;
        }
        let chunks_left = self.random.below(4);
        let state = &mut self.points[point];
        let place = state.log.len();
        let approval = call.approval;
        state.log.push(Intent { tree, approval });
        let id = self.begin(point, call.credential, held);
        let state = &mut self.points[point];
        if let Some(effect) = state.effects.last_mut() {
            (effect.intent, effect.approval) = (Some(place), approval);
            effect.chunks_left = chunks_left;
        }
        if !state.is_syncing {
            state.is_syncing = true;
            self.sync(point);
        }
        if self.variant == Variant::IntentNotSynced {
            self.point_later(point, 10, PointTask::Look { effect: id });
        }
    }

    fn begin(&mut self, point: usize, credential: Credential, decided: Held) -> u64 {
        let state = &mut self.points[point];
        let id = state.next_effect;
        state.next_effect += 1;
        state.effects.push(Effect {
            id,
            credential,
            intent: None,
            approval: None,
            decided,
            looked: None,
            has_started: false,
            chunks_left: 0,
        });
        id
    }

    /// Starts to bring what is in the log so far to the disk.
    fn sync(&mut self, point: usize) {
        let upto = self.points[point].log.len();
        let after = if self.random.chance(30) {
            self.random.between(5 * MILLI, 800 * MILLI)
        } else {
            self.random.between(200, 2 * MILLI)
        };
        self.point_later(point, after, PointTask::Sync { upto });
    }

    fn sync_done(&mut self, point: usize, upto: usize) {
        let state = &mut self.points[point];
        let done = state.synced..upto;
        state.synced = upto;
        let more = state.log.len() > upto;
        state.is_syncing = more;
        let waiting = state.effects.iter();
        let waiting = waiting.filter(|e| e.intent.is_some_and(|place| done.contains(&place)));
        let ready: Vec<u64> = waiting.map(|effect| effect.id).collect();
        if self.variant != Variant::IntentNotSynced {
            for effect in ready {
                let after = self.random.below(2 * MILLI);
                self.point_later(point, after, PointTask::Look { effect });
            }
        }
        self.ship(point);
        if more {
            self.sync(point);
        }
    }

    /// A node's instance does something.
    fn instance(&mut self, point: usize) {
        let credential = self.credential();
        let now = self.point_clock(point);
        let state = &self.points[point];
        let held = state.holder.clears(now, self.in_force(point));
        if let (Ok(held), false) = (held, credential.is_cut(&state.cuts)) {
            let effect = self.begin(point, credential, held);
            self.point_later(point, 0, PointTask::Look { effect });
        }
    }

    /// The last look before bytes go out.
    fn look(&mut self, point: usize, id: u64) {
        let now = self.point_clock(point);
        let real = self.points[point].host.boot_time(self.now);
        let in_force = self.in_force(point);
        let state = &self.points[point];
        let Some(place) = state.effects.iter().position(|effect| effect.id == id) else {
            return;
        };
        let effect = state.effects[place];
        let held = match self.variant {
            Variant::NoLookAgain => Ok(effect.decided),
            Variant::MarginIgnored => state.holder.holds(now, in_force),
            _ => state.holder.clears(now, in_force),
        };
        let tree = effect.credential.tree();
        let is_cut = effect.credential.is_cut(&state.cuts);
        let held = held.ok().filter(|_| !is_cut);
        let held = held.filter(|held| effect.intent.is_none() || self.owns(point, tree, *held));
        let Some(held) = held else {
            self.oracle.stats.refused += 1;
            self.points[point].effects.swap_remove(place);
            return self.settle_if_behind(point);
        };
        let looks_again = self.variant != Variant::NoLookAgain;
        if looks_again && effect.intent.is_some() && !self.server.owns(point, tree) {
            self.oracle.finds(Finding::TwoOwners);
        }
        self.points[point].effects[place].looked = Some((held, real));
        let after = self.pause();
        self.point_later(point, after, PointTask::Write { effect: id });
    }

    /// How long it takes from look to write.
    fn pause(&mut self) -> Time {
        let margin = u64::try_from(self.terms.drift_margin().as_micros()).unwrap_or(MILLI);
        if !self.random.chance(self.faults.pause_per_mille) {
            return self.random.below(MILLI);
        }
        if self.random.chance(700) {
            // Within the margin on the fastest clock.
            self.random.below(margin * 10 / 11)
        } else {
            self.random.between(margin, 30 * margin)
        }
    }

    /// Bytes go out: nothing can stop them any more.
    fn write(&mut self, point: usize, id: u64) {
        let after = self.point_clock(point);
        let real = self.points[point].host.boot_time(self.now);
        let in_force = self.in_force(point);
        let state = &mut self.points[point];
        let Some(place) = state.effects.iter().position(|effect| effect.id == id) else {
            return;
        };
        let Some((held, looked_at)) = state.effects[place].looked.take() else {
            return;
        };
        let effect = state.effects[place];
        let overrun = state.holder.overrun(held, after, in_force).is_some();
        let byte = Byte {
            point,
            subjects: effect.credential.subjects(),
            minted: effect.credential.minted,
            overrun,
            long_pause: real.since(looked_at) > self.terms.drift_margin(),
        };
        self.oracle.byte(byte);
        if effect.has_started {
            self.oracle.stats.chunks += 1;
        } else {
            self.first_byte(point, place);
        }
        let state = &mut self.points[point];
        let is_cut = effect.credential.is_cut(&state.cuts);
        if overrun || is_cut || effect.chunks_left == 0 {
            state.effects.swap_remove(place);
            return self.settle_if_behind(point);
        }
        state.effects[place].chunks_left -= 1;
        let after = self.random.between(1, 400) * MILLI;
        self.point_later(point, after, PointTask::Look { effect: id });
    }

    fn first_byte(&mut self, point: usize, place: usize) {
        self.oracle.stats.effects += 1;
        let state = &mut self.points[point];
        let effect = &mut state.effects[place];
        effect.has_started = true;
        if let Some(intent) = effect.intent {
            state.needed = state.needed.max(intent + 1);
            let tree = effect.credential.tree();
            self.oracle.started(Use {
                tree,
                budget: self.trees[tree].budget,
                approval: effect.approval,
            });
        }
    }

    fn settle_if_behind(&mut self, point: usize) {
        if self.points[point].in_force < self.points[point].seen {
            self.settle(point);
        }
    }

    /// What the oracle sees of a point after each of its steps.
    pub(crate) fn look_at(&mut self, point: usize) {
        let now = self.point_clock(point);
        let state = &self.points[point];
        let time = match self.variant {
            // Found by its other consequences.
            Variant::WallClock | Variant::MonotonicClock => 0,
            _ => state
                .holder
                .wall(now)
                .map_or(0, aims_types::Timestamp::unix_millis),
        };
        let seen = (state.incarnation, state.seen, &state.cuts, time);
        self.oracle.point(point, seen);
    }
}
