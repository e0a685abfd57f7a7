"""Agents that run elsewhere, on public OAuth libraries, against a real AIMS over HTTPS.

Each agent holds its own key, gets its token by client credentials with a signed assertion and DPoP,
and calls a real tool through the gateway. Then everything that a thief or a bungler would try. The
same options as the story's, and two with the libraries. Exits 0 only if everything that it says was
seen.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "story"))

import world as worlds  # noqa: E402
from remotes import keygen, manifest, start_with_endpoints  # noqa: E402
from world import Failed, World, check, quoted, say, stdlib, title  # noqa: E402

KILL_SECS_MAX = 10


class Remote:
    """An agent's process, told what to do line by line."""

    def __init__(self, world, plan):
        # A service asks the Workload API; the library for that lies in another environment.
        spiffe = next((pathlib.Path(world.options.venv) / "lib").glob("python3*")) / "site-packages"
        more = {"SPIFFE_ENDPOINT_SOCKET": f"unix://{world.dir}/run/workload.sock",
                "PYTHONPATH": str(spiffe), "GRPC_VERBOSITY": "NONE"}
        self.process = subprocess.Popen(
            [world.peer_python, str(HERE / "agent.py"), json.dumps(plan)], text=True,
            env=os.environ | more, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, do, **how):
        self.process.stdin.write(json.dumps({"do": do} | how) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"the agent ended while it was to do `{do}`")
        return json.loads(line)

    def end(self):
        self.process.stdin.close()
        self.process.wait(30)


def set_up(world):
    (world.dir / "home").mkdir(mode=0o700)
    world.agent.mkdir(parents=True)
    for repo in (world.repo, world.other):
        make_repository(repo)
    start_with_endpoints(world)


def make_repository(repo):
    repo.mkdir(parents=True)
    who = ["-c", "user.name=alice", "-c", "user.email=alice@example.test"]
    for words in (["init", "-q", "-b", "main"], ["commit", "-q", "--allow-empty", "-m", "first"],
                  ["commit", "-q", "--allow-empty", "-m", "second"]):
        subprocess.run(["git", "-C", str(repo), *who, *words], check=True)


def git_manifest(world):
    venv = world.options.tool_venv
    path = world.dir / "git.server.toml"
    trees = [stdlib(f"{venv}/bin/python"), venv, "/usr/bin/git", "/usr/lib/git-core"]
    path.write_text(f"""\
name = "git"
purpose = "reads git repositories"
argv = {quoted([f"{venv}/bin/python", "-m", "mcp_server_git"])}
trees = {quoted(trees)}

[env]
HOME = "/tmp"
PATH = "/usr/bin:/bin"
GIT_CONFIG_COUNT = "1"
GIT_CONFIG_KEY_0 = "safe.directory"
GIT_CONFIG_VALUE_0 = "*"

[[paths]]
path = "{world.repo}"

[[paths]]
path = "{world.other}"
""")
    return path


def task_manifest(world, name):
    path = world.dir / f"{name}.task.toml"
    path.write_text(f"""\
purpose = "read the history"
agent = "{name}"
minutes = 20
uses = 40

[[allow]]
server = "git"
tools = ["git_log"]
arguments.repo_path = {{ equals = "{world.repo}" }}
arguments.max_count = {{ range = {{ min = "1", max = "5" }}, optional = true }}
""")
    return path


def register(world):
    title(1, "Register: keys that the agents hold themselves, at an assurance that is named")
    for name in ("planner", "courier"):
        world.keys[name] = keygen(world, name)
    refused = world.aims("agent", "register", manifest(world, "planner", "confined"), expect=1)
    check("a key is never worth as much as walls: " + refused["error"]["message"],
          refused["error"]["code"] == "bad_assurance", refused)
    for name in ("planner", "courier"):
        agent = world.aims("agent", "register", manifest(world, name))
        check(f"{agent['spiffe_id']} is registered at the assurance {agent['assurance']}",
              agent["assurance"] == "key_held" and agent["evidence"] is None, agent)
    world.aims("tools", "register", git_manifest(world))
    refused = world.aims("task", "start", task_manifest(world, "planner"), expect=None, quiet=True)
    check("the policies that AIMS starts with let nobody act outside of walls",
          refused.returncode != 0 and "agents-are-confined" in refused.stdout, refused.stdout)
    policy = world.dir / "policy.cedar"
    text = world.aims("policy", "show")["text"]
    wall = 'unless { principal.assurance == "confined" };'
    check("the policy names the level that is wanted", wall in text, text)
    policy.write_text(text.replace(wall, 'unless { ["confined", "observed", "key_held"].contains('
                                         'principal.assurance) };'))
    world.aims("policy", "set", policy)


