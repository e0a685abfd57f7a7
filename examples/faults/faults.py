"""Kills, crashes and pauses on real processes, with a tool's own log as the witness.

`witness.py` writes down the instant of every call before it does anything else; `caller.py` calls
in a loop and does not give up. What they show is held against receipts and against AIMS's log. The
same options as the story's. Uses nothing but the standard library and the command `aims`.
Exits 0 only if everything that it says was seen.
"""

import argparse
import collections
import hashlib
import json
import pathlib
import random
import signal
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import field as fields  # noqa: E402
from field import Caller, Field, boot_time, instances, kill, start_task, sub_order  # noqa: E402
import world as worlds  # noqa: E402
from world import Failed, check, linked, processes_with, say, table, title  # noqa: E402

ROUNDS = 3
LAUNCHES = 12
PAUSES = 4
LEASE_MILLIS = 5_000
# The margin twice, and what two cores need for a command.
KILL_MILLIS_MAX = LEASE_MILLIS + 500 + 1_500
LINES_MAX = 20_000
AGENTS = ["caller-a", "caller-b", "caller-c", "helper"]


# --- what the witness says ---------------------------------------------------------------------


def since(world, labels, instant):
    """What began or went on for these labels after the instant."""
    return [call for call in world.calls() if call[3] in labels and call[0] > instant]


def begun(world, marker):
    return [call for call in world.calls() if call[1] == "begin" and call[2] == marker]


def arguments_of(plan, n):
    """The digest of the argument bytes that a caller sent."""
    call = {"task": plan["task"], "label": plan["label"], "n": n,
            "hold_ms": plan.get("hold_ms", 0)}
    return "sha256:" + hashlib.sha256(json.dumps(call).encode()).hexdigest()


def nothing_acknowledged_is_lost(world, task, callers):
    """What a client saw succeed is in the log as permitted and done."""
    wanted = {arguments_of(c.plan, n) for c in callers for n in c.numbers("ok")}
    deadline = time.monotonic() + 20
    while True:
        calls = world.aims("trace", task)["calls"]
        done = {c["arguments"] for c in calls if c["verdict"] == "permit" and c["outcome"]}
        if wanted <= done or time.monotonic() > deadline:
            break
        time.sleep(0.3)
    check(f"each of the {len(wanted)} calls that a client saw succeed is in the log",
          wanted <= done, f"{len(wanted - done)} are not")
    return calls


def at_most_once(world, marker):
    calls = begun(world, marker)
    twice = [key for key, times in collections.Counter((c[3], c[4]) for c in calls).items()
             if times > 1]
    check(f"each of the {len(calls)} calls that began there began once", not twice, twice[:5])


# --- kills that race with calls ----------------------------------------------------------------


class Kills:
    """Kills under way in threads, and which callers each of them ends."""

    def __init__(self, world):
        self.world = world
        self.done = []
        self.failures = []
        self.threads = []

    def start(self, kind, name, labels):
        def work():
            try:
                receipt, asked, answered = kill(self.world, kind, name)
                self.done.append((kind, labels, receipt, asked, answered))
            except Failed as failure:
                self.failures.append(failure)
        thread = threading.Thread(target=work)
        thread.start()
        self.threads.append(thread)

    def wait(self):
        for thread in self.threads:
            thread.join()
        self.threads.clear()
        if self.failures:
            raise self.failures[0]


