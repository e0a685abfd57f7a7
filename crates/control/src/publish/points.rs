//! The nodes and gateways that are linked: what each has in force, and what is on its way to it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aims_links::{ControlState, Enforce, EnforceError, Step, Vouch};
use aims_model::Point;
use aims_model::receipt::Ended;
use aims_types::{BootTime, Revision};
use tokio::sync::watch;

/// Most answers of a point that are remembered for receipts.
const ANSWERS_MAX: usize = 32;

/// How a point is reached.
#[derive(Clone)]
pub(crate) enum Link {
    Gateway(Arc<dyn Enforce>),
    Node(Arc<dyn Vouch>),
}

/// Everything known of the points since the server started.
pub(super) struct Points {
    known: Mutex<Known>,
    /// Moves with everything that somebody may wait for.
    changed: watch::Sender<()>,
}

struct Known {
    newest: Option<Arc<ControlState>>,
    /// A node resets its doors before this revision is in force there.
    doors: Revision,
    points: BTreeMap<Point, Entry>,
    /// The number of the latest attachment.
    attachments: u64,
}

struct Entry {
    attached: Option<Attached>,
    /// The newest revision that is in force there.
    in_force: Revision,
    /// Its lease ended before it took over this revision: it gets none until it has.
    lapsed: Option<Revision>,
    answers: VecDeque<Answer>,
}

struct Attached {
    number: u64,
    link: Link,
    /// A node is told of cut-offs newer than this.
    told: Revision,
    /// The newest state that it took over since it was linked: each that is linked gets one,
    /// whatever an earlier process of it said.
    given: Option<Revision>,
    /// A push is under way: a point never has two at a time, and what it began is not broken off.
    busy: bool,
    /// It has no lease and did not answer: nobody waits for it until it is heard again.
    silent: bool,
    failed: Option<Failure>,
}

/// What a point ended when it went from one state to a later one.
struct Answer {
    after: Revision,
    to: Revision,
    at: BootTime,
    ended: Ended,
}

/// A state that was not taken over.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) revision: Revision,
    pub(super) error: EnforceError,
}

/// One push to be made.
pub(super) struct Push {
    pub(super) link: Link,
    pub(super) told: Revision,
    /// Whether a node resets its doors.
    pub(super) doors: bool,
    pub(super) state: Arc<ControlState>,
}

/// How it stands with a point and one revision.
pub(super) struct View {
    pub(super) attached: bool,
    /// Attached, and heard lately.
    pub(super) is_awaited: bool,
    pub(super) in_force: Revision,
    /// The newest state that it took over over this link.
    pub(super) given: Option<Revision>,
    pub(super) busy: bool,
    pub(super) failed: Option<Failure>,
}

