"""How long a kill takes until it is complete, on real processes, with a call in flight each time.

Server, node and a number of gateways are processes of their own on this host, over mutual
TLS. Each kill ends a task while a call of it is under way in a tool. Prints a table; asserts
nothing about it. Uses nothing but the standard library and the command `aims`.
"""

import argparse
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import types

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples" / "faults"))

import field as fields  # noqa: E402
import world as worlds  # noqa: E402

HOLD_MS = 60_000


class Bench(fields.Field):
    uid_base = 2_080_000_000


def one_kill(world, number, at_once):
    """Starts a call that takes long, kills its task, and says how long that took."""
    marker = f"k{number}"
    task = fields.start_task(world, marker, "caller")
    plan = {"task": marker, "label": marker, "hold_ms": HOLD_MS, "threads": at_once}
    caller = fields.Caller(world, task, "caller", plan)
    deadline = time.monotonic() + 60
    while sum(call[3] == marker for call in world.calls()) < at_once:
        if time.monotonic() > deadline:
            raise worlds.Failed(f"no call is in flight: {caller.events}\n{world.log_tail()}")
        time.sleep(0.02)
    receipt, asked, answered = fields.kill(world, "task", task)
    caller.end()
    points = receipt["points"]
    if sum(point["ended"]["calls"] for point in points) != at_once:
        raise worlds.Failed(f"the kill did not cut the call: {receipt}")
    return {"receipt": receipt["millis"], "caller": (answered - asked) / 1e6,
            "gateways": max(p["millis"] for p in points if p["point"].startswith("gtw_")),
            "node": max(p["millis"] for p in points if p["point"].startswith("nod_")),
            "lapsed": sum(p["how"] == "lapsed" for p in points)}


def command_alone(world, times=10):
    """What `aims` itself takes for a command that changes nothing."""
    took = []
    for _ in range(times):
        began = fields.boot_time()
        world.aims("point", "list")
        took.append((fields.boot_time() - began) / 1e6)
    return statistics.median(took)


def measure(options, gateways):
    folder = tempfile.mkdtemp(prefix="aims-bench.", dir=options.temp)
    os.chmod(folder, 0o755)
    venv = f"{folder}/venv"
    world = Bench(types.SimpleNamespace(aims=options.aims, world=folder, agent_venv=venv,
                                        apart=True))
    world.more_trees = [venv]
    try:
        subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", venv], check=True)
        fields.set_up(world, gateways=gateways, nodes=1)
        fields.register(world, ["caller"])
        one_kill(world, "warm-up", options.at_once)
        kills = [one_kill(world, number, options.at_once) for number in range(options.kills)]
        return kills, command_alone(world)
    finally:
        worlds.stop(world)
        shutil.rmtree(folder)


def row(name, values):
    values = sorted(values)
    p95 = values[min(len(values) - 1, round(0.95 * len(values)))]
    return [name, len(values)] + [f"{value:.0f}" for value in (
        values[0], statistics.median(values), p95, values[-1])]


def describe():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        model = next((line.split(":", 1)[1].strip() for line in info
                      if line.startswith("model name")), platform.machine())
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return f"{os.cpu_count()} × {model}, Linux {platform.release()}, load {load}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--aims", default=str(ROOT / "target" / "release" / "aims"))
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--gateways", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--at-once", type=int, default=1, help="calls in flight at each kill")
    parser.add_argument("--temp", default="/var/tmp", help="not /tmp: walls have one of their own")
    options = parser.parse_args()
    version = subprocess.run([options.aims, "--version"], capture_output=True, text=True,
                             check=True).stdout.strip()
    print(f"{version} ({options.aims})\n{describe()}\n")
    rows = []
    for gateways in options.gateways:
        kills, alone = measure(options, gateways)
        name = f"{gateways} gateway{'' if gateways == 1 else 's'}"
        rows += [row(f"{name}: the receipt", [k["receipt"] for k in kills]),
                 row("  its slowest gateway", [k["gateways"] for k in kills]),
                 row("  its node", [k["node"] for k in kills]),
                 row(f"{name}: the caller", [k["caller"] for k in kills])]
        print(f"{name}: {sum(k['lapsed'] for k in kills)} leases lapsed; `aims` for a command that "
              f"changes nothing takes {alone:.0f} ms (median)", flush=True)
    print()
    worlds.table(["ms until complete", "kills", "min", "median", "p95", "max"], rows)


if __name__ == "__main__":
    main()