def one_round(world, number, kills):
    """Three tasks, four agents, six instances; everything is killed while it calls."""
    far = len(world.nodes) - 1
    plan = {"threads": 2, "seconds": 120}
    tasks = {letter: start_task(world, f"{number}{letter}", f"caller-{letter}")
             for letter in "abc"}

    def caller(letter, index, node, **more):
        label = f"{number}{letter}{index}"
        told = plan | {"task": f"{number}{letter}", "label": label, "hold_ms": 10 * index} | more
        return Caller(world, tasks[letter], f"caller-{letter}", told, node)

    sub = plan | {"task": f"{number}c", "label": f"{number}sub"}
    callers = [caller("a", 0, 0), caller("a", 1, far), caller("b", 0, 0), caller("b", 1, far),
               caller("c", 0, far, delegate=sub_order(world, f"{number}c", "helper", sub))]
    for one in callers:
        one.wait_for("ok", 3)
    delegation = callers[4].wait_for("started")["delegation"]
    while not any(c[3] == sub["label"] for c in world.calls()):
        time.sleep(0.1)
    labels = [c.label for c in callers]
    ids = instances(world, tasks["b"])
    time.sleep(random.uniform(0, 1))
    kills.start("instance", ids[labels[2]], {labels[2]})
    time.sleep(random.uniform(0, 0.2))
    kills.start("delegation", delegation, {sub["label"]})
    kills.wait()
    time.sleep(random.uniform(0.5, 1))
    for _, dead, _, _, answered in kills.done[-2:]:
        alive = {labels[3]} if dead == {labels[2]} else {labels[4]}
        check(f"{', '.join(dead)} is killed; {', '.join(alive)} beside it goes on",
              since(world, alive, answered))
    kills.start("task", tasks["a"], set(labels[:2]))
    time.sleep(random.uniform(0, 0.3))
    kills.start("agent", "caller-b", set(labels[2:4]))
    time.sleep(random.uniform(0, 0.3))
    kills.start("task", tasks["c"], {labels[4], sub["label"]})
    kills.wait()
    for one in callers:
        code = one.end()
        check(f"{one.label} ended with {code}", code != 0, one.events[-3:])
    world.aims("agent", "activate", "caller-b")


def launches(world, kills):
    """Kills that land while what they end is being started."""
    for number in range(LAUNCHES):
        marker = f"l{number}"
        task = start_task(world, marker, "caller-a")
        plan = {"task": marker, "label": marker, "threads": 1, "seconds": 120}
        sub = plan | {"label": f"{marker}sub"}
        order = sub_order(world, marker, "helper", sub)
        one = Caller(world, task, "caller-a", plan | {"delegate": order},
                     number % len(world.nodes))
        if number % 2:
            one.wait_for("up")
        time.sleep(random.uniform(0, 3))
        kind = ("task", "agent", "freeze")[number % 3]
        kills.start(kind, "caller-a" if kind == "agent" else task, {marker, sub["label"]})
        kills.wait()
        one.end()
        if kind == "agent":
            world.aims("agent", "activate", "caller-a")
        elif kind == "freeze":
            world.aims("resume", task)
            again = Caller(world, task, "caller-a", plan | {"label": f"{marker}new", "most": 2})
            check(f"{marker} is resumed, and a new instance calls",
                  again.end() == 0 and len(again.numbers("ok")) == 2, again.events)


def slow_readers(world):
    """Agents that go on while what their call was decided under is killed, and read only then."""
    task = start_task(world, "slow", "caller-a")
    plan = {"task": "slow", "patience_ms": 20_000}
    readers = [Caller(world, task, "caller-a", plan | {"label": f"slow-{node}"}, node)
               for node in range(len(world.nodes))]
    for one in readers:
        one.wait_for("waits")
    policy = world.aims("policy", "show")
    path = world.dir / "again.cedar"
    path.write_text(policy["text"])
    receipt, _, _ = kill(world, "policy", policy["id"])
    for one in readers:
        seen = one.wait_for("read")
        check(f"the policy is killed: of 2 MB {one.label} reads {seen['bytes']} bytes more",
              seen["reset"] and seen["bytes"] <= seen["here"] < 100_000, [seen, receipt])
        check(f"{one.label} itself goes on, and ends well", one.end() == 0, one.events)
    world.aims("policy", "set", path)
    works(world, "slow-after")


