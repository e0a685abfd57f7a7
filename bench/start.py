"""How long AIMS takes to start, what it occupies, and what a proof of one call costs as the log
grows, on real processes, beside a command that does nothing.

Prints tables; asserts nothing about them. Uses nothing but the standard library and `aims`.
"""

import argparse
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
import types

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples" / "faults"))

import field as fields  # noqa: E402
import world as worlds  # noqa: E402
from kill_times import describe  # noqa: E402

TIMES = 7


class Bench(fields.Field):
    uid_base = 2_020_000_000


def took(times, work):
    """Milliseconds, median and most."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append((time.perf_counter() - began) * 1e3)
    return statistics.median(found), max(found)


def resident(process):
    """MiB that are in memory, and the most that ever were."""
    with open(f"/proc/{process.pid}/status", encoding="utf-8") as status:
        lines = dict(line.split(":", 1) for line in status if line.startswith("Vm"))
    return [int(lines[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")]


def forget_most(process):
    """From now on the most memory is counted anew."""
    pathlib.Path(f"/proc/{process.pid}/clear_refs").write_text("5", encoding="ascii")


def until_ready(world):
    """Starts everything in one process; returns at the first answer that it is ready."""
    process = worlds.start_process(world, "up", world.config)
    while process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", world.api_port), timeout=1) as one:
                one.sendall(b"GET /ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                if one.recv(64).startswith(b"HTTP/1.1 200"):
                    return process
        except OSError:
            pass
        time.sleep(0.001)
    raise worlds.Failed("aims did not become ready:\n" + world.log_tail(4000))


def restart(world):
    worlds.stop(world)
    world.processes.clear()
    return lambda: until_ready(world)


def starts(world):
    found = []
    for _ in range(TIMES):
        again = restart(world)
        found.append(took(1, again)[0])
    world.by_name["server"] = world.processes[-1]
    return statistics.median(found), max(found)


def calls(world, seconds):
    """Makes calls for a while."""
    task = fields.start_task(world, "bench", "callers")
    begin = fields.boot_time() / 1e9 + 20
    plan = {"label": "bench", "clients": 4, "begin": begin, "end": begin + seconds}
    caller = fields.Caller(world, task, "callers", plan, program="callers.py")
    caller.wait_for("took", seconds=60 + seconds)
    caller.end()
    world.aims("task", "end", task)


def permit(world):
    """A decision of the last calls, from the newest bundle of the log's entries."""
    bundles = (one for one in world.dir.rglob("tile/entries/**/*") if one.is_file())
    rest = max(bundles, key=lambda one: one.stat().st_mtime_ns).read_bytes()
    while rest:
        end = 2 + int.from_bytes(rest[:2], "big")
        record, rest = json.loads(rest[2:end]), rest[end:]
        if record["kind"] == "call.intent":
            return record["body"]["decision_id"]
    raise worlds.Failed("there is no permit in the newest bundle")


def checked(world):
    """How many records there are, and the milliseconds and MiB of checking all of them."""
    command = [world.options.aims, "--profile", str(world.profile), "--json", "log", "check"]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as out, subprocess.Popen(command, stdout=out) as check:
        _, status, used = os.wait4(check.pid, 0)
        check.returncode = os.waitstatus_to_exitcode(status)
        took_ms = (time.perf_counter() - began) * 1e3
        out.seek(0)
        size = json.load(out)["size"]
    return size, took_ms, used.ru_maxrss / 1024


def proofs(world):
    """One row: building a proof, verifying it, its size, checking the log, and the memory."""
    decision, server = permit(world), world.by_name["server"]
    memory = [resident(server)[0]]
    forget_most(server)
    file = world.dir / "one.proof"
    built = took(TIMES, lambda: (file.unlink(missing_ok=True),
                                 world.aims("proof", decision, "--out", file)))
    key = tomllib.loads(world.profile.read_text())["log_key"]
    (world.dir / "log.key").write_text(key)
    verify = [world.options.aims, "verify", str(file), "--log-key", str(world.dir / "log.key")]
    verified = took(TIMES, lambda: subprocess.run(verify, check=True, capture_output=True))
    memory = [*memory, resident(server)[1]]
    records, check_ms, check_mib = checked(world)
    row = [built[0], verified[0], file.stat().st_size / 1024, check_ms, check_mib, *memory]
    return [records, *(f"{one:.0f}" for one in row)]


def set_up(options, folder):
    venv = f"{folder}/venv"
    world = Bench(types.SimpleNamespace(aims=options.aims, world=folder, agent_venv=venv,
                                        apart=False))
    world.more_trees = [venv]
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", venv], check=True)
    fields.set_up(world)
    shutil.copy(ROOT / "bench" / "callers.py", world.agent / "callers.py")
    fields.register(world, ["callers"], program="callers.py")
    return world


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--aims", default=str(ROOT / "target" / "release" / "aims"))
    parser.add_argument("--seconds", type=float, nargs="+", default=[1, 30],
                        help="for how long calls are made before each proof")
    parser.add_argument("--temp", default="/var/tmp", help="not /tmp: walls have one of their own")
    options = parser.parse_args()
    print(f"{options.aims}\n{describe()}\n")
    folder = tempfile.mkdtemp(prefix="aims-bench.", dir=options.temp)
    os.chmod(folder, 0o755)
    world = None
    try:
        world = set_up(options, folder)
        start = starts(world)
        idle = resident(world.by_name["server"])
        grown = []
        for seconds in options.seconds:
            calls(world, seconds)
            grown.append(proofs(world))
        busy = resident(world.by_name["server"])
    finally:
        if world:
            worlds.stop(world)
        shutil.rmtree(folder)
    nothing = took(TIMES, lambda: subprocess.run([options.aims, "--version"], check=True,
                                                 capture_output=True))
    size = os.stat(options.aims).st_size / 2**20
    worlds.table(["what", "median", "most"], [
        ["`aims --version`, ms (the floor)", *(f"{one:.0f}" for one in nothing)],
        ["`aims up` until it is ready, ms", *(f"{one:.0f}" for one in start)],
        ["memory when idle, MiB", *(f"{one:.0f}" for one in idle)],
        ["memory after the calls, MiB", *(f"{one:.0f}" for one in busy)],
        ["the program, MiB", f"{size:.0f}", ""]])
    print()
    worlds.table(["records", "`proof`, ms", "`verify`, ms", "KiB", "`log check`, ms", "its MiB",
                  "server before proofs, MiB", "most at them"], grown)


if __name__ == "__main__":
    main()
