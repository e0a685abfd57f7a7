"""Plays the main story of AIMS on real programs, and checks every step of it.

Uses nothing but the standard library and the command `aims`. Exits 0 only if everything that the
story says was seen.
"""

import argparse
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import tomllib
import urllib.request

from model import ModelServer, new_key
from world import (Failed, World, check, init, linked, owned_by_tools, permission, point_config,
                   processes_with, profiles_of_nodes, quoted, say, start, start_process, stdlib,
                   stop, table, title, write_config)

HERE = pathlib.Path(__file__).resolve().parent
AGENT = HERE.parent / "release-notes"
COMMITS = [
    "Parse the configuration once, at the start",
    "Refuse a configuration with unknown keys",
    "Say which line of the configuration is wrong",
    "Serve /live and /ready",
    "Drain connections before stopping",
    "Bound the size of a request",
    "Answer 413 when a request is too large",
    "Log the request id on every line",
    "Never log a credential",
    "Release 0.2.0",
]
HOST = "releases.aims.test"
MODEL_HOST = "models.aims.test"
# What a key of the model server looks like.
KEY_FORM = "sk-story-[0-9a-f]{16,}"


class Story(World):
    """The story's desk: what its agents and tools work on."""

    hosts = {HOST: "127.0.0.1", MODEL_HOST: "127.0.0.1"}

    def __init__(self, options):
        super().__init__(options)
        self.repo = self.dir / "desk" / "repo"
        self.other = self.dir / "desk" / "other"
        self.notes = self.dir / "desk" / "notes"
        self.scratch = self.dir / "desk" / "scratch"


def git(repo, *args):
    env = os.environ | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
                        "GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@example.test",
                        "GIT_COMMITTER_NAME": "Ann", "GIT_COMMITTER_EMAIL": "ann@example.test"}
    subprocess.run(["git", "-C", str(repo), *args], check=True, env=env, capture_output=True)


def make_repositories(world):
    for repo in (world.repo, world.other):
        repo.mkdir(parents=True)
        git(repo, "init", "-q", "-b", "main")
        for number, words in enumerate(COMMITS):
            (repo / "CHANGES").write_text(f"{number}: {words}\n")
            git(repo, "add", "CHANGES")
            git(repo, "commit", "-q", "-m", words)
    world.notes.mkdir()
    world.scratch.mkdir()
    git(world.scratch, "init", "-q", "-b", "main")
    (world.scratch / "VERSION").write_text("0.2.0\n")
    git(world.scratch, "add", "VERSION")
    owned_by_tools(world.notes, world.scratch, *world.scratch.rglob("*"))


def make_certificate(world):
    key, cert = world.dir / "tls.key", world.agent / "ca.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={HOST}",
                    "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", str(key), "-out",
                    str(cert)], check=True, capture_output=True)
    return key, cert


class TlsServer:
    """A real TLS server on loopback: the host outside that the task may reach."""

    def __init__(self, key, cert):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.served = 0
        threading.Thread(target=self.serve, args=(context,), daemon=True).start()

    def serve(self, context):
        while True:
            plain, _ = self.listener.accept()
            try:
                with context.wrap_socket(plain, server_side=True) as one:
                    one.recv(4096)
                    body = b"previous release: 0.1.0"
                    one.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: "
                                + str(len(body)).encode() + b"\r\n\r\n" + body)
                    self.served += 1
            except OSError:
                pass


def join(world, kind, number):
    config = point_config(world, kind, number)
    token, bundle = permission(world, kind, number)
    told = ["join", "--config", config, "--token", token, "--bundle"]
    if number == 0 and kind == "gateway":
        other = "sha256:" + "0" * 64
        refused = world.aims(*told, other, expect=3)
        check("a server with another trust bundle than the pinned one is not joined",
              "digest" in refused["error"]["message"], refused)
    joined = world.aims(*told, bundle)
    check(f"{joined['point']} joined with a single-use token and the pinned bundle",
          joined["point"].startswith(("gtw_", "nod_")), joined)
    if number == 0:
        again = world.dir / f"{kind}-again.toml"
        again.write_text(config.read_text().replace(f"{kind}-{number}/data", f"{kind}-again/data"))
        told[2] = again
        refused = world.aims(*told, bundle, expect=1)
        check(f"the token works once: {refused['error']['message']}",
              refused["error"]["code"] == "join_refused", refused)
    start_process(world, kind, config)