def race(world):
    title(1, "Race: calls in a loop while kills land")
    kills = Kills(world)
    for number in range(ROUNDS):
        one_round(world, number, kills)
    launches(world, kills)
    slow_readers(world)
    time.sleep(2)
    calls = world.calls()
    rows, late = [], []
    for kind, labels, receipt, asked, answered in kills.done:
        under = [c for c in calls if c[3] in labels]
        late += [(kind, c) for c in under if c[0] > answered]
        before = [f"{(answered - c[0]) / 1e6:.1f} ms" for c in under[-1:]]
        rows.append([kind, len(under), f"{receipt.get('millis', '-')} ms",
                     f"{(answered - asked) / 1e6:.0f} ms", *(before or ["-"])])
    table(["kill of", "lines of the witness", "receipt", "caller", "last line before it"], rows)
    count = sum(c[1] == "begin" for c in calls)
    check(f"{count} calls began, {len(kills.done)} kills landed", count > 300 and len(rows) >= 12)
    check("nothing began or went on under what was killed after its kill had returned",
          not late, late[:10])
    points = [p for k in kills.done for p in k[2].get("points", [])]
    check(f"{len(points)} times a node or gateway acknowledged", points and all(
        p["how"] == "acknowledged" for p in points), points)
    ends = [p["ended"] for p in points]
    say("ended: " + ", ".join(f"{sum(e[what] for e in ends)} {what}"
                              for what in ("calls", "servers", "instances")))


# --- crashes -----------------------------------------------------------------------------------


def works(world, marker):
    """`aims run` works on each node, and the calls of what it runs are permitted."""
    task = start_task(world, marker, "caller-a")
    for node in range(len(world.nodes)):
        plan = {"task": marker, "label": f"{marker}-{node}", "most": 3, "seconds": 30}
        one = Caller(world, task, "caller-a", plan, node)
        code = one.end()
        check(f"`aims run` works at node {node}", code == 0 and len(one.numbers("ok")) == 3,
              one.events)


class Spender:
    """A task with a budget, spent in a loop at every node while something crashes."""

    def __init__(self, world, marker, budget):
        self.world, self.marker, self.budget = world, marker, budget
        self.task = start_task(world, marker, "caller-a", uses=budget)
        self.callers = []

    def spend(self, node, **more):
        plan = {"task": self.marker, "label": f"{self.marker}-{len(self.callers)}",
                "threads": 2, "hold_ms": 150, "seconds": 120} | more
        one = Caller(self.world, self.task, "caller-a", plan, node)
        self.callers.append(one)
        return one

    def exhaust(self):
        """Spends what is left, at each node, until the budget refuses."""
        for node in range(len(self.world.nodes)):
            one = self.spend(node, threads=1, hold_ms=0)
            deadline = time.monotonic() + 60
            while not any(e["event"] == "refused" and "uses" in e["why"] for e in one.events):
                if time.monotonic() > deadline or not one.reader.is_alive():
                    raise Failed(f"the budget never refused at node {node}: {one.events[-4:]}\n"
                                 + self.world.log_tail())
                time.sleep(0.1)

    def settle(self):
        self.exhaust()
        kill(self.world, "task", self.task)
        for one in self.callers:
            one.end()
        calls = nothing_acknowledged_is_lost(self.world, self.task, self.callers)
        permits = sum(c["verdict"] == "permit" for c in calls)
        count = len(begun(self.world, self.marker))
        seen = sum(len(one.numbers("ok")) for one in self.callers)
        check(f"a budget of {self.budget} with the crash in its middle: {permits} permitted, "
              f"{count} begun, {seen} seen to succeed",
              permits == self.budget and seen <= count <= permits, calls[-3:])
        at_most_once(self.world, self.marker)


def crash(world, name, number):
    """`kill -9` while calls are under way; what is left of the budget is spent afterwards."""
    say(f"kill -9 of {name}, first in mid-call, then idle:")
    spender = Spender(world, f"{name}-{number}", 60)
    for node in range(len(world.nodes)):
        spender.spend(node)
    for one in spender.callers:
        one.wait_for("ok", 6)
    time.sleep(random.uniform(0, 0.3))
    ended = [c.label for c in spender.callers] if name == "server" else [spender.callers[0].label]
    runs_agents = name == "node-0" or not world.options.apart
    crash_and_start(world, name, ended if runs_agents else [])
    spender.settle()
    crash_and_start(world, name)
    works(world, f"{name}-{number}-idle")


def crash_and_start(world, name, ended=()):
    count = len([one for one in world.by_name if one != "server"])
    world.end_process(name)
    if ended:
        time.sleep(1)
        left = [label for label in ended if processes_with(f'"label": "{label}"')]
        check(f"{len(ended)} agents that ran there ended with it", not left, left)
    if name == "server":
        world.start_server()
    else:
        world.start_point(name)
    if count:
        linked(world, count)