def plan_of(world, name):
    task = world.aims("task", "start", task_manifest(world, name))["id"]
    plan = {
        "issuer": world.issuer, "resource": world.resource, "task": task, "ca": str(world.ca),
        "client_id": f"spiffe://aims.local/agent/{name}",
        "mcp": f"{world.resource}/mcp/git"}
    if name in world.keys:
        plan["key"] = str(world.keys[name])
    return task, plan


def error_of(answer):
    return answer.get("refused", {}).get("error", answer)


def act(world):
    title(2, "Act: `requests-oauth2client`, a token for one task, a call through the gateway")
    task, plan = plan_of(world, "planner")
    agent = world.remote(plan)
    token = agent("get_token")
    claims = token["claims"]
    check(f"a token of type {token['token_type']}, bound to a key, at {claims['aims_assurance']}",
          token["token_type"] == "DPoP" and claims["aims_assurance"] == "key_held"
          and claims["act"]["sub"] == plan["client_id"], token)
    hello = agent("open")
    check("the gateway opens a session over HTTPS", hello["status"] == 200, hello)
    log = {"repo_path": str(world.repo), "max_count": 2}
    called = agent("call", name="git_log", arguments=log)
    check("it calls the real tool", "Commit" in json.dumps(called["body"]), called)
    denied = agent("call", name="git_log", arguments=log | {"repo_path": str(world.other)})
    check("outside of its authority it is denied, and told why: "
          + denied["body"]["error"]["message"],
          denied["body"]["error"]["data"]["argument"] == "repo_path", denied)
    hidden = agent("call", name="git_commit", arguments={"repo_path": str(world.repo)})
    check("a tool that it may not see is none", hidden["body"]["error"]["code"] == -32602, hidden)
    part = [{"type": "mcp_tool", "server": "git", "actions": ["git_log"], "arguments": {
        "repo_path": {"equals": str(world.repo)}, "max_count": {"range": {"min": "1", "max": "1"}}}}]
    exchanged = agent("narrowed", part=part)
    check("it exchanges its token for one that carries less",
          exchanged.get("token_type") == "DPoP", exchanged)
    denied = agent("call", name="git_log", arguments=log)
    check("and the gateway holds it to that: " + denied["body"]["error"]["message"],
          denied["body"]["error"]["data"]["argument"] == "max_count", denied)
    part[0]["arguments"]["max_count"]["range"]["max"] = "5"
    refused = agent("narrowed", part=part)
    check("what was given up does not come back by exchange",
          error_of(refused) == "invalid_authorization_details", refused)
    told = agent("introspect")
    check("introspection says who acts, and for whom",
          told["active"] and told["act"]["sub"] == plan["client_id"], told)
    trace = world.aims("trace", task)
    check("the trace has the instance with its assurance",
          trace["instances"][0]["assurance"] == "key_held", trace["instances"])
    return agent, plan


def misuse(world, agent, plan):
    title(3, "Misuse: stolen tokens, seen proofs, keys of others")
    bearer = agent("as_bearer")
    check("a token without its key is nothing",
          bearer["status"] == 401 and "invalid_token" in bearer["challenge"], bearer)
    check("the challenge says where to get one", "resource_metadata=" in bearer["challenge"], bearer)
    thief = agent("with_another_key")
    check("with a key of the thief's neither",
          thief["status"] == 401 and "invalid_dpop_proof" in thief["challenge"], thief)
    twice = agent("replayed")
    check("a proof counts once", twice["first"]["status"] != 401
          and "invalid_dpop_proof" in twice["again"]["challenge"], twice)
    other = agent("for_another_url")
    check("and for one URL", "invalid_dpop_proof" in other["challenge"], other)
    bare = agent("without_nonce")
    check("without a nonce of the gateway's it is asked for one",
          "use_dpop_nonce" in bare["challenge"], bare)
    foreign = agent("with_a_foreign_key")
    check("an assertion by a key that nobody enrolled is refused",
          error_of(foreign) == "invalid_client" and foreign["status"] == 401, foreign)
    audience = agent("assertion_for_the_token_endpoint")
    check("and one for the token endpoint instead of the issuer",
          error_of(audience) == "invalid_client", audience)
    for what, how, code in [
            ("another resource", {"resource": "https://other.example"}, "invalid_target"),
            ("a scope", {"scope": "aims:admin"}, "invalid_scope"),
            ("a task that is not there", {"aims_task": plan["task"][:-4] + "0000"},
             "invalid_grant"),
            ("more authority", {"authorization_details": json.dumps(
                [{"type": "mcp_tool", "server": "git", "actions": ["git_commit"]}])},
             "invalid_authorization_details")]:
        refused = agent("get_token", **how)
        check(f"{what}: {code}", error_of(refused) == code, refused)
    stranger_task, _ = plan_of(world, "courier")
    refused = agent("get_token", aims_task=stranger_task)
    check("the task of another agent: invalid_grant", error_of(refused) == "invalid_grant", refused)


