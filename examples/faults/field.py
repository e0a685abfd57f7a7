"""A world with agents that never give up and a tool that writes down what begins and when.

For `faults.py` and `bench/kill_times.py`. Uses nothing but the standard library and `aims`.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "story"))

import world as worlds  # noqa: E402
from world import Failed  # noqa: E402


def boot_time():
    """The witness's clock: it goes on while the machine sleeps, and nobody sets it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Field(worlds.World):
    """Processes by name, and what the witness wrote down."""

    # Not the story's: both may run on one host at once.
    uid_base = 2_100_000_000

    def __init__(self, options):
        super().__init__(options)
        self.witness = self.dir / "witness"
        self.by_name = {}
        self.points = {}
        self.nodes = []
        self.more_trees = []

    def start_point(self, name):
        kind = name.split("-")[0]
        self.by_name[name] = worlds.start_process(self, kind, self.dir / f"{name}.toml")

    def start_server(self):
        self.by_name["server"] = worlds.start(self)

    def end_process(self, name):
        """`kill -9`, and waits until it is gone."""
        self.by_name[name].kill()
        self.by_name[name].wait()

    def calls(self):
        """What the witness wrote: (instant, begin or end, task, label, number)."""
        log = self.witness / "calls.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [(int(at), what, task, label, int(n))
                for at, what, task, label, n in map(str.split, lines)]


def set_up(world, gateways=2, nodes=2):
    """A trust domain with alice, its processes, and nothing registered yet."""
    world.agent.mkdir(parents=True)
    (world.dir / "home").mkdir(mode=0o700)
    world.witness.mkdir()
    worlds.owned_by_tools(world.witness)
    for name in ("caller.py", "witness.py"):
        shutil.copy(HERE / name, world.agent / name)
    worlds.write_config(world)
    worlds.init(world)
    world.start_server()
    if not world.options.apart:
        world.nodes = [world.profile]
        return
    for kind, count in (("gateway", gateways), ("node", nodes)):
        for number in range(count):
            config = worlds.point_config(world, kind, number)
            token, bundle = worlds.permission(world, kind, number)
            joined = world.aims("join", "--config", config, "--token", token, "--bundle", bundle)
            world.points[f"{kind}-{number}"] = joined["point"]
            world.start_point(f"{kind}-{number}")
    worlds.linked(world, gateways + nodes)
    world.nodes = worlds.profiles_of_nodes(world, nodes)


def register(world, agents, program="caller.py"):
    tree = worlds.stdlib(world.python)
    for name in agents:
        path = world.dir / f"{name}.agent.toml"
        path.write_text(f"""\
name = "{name}"
owner = "alice"
purpose = "calls in a loop"
environment = "development"

[evidence]
interpreter = "{world.python}"
program = "{world.agent}/{program}"
trees = {worlds.quoted([tree, *world.more_trees])}
arguments = "any"
""")
        world.aims("agent", "register", path)
    path = world.dir / "witness.server.toml"
    argv = [world.python, world.agent / "witness.py", world.witness]
    trees = [tree, *world.more_trees, world.agent / "witness.py"]
    path.write_text(f"""\
name = "witness"
purpose = "writes down what begins"
argv = {worlds.quoted(argv)}
trees = {worlds.quoted(trees)}

[env]
HOME = "/tmp"
PATH = "/usr/bin:/bin"

[[paths]]
path = "{world.witness}"
writable = true
""")
    world.aims("tools", "register", path)


def start_task(world, marker, agent, uses=1_000_000):
    path = world.dir / f"{marker}.task.toml"
    path.write_text(f"""\
purpose = "calls on and on"
agent = "{agent}"
minutes = 60
uses = {uses}
depth = 1

[[allow]]
server = "witness"
tools = ["note"]
[allow.arguments]
task = {{ equals = "{marker}" }}
label = "any"
n = "any"
hold_ms = "any"
bytes = "any"
""")
    return world.aims("task", "start", path)["id"]


def sub_order(world, marker, agent, plan):
    """What a caller asks at the door to hand all of its task to another agent."""
    arguments = {"task": {"equals": marker}, "label": "any", "n": "any", "hold_ms": "any"}
    authority = {"authorization_details": [{"type": "mcp_tool", "server": "witness",
                                            "actions": ["note"], "arguments": arguments}],
                 "limits": {"uses": 100_000}}
    return {"agent": agent, "purpose": "calls on and on", "seconds": 600, "authority": authority,
            "command": [str(world.python), str(world.agent / "caller.py"), json.dumps(plan)]}


class Caller:
    """One `aims run` of the calling agent."""

    def __init__(self, world, task, agent, plan, node=0, program="caller.py"):
        self.world, self.plan, self.label = world, plan, plan["label"]
        self.events = []
        self.news = threading.Condition()
        command = [world.options.aims, "--profile", str(world.nodes[node]), "run", "--task", task,
                   agent, "--", str(world.python), str(world.agent / program),
                   json.dumps(plan)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": "said", "text": line.rstrip()}
            with self.news:
                self.events.append(event)
                self.news.notify_all()
        with self.news:
            self.news.notify_all()

    def wait_for(self, what, count=1, seconds=60):
        """The first event of that name, once there are so many."""
        def found():
            return [event for event in self.events if event["event"] == what]
        with self.news:
            self.news.wait_for(
                lambda: len(found()) >= count or not self.reader.is_alive(), seconds)
            if len(found()) < count:
                raise Failed(f"{self.label}: never {count} × {what}: {self.events[-8:]}\n"
                             f"{self.world.log_tail()}")
            return found()[0]

    def numbers(self, what):
        with self.news:
            return [event["n"] for event in self.events if event["event"] == what]

    def end(self, seconds=60):
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failed(f"{self.label} did not end: {self.events[-5:]}") from None
        self.reader.join(10)
        return code


def instances(world, task):
    """The task's instances by the label of the program that runs in each."""
    found = {}
    for one in world.aims("task", "show", task)["instances"]:
        plan = json.loads(one["posture"]["evidence"]["arguments"][-1])
        found[plan["label"]] = one["id"]
    return found


def kill(world, kind, name):
    """Kills; the receipt, when it was asked, and when the caller had the answer, in boot time.

    To freeze a task ends all that runs for it just so; it prints the task and no receipt.
    """
    command = ["kill", kind, name, "--reason", "a play of faults"]
    asked = boot_time()
    process = subprocess.Popen(
        [world.options.aims, "--profile", str(world.profile), "--json",
         *(["freeze", name] if kind == "freeze" else command)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    # The first byte is the answer: whatever the command does after that would only hide something.
    text = process.stdout.read(1)
    answered = boot_time()
    rest, errors = process.communicate()
    if process.returncode != 0:
        raise Failed(f"`aims kill {kind} {name}`: {(text + rest + errors).decode()}")
    return json.loads(text + rest), asked, answered