def set_apart(world):
    """Two gateways and two nodes, each a process of its own that joined over the network."""
    title(0, "Apart: server, nodes and gateways are processes of their own, over mutual TLS")
    for kind in ("gateway", "node"):
        for number in (0, 1):
            join(world, kind, number)
    points = linked(world, 4)
    check("two gateways and two nodes are linked and hold leases", len(points) == 4, points)
    world.show("point", "list")
    _, world.second = profiles_of_nodes(world, 2)


def enrol_bob(world):
    """A second person, who may answer requests for approval."""
    key = world.profile.with_name("bob.pem")
    jwk = world.profile.with_name("bob.jwk")
    jwk.write_text(json.dumps(world.aims("person", "key", key)))
    bob = world.aims("person", "enrol", "bob", "--role", "approver", "--key", jwk)
    alice = json.loads(json.dumps(dict(
        line.split(" = ", 1) for line in world.profile.read_text().splitlines())))
    alice |= {"person": '"bob"', "person_id": f'"{bob["id"]}"', "key_file": f'"{key}"'}
    world.bob = world.profile.with_name("bob.toml")
    world.bob.write_text("".join(f"{name} = {value}\n" for name, value in alice.items()))


def set_up(world):
    world.agent.mkdir(parents=True)
    (world.dir / "home").mkdir(mode=0o700)
    for name in ("release_notes.py", "git_reader.py", "walls_probe.py"):
        shutil.copy(AGENT / name, world.agent / name)
    make_repositories(world)
    world.tls = TlsServer(*make_certificate(world))
    world.outside = world.dir / "outside"
    world.outside.mkdir(mode=0o700)
    world.model = ModelServer(world.outside, MODEL_HOST)
    write_config(world)
    init(world)
    start(world)


# --- the manifests ----------------------------------------------------------------------------


def agent_manifest(world, name="release-notes", owner="alice", program="release_notes.py",
                   purpose="writes release notes from the history of a repository"):
    owner_line = f'owner = "{owner}"\n' if owner else ""
    path = world.dir / f"{name}.agent.toml"
    path.write_text(f"""\
name = "{name}"
{owner_line}purpose = "{purpose}"
environment = "development"

[evidence]
interpreter = "{world.python}"
program = "{world.agent}/{program}"
files = {quoted([world.agent / "walls_probe.py", world.agent / "ca.pem"])}
trees = {quoted([stdlib(world.python), world.options.agent_venv])}
arguments = "any"
""")
    return path


def git_manifest(world, name="git"):
    venv = world.options.tool_venv
    path = world.dir / f"{name}.server.toml"
    writable = f'[[paths]]\npath = "{world.scratch}"\nwritable = true\n'
    readable = f'[[paths]]\npath = "{world.repo}"\n\n[[paths]]\npath = "{world.other}"\n'
    trees = [stdlib(f"{venv}/bin/python"), venv, "/usr/bin/git", "/usr/lib/git-core"]
    path.write_text(f"""\
name = "{name}"
purpose = "reads and changes git repositories"
argv = {quoted([f"{venv}/bin/python", "-m", "mcp_server_git"])}
trees = {quoted(trees)}

[env]
HOME = "/tmp"
PATH = "/usr/bin:/bin"
GIT_CONFIG_COUNT = "1"
GIT_CONFIG_KEY_0 = "safe.directory"
GIT_CONFIG_VALUE_0 = "*"
GIT_AUTHOR_NAME = "release-notes"
GIT_AUTHOR_EMAIL = "agents@example.test"
GIT_COMMITTER_NAME = "release-notes"
GIT_COMMITTER_EMAIL = "agents@example.test"

{writable if name == "scratch" else readable}""")
    return path


def files_manifest(world):
    modules = f"{world.options.node_modules}"
    path = world.dir / "files.server.toml"
    main = f"{modules}/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js"
    path.write_text(f"""\
name = "files"
purpose = "writes files below one directory"
argv = {quoted([world.options.node, main, world.notes])}
trees = {quoted([world.options.node, modules])}

[env]
HOME = "/tmp"
PATH = "/usr/bin:/bin"

[[paths]]
path = "{world.notes}"
writable = true
""")
    return path


def everything_manifest(world):
    modules = f"{world.options.node_modules}"
    path = world.dir / "everything.server.toml"
    main = f"{modules}/node_modules/@modelcontextprotocol/server-everything/dist/index.js"
    path.write_text(f"""\
name = "everything"
purpose = "takes its time"
argv = {quoted([world.options.node, main, "stdio"])}
trees = {quoted([world.options.node, modules])}

[env]
HOME = "/tmp"
PATH = "/usr/bin:/bin"
""")
    return path