def kill(world, agent, plan):
    title(4, "Kill: the token is dead when the command returns, and nothing new is issued")
    agent("get_token")
    log = {"repo_path": str(world.repo), "max_count": 1}
    check("before, it works", agent("call", name="git_log", arguments=log)["status"] == 200)
    began = time.monotonic()
    receipt = world.aims("kill", "task", plan["task"], "--reason", "it went astray")
    took = time.monotonic() - began
    say(f"killed in {took * 1000:.0f} ms at revision {receipt['revision']}")
    check("the kill did not take long", took < KILL_SECS_MAX, took)
    dead = agent("call", name="git_log", arguments=log)
    check("its token is refused at the gateway",
          dead["status"] == 401 and "invalid_token" in dead["challenge"], dead)
    check("introspection says no more than that", agent("introspect") == {"active": False})
    refused = agent("get_token")
    check("it gets no other for the task", error_of(refused) == "invalid_grant", refused)
    agent.end()


def run_over(world):
    title(5, "Runs: a killed or returned one does not come back under the same key")
    _, plan = plan_of(world, "planner")
    agent = world.remote(plan)
    instance = agent("get_token")["claims"]["aims_instance"]
    check("another token for the same key is of the same run",
          agent("get_token")["claims"]["aims_instance"] == instance)
    agent("open")
    check("it gives its token back", agent("revoke")["revoked"])
    dead = agent("call", name="git_log", arguments={"repo_path": str(world.repo)})
    check("and it is dead at the gateway", dead["status"] == 401, dead)
    refused = agent("get_token")
    check("the key is used up", error_of(refused) == "invalid_dpop_proof", refused)
    agent("new_key")
    instance = agent("get_token")["claims"]["aims_instance"]
    world.aims("kill", "instance", instance, "--reason", "a look at it first")
    agent("new_key")
    refused = agent("get_token")
    check("after a kill a person has to start another task",
          error_of(refused) == "invalid_grant", refused)
    agent.end()


def other_library(world):
    title(6, "Another library: `oauth4webapi`, everything found by discovery")
    task, plan = plan_of(world, "courier")
    plan |= {"tool": "git_log", "arguments": {"repo_path": str(world.repo), "max_count": 1}}
    done = subprocess.run(
        [world.options.node, str(world.peer_modules / "agent.mjs"), json.dumps(plan)],
        capture_output=True, text=True, check=False, env={"NODE_EXTRA_CA_CERTS": str(world.ca)})
    if done.returncode != 0:
        raise Failed(f"agent.mjs: {done.stderr}")
    said = json.loads(done.stdout)
    check("from the tool's URL to the server: " + said["challenge"][:60] + "…",
          "resource_metadata=" in said["challenge"] and said["bound"], said)
    check(f"{said['nonces']} nonces, and a token of type {said['token_type']}",
          said["nonces"] >= 1 and said["token_type"].lower() == "dpop", said)
    check("it calls the real tool", "Commit" in json.dumps(said["called"]), said["called"])
    check("it verifies the token as RFC 9068 says, with the published keys",
          said["validated"]["client_id"] == plan["client_id"], said["validated"])
    check("revoked, the token is not active", said["introspected"]["active"]
          and said["after"] == {"active": False}, said)
    world.aims("kill", "agent", "courier", "--reason", "enough")


def service_agent(world, name, service):
    path = world.dir / f"{name}.agent.toml"
    path.write_text(f"""\
name = "{name}"
owner = "alice"
purpose = "reads a history for a service"
environment = "development"

[remote]
assurance = "observed"
service = "{service}"
""")
    return path


