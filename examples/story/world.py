"""What plays on real AIMS processes need: a world of their own, and the processes in it.

Uses nothing but the standard library and the command `aims`.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

# Outside of every account, and of the uids that AIMS gives out itself.
TOOL_UID = 1_999_999_999
# Each node and gateway has uids of its own on this one host.
UIDS_EACH = 2_048
UIDS_HALF = 32_768


class Failed(Exception):
    """Something was not as it is said."""


def check(what, holds, seen=""):
    """One checked statement."""
    mark = "✓" if holds else "✗"
    print(f"    {mark} {what}", flush=True)
    if not holds:
        raise Failed(f"{what}\n      seen: {seen}")


def title(number, words):
    print(f"\n\033[1m{number}. {words}\033[0m" if sys.stdout.isatty() else f"\n{number}. {words}")


def say(words):
    print(f"  {words}", flush=True)


def table(head, rows):
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, ["─" * w for w in widths], *rows]:
        print("    " + "  ".join(str(cell).ljust(w) for cell, w in zip(row, widths)).rstrip())


class World:
    """Everything that one play needs, in one directory that whoever made it removes."""

    # First of the uids that agents and tools get; two worlds on one host need two.
    uid_base = 2_000_000_000
    # Names that the installation resolves itself.
    hosts = {}

    def __init__(self, options):
        self.options = options
        self.dir = pathlib.Path(options.world)
        self.agent = self.dir / "agent"
        self.profile = self.dir / "home" / "alice.toml"
        self.config = self.dir / "aims.toml"
        self.processes = []
        self.gateways = {}
        self.python = pathlib.Path(options.agent_venv) / "bin" / "python"

    def aims(self, *args, expect=0, quiet=False, who=None):
        """Runs `aims … --json` as alice, or with another profile; returns what it printed."""
        profile = str(who or self.profile)
        command = [self.options.aims, "--profile", profile, "--json", *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if expect is not None and done.returncode != expect:
            raise Failed(f"`aims {' '.join(map(str, args))}` ended with {done.returncode}:\n"
                         f"{done.stdout}\n{done.stderr}")
        if quiet:
            return done
        return json.loads(done.stdout)

    def show(self, *args, lines=80):
        """Runs `aims …` and shows what a person sees; of a long text the beginning and the end."""
        command = [self.options.aims, "--profile", str(self.profile), *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = done.stdout.splitlines()
        if len(said) > lines:
            left_out = len(said) - lines
            said = said[:lines - 20] + [f"  … {left_out} more lines …"] + said[-20:]
        for line in said:
            print(f"    {line}")
        if done.returncode != 0:
            raise Failed(f"`aims {' '.join(map(str, args))}`: {done.stderr}")
        return done.stdout

    def log_tail(self, most=3000):
        log = self.dir / "aims.log"
        return log.read_text()[-most:] if log.exists() else ""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def quoted(items):
    return "[" + ", ".join(json.dumps(str(item)) for item in items) + "]"


def stdlib(python):
    code = "import sysconfig; print(sysconfig.get_path('stdlib'))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True,
                          text=True).stdout.strip()


def hosts_table(world):
    return "[egress.hosts]\n" + "".join(
        f"{json.dumps(name)} = {json.dumps(address)}\n" for name, address in world.hosts.items())


def write_config(world):
    world.api_port = free_port()
    world.links_port = free_port()
    links = f'[links]\nlisten = "127.0.0.1:{world.links_port}"\n' if world.options.apart else ""
    world.config.write_text(f"""\
# `aims check-config` shows every key with its value in force.
trust_domain = "aims.local"
data_dir = "{world.dir}/data"
stage_dir = "{world.dir}/stage"
runtime_dir = "{world.dir}/run"
master_key_file = "{world.dir}/home/master.key"

[api]
listen = "127.0.0.1:{world.api_port}"

[gateway]
uid_base = {world.uid_base}

