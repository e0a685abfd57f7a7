//! What goes wrong: messages, processes, machines, clocks.

use crate::sim::host::{MILLI, SECOND, Time};
use crate::sim::random::Random;
use crate::sim::server::ServerTask;
use crate::sim::world::{Event, POINTS_MAX, Process, SUBJECTS, World};

#[derive(Debug, Clone)]
pub(crate) struct Faults {
    /// Which kinds of fault this world has.
    enabled: [bool; KINDS.len()],
    loss_per_mille: u64,
    repeat_per_mille: u64,
    slow_per_mille: u64,
    pub(crate) pause_per_mille: u64,
    /// Until when messages of a point to the server, and of the server to it, are lost.
    cut_to_server: [Time; POINTS_MAX],
    cut_from_server: [Time; POINTS_MAX],
    /// Whose next grant is followed by a partition.
    cut_next: [bool; POINTS_MAX],
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Partition,
    CrashPoint,
    CrashServer,
    StopPoint,
    StopServer,
    WallJump,
    Drift,
}

const KINDS: [Kind; 7] = [
    Kind::Partition,
    Kind::CrashPoint,
    Kind::CrashServer,
    Kind::StopPoint,
    Kind::StopServer,
    Kind::WallJump,
    Kind::Drift,
];

impl Faults {
    pub(crate) fn new(random: &mut Random) -> Self {
        let mut some = |per_mille, most| {
            if random.chance(per_mille) {
                random.below(most)
            } else {
                0
            }
        };
        let loss_per_mille = some(600, 200);
        let repeat_per_mille = some(600, 200);
        let slow_per_mille = some(600, 400);
        let pause_per_mille = some(700, 150);
        Self {
            enabled: std::array::from_fn(|_| random.chance(600)),
            loss_per_mille,
            repeat_per_mille,
            slow_per_mille,
            pause_per_mille,
            cut_to_server: [0; POINTS_MAX],
            cut_from_server: [0; POINTS_MAX],
            cut_next: [false; POINTS_MAX],
        }
    }

    /// How many copies of a message arrive.
    pub(crate) fn copies(
        &self,
        random: &mut Random,
        now: Time,
        from: Process,
        to: Process,
    ) -> usize {
        let is_cut = match (from, to) {
            (Process::Point(point), Process::Server) => self.cut_to_server[point] > now,
            (Process::Server, Process::Point(point)) => self.cut_from_server[point] > now,
            _ => false,
        };
        if is_cut || random.chance(self.loss_per_mille) {
            return 0;
        }
        1 + usize::from(random.chance(self.repeat_per_mille))
    }

    pub(crate) fn delay(&self, random: &mut Random) -> Time {
        match random.chance(self.slow_per_mille) {
            true if random.chance(100) => random.between(SECOND, 12 * SECOND),
            true => random.between(10 * MILLI, 2 * SECOND),
            false => random.between(50, 3 * MILLI),
        }
    }
}

impl World {
    /// One fault, if the drawn kind exists in this world.
    pub(crate) fn fault(&mut self) {
        let after = self.random.between(50, 700) * MILLI;
        self.schedule(after, Event::Fault);
        let drawn = self.random.index(KINDS.len());
        let point = self.random.index(self.points.len());
        if !self.faults.enabled[drawn] {
            return;
        }
        match KINDS[drawn] {
            Kind::Partition => self.partition(point),
            Kind::CrashPoint => self.crash_point(point),
            Kind::CrashServer if self.random.chance(300) => self.crash_server(),
            Kind::StopPoint => {
                let (until, sleeps) = self.stop();
                let state = &mut self.points[point];
                let more = until.saturating_sub(state.stopped_until.max(self.now));
                state.stopped_until += more + self.now.saturating_sub(state.stopped_until);
                state.host.slept(if sleeps { more } else { 0 });
            }
            Kind::StopServer if self.random.chance(300) => {
                let (until, _) = self.stop();
                self.server.stopped_until = self.server.stopped_until.max(until);
            }
            Kind::CrashServer | Kind::StopServer => {}
            Kind::WallJump => {
                let by = i64::try_from(self.random.between(1, 60_000)).unwrap_or(1);
                let by = if self.random.chance(500) { by } else { -by };
                if self.random.chance(200) {
                    self.server.host.set_wall(by);
                } else {
                    self.points[point].host.set_wall(by);
                }
            }
            Kind::Drift => {
                // A little less than the margin allows.
                let length = self.terms.length().as_micros();
                let most = self.terms.drift_margin().as_micros() * 950_000 / length;
                let most = u64::try_from(most).unwrap_or(0);
                let rate = i64::try_from(self.random.below(2 * most + 1)).unwrap_or(0);
                let rate = rate - i64::try_from(most).unwrap_or(0);
                if self.random.chance(300) {
                    self.server.host.set_rate(self.now, rate);
                } else {
                    self.points[point].host.set_rate(self.now, rate);
                }
            }
        }
    }