impl Points {
    pub(super) fn new() -> Self {
        Self {
            known: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// Marks what has changed so far as seen.
    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn newest(&self) -> Option<Arc<ControlState>> {
        self.known().newest.clone()
    }

    /// Keeps a state unless a newer one is known.
    pub(super) fn offer(&self, state: Arc<ControlState>) {
        let mut known = self.known();
        let newer = |newest: &Arc<ControlState>| newest.revision < state.revision;
        if known.newest.as_ref().is_none_or(newer) {
            known.newest = Some(state);
        }
    }

    /// From `revision` on, which nobody has read yet, every node has reset its doors.
    pub(super) fn reset_doors(&self, revision: Revision) {
        let mut known = self.known();
        known.doors = known.doors.max(revision);
    }

    /// Links a point; an earlier link of it is used no more. Gives the number of the attachment.
    pub(super) fn attach(&self, point: Point, link: Link, told: Revision) -> u64 {
        let mut known = self.known();
        known.attachments = known.attachments.saturating_add(1);
        let number = known.attachments;
        let entry = known.points.entry(point).or_default();
        // What an earlier process had in force says nothing of this one.
        entry.in_force = Revision::ZERO;
        entry.attached = Some(Attached {
            number,
            link,
            told,
            given: None,
            busy: false,
            silent: false,
            failed: None,
        });
        number
    }

    /// Unlinks a point unless it was attached again meanwhile.
    pub(super) fn detach(&self, point: Point, number: u64) {
        if let Some(entry) = self.known().points.get_mut(&point) {
            entry.attached.take_if(|attached| attached.number == number);
        }
        self.change();
    }

    /// A point did not take over `revision` in time: nobody waits for it until it is heard again,
    /// and it gets no lease until it has.
    pub(super) fn lapsed(&self, point: Point, revision: Revision) {
        let mut known = self.known();
        let entry = known.points.entry(point).or_default();
        if entry.in_force < revision {
            entry.lapsed = entry.lapsed.max(Some(revision));
        }
        if let Some(attached) = &mut entry.attached {
            attached.silent = true;
        }
    }

    /// The revision that a point has to take over before it gets a lease.
    pub(super) fn needs(&self, point: Point) -> Revision {
        let known = self.known();
        let entry = known.points.get(&point);
        entry
            .and_then(|entry| entry.lapsed)
            .unwrap_or(Revision::ZERO)
    }

    /// Takes the points that are behind the newest state and free for it.
    pub(super) fn take_behind(&self) -> Vec<(Point, u64)> {
        let mut known = self.known();
        let Some(newest) = known.newest.as_ref().map(|state| state.revision) else {
            return Vec::new();
        };
        let mut taken = Vec::new();
        for (point, entry) in &mut known.points {
            if let Some(attached) = &mut entry.attached
                && !attached.busy
                && attached.is_behind(newest)
            {
                attached.busy = true;
                taken.push((*point, attached.number));
            }
        }
        taken
    }

    /// What is to be pushed next to a point that was taken; afterwards it is free if there is
    /// nothing.
    pub(super) fn next_push(&self, point: Point, number: u64) -> Option<Push> {
        let mut known = self.known();
        let (state, doors) = (known.newest.clone()?, known.doors);
        let entry = known.points.get_mut(&point)?;
        let attached = entry.attached_as(number)?;
        if !attached.is_behind(state.revision) {
            attached.busy = false;
            return None;
        }
        Some(Push {
            link: attached.link.clone(),
            told: attached.told,
            doors: attached.told < doors,
            state,
        })
    }

    /// A point took over a state.
    pub(super) fn took_over(
        &self,
        (point, number): (Point, u64),
        (to, ended, earlier): (Revision, Ended, Vec<Step>),
        at: BootTime,
    ) {
        if let Some(entry) = self.known().points.get_mut(&point)
            && let Some(attached) = entry.attached_as(number)
        {
            attached.failed = None;
            attached.silent = false;
            let told = std::mem::replace(&mut attached.told, to);
            let is_first = attached.given.replace(to).is_none();
            // What a gateway says first over a link may be of a new process, which knows nothing
            // of what the one before it ended; a node goes on where it was told to.
            let mut after = match attached.link {
                Link::Gateway(_) if is_first => to,
                _ => told,
            };
            if let Some(last) = earlier.last() {
                after = last.to;
            }
            entry.is_in_force(to);
            for step in earlier {
                entry.answered(step, at);
            }
            entry.answered(Step { after, to, ended }, at);
        }
        self.change();
    }

    /// A point did not take over a state; it is free again.
    pub(super) fn failed(&self, point: Point, number: u64, failure: Failure) {
        if let Some(entry) = self.known().points.get_mut(&point)
            && let Some(attached) = entry.attached_as(number)
        {
            attached.busy = false;
            attached.failed = Some(failure);
        }
        self.change();
    }

    /// A point said what is in force there.
    pub(super) fn heard(&self, point: Point, in_force: Revision) {
        let mut known = self.known();
        let entry = known.points.entry(point).or_default();
        entry.is_in_force(in_force);
        if let Some(attached) = &mut entry.attached {
            attached.silent = false;
        }
        drop(known);
        self.change();
    }

    pub(super) fn view(&self, point: Point) -> View {
        let known = self.known();
        let entry = known.points.get(&point);
        let attached = entry.and_then(|entry| entry.attached.as_ref());
        View {
            attached: attached.is_some(),
            is_awaited: attached.is_some_and(|attached| !attached.silent),
            in_force: entry.map_or(Revision::ZERO, |entry| entry.in_force),
            given: attached.and_then(|attached| attached.given),
            busy: attached.is_some_and(|attached| attached.busy),
            failed: attached.and_then(|attached| attached.failed.clone()),
        }
    }

    /// The points that are linked.
    pub(super) fn attached(&self) -> Vec<Point> {
        let known = self.known();
        let attached = known.points.iter();
        let attached = attached.filter(|(_, entry)| entry.attached.is_some());
        attached.map(|(point, _)| *point).collect()
    }

    /// What a point ended because of `revision`, and when it said so, as far as it is remembered.
    pub(super) fn ended_at(&self, point: Point, revision: Revision) -> Option<(BootTime, Ended)> {
        let known = self.known();
        let mut answers = known.points.get(&point)?.answers.iter();
        let answer = answers.find(|one| one.after < revision && revision <= one.to)?;
        Some((answer.at, answer.ended.clone()))
    }

    /// A gateway that is linked, one that was heard lately if there is one.
    pub(super) fn any_gateway(&self) -> Option<Arc<dyn Enforce>> {
        let known = self.known();
        let attached = known.points.values().filter_map(|e| e.attached.as_ref());
        let mut gateways: Vec<_> = attached
            .filter_map(|attached| match &attached.link {
                Link::Gateway(link) => Some((attached.silent, link)),
                Link::Node(_) => None,
            })
            .collect();
        gateways.sort_by_key(|(silent, _)| *silent);
        gateways.first().map(|(_, link)| Arc::clone(link))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) {
        self.changed.send_replace(());
    }
}

impl Default for Known {
    fn default() -> Self {
        Self {
            newest: None,
            doors: Revision::ZERO,
            points: BTreeMap::new(),
            attachments: 0,
        }
    }
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            attached: None,
            in_force: Revision::ZERO,
            lapsed: None,
            answers: VecDeque::new(),
        }
    }
}

impl Attached {
    fn is_behind(&self, newest: Revision) -> bool {
        self.given.is_none_or(|given| given < newest)
    }
}

impl Entry {
    /// Remembers what a point ended, unless that is known: an answer that was not lost is told
    /// again.
    fn answered(&mut self, step: Step, at: BootTime) {
        let Step { after, to, ended } = step;
        let known = |one: &Answer| (one.after, one.to) == (after, to);
        if self.answers.iter().any(known) {
            return;
        }
        if self.answers.len() == ANSWERS_MAX {
            self.answers.pop_front();
        }
        self.answers.push_back(Answer {
            after,
            to,
            at,
            ended,
        });
    }

    fn is_in_force(&mut self, revision: Revision) {
        self.in_force = self.in_force.max(revision);
        self.lapsed.take_if(|lapsed| *lapsed <= revision);
    }

    fn attached_as(&mut self, number: u64) -> Option<&mut Attached> {
        let attached = self.attached.as_mut();
        attached.filter(|attached| attached.number == number)
    }
}
