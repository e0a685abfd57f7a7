"""What a call through AIMS costs beside the same call over the tool's own pipes, on real processes.

Everything in one process (`aims up`), one agent inside walls with a number of clients, each with
an MCP session and so a tool server of its own. The same program then calls the same tool server
directly. Prints a table; asserts nothing about it. Uses nothing but the standard library and the
command `aims`.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import types

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples" / "faults"))

import field as fields  # noqa: E402
import world as worlds  # noqa: E402
from kill_times import describe  # noqa: E402

# A gateway gives an instance this many sessions.
CLIENTS_EACH = 8
TICKS = os.sysconf("SC_CLK_TCK")


class Bench(fields.Field):
    uid_base = 2_060_000_000


def cpu_seconds(process):
    """What the process has used so far, in user and in kernel mode."""
    with open(f"/proc/{process}/stat", encoding="utf-8") as stat:
        fields_of = stat.read().rsplit(")", 1)[1].split()
    return (int(fields_of[11]) + int(fields_of[12])) / TICKS


def figures(callers, seconds):
    """One line of figures of all callers' calls."""
    every = sorted(nanos for events in callers for event in events if event["event"] == "took"
                   for nanos in event["nanos"])
    if not every:
        raise worlds.Failed(f"no figures: {callers}")
    place = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
    return {"calls": len(every), "rate": len(every) / seconds} | {
        name: every[int(len(every) * part)] / 1e6 for name, part in place.items()}


def plans(clients, seconds):
    """What each process of callers does: it has so many clients, and all begin at once."""
    counts = [min(CLIENTS_EACH, clients - first) for first in range(0, clients, CLIENTS_EACH)]
    begin = fields.boot_time() / 1e9 + 8 + 3 * len(counts)
    return [{"label": f"bench-{number}", "clients": count, "begin": begin, "end": begin + seconds}
            for number, count in enumerate(counts)]


def through(world, clients, seconds):
    """The agents' figures, and what AIMS used of the processor for each call."""
    task = fields.start_task(world, "bench", "callers")
    plan = plans(clients, seconds)
    callers = [fields.Caller(world, task, "callers", one, program="callers.py") for one in plan]
    server = world.by_name["server"].pid
    sleep_until(plan[0]["begin"])
    before = cpu_seconds(server)
    sleep_until(plan[0]["end"])
    used = cpu_seconds(server) - before
    for caller in callers:
        caller.wait_for("took", seconds=60)
        caller.end()
    world.aims("task", "end", task)
    all_of_it = figures([caller.events for caller in callers], seconds)
    return all_of_it | {"cpu": used / all_of_it["calls"] * 1e6}


def sleep_until(begin):
    time.sleep(max(0, begin - fields.boot_time() / 1e9))


def direct(world, clients, seconds):
    command = [str(world.python), str(world.agent / "witness.py"), str(world.witness)]
    processes = [
        subprocess.Popen([str(world.python), str(world.agent / "callers.py"),
                          json.dumps(one | {"command": command})],
                         stdout=subprocess.PIPE, text=True)
        for one in plans(clients, seconds)]
    said = [process.communicate()[0] for process in processes]
    return figures([[json.loads(line) for line in text.splitlines()] for text in said], seconds)


def measure(options):
    folder = tempfile.mkdtemp(prefix="aims-bench.", dir=options.temp)
    os.chmod(folder, 0o755)
    venv = f"{folder}/venv"
    world = Bench(types.SimpleNamespace(aims=options.aims, world=folder, agent_venv=venv,
                                        apart=False))
    world.more_trees = [venv]
    try:
        subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", venv], check=True)
        fields.set_up(world)
        shutil.copy(ROOT / "bench" / "callers.py", world.agent / "callers.py")
        fields.register(world, ["callers"], program="callers.py")
        for clients in options.clients:
            yield clients, through(world, clients, options.seconds), direct(
                world, clients, options.seconds)
    finally:
        worlds.stop(world)
        shutil.rmtree(folder)


def row(who, one):
    cpu = f"{one['cpu']:.0f}" if "cpu" in one else "-"
    return [who, f"{one['rate']:.0f}", cpu, *(f"{one[name]:.2f}" for name in ("p50", "p95", "p99"))]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--aims", default=str(ROOT / "target" / "release" / "aims"))
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--temp", default="/var/tmp", help="not /tmp: walls have one of their own")
    options = parser.parse_args()
    print(f"{options.aims}\n{describe()}\n")
    rows = []
    for clients, aims, pipes in measure(options):
        who = f"{clients} client{'' if clients == 1 else 's'}"
        rows += [row(f"{who}: through AIMS", aims), row("  the tool's own pipes", pipes)]
    worlds.table(["calls", "a second", "CPU µs each", "p50 ms", "p95 ms", "p99 ms"], rows)


if __name__ == "__main__":
    main()