def task_manifest(world, secs=1200, uses=50):
    path = world.dir / f"task-{secs}-{uses}.toml"
    path.write_text(f"""\
purpose = "write the release notes for the last ten commits"
agent = "release-notes"
minutes = {secs / 60}
uses = {uses}
depth = 1

[[allow]]
server = "git"
tools = ["git_log", "git_show", "git_diff"]
[allow.arguments]
repo_path = {{ equals = "{world.repo}" }}
max_count = {{ range = {{ min = "1", max = "10" }}, optional = true }}
revision = "any"
target = "any"

[[allow]]
server = "files"
tools = ["write_file"]
[allow.arguments]
path = {{ path_prefix = "{world.notes}" }}
content = {{ max_length = 20000 }}

[[allow]]
server = "scratch"
tools = ["git_commit"]
[allow.arguments]
repo_path = {{ equals = "{world.scratch}" }}
message = {{ max_length = 200 }}

[[allow]]
server = "everything"
tools = ["trigger-long-running-operation"]
[allow.arguments]
duration = {{ range = {{ min = "1", max = "600" }} }}
steps = {{ range = {{ min = "1", max = "3000" }} }}

[[allow]]
host = "{HOST}"
port = {world.tls.port}
""")
    return path


# --- the story ---------------------------------------------------------------------------------


def register(world):
    title(1, "Register: every agent is a principal of its own, with an owner and evidence")
    refused = world.aims("agent", "register", agent_manifest(world, "nobodys", owner=None),
                         expect=1)
    check("without an owner, registration is refused: " + refused["error"]["message"],
          "owner" in refused["error"]["message"], refused)
    agent = world.aims("agent", "register", agent_manifest(world))
    say(f"{agent['name']} is {agent['spiffe_id']}")
    refused = world.aims("agent", "register", agent_manifest(world), expect=1)
    check("a name that was ever used is refused: " + refused["error"]["message"],
          "name" in refused["error"]["message"], refused)
    world.aims("agent", "register", agent_manifest(
        world, "git-reader", program="git_reader.py", purpose="reads histories for other agents"))
    for manifest in (git_manifest(world), files_manifest(world), git_manifest(world, "scratch"),
                     everything_manifest(world)):
        server = world.aims("tools", "register", manifest)
        check(f"tool server {server['name']}: {len(server['tools'])} tools pinned",
              len(server["tools"]) > 3, server)
    world.show("agent", "list")
    return agent


def start_task(world, **limits):
    task = world.aims("task", "start", task_manifest(world, **limits))
    return task["id"]


def command_of(world, task, plan, program=None, agent="release-notes", who=None):
    program = program or world.agent / "release_notes.py"
    return [world.options.aims, "--profile", str(who or world.profile), "run", "--task", task,
            agent, "--", str(world.python), str(program), json.dumps(plan)]


