"""Two verifiers of proofs, of which neither knows the other, on thousands of files.

Real processes make proofs of a plain call, a connection, an approved write, a delegated call and
one whose materials were erased. `aims verify` and `verify_proof.py`, which was made from the
documents, then have to give the same verdict on each, on what a vandal makes of the files, and on
what a forger makes of them who holds every key. The same options as the story's, and a Python that
has `cryptography` and `cedarpy`. Exits 0 only if everything that it says was seen.
"""

import argparse
import collections
import concurrent.futures
import json
import pathlib
import re
import subprocess
import sys
import time
import tomllib
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "story"))

import story  # noqa: E402
from story import Story  # noqa: E402
from world import Failed, check, say, stop, table, title  # noqa: E402

VERDICTS = {"holds": 0, "not_rerunnable": 4, "does_not_hold": 1, "unreadable": 2}


# --- real proofs ---------------------------------------------------------------------------------


def set_up(world):
    world.proofs = world.dir / "proofs"
    world.proofs.mkdir()
    story.set_up(world)
    story.enrol_bob(world)
    for name in ("release-notes", "git-reader"):
        program = name.replace("-", "_") + ".py"
        world.aims("agent", "register", story.agent_manifest(world, name, program=program))
    for manifest in (story.git_manifest(world), story.files_manifest(world),
                     story.git_manifest(world, "scratch"), story.everything_manifest(world)):
        world.aims("tools", "register", manifest)
    world.key = world.proofs / "log.key"
    world.key.write_text(tomllib.loads(world.profile.read_text())["log_key"])


def checkpoint(world, name):
    path = world.proofs / name
    path.write_bytes(urllib.request.urlopen(
        f"http://127.0.0.1:{world.api_port}/log/checkpoint").read())
    return path