def crash_of_all(world):
    title(2, "Crash: kill -9 of everything, in mid-call and idle")
    for number in range(3):
        crash(world, "server", number)


def crashes(world):
    title(2, "Crash: kill -9 of the server and of the gateway that counts, in mid-call and idle")
    for name in ("server", "gateway-0"):
        crash(world, name, 0)


def more_crashes(world):
    title(2, "Crash: kill -9 of a node and of the other gateway, in mid-call and idle")
    for name in ("node-0", "gateway-1"):
        crash(world, name, 0)
    ownership(world)


def crashes_around_kills(world):
    title(3, "Crash: kill -9 of each process before and during a kill")
    crash_of_gateway_before_kill(world)
    for name in ("gateway-0", "server", "node-0"):
        crash_during_kill(world, name)


def ownership(world):
    say("A budget's owner goes away, in order and by a crash; the other gateway is asked:")
    spender = Spender(world, "moves", 40)
    first = spender.spend(0, most=10, threads=1, hold_ms=0)
    first.wait_for("done")
    world.by_name["gateway-0"].terminate()
    world.by_name["gateway-0"].wait(30)
    second = spender.spend(1, most=10, threads=1, hold_ms=0)
    second.wait_for("done")
    check("the owner stopped in order: the other gateway goes on with the same budget",
          len(second.numbers("ok")) == 10, second.events[-3:])
    world.start_point("gateway-0")
    linked(world, 4)
    back = spender.spend(0, most=10, threads=1, hold_ms=0)
    back.wait_for("done")
    world.end_process("gateway-1")
    third = spender.spend(0, most=1, threads=1, hold_ms=0)
    third.wait_for("ok")
    check("the owner crashed: once its lease has ended, the other goes on while it is gone",
          world.by_name["gateway-1"].poll() is not None, third.events)
    before = accounted(world)
    world.start_point("gateway-1")
    linked(world, 4)
    deadline = time.monotonic() + 60
    while accounted(world) == before and time.monotonic() < deadline:
        time.sleep(0.2)
    check("the log of the lost one is all here", accounted(world) > before)
    say("what it may have spent and did not is left again for the owner after this one:")
    world.by_name["gateway-0"].terminate()
    world.by_name["gateway-0"].wait(30)
    last = spender.spend(1, most=1, threads=1, hold_ms=0)
    last.wait_for("ok")
    world.start_point("gateway-0")
    linked(world, 4)
    spender.settle()


def accounted(world):
    """How often the log of a lost owner was all here."""
    return world.aims("log", "check")["kinds"].get("tree.accounted", 0)


def how(receipt, world, name):
    found = [p for p in receipt["points"] if p["point"] == world.points[name]]
    return found[0]["how"] if found else "no lease"


def busy(world, marker, node=0, **more):
    task = start_task(world, marker, "caller-a")
    plan = {"task": marker, "label": f"{marker}-0", "threads": 2, "seconds": 120} | more
    one = Caller(world, task, "caller-a", plan, node)
    one.wait_for("ok", 4)
    return task, one


def crash_of_gateway_before_kill(world):
    say("A gateway crashes; right after it a kill:")
    task, one = busy(world, "gone", hold_ms=300)
    slow = Caller(world, task, "caller-a", {"task": "gone", "label": "gone-slow", "seconds": 120,
                                            "hold_ms": 8_000})
    while not since(world, {slow.label}, 0):
        time.sleep(0.05)
    crashed = boot_time()
    world.end_process("gateway-0")
    receipt, _, answered = kill(world, "task", task)
    seen = how(receipt, world, "gateway-0")
    check(f"its lease lapsed, and the kill returned after {receipt['millis']} ms",
          seen == "lapsed" and receipt["millis"] < KILL_MILLIS_MAX, receipt)
    one.end()
    slow.end()
    world.start_point("gateway-0")
    linked(world, 4)
    time.sleep(4)
    late = since(world, {one.label, slow.label}, answered)
    check("nothing began or went on under it afterwards", not late, late)
    late = since(world, {one.label, slow.label}, crashed + 1_000_000_000)
    check("its tools ended with it, within a second", not late, late)
    works(world, "gone-after")