    /// The worst moments for some faults: while a lease is granted, right after it, and soon after
    /// a start.
    pub(crate) fn fault_while_granting(&mut self, point: usize, within: Time) {
        if self.random.chance(30) {
            self.kill_within(within);
            self.faults.cut_next[point] = true;
        }
    }

    pub(crate) fn fault_after_grant(&mut self, point: usize) {
        if std::mem::take(&mut self.faults.cut_next[point]) || self.random.chance(20) {
            self.cut_and_kill(point);
        }
        if self.faults.enabled[1] && self.random.chance(10) {
            let after = self.random.below(5 * MILLI);
            self.schedule(after, Event::Crash(point));
        }
    }

    pub(crate) fn fault_after_state(&mut self, point: usize) {
        let lacks_lease = self.points[point].holder.until().is_none();
        if self.random.chance(if lacks_lease { 300 } else { 5 }) {
            self.cut_and_kill(point);
        }
    }

    /// The network parts, and things are killed that the point does not learn of.
    fn cut_and_kill(&mut self, point: usize) {
        if !self.faults.enabled[0] {
            return;
        }
        let length = u64::try_from(self.terms.length().as_micros()).unwrap_or(SECOND);
        let until = self.now + self.random.between(length / 2, 3 * length);
        self.faults.cut_to_server[point] = until;
        self.faults.cut_from_server[point] = until;
        for _ in 0..3 {
            self.kill_within(length);
        }
    }

    fn kill_within(&mut self, time: Time) {
        let subject = self.random.index(SUBJECTS);
        let after = self.random.below(time + 1);
        self.server_later(after, ServerTask::Kill { subject });
    }

    pub(crate) fn fault_after_start(&mut self, point: usize) {
        if self.faults.enabled[1] && self.random.chance(300) {
            let after = self.random.between(1, 1_500) * MILLI;
            self.schedule(after, Event::Crash(point));
        }
    }

    fn partition(&mut self, point: usize) {
        let until = self.now + self.random.between(100, 15_000) * MILLI;
        let which = self.random.below(3);
        if which != 0 {
            self.faults.cut_to_server[point] = until;
        }
        if which != 1 {
            self.faults.cut_from_server[point] = until;
        }
    }

    /// Until when something stands still, and whether its machine sleeps meanwhile, or only the
    /// process is stopped.
    fn stop(&mut self) -> (Time, bool) {
        let millis = if self.random.chance(500) {
            self.random.between(1, 600)
        } else {
            self.random.between(600, 16_000)
        };
        (self.now + millis * MILLI, self.random.chance(500))
    }

    /// How long it takes until a process that was killed starts again, and whether its machine
    /// boots meanwhile.
    pub(crate) fn outage(&mut self) -> (Time, bool) {
        self.oracle.stats.crashes += 1;
        let millis = if self.random.chance(600) {
            self.random.between(5, 500)
        } else {
            self.random.between(500, 9_000)
        };
        (millis * MILLI, self.random.chance(400))
    }
}