def permitted(world, task, resource):
    """The first permit of the task on a resource; its gateway may hand it over a moment later."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for call in world.aims("trace", task)["calls"]:
            if call["verdict"] == "permit" and call["resource"].startswith(resource):
                return call["decision"]
        time.sleep(0.1)
    raise Failed(f"no permit of {resource} in the trace of {task}")


def export(world, name, decision, *more):
    path = world.proofs / f"{name}.proof"
    world.aims("proof", decision, "--out", path, *more)
    return path


def plain_and_erased(world):
    title(1, "Proofs of real actions")
    kept = checkpoint(world, "kept")
    task = story.start_task(world)
    story.run(world, task, story.plan_of(world, most=1))
    call = permitted(world, task, "git/git_log")
    export(world, "plain", call, "--since", kept)
    export(world, "connect", permitted(world, task, story.HOST))
    say("a call and a connection")
    return kept, task, call


def delegated(world):
    task = story.start_task(world)
    piece = {"authorization_details": [{
        "type": "mcp_tool", "server": "git", "actions": ["git_log"],
        "arguments": {"repo_path": {"equals": str(world.repo)},
                      "max_count": {"range": {"min": "1", "max": "5"}}}}],
        "limits": {"uses": 2}}
    command = [str(world.python), str(world.agent / "git_reader.py"),
               json.dumps({"repo": str(world.repo)})]
    story.run(world, task, {"instead": True, "delegate": [{
        "label": "piece", "agent": "git-reader", "purpose": "read the last commits",
        "seconds": 300, "command": command, "authority": piece}]})
    export(world, "delegated", permitted(world, task, "git/git_log"))
    say("a call of a sub-agent")


def approved(world):
    world.policy = world.aims("policy", "show")["text"]
    story.set_policy(world)
    task = story.start_task(world)
    arguments = {"repo_path": str(world.scratch), "message": "Release 0.2.0"}
    agent = story.Background(world, task, {"instead": True, "approve": [
        {"label": "approved", "arguments": arguments}]})
    waiting = story.pending(world)
    world.aims("approve", waiting["id"], "--reason", "as planned", who=world.bob)
    agent.wait_for("the call", lambda event: event["step"] == "approved")
    agent.end()
    decision = permitted(world, task, "scratch/git_commit")
    export(world, "approved", decision)
    say("a write that a person approved")
    unseen = world.aims("proof", decision, who=world.bob, expect=1)
    check("who may not see the task gets no proof: " + unseen["error"]["message"][:60],
          unseen["error"]["code"] == "unknown_decision", unseen)


def erased(world, task, call):
    world.aims("task", "end", task)
    world.aims("erase", task, "--reason", "nobody needs it any more")
    export(world, "erased", call)


# --- two verifiers -------------------------------------------------------------------------------


def ours(world, files, key, *more):
    """What `aims verify` says of each file: in a process with nothing but files and keys."""
    command = [world.options.aims, "--json", "verify", *map(str, files), "--log-key", str(key)]
    done = subprocess.run([*command, *map(str, more)], env={}, capture_output=True, text=True,
                          check=False)
    try:
        said = json.loads(done.stdout)
    except ValueError:
        raise Failed(f"aims verify: {done.stdout}{done.stderr}") from None
    return [(VERDICTS[one["verdict"]], one.get("why", "")) for one in said]


def theirs(world, files, key, *more):
    command = [world.options.proof_python, "-B", HERE / "verify_proof.py", *files,
               "--log-key", key, *more]
    done = subprocess.run(list(map(str, command)), env={}, capture_output=True, text=True,
                          check=False)
    lines = [line.split(": ", 1) for line in done.stdout.splitlines()]
    if len(lines) != len(files) or done.stderr:
        raise Failed(f"verify_proof.py: {done.stdout[-400:]}{done.stderr[-2000:]}")
    return [(int(line[0].split(" ")[0]), line[-1]) for line in lines]


def exit_of(world, *args):
    command = [world.options.aims, "verify", *map(str, args)]
    return subprocess.run(command, env={}, capture_output=True, check=False).returncode


def good(world, kept):
    title(2, "Both verifiers on them")
    files = sorted(world.proofs.glob("*.proof"))
    wanted = [4 if file.name == "erased.proof" else 0 for file in files]
    found = [list(zip(*verifier(world, files, world.key)))[0] for verifier in (ours, theirs)]
    check(f"{len(files)} proofs: both say the same, and that of erased materials is included, not "
          "re-runnable", all(list(codes) == wanted for codes in found), found)
    check("one file, by the exit code: 0, and 4 for what was erased",
          (exit_of(world, world.proofs / "plain.proof", "--log-key", world.key),
           exit_of(world, world.proofs / "erased.proof", "--log-key", world.key)) == (0, 4))
    plain = [world.proofs / "plain.proof"] * 2
    later = checkpoint(world, "later")
    for name, more, wanted in (
            ("with the checkpoint that was kept", ("--checkpoint", kept), 0),
            ("with one that is newer than the proof", ("--checkpoint", later), 1)):
        codes = {verifier(world, plain, world.key, *more)[0][0] for verifier in (ours, theirs)}
        check(f"{name}: both say {wanted}", codes == {wanted}, codes)
    return files


def changed(world, files):
    """Mutants are made by the Python that has `cryptography`, in a process of its own."""
    title(3, "Both verifiers on what a vandal and a forger make of them")
    rows = []
    for who, count, seed in (("vandal", world.options.vandal, 1),
                             ("forger", world.options.forger, 2)):
        made = world.dir / who
        made.mkdir()
        command = [world.options.proof_python, "-B", HERE / "mutations.py", who, made, count, seed,
                   *files]
        subprocess.run(list(map(str, command)), check=True)
        for group in sorted(made.iterdir()):
            key = group / "key" if who == "forger" else world.key
            rows.append([f"{who}, {group.name}", *agree(world, group, key)])
    table(["by", "files", "hold", "included", "do not hold", "reasons"], rows)


def witnessed(world, file):
    """Asked for a witness, both verifiers take the file that it signed, and no other."""
    made = world.dir / "witness"
    made.mkdir()
    command = [world.options.proof_python, "-B", HERE / "mutations.py", "witness", made,
               int(time.time()), 0, file]
    subprocess.run(list(map(str, command)), check=True)
    files = sorted((made / "witness").glob("*.proof"))
    for verifier in (ours, theirs):
        said = verifier(world, files, world.key, "--witness", made / "witness" / "key")
        codes = [code for code, _ in said]
        check(f"{verifier.__name__}: signed by the witness it holds; without it, twice, by another "
              "key, of another tree, or with a line of somebody else it does not",
              codes == [0, 1, 1, 1, 1, 1], said)


def agree(world, group, key):
    files = sorted(group.glob("*.proof"))
    # Both at once; each of them takes a list of files.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        said = [pool.submit(verifier, world, files, key) for verifier in (ours, theirs)]
        ours_said, theirs_said = [one.result() for one in said]
    for file, one, other in zip(files, ours_said, theirs_said):
        if one[0] != other[0]:
            raise Failed(f"the verifiers disagree on {file}: {one} and {other}")
    count = collections.Counter(code for code, _ in ours_said)
    reasons = {re.sub(r"[0-9`].*", "", why) for code, why in ours_said if code == 1}
    check(f"{group.parent.name}, {group.name}: both say the same of {len(files)} files",
          count[1] > len(files) // 4, count)
    return len(files), count[0], count[4], count[1], len(reasons)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("aims", "world", "agent-venv", "tool-venv", "node", "node-modules",
                 "proof-python"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--vandal", type=int, default=2000, help="how many files the vandal makes")
    parser.add_argument("--forger", type=int, default=250, help="how many files the forger makes")
    options = parser.parse_args()
    options.apart, options.once = False, True
    world = Story(options)
    try:
        set_up(world)
        kept, task, call = plain_and_erased(world)
        delegated(world)
        approved(world)
        erased(world, task, call)
        files = good(world, kept)
        witnessed(world, world.proofs / "plain.proof")
        changed(world, files)
        print("\nBoth verifiers agree.")
    except Failed as failure:
        print(f"\nIt does not hold: {failure}\n\nThe end of AIMS's log:\n{world.log_tail()}",
              file=sys.stderr)
        return 1
    finally:
        stop(world)
    return 0


if __name__ == "__main__":
    sys.exit(main())