def crash_during_kill(world, name):
    say(f"{name} crashes while a kill waits for a gateway that is stopped:")
    task, one = busy(world, f"during-{name}")
    stopped = world.by_name["gateway-0"]
    stopped.send_signal(signal.SIGSTOP)
    kills = Kills(world)
    kills.start("task", task, {one.label})
    time.sleep(1)
    world.end_process(name)
    if name == "server":
        world.start_server()
    elif name != "gateway-0":
        world.start_point(name)
    for thread in kills.threads:
        thread.join()
    if kills.failures:
        say("the kill's own command failed: " + str(kills.failures[0]).splitlines()[-1][:200])
        kills = Kills(world)
        kills.start("task", task, {one.label})
        kills.wait()
    _, _, receipt, asked, answered = kills.done[0]
    took = (answered - asked) / 1e6
    check(f"the kill returned after {took:.0f} ms; the stopped gateway: "
          f"{how(receipt, world, 'gateway-0')}", took < KILL_MILLIS_MAX, receipt)
    stopped.send_signal(signal.SIGCONT)
    if name == "gateway-0":
        world.start_point(name)
    linked(world, 4)
    one.end()
    time.sleep(1)
    late = [c for c in since(world, {one.label}, answered) if c[1] == "begin"]
    check("nothing began under it afterwards", not late, late)
    works(world, f"during-{name}-after")


# --- a gateway that is paused ------------------------------------------------------------------


def paused(world):
    title(4, "Pause: a gateway is stopped while a kill lands, and goes on afterwards")
    for number in range(PAUSES):
        task, one = busy(world, f"paused-{number}", threads=4, hold_ms=number * 5)
        slow = Caller(world, task, "caller-a", one.plan | {"label": f"slow-{number}", "threads": 1,
                                                           "hold_ms": 20_000})
        while not since(world, {slow.label}, 0):
            time.sleep(0.05)
        gateway = world.by_name["gateway-0"]
        time.sleep(random.uniform(0, 0.5))
        gateway.send_signal(signal.SIGSTOP)
        receipt, _, answered = kill(world, "task", task)
        seen = how(receipt, world, "gateway-0")
        check(f"the receipt says {seen}, after {receipt['millis']} ms",
              seen == "lapsed" and receipt["millis"] < KILL_MILLIS_MAX, receipt)
        gateway.send_signal(signal.SIGCONT)
        linked(world, 4)
        one.end()
        time.sleep(1)
        slow.end()
        late = since(world, {one.label, slow.label}, answered)
        check("nothing began after it went on", not [c for c in late if c[1] == "begin"], late)
        if late:
            say(f"{len(late)} calls had begun in its tools before, and went on to their end")
    works(world, "paused-after")


def verify(world):
    title(5, "Tell: everything recorded is verified")
    report = world.aims("log", "check")
    check(f"the log of {report['size']} records verifies", report["size"] > 100, report)
    lines = (world.dir / "aims.log").read_text().count("\n")
    check(f"crashes are told, not shouted: {lines} lines of AIMS's own log", lines < LINES_MAX)
    say(f"{len(report['open_intents'])} calls have no known outcome: what a crash leaves")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("aims", "world", "agent-venv"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("tool-venv", "node", "node-modules"):
        parser.add_argument(f"--{name}", help="unused: the story's")
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--only", default="",
                        help="of race, crash, more, around and pause only these")
    options = parser.parse_args()
    random.seed(options.seed)
    world = Field(options)
    world.more_trees = [options.agent_venv]
    print(f"seed {options.seed}")
    began = time.monotonic()
    parts = {"race": race, "crash": crashes if options.apart else crash_of_all}
    if options.apart:
        parts |= {"more": more_crashes, "around": crashes_around_kills, "pause": paused}
    try:
        fields.set_up(world)
        fields.register(world, AGENTS)
        for name, part in parts.items():
            if not options.only or name in options.only:
                part(world)
        verify(world)
        print(f"\nAll of it holds ({time.monotonic() - began:.0f} s).")
    except Failed as failure:
        print(f"\nNot all of it holds: {failure}\n\nThe end of AIMS's log:\n{world.log_tail()}",
              file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        worlds.stop(world)
    return 0


sys.exit(main())