class Background:
    """An agent that runs while the story goes on."""

    def __init__(self, world, task, plan, who=None):
        self.world = world
        self.process = subprocess.Popen(
            command_of(world, task, plan, who=who), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        self.events = []
        self.news = threading.Condition()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.news:
                try:
                    self.events.append(json.loads(line))
                except ValueError:
                    self.events.append({"step": "said", "text": line})
                self.news.notify_all()

    def wait_for(self, what, holds, seconds=60):
        """The first event for which `holds`."""
        def found():
            return next((event for event in self.events if holds(event)), None)
        with self.news:
            if not self.news.wait_for(lambda: found() or self.process.poll() is not None, seconds) \
                    or not found():
                raise Failed(f"never seen: {what}\n{self.events}\n"
                             f"{self.world.log_tail()}")
            return found()

    def tell(self):
        self.process.stdin.write("go on\n")
        self.process.stdin.flush()

    def end(self):
        code = self.process.wait(60)
        self.reader.join(10)
        return code


def run(world, task, plan, program=None, agent="release-notes", expect=0, who=None):
    command = command_of(world, task, plan, program, agent, who)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != expect:
        raise Failed(f"`aims run` ended with {done.returncode}, not {expect}:\n{done.stdout}\n"
                     f"{done.stderr}\n{world.log_tail()}")
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def plan_of(world, **more):
    return {"repo": str(world.repo), "other": str(world.other),
            "notes": str(world.notes / "NOTES.md"),
            "host": f"https://{HOST}:{world.tls.port}/latest",
            "other_host": f"https://elsewhere.aims.test:{world.tls.port}/",
            "ca": str(world.agent / "ca.pem"), "most": 60} | more


def edited(world, path, change):
    """Changes a file, yields, and puts it back."""
    before = path.read_bytes()
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(change(before))
    try:
        yield
    finally:
        path.write_bytes(before)
        path.chmod(mode)


def tell_gaps(world, said):
    """What the node expected and what it saw, with digests cut short."""
    for gap in said.splitlines()[1:]:
        words = [f"{word[:19]}…" if word.startswith("sha256:") else word for word in gap.split()]
        print("        " + " ".join(words).replace(str(world.dir), "…"))


def evidence(world, task):
    title(3, "Run: nothing without evidence; the program lives inside walls")
    script = world.agent / "release_notes.py"
    library = next(pathlib.Path(world.options.agent_venv).glob("lib/*/site-packages/mcp/__init__.py"))
    other = world.agent / "other.py"
    other.write_text("print('hello')\n")
    _, said = run(world, task, {}, program=other, expect=125)
    check("another script under the same interpreter: nothing", "other.py" in said, said)
    tell_gaps(world, said)
    for what, path in (("an edited script", script), ("a changed library", library)):
        for _ in edited(world, path, lambda text: text + b"\n# changed\n"):
            _, said = run(world, task, {}, expect=125)
            check(f"{what}: nothing", "expected" in said and "saw" in said, said)
            tell_gaps(world, said)
    _, said = run(world, task, {}, agent="unknown-agent", expect=125)
    check("an unregistered name: nothing", "unknown-agent" in said, said)


def walls(world, task):
    targets = {
        "files": [str(world.dir / "home" / "master.key"), str(world.dir / "home" / "alice.pem"),
                  str(world.dir / "data" / "aims.db"), str(world.profile), "/etc/shadow",
                  "/root/.bashrc", "/proc/1/environ"],
        "sockets": [str(world.dir / "run" / "api.sock"), str(world.dir / "run" / "node.sock"),
                    "/run/dbus/system_bus_socket", "/var/run/docker.sock"],
        "ports": [world.api_port, world.tls.port],
        "words": ["BEGIN PRIVATE KEY", "aims_mk_", "aims_rt_", "eyJ"],
    }
    plan = plan_of(world, probe=str(world.agent / "walls_probe.py"), secrets=targets)
    events, _ = run(world, task, plan)
    probe = next(event for event in events if event["step"] == "probe")
    reached = [what for what, did in (probe["reached"] or {}).items() if did]
    tried = len(probe["reached"] or {})
    check(f"a helper inside tried {tried} ways out and got nowhere",
          tried > 20 and not reached, reached or probe)
    return events


def calls(world, events):
    title(4, "Call: each call is decided; what is denied says why and how to ask")
    listed = {event["server"]: event["tools"] for event in events if event["step"] == "list"}
    check("tools/list shows only what the task may use",
          sorted(listed["git"]) == ["git_diff", "git_log", "git_show"]
          and listed["files"] == ["write_file"], listed)
    rows = []
    for event in events:
        if "decision" in event:
            what = event.get("tool") or event.get("url") or f"{event.get('permitted')} more calls"
            why = "" if event["decision"] == "permitted" else event.get("message", "")
            why = why.replace(str(world.dir), "…")
            rows.append([event["step"], what.replace("https://", ""), event["decision"], why[:120]])
    table(["step", "what", "decision", "why"], rows)
    by_step = {event["step"]: event for event in events if "decision" in event}
    for step in ("log", "show", "write", "stdio bridge", "host of the task"):
        check(f"{step}: permitted", by_step[step]["decision"] == "permitted"
              and not by_step[step].get("is_error"), by_step[step])
    notes = (world.notes / "NOTES.md").read_text()
    check("the release notes hold all ten commits", all(words in notes for words in COMMITS), notes)
    check("the TLS server was reached once", world.tls.served == 1, world.tls.served)
    for step in ("other repository", "sneaky path", "argument not named"):
        denied = by_step[step]
        data = denied.get("data") or {}
        check(f"{step}: denied, naming {data.get('argument')!r}",
              denied["decision"] == "denied" and data.get("argument") and data.get("would_allow")
              and data.get("how_to_ask"), denied)
    check("a tool outside the task: denied as unknown",
          by_step["tool outside the task"]["decision"] == "denied",
          by_step["tool outside the task"])
    check("a host not named: denied", by_step["host not named"]["decision"] == "denied",
          by_step["host not named"])
    budget = by_step["budget"]
    used = budget["permitted"] + 5
    check(f"use {used + 1} of 50: denied", budget["decision"] == "denied" and used == 50, budget)


def end(world, task):
    world.aims("task", "end", task)
    _, said = run(world, task, {}, expect=125)
    check(f"the task is ended, and nothing starts for it: {said.strip()}", "ended" in said, said)


def deadline(world):
    task = start_task(world, secs=20)
    events, _ = run(world, task, {"late": time.time() + 20.5, "repo": str(world.repo)})
    by_step = {event["step"]: event for event in events if "decision" in event}
    check("before the deadline: permitted",
          by_step["before the deadline"]["decision"] == "permitted", events)
    late = by_step["after the deadline"]
    check(f"after the deadline: denied, {late.get('message')}",
          late["decision"] == "denied" and "deadline" in late.get("message", "")
          and late["data"].get("how_to_ask"), late)


def pending(world, seconds=30):
    """The one request that waits for an answer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        waiting = [one for one in world.aims("approvals", who=world.bob)
                   if one["stage"]["stage"] == "pending"]
        if waiting:
            return waiting[0]
        time.sleep(0.1)
    raise Failed("no request for approval came")


def delegation(world):
    title(5, "Delegate: a narrower piece for another agent, which calls in its own name")
    task = start_task(world)
    reader = str(world.agent / "git_reader.py")
    piece = {"authorization_details": [{
        "type": "mcp_tool", "server": "git", "actions": ["git_log"],
        "arguments": {"repo_path": {"equals": str(world.repo)},
                      "max_count": {"range": {"min": "1", "max": "5"}}}}],
        "limits": {"uses": 2}}
    wider = json.loads(json.dumps(piece))
    wider["authorization_details"][0]["arguments"]["repo_path"] = {"equals": str(world.other)}
    order = {"agent": "git-reader", "purpose": "read the last commits", "seconds": 300,
             "command": [str(world.python), reader, json.dumps({"repo": str(world.repo)})]}
    events, _ = run(world, task, {"instead": True, "delegate": [
        order | {"label": "wider", "authority": wider},
        order | {"label": "narrower", "authority": piece},
    ]})
    refused = next(event for event in events if event["step"] == "wider")
    check("more than it has: refused, naming the constraint: "
          + refused["message"].replace(str(world.dir), "…"),
          refused["decision"] == "denied" and "repo_path" in refused["message"], refused)
    by_step = {event["step"]: event for event in events}
    check("the sub-agent sees only its piece",
          by_step["sub list"]["tools"] == ["git_log"], by_step["sub list"])
    check("sub log: permitted", by_step["sub log"]["decision"] == "permitted", by_step["sub log"])
    check("sub show: denied, it was not handed on",
          by_step["sub show"]["decision"] == "denied", by_step["sub show"])
    check("the third use of two: denied", by_step["sub log again"]["decision"] == "permitted"
          and by_step["sub budget"]["decision"] == "denied", events)
    ended = [event for event in events if event.get("event") == "exited"]
    check("the sub-agent ended by itself", ended and ended[0]["code"] == 0, events)
    text = world.show("trace", task)
    for word in ("alice", "release-notes", "git-reader"):
        check(f"the trace tells of {word}", word in text, text)


APPROVAL_POLICY = '''
@id("commits-are-seen-by-somebody-else")
@description("a commit needs the approval of a person who did not ask for it")
@requirement("approval")
permit (principal is Agent, action, resource)
when { resource == Tool::"scratch/git_commit" };
'''


def set_policy(world, more=""):
    path = world.dir / "policy.cedar"
    path.write_text(world.policy + APPROVAL_POLICY + more)
    world.aims("policy", "set", path)


def approval(world):
    title(6, "Approve: a commit waits for a person who did not ask for it")
    world.policy = world.aims("policy", "show")["text"]
    set_policy(world)
    task = start_task(world)
    commit = {"repo_path": str(world.scratch), "message": "Release 0.2.0"}
    other = commit | {"message": "Release 0.2.0!"}
    agent = Background(world, task, {"instead": True, "approve": [
        {"label": "approved", "arguments": commit},
        {"label": "second use", "arguments": commit},
        {"label": "one byte more", "arguments": other, "patience": 2},
        {"label": "after the policy", "arguments": other, "when_told": True},
    ]})
    first = pending(world)
    world.show("approval", first["id"])
    waits = agent.wait_for("progress while it waits", lambda event: event["step"] == "waits")
    check(f"the client lives through the wait: {waits['message']}", waits["message"], waits)
    refused = world.aims("approve", first["id"], expect=1)
    check("who asked may not answer: " + refused["error"]["message"],
          refused["error"]["code"] == "own_request", refused)
    world.aims("approve", first["id"], "--reason", "as planned", who=world.bob)
    done = agent.wait_for("the call", lambda event: event["step"] == "approved")
    check("approved by bob: exactly this call went through",
          done["decision"] == "answered" and not done["is_error"], done)
    second = pending(world)
    check("the same call again is a new question", second["id"] != first["id"], second)
    world.aims("deny", second["id"], "--reason", "once is enough", who=world.bob)
    done = agent.wait_for("the answer", lambda event: event["step"] == "second use")
    check("denied is an outcome that says why: " + done["text"][:120],
          done["is_error"] and "once is enough" in done["text"], done)
    third = pending(world)
    agent.wait_for("patience ends", lambda event: event["step"] == "one byte more")
    world.aims("approve", third["id"], who=world.bob)
    set_policy(world, "\n// A policy version of its own.\n")
    agent.tell()
    fourth = pending(world)
    check("approved, then another policy version: a new question", fourth["id"] != third["id"],
          fourth)
    world.aims("task", "end", task)
    agent.end()
    state = world.aims("approval", fourth["id"], who=world.bob)["stage"]["stage"]
    check(f"the task ended: the request is {state}", state == "withdrawn", state)
    log = subprocess.run(["git", "-c", "safe.directory=*", "-C", str(world.scratch), "log",
                          "--oneline"], capture_output=True, text=True, check=True).stdout
    check("the repository has one commit", len(log.splitlines()) == 1, log)
    return task


def proof(world, task):
    """One file for the one commit, verified by a process that has nothing but it and a key."""
    title(7, "Prove: one file for the commit, which anybody can verify")
    calls = world.aims("trace", task)["calls"]
    commit = next(call for call in calls
                  if call["verdict"] == "permit" and call["resource"] == "scratch/git_commit")
    alone = world.dir / "auditor"
    alone.mkdir()
    key = alone / "log.key"
    key.write_text(tomllib.loads(world.profile.read_text())["log_key"])
    kept = alone / "kept-checkpoint"
    kept.write_bytes(urllib.request.urlopen(
        f"http://127.0.0.1:{world.api_port}/log/checkpoint").read())
    start_task(world)  # the log grows
    file = alone / "commit.proof"
    world.aims("proof", commit["decision"], "--out", file, "--since", kept)

    def verify(which, *more):
        # Another directory, no home, no profile, no server named: the file and the key.
        command = [world.options.aims, "verify", str(which), "--log-key", str(key), *more]
        return subprocess.run(command, cwd=alone, env={}, capture_output=True, text=True,
                              check=False)

    done = verify(file, "--checkpoint", str(kept))
    for line in done.stdout.splitlines():
        print(f"    {line}")
    check("the proof holds, and the decision made again is the same", done.returncode == 0,
          done.stderr)
    for word in ("scratch/git_commit", "alice", "release-notes", "as planned", "confined"):
        check(f"the proof tells of {word}", word in done.stdout, done.stdout)
    data = file.read_bytes()
    flipped = alone / "flipped.proof"
    refused = set()
    for place in range(0, len(data), max(1, len(data) // 40)):
        flipped.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1:])
        done = verify(flipped)
        if done.returncode != 1:
            raise Failed(f"a flipped bit at {place} was not refused: {done.stdout}{done.stderr}")
        refused.add(done.stderr.strip())
    check(f"a flipped bit anywhere is refused, each saying what failed, e.g. {min(refused, key=len)}",
          refused, refused)


def kill(world):
    title(8, "Kill: complete when it returns")
    task = start_task(world)
    agent = Background(world, task, {"instead": True, "long": 120})
    agent.wait_for("progress", lambda event: event["step"] == "progress")
    tool = "server-everything/dist/index.js stdio"
    check("a long call streams, and its tool runs", processes_with(tool) > 0)
    began = time.monotonic()
    world.show("kill", "task", task, "--reason", "it takes too long")
    took = time.monotonic() - began
    left = processes_with(tool)
    check(f"the tool's processes are gone when the kill returns ({took * 1000:.0f} ms in all)",
          left == 0, left)
    code = agent.end()
    check(f"the agent ended with {code}", code != 0, agent.events)
    check("the stream ended before its result",
          not any(event["step"] == "long call ended" for event in agent.events), agent.events)
    _, said = run(world, task, {"instead": True, "spend": 1, "repo": str(world.repo)}, expect=125)
    check(f"nothing starts for it: {said.strip()}", "ended" in said, said)
    receipt = world.aims("kill", "agent", "git-reader", "--reason", "not needed")
    check("a kill prints each point: "
          + ", ".join(f"{p['point'][:3]} {p['how']} {p['millis']} ms" for p in receipt["points"]),
          receipt["points"] and all(p["how"] == "acknowledged" for p in receipt["points"]), receipt)


def freeze(world):
    say("Freezing keeps the authority, and nothing that was issued under it:")
    task = start_task(world, uses=3)
    agent = Background(world, task, {"instead": True, "spend": 1, "repo": str(world.repo),
                                     "long": 60})
    agent.wait_for("progress", lambda event: event["step"] == "progress")
    world.aims("freeze", task)
    check("frozen: what ran has ended", agent.end() != 0, agent.events)
    _, said = run(world, task, {"instead": True}, expect=125)
    check(f"nothing starts while it is frozen: {said.strip()}", "frozen" in said, said)
    world.aims("resume", task)
    events, _ = run(world, task, {"instead": True, "spend": 2, "repo": str(world.repo)})
    decisions = [event["decision"] for event in events]
    check("resumed: a new instance goes on with the same budget, two of three were used",
          decisions == ["permitted", "denied"], events)


def two_gateways(world):
    say("Two gateways, one budget:")
    task = start_task(world, uses=3)
    plan = {"instead": True, "spend": 2, "repo": str(world.repo)}
    first, _ = run(world, task, plan)
    second, _ = run(world, task, plan, who=world.second)
    decisions = [event["decision"] for event in [*first, *second]]
    check(f"a budget of three, asked at both: {', '.join(decisions)}",
          decisions == ["permitted", "permitted", "permitted", "denied"], [first, second])


def model_manifest(world):
    path = world.dir / "model.upstream.toml"
    path.write_text(f"""\
purpose = "answers questions about releases"
url = "https://{MODEL_HOST}:{world.model.port}"
ca = "{world.model.ca}"

[[endpoints]]
methods = ["POST"]
path = "/v1"

[limits]
answer_bytes = 1000000
seconds = 120
""")
    return path


def with_secret(world, *args, key):
    """A command that reads a key from a file, which is gone afterwards."""
    file = world.dir / "home" / "model.secret"
    file.write_text(key + "\n")
    try:
        return world.aims("upstream", *args, "--secret-file", file)
    finally:
        file.unlink()


def model_task(world):
    path = world.dir / "model.task.toml"
    path.write_text("""\
purpose = "ask a model about the release"
agent = "release-notes"
minutes = 10
uses = 20

[[allow]]
upstream = "model"
methods = ["POST"]
path = "/v1/chat"

[allow.body]
model = { one_of = ["small", "slow", "echo"] }
messages = "any"
stream = "any"
max_tokens = { range = { min = "1", max = "100" }, optional = true }
""")
    return world.aims("task", "start", path)["id"]


def keys_at_rest(world, keys):
    """Files of this installation that hold one of the keys as it is."""
    found = []
    for path in world.dir.rglob("*"):
        if path.is_file() and world.outside not in path.parents:
            data = path.read_bytes()
            found += [str(path) for key in keys if key.encode() in data]
    return found


def model(world):
    title(9, "Ask: a model behind the door, with a key that the agent never has")
    refused = world.aims("upstream", "add", "model", "--manifest", model_manifest(world),
                         "--secret-file", model_manifest(world), expect=None, quiet=True)
    check("a manifest is no key", refused.returncode != 0, refused)
    upstream = with_secret(world, "add", "model", "--manifest", model_manifest(world),
                           key=world.model.key)
    check(f"{upstream['name']} is registered, and nothing that is shown holds its key",
          world.model.key not in json.dumps([upstream, world.aims("upstream", "list")]), upstream)
    world.show("upstream", "list")
    task = model_task(world)
    world.show("task", "show", task)
    events, _ = run(world, task, plan_of(world, instead=True, form=KEY_FORM, model=[
        {"label": "answer"},
        {"label": "streamed", "stream": True, "words": "And what is fixed?"},
        {"label": "other path", "path": "/v1/files"},
        {"label": "other model", "model": "huge"},
        {"label": "too much", "more": {"max_tokens": 101}},
        {"label": "path that climbs", "path": "/v1/chat/../files"},
        {"label": "echo", "model": "echo"},
    ], direct=f"https://{MODEL_HOST}:{world.model.port}/v1/models"))
    by_step = {event["step"]: event for event in events}
    check("it answers: " + by_step["answer"].get("text", ""),
          by_step["answer"]["decision"] == "permitted", by_step["answer"])
    check("it answers in a stream: " + by_step["streamed"].get("text", ""),
          "fixed?" in by_step["streamed"].get("text", ""), by_step["streamed"])
    check("the server saw its own key each time, and never the agent's",
          world.model.refused == 0 and len(world.model.asked) == 3, world.model.asked)
    for step, word in (("other path", "request"), ("other model", "model"),
                       ("too much", "max_tokens")):
        denied = by_step[step]
        check(f"{step}: denied, {denied.get('message')}", denied["decision"] == "denied"
              and word in denied["message"] and denied["data"]["how_to_ask"], denied)
    check("a path that climbs: refused", by_step["path that climbs"]["decision"] == "denied",
          by_step["path that climbs"])
    check("an answer that holds the key does not arrive: " + by_step["echo"]["decision"],
          by_step["echo"]["decision"] in ("cut", "denied"), by_step["echo"])
    check("directly: denied", by_step["model directly"]["decision"] == "denied", events)
    reach = by_step["secrets in reach"]
    check(f"no key in the agent's environment and the {reach['looked']} files that it can read",
          reach["looked"] > 5 and not reach["found"], reach)
    rotate(world, task, [world.model.key], json.dumps(events))


def rotate(world, task, keys, said):
    """Another key; a kill in the middle of an answer; and no key anywhere."""
    world.model.key = new_key()
    keys.append(world.model.key)
    rotated = with_secret(world, "rotate", "model", key=world.model.key)
    events, _ = run(world, task, {"instead": True, "model": [{"label": "after"}]})
    check(f"version {rotated['version']} of the key: permitted",
          events[-1]["decision"] == "permitted" and world.model.refused == 0, events)
    agent = Background(world, task, {"instead": True, "model": [
        {"label": "slow", "model": "slow", "stream": True}]})
    agent.wait_for("a token", lambda event: event["step"] == "slow token")
    receipt = world.aims("kill", "task", task, "--reason", "it talks too long")
    effects = [one["what"] for point in receipt["points"] for one in point["ended"]["unknown"]]
    check(f"killed in the middle of an answer; its effect is unknown: {', '.join(effects)}",
          "POST model/v1/chat/completions" in effects, receipt)
    agent.end()
    check("the answer has no regular end",
          not any(event.get("decision") == "permitted" for event in agent.events),
          agent.events[-3:])
    deadline = time.monotonic() + 10
    while world.model.broken_off == 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    check("the model server's connection was reset", world.model.broken_off == 1)
    trace = world.show("trace", task, lines=40)
    check("the trace tells of the requests", "model/v1/chat/completions" in trace, trace)
    said += trace + json.dumps(agent.events) + world.log_tail(10_000_000) + json.dumps(
        world.aims("trace", task))
    check("neither key is in what was said, traced or logged",
          not any(key in said for key in keys), "a key was said")
    found = keys_at_rest(world, keys)
    check("neither key is in any file of this installation: database, log, tiles, staged files",
          not found, found)
    world.aims("upstream", "remove", "model")
    listed = world.aims("upstream", "list")
    check("it is retired", listed[0]["retired_at"] is not None, listed)


def tell(world, task):
    title(10, "Tell: the whole task as a tree; everything recorded is verified")
    text = world.show("trace", task)
    for word in ("alice", "release-notes", "git_log", "refused", "denied", "permit", "ended"):
        check(f"the trace tells of {word}", word in text, text)
    report = world.aims("log", "check")
    world.show("log", "check")
    check(f"the log of {report['size']} records verifies", report["size"] > 60, report)


def play(world):
    if world.options.apart:
        set_apart(world)
    enrol_bob(world)
    say("An operator, alice, has a key of her own; every command below is signed with it.")
    register(world)
    title(2, "Task: structured authority, with a deadline and a budget")
    task = start_task(world)
    world.show("task", "show", task)
    evidence(world, task)
    events = walls(world, task)
    calls(world, events)
    end(world, task)
    deadline(world)
    delegation(world)
    proof(world, approval(world))
    kill(world)
    freeze(world)
    model(world)
    if world.options.apart:
        two_gateways(world)
    tell(world, task)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("aims", "world", "agent-venv", "tool-venv", "node", "node-modules"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--apart", action="store_true")
    world = Story(parser.parse_args())
    began = time.monotonic()
    try:
        set_up(world)
        play(world)
        print(f"\nThe story holds ({time.monotonic() - began:.0f} s).")
        if not world.options.once:
            print(f"\nAIMS stays up. API http://127.0.0.1:{world.api_port}; try:\n"
                  f"  {world.options.aims} --profile {world.profile} task list\n"
                  f"Ctrl-C ends it and removes {world.dir}.")
            world.processes[0].wait()
    except Failed as failure:
        print(f"\nThe story does not hold: {failure}\n\nThe end of AIMS's log:\n"
              f"{world.log_tail()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    finally:
        stop(world)
    return 0


if __name__ == "__main__":
    sys.exit(main())