def as_service(world):
    title(7, "A service: its SVIDs are its client authentication, PyPI's `spiffe` gets them")
    manifest = world.dir / "billing.service.toml"
    python = os.path.realpath(world.peer_python)
    manifest.write_text(f'owner = "alice"\npurpose = "sends invoices"\nexecutable = "{python}"\n'
                        f"host_uid = {os.geteuid()}\nkey_export = true\n")
    world.aims("service", "add", "billing", "--manifest", manifest)
    agent = world.aims("agent", "register", service_agent(world, "clerk", "billing"))
    check(f"{agent['spiffe_id']} is the service, at the assurance {agent['assurance']}",
          agent["assurance"] == "observed" and agent["service"], agent)
    refused = world.aims("agent", "register", service_agent(world, "other", "billing"), expect=1)
    check("no other agent is: " + refused["error"]["message"],
          refused["error"]["code"] == "bad_service", refused)
    _, plan = plan_of(world, "clerk")
    for way in ("jwt", "x509"):
        agent = world.remote(plan | {"svid": way})
        token = agent("get_token")
        check(f"authenticated by {way}, it gets a token at {token['claims']['aims_assurance']}",
              token["token_type"] == "DPoP" and token["claims"]["aims_assurance"] == "observed",
              token)
        agent("open")
        log = {"repo_path": str(world.repo), "max_count": 1}
        called = agent("call", name="git_log", arguments=log)
        check("and calls the real tool with it", "Commit" in json.dumps(called["body"]), called)
        check("introspection by the same way", agent("introspect")["active"])
        if way == "jwt":
            once = agent("as_it_was", audience=plan["issuer"])
            check("a JWT-SVID counts once, though it is a bearer's",
                  [one["status"] for one in once] == [200, 400], once)
            other = agent("as_it_was", audience="bank")
            check("one for somebody else not at all",
                  [one["status"] for one in other] == [401, 401], other)
            agent.end()
    # What was issued to a process ends with the process.
    header = agent("with_a_header")
    check("a certificate that only a header tells of is none",
          header["status"] == 401 and header["body"]["error"] == "invalid_client", header)
    receipt = world.aims("kill", "instance", token["claims"]["aims_instance"],
                         "--reason", "it went astray")
    dead = agent("call", name="git_log", arguments=log)
    check("killed, it is dead at the gateway", dead["status"] == 401 and receipt, dead)
    agent.end()
    _, plan = plan_of(world, "clerk")
    agent = world.remote(plan | {"svid": "x509"})
    agent("get_token")
    agent("open")
    world.aims("service", "retire", "billing")
    dead = agent("call", name="git_log", arguments=log)
    check("retired, its token is dead when the command returns", dead["status"] == 401, dead)
    refused = agent("get_token")
    check("and its certificate opens nothing", error_of(refused) == "invalid_client", refused)
    agent.end()


def prove(world):
    title(8, "Prove: the log holds, with everything that was done in it")
    deadline = time.monotonic() + 20
    checked = {}
    while time.monotonic() < deadline:
        checked = world.aims("log", "check", expect=None, quiet=True)
        if checked.returncode == 0:
            break
        time.sleep(0.5)
    check("`aims log check` finds nothing wrong", checked.returncode == 0, checked.stdout)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    for name in ("aims", "world", "agent-venv", "tool-venv", "node", "node-modules",
                 "peer-venv", "peer-modules", "venv"):
        options.add_argument(f"--{name}", required=True)
    options = options.parse_args()
    options.apart = False
    world = World(options)
    world.repo, world.other = world.dir / "repo", world.dir / "other"
    world.keys = {}
    world.peer_python = f"{options.peer_venv}/bin/python"
    # A module is looked for beside the program that imports it.
    world.peer_modules = world.dir / "elsewhere"
    world.peer_modules.mkdir()
    (world.peer_modules / "agent.mjs").write_text((HERE / "agent.mjs").read_text())
    (world.peer_modules / "node_modules").symlink_to(
        pathlib.Path(options.peer_modules) / "node_modules")
    world.remote = lambda plan: Remote(world, plan)
    try:
        set_up(world)
        register(world)
        agent, plan = act(world)
        misuse(world, agent, plan)
        kill(world, agent, plan)
        run_over(world)
        other_library(world)
        as_service(world)
        prove(world)
    except Failed as failure:
        print(f"\nnot as it is said: {failure}\n\n{world.log_tail()}", file=sys.stderr)
        sys.exit(1)
    finally:
        worlds.stop(world)
    print("\neverything was seen")


main()