{links}
# Names that this installation resolves itself. Other private addresses stay out of reach.
{hosts_table(world)}""")


def init(world):
    """A trust domain with alice as its operator."""
    done = subprocess.run(
        [world.options.aims, "init", "--config", str(world.config), "--operator", "alice",
         "--profile", str(world.profile)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"aims init: {done.stderr}")


def start_process(world, name, config):
    log = open(world.dir / "aims.log", "a", encoding="utf-8")
    process = subprocess.Popen(
        [world.options.aims, name, "--config", str(config)], stdout=log, stderr=log,
        start_new_session=True)
    log.close()
    world.processes.append(process)
    return process


def start(world):
    """The server alone, or everything in one process; returns when it is ready."""
    server = start_process(world, "server" if world.options.apart else "up", world.config)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            with socket.create_connection(("127.0.0.1", world.api_port), timeout=1) as one:
                one.sendall(b"GET /ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                if one.recv(64).startswith(b"HTTP/1.1 200"):
                    return server
        except OSError:
            pass
        time.sleep(0.1)
    raise Failed("aims did not become ready:\n" + world.log_tail(4000))


def stop(world):
    # Nodes first, then gateways, and the server, to which they all tell their end, last.
    for process in reversed(world.processes):
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def point_config(world, kind, number, gateway=None):
    """The settings of one node or gateway, as on a host of its own."""
    name = f"{kind}-{number}"
    path = world.dir / f"{name}.toml"
    base = world.uid_base + (UIDS_HALF if kind == "node" else 0) + UIDS_EACH * number
    if kind == "gateway":
        world.gateways[number] = free_port()
        section = (f'[gateway]\nlisten = "127.0.0.1:{world.gateways[number]}"\n'
                   f'address = "127.0.0.1:{world.gateways[number]}"\nuid_base = {base}\n')
    else:
        port = world.gateways[number if gateway is None else gateway]
        section = (f'[node]\nruntime_dir = "{world.dir}/{name}/run"\n'
                   f'gateway = "127.0.0.1:{port}"\nuid_base = {base}\nuid_count = {UIDS_EACH}\n')
    path.write_text(f"""\
server = "127.0.0.1:{world.links_port}"
data_dir = "{world.dir}/{name}/data"
stage_dir = "{world.dir}/{name}/stage"
master_key_file = "{world.dir}/home/{name}.key"

{section}
[api]
listen = "127.0.0.1:0"
{hosts_table(world)}""")
    return path


def permission(world, kind, number):
    """A single-use token in a file, and the bundle to pin."""
    allowed = world.aims("point", "allow", kind)
    token = world.dir / "home" / f"{kind}-{number}.token"
    token.write_text(allowed["token"])
    return token, allowed["bundle"]


def linked(world, number, seconds=30):
    """Waits until that many nodes and gateways are linked and hold leases."""
    deadline = time.monotonic() + seconds
    points = []
    while time.monotonic() < deadline:
        points = world.aims("point", "list")
        ready = [p for p in points if p["linked"] and p["lease_left_millis"]]
        if len(ready) == number:
            return points
        time.sleep(0.2)
    raise Failed(f"not {number} nodes and gateways are linked and hold leases: {points}")


def profiles_of_nodes(world, count):
    """For each node a profile of alice whose commands go to it; the first becomes her usual."""
    text = world.profile.read_text()
    usual = f"{world.dir}/run/node.sock"
    found = []
    for number in range(count):
        path = world.profile.with_name(f"alice-node-{number}.toml")
        path.write_text(text.replace(usual, f"{world.dir}/node-{number}/run/node.sock"))
        found.append(path)
    world.profile.write_text(found[0].read_text())
    return found


def processes_with(words):
    """How many processes of this machine have these words in their command line."""
    found = 0
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += words in path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            pass
    return found


def owned_by_tools(*paths):
    """As root a tool runs under a reserved uid of its own: the owner of what it writes."""
    if os.geteuid() == 0:
        for path in paths:
            os.chown(path, TOOL_UID, TOOL_UID, follow_symlinks=False)
