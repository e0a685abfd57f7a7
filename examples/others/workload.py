"""The SPIFFE Workload API, by clients and checkers that others wrote.

`service.py` is an ordinary service: it is not started by AIMS, and asks by PyPI's `spiffe`;
`crates/workload/examples/spiffe_client.rs` is another, on the crate of that name. What the first
gets is checked with PyPI's `pkilint`; rotation, withdrawal and attacks are seen from outside. Uses
nothing else but the standard library and the command `aims`. Exits 0 only if everything that it
says was seen.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "story"))

import world as worlds  # noqa: E402
from world import Failed, World, check, say, title  # noqa: E402

# Outside of every account, and of the uids that AIMS gives out itself.
SERVICE_UID = 1_999_999_998
OTHER_UID = 1_999_999_997
# As short as it may be configured, but for what two busy cores need.
LIFE_SECS = 20
WATCH_SECS = 34
# pkilint takes the scheme `spiffe` for an error, and gives notice of a key identifier that is made
# in another way than the two examples of RFC 5280 §4.2.1.2, which allows others.
LINT_KNOWN = {"pkix.invalid_uri_syntax",
              "pkix.unknown_subject_key_identifier_calculation_method"}


class Service:
    """One process of the service."""

    def __init__(self, world, *mode, uid=SERVICE_UID, python=None):
        command = [world.venv / "bin" / "python"]
        env = {"SPIFFE_ENDPOINT_SOCKET": f"unix://{world.socket}", "PATH": "/usr/bin:/bin",
               "PYTHONPATH": str(world.site), "PYTHONDONTWRITEBYTECODE": "1",
               "GRPC_VERBOSITY": "NONE"}
        if python:
            # A copy does not find its library by itself, nor should it find Debian's packages.
            env["PYTHONHOME"] = str(world.python.parent.parent)
            command = [python, "-S"]
        more = {"user": uid, "group": uid, "extra_groups": []} if os.geteuid() == 0 else {}
        self.process = subprocess.Popen(
            [*map(str, command), str(world.script), *map(str, mode)], env=env, text=True, cwd="/",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **more)

    def next(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed("the service ended without a word")
        return json.loads(line)

    def event(self, name):
        told = self.next()
        if told["event"] != name:
            raise Failed(f"the service says {told}")
        return told

    def rest(self):
        lines = self.process.stdout.read().splitlines()
        self.process.wait()
        return [json.loads(line) for line in lines]

    def end(self):
        self.process.kill()
        self.process.communicate()


def prepared(options):
    options.apart, options.agent_venv = False, options.venv
    world = World(options)
    world.socket = world.dir / "run" / "workload.sock"
    # The service's user may not enter the home of whoever plays this.
    world.venv = world.dir / "venv"
    shutil.copytree(options.venv, world.venv, symlinks=True)
    world.site = next((world.venv / "lib").glob("python3*")) / "site-packages"
    world.script = world.dir / "service.py"
    shutil.copy(HERE / "service.py", world.script)
    world.python = pathlib.Path(os.path.realpath(world.venv / "bin" / "python"))
    world.other = world.dir / "other-python"
    shutil.copy(world.python, world.other)
    worlds.write_config(world)
    with open(world.config, "a", encoding="utf-8") as config:
        config.write(f"\n[services]\nx509_secs = {LIFE_SECS}\njwt_secs = {LIFE_SECS}\n")
    return world


def manifest(world, executable, uid, more=""):
    path = world.dir / "service.toml"
    path.write_text(f'owner = "alice"\npurpose = "sends invoices"\nexecutable = "{executable}"\n'
                    f"host_uid = {uid}\n{more}")
    return path


def uid_of(world):
    return SERVICE_UID if os.geteuid() == 0 else os.geteuid()


def registered(world):
    title(1, "A service is registered: one executable, one user, keys in the open said aloud")
    silent = world.aims("service", "add", "billing", "--manifest",
                        manifest(world, world.python, uid_of(world)), expect=None, quiet=True)
    check("without `key_export = true` it is refused",
          silent.returncode != 0 and "key_export" in silent.stdout + silent.stderr, silent)
    before = Service(world, "stream").event("end")
    check("before it is registered, its process has no identity",
          before["code"] == "PERMISSION_DENIED", before)
    service = world.aims("service", "add", "billing", "--manifest", manifest(
        world, world.python, uid_of(world), "key_export = true\n"))
    check(f"it is {service['spiffe_id']}, and its executable is measured",
          service["spiffe_id"] == "spiffe://aims.local/service/billing"
          and service["executable"]["digest"].startswith("sha256:"), service)
    taken = world.aims("service", "add", "alice", "--manifest", manifest(
        world, world.python, uid_of(world), "key_export = true\n"), expect=None, quiet=True)
    check("it can't take the name of somebody else", taken.returncode != 0, taken.stdout)


def given(world):
    title(2, "It gets what the standard says, by the client of the registry")
    told = Service(world, "once", "bank").event("once")
    check("an X.509-SVID and a JWT-SVID of the same identity, which validate",
          {told["spiffe_id"], *told["jwt_ids"]} == {"spiffe://aims.local/service/billing"}, told)
    check("the bundle of the stream is the bundle of the SVID", told["same_bundle"], told)
    check(f"a JWT-SVID lives {LIFE_SECS} seconds here", 0 < told["jwt_life"] <= LIFE_SECS, told)
    url = f"http://127.0.0.1:{world.api_port}/spiffe/bundle"
    with urllib.request.urlopen(url, timeout=10) as answer:
        bundle, kind = json.load(answer), answer.headers["content-type"]
    uses = sorted(key["use"] for key in bundle["keys"])
    check("the bundle endpoint gives both kinds of keys, with sequence and refresh hint",
          kind == "application/json" and uses == ["jwt-svid", "x509-svid"]
          and bundle["spiffe_sequence"] > 0 and bundle["spiffe_refresh_hint"] > 0, bundle)
    return told


def another_client(world):
    title(9, "The same by another client: the crate `spiffe`")
    client = world.dir / "spiffe_client"
    shutil.copy(world.options.rust_client, client)
    world.aims("service", "add", "crate", "--manifest", manifest(
        world, client, uid_of(world), "key_export = true\n"))
    more = {"user": SERVICE_UID, "group": SERVICE_UID, "extra_groups": []}
    done = subprocess.run([client], env={"SPIFFE_ENDPOINT_SOCKET": f"unix://{world.socket}"},
                          capture_output=True, text=True, check=False, cwd="/",
                          **(more if os.geteuid() == 0 else {}))
    if done.returncode != 0:
        raise Failed(f"the client: {done.stderr}")
    told = json.loads(done.stdout)
    check("an X.509-SVID and a JWT-SVID of the same identity, which validate",
          {told["spiffe_id"], *told["jwt_ids"]} == {"spiffe://aims.local/service/crate"}
          and told["same_bundle"] and told["chain"] == told["authorities"] == 1, told)
    check("and the JWT-SVID not for another audience", not told["another_audience"], told)


def linted(world, told):
    title(3, "Certificates pass a linter that others wrote")
    for name, text, tool in [("leaf", told["chain"][0], "lint_pkix_cert"),
                             ("authority", told["authorities"][0], "lint_pkix_cert")]:
        path = world.dir / f"{name}.pem"
        path.write_text(text)
        command = [str(world.venv / "bin" / "python"), "-m", f"pkilint.bin.{tool}", "lint",
                   "-s", "NOTICE", "-f", "JSON", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not done.stdout.strip():
            raise Failed(f"pkilint: {done.stderr}")
        results = json.loads(done.stdout)["results"]
        found = {one["code"] for result in results for one in result["finding_descriptions"]}
        check(f"the {name}: no finding but the two that are known", found <= LINT_KNOWN, found)


def rotated(world):
    title(4, "It is renewed before half of its life, without a gap")
    service = Service(world, "watch")
    seen, deadline = [service.event("svid")], time.time() + WATCH_SECS
    while time.time() < deadline:
        seen.append(service.event("svid"))
    service.end()
    pauses = [late["at"] - early["at"] for early, late in zip(seen, seen[1:])]
    say("renewed after " + ", ".join(f"{pause:.1f} s" for pause in pauses))
    check(f"{len(seen)} certificates, each before half of the life of the one before",
          len(pauses) >= 3 and max(pauses) <= LIFE_SECS / 2 + 0.6, pauses)
    check("at no moment was there none that is valid",
          all(late["at"] < early["until"] for early, late in zip(seen, seen[1:])), seen)


def attacked(world, told):
    title(5, "What is not as it should be gets nothing")
    answers = Service(world, "attacks", told["jwt"]).event("attacks")["told"]
    expected = {name: "INVALID_ARGUMENT" for name in answers}
    expected["somebody else"] = "PERMISSION_DENIED"
    expected["a huge request"] = "OUT_OF_RANGE"
    for name, code in answers.items():
        check(f"{name}: {code}", code == expected[name], answers)
    other = Service(world, "stream", python=world.other).event("end")
    check("a copy of the same program at another path: PERMISSION_DENIED",
          other["code"] == "PERMISSION_DENIED", other)
    if os.geteuid() == 0:
        other = Service(world, "stream", uid=OTHER_UID).event("end")
        check("the same program as another user: PERMISSION_DENIED",
              other["code"] == "PERMISSION_DENIED", other)
    crowd = Service(world, "crowd", 24)
    told = crowd.event("crowd")["told"]
    check("of 384 streams of one user, 256 are served and the rest told to come back",
          told == {"OK": 256, "UNAVAILABLE": 128}, told)


def replaced(world):
    title(6, "A file that is replaced is another one")
    target = world.dir / "mailer"
    shutil.copy(world.other, target)
    world.aims("service", "add", "mailer", "--manifest", manifest(
        world, target, uid_of(world), "key_export = true\n"))
    first = Service(world, "stream", python=target)
    message = first.event("message")
    check("the registered file gets its identity",
          message["ids"] == ["spiffe://aims.local/service/mailer"], message)
    shutil.copy(world.other, world.dir / "mailer.new")
    os.rename(world.dir / "mailer.new", target)
    end = first.event("end")
    check("when it is replaced under a running process, that one is withdrawn",
          end["code"] == "PERMISSION_DENIED", end)
    with open(target, "ab") as file:
        file.write(b"changed")
    changed = Service(world, "stream", python=target).event("end")
    check("a file with another digest gets nothing", changed["code"] == "PERMISSION_DENIED",
          changed)
    link = world.dir / "link"
    link.symlink_to(world.python)
    linked = Service(world, "stream", python=link)
    message = linked.event("message")
    linked.end()
    check("a symbolic link is the file that it leads to, by its own path",
          message["ids"] == ["spiffe://aims.local/service/billing"], message)


def ended(world):
    title(7, "What ends is withdrawn")
    becoming = Service(world, "becomes", "/usr/bin/sleep")
    becoming.event("once")
    becoming.process.stdin.write("\n")
    becoming.process.stdin.flush()
    wait_for(world, "what it runs changed", "a process that runs something else by now has ended")
    becoming.end()
    gone = Service(world, "stream")
    gone.event("message")
    gone.end()
    wait_for(world, "the process exited", "a process that exited has ended")
    killed = Service(world, "stream")
    killed.event("message")
    time.sleep(0.5)
    live = instances_of(world, killed.process.pid)
    receipt = world.aims("kill", "instance", live[0], "--reason", "it went astray")
    end = killed.event("end")
    check("a kill of the instance withdraws it at once, and says how long others may accept it",
          end["code"] == "PERMISSION_DENIED" and receipt["foreign_until"], (end, receipt))
    retired = Service(world, "stream")
    retired.event("message")
    world.aims("service", "retire", "billing")
    returned = time.time()
    end = retired.event("end")
    check("a retired service is withdrawn from its processes when the command returns",
          end["code"] == "PERMISSION_DENIED" and end["at"] < returned + 0.5, (end, returned))
    again = Service(world, "stream").event("end")
    check("and no new process gets anything", again["code"] == "PERMISSION_DENIED", again)


def records(world):
    """Everything that the server has recorded, from the tiles of its log."""
    found = []
    import sqlite3
    with sqlite3.connect(f"file:{world.dir}/data/aims.db?mode=ro", uri=True) as store:
        for (record,) in store.execute("SELECT record FROM outbox ORDER BY seq"):
            found.append(json.loads(record))
        for (record,) in store.execute("SELECT record FROM log_entries ORDER BY leaf"):
            found.append(json.loads(record))
    return found


def instances_of(world, pid):
    attested = [one["body"] for one in records(world) if one["kind"] == "service.attested"]
    return [one["instance"] for one in attested if one["seen"]["pid"] == pid]


def wait_for(world, how, what):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        ends = [one["body"] for one in records(world) if one["kind"] == "service.ended"]
        if any(one["how"] == how for one in ends):
            return check(what, True)
        time.sleep(0.2)
    return check(what, False, ends)


def recorded(world):
    title(8, "Every key that left is on record, in a log that anyone can check")
    kinds = {}
    for one in records(world):
        kinds.setdefault(one["kind"], []).append(one["body"])
    exported = kinds["key.exported"]
    say(f"{len(exported)} keys exported, {len(kinds['jwt_svid.issued'])} JWT-SVIDs issued")
    check("each with its process, its executable and what that is worth",
          all(one["assurance"] == "observed" and one["seen"]["executable"]["digest"]
              and one["serial"] for one in exported), exported[:1])
    text = json.dumps(kinds)
    check("and no key in it", "PRIVATE KEY" not in text and '"d":' not in text)
    world.aims("log", "check")
    check("`aims log check` finds nothing wrong", True)


def main():
    parser = argparse.ArgumentParser()
    for name in ["--aims", "--world", "--venv", "--rust-client"]:
        parser.add_argument(name, required=True)
    options, _ = parser.parse_known_args()
    world = prepared(options)
    try:
        worlds.init(world)
        worlds.start(world)
        registered(world)
        told = given(world)
        linted(world, told)
        rotated(world)
        attacked(world, told)
        replaced(world)
        ended(world)
        recorded(world)
        another_client(world)
        print("\nEverything held.")
    except Failed as failure:
        print(f"\nfailed: {failure}\n{world.log_tail()}", file=sys.stderr)
        raise SystemExit(1) from failure
    finally:
        worlds.stop(world)


main()
