"""What a token costs, over HTTPS, on real processes, beside the signature alone.

Agents that run elsewhere, on the public library `requests-oauth2client`, ask for tokens at once:
first by client credentials with a signed assertion, then by exchange for one that carries less.
The clients are Python and use the processor too, so what the server uses for each token says more
than the rate. Prints a table; asserts nothing about it.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import types

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "examples" / name) for name in ("faults", "others")]

import field as fields  # noqa: E402
import remotes  # noqa: E402
import world as worlds  # noqa: E402
from kill_times import describe  # noqa: E402
from mcp_calls import cpu_seconds, figures, row  # noqa: E402

KINDS = ("client credentials", "token exchange")


class Bench(fields.Field):
    uid_base = 2_040_000_000


def asker(world, number):
    """A process that asks for tokens from one instant to another, with a task of its own."""
    name = f"asker-{number}"
    key = remotes.keygen(world, name)
    world.aims("agent", "register", remotes.manifest(world, name))
    task = world.aims("task", "start", task_manifest(world, name))["id"]
    part = [{"type": "mcp_tool", "server": "witness", "actions": ["note"], "arguments": {}}]
    return {"issuer": world.issuer, "resource": world.resource, "task": task,
            "ca": str(world.ca), "client_id": f"spiffe://aims.local/agent/{name}",
            "key": str(key), "part": part}


def task_manifest(world, name):
    path = world.dir / f"{name}.task.toml"
    path.write_text(f'purpose = "asks for tokens"\nagent = "{name}"\nminutes = 60\nuses = 40\n'
                    '[[allow]]\nserver = "witness"\ntools = ["note"]\n')
    return path


def measure(world, plans, kind, seconds):
    begin = fields.boot_time() / 1e9 + 8
    at = {"begin": begin, "end": begin + seconds, "kind": kind}
    processes = [subprocess.Popen(
        [world.peer_python, str(ROOT / "bench" / "askers.py"), json.dumps(plan | at)],
        stdout=subprocess.PIPE, text=True) for plan in plans]
    time.sleep(max(0, begin - fields.boot_time() / 1e9))
    before = cpu_seconds(world.server.pid)
    time.sleep(seconds)
    used = cpu_seconds(world.server.pid) - before
    said = [json.loads(process.communicate()[0]) for process in processes]
    found = figures([[one] for one in said], seconds)
    return found | {"cpu": used / found["calls"] * 1e6}


def allow_held_keys(world):
    """The policies that AIMS starts with let nobody act outside of walls."""
    wall = 'unless { principal.assurance == "confined" };'
    text = world.aims("policy", "show")["text"]
    held = 'unless { ["confined", "key_held"].contains(principal.assurance) };'
    path = world.dir / "policy.cedar"
    path.write_text(text.replace(wall, held))
    world.aims("policy", "set", path)


def set_up(options, folder):
    world = Bench(types.SimpleNamespace(aims=options.aims, world=folder, apart=False,
                                        agent_venv=f"{folder}/venv"))
    world.more_trees = [world.options.agent_venv]
    world.peer_python = f"{options.peer_venv}/bin/python"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", f"{folder}/venv"],
                   check=True)
    world.agent.mkdir(parents=True)
    (world.dir / "home").mkdir(mode=0o700)
    world.witness.mkdir()
    worlds.owned_by_tools(world.witness)
    shutil.copy(ROOT / "examples" / "faults" / "witness.py", world.agent / "witness.py")
    shutil.copy(ROOT / "examples" / "faults" / "caller.py", world.agent / "caller.py")
    world.server = remotes.start_with_endpoints(world)
    fields.register(world, [])
    allow_held_keys(world)
    return world


def signatures(seconds=2):
    """How many ES256 signatures a second one core makes, by the library that others use."""
    done = subprocess.run(["openssl", "speed", "-mr", "-seconds", str(seconds), "ecdsap256"],
                          capture_output=True, text=True, check=True)
    each = re.search(r"^\+F4:\d+:\d+:([0-9.]+)", done.stdout, re.MULTILINE)
    return float(each[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--aims", default=str(ROOT / "target" / "release" / "aims"))
    parser.add_argument("--peer-venv", required=True, help="with `requests-oauth2client`")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--temp", default="/var/tmp", help="not /tmp: walls have one of their own")
    options = parser.parse_args()
    print(f"{options.aims}\n{describe()}\n")
    folder = tempfile.mkdtemp(prefix="aims-bench.", dir=options.temp)
    os.chmod(folder, 0o755)
    world, rows = None, []
    try:
        world = set_up(options, folder)
        plans = [asker(world, number) for number in range(max(options.clients))]
        for kind in KINDS:
            for clients in options.clients:
                found = measure(world, plans[:clients], kind, options.seconds)
                rows.append(row(f"{kind}, {clients} at once", found))
    finally:
        if world:
            worlds.stop(world)
        shutil.rmtree(folder)
    rate = signatures()
    rows.append(["ES256 signatures alone, one core", f"{rate:.0f}", f"{1e6 / rate:.0f}"] + ["-"] * 3)
    worlds.table(["tokens", "a second", "CPU µs each", "p50 ms", "p95 ms", "p99 ms"], rows)


if __name__ == "__main__":
    main()
