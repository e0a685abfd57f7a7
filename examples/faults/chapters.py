"""`kill -9` of each process in each chapter of the story, and what becomes of the story.

Plays the story once as it is, and keeps the world as it was before each chapter. Then, for each
chapter and each process, it goes back there, starts the chapter, kills the process at some instant
within it, starts it again at once, and looks: the chapter holds all the same, or what failed says
why. Either way the same chapter is played again in the same world right after, and holds. The same
options as the story's. Uses nothing but the standard library and the command `aims`. Exits 0 only
if everything that it says was seen.
"""

import argparse
import contextlib
import io
import json
import pathlib
import random
import re
import shutil
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "story"))

import story  # noqa: E402
import world as worlds  # noqa: E402
from world import Failed, check, linked, say, table, title  # noqa: E402

# What a crash may look like to whoever was in its way. Anything else that failed is a fault.
REASONS = re.compile("|".join([
    r"the connection to the server broke", r"(is not|is un|can't be|could not be) ?reach(able|ed)",
    r"[Cc]onnection (was )?(refused|reset|closed)", r"went away", r"did not answer",
    r"Service Unavailable", r"not linked", r"no lease", r"broke off",
]))


# In the order in which the story starts them; in one process there is only the first.
NAMES = ["server", "gateway-0", "gateway-1", "node-0", "node-1"]


class Chapters(story.Story):
    """The story's world, whose processes have names and can be put back to an earlier day."""

    # Neither the story's nor that of the other faults: all may run on one host at once.
    uid_base = 2_050_000_000

    def __init__(self, options):
        super().__init__(options)
        self.kept = self.dir.with_name(self.dir.name + "-kept")

    def names(self):
        return NAMES if self.options.apart else NAMES[:1]

    def config_of(self, name):
        return self.config if name == "server" else self.dir / f"{name}.toml"

    def start_again(self, name):
        """In the place of one that was killed."""
        before = self.names().index(name)
        if name == "server":
            worlds.start(self)
        else:
            worlds.start_process(self, name.split("-")[0], self.config_of(name))
        self.processes[before] = self.processes.pop()

    def log_tail(self, most=3000):
        """Not in what failed: that has to tell why by itself."""
        return super().log_tail(most) if most > 3000 else ""

    def settled(self):
        if self.options.apart:
            linked(self, 4)

    def keep(self, chapter):
        """Stops, copies everything that this installation has, and starts again."""
        worlds.stop(self)
        shutil.rmtree(self.kept / chapter, ignore_errors=True)
        self.kept.mkdir(exist_ok=True)
        copy(self.dir, self.kept / chapter)
        self.start_all()

    def go_back(self, chapter):
        worlds.stop(self)
        empty(self.dir)
        copy(self.kept / chapter, self.dir)
        self.tls.served = self.model.refused = self.model.broken_off = 0
        self.model.asked.clear()
        self.start_all()

    def start_all(self):
        self.processes = []
        worlds.start(self)
        for name in self.names()[1:]:
            worlds.start_process(self, name.split("-")[0], self.config_of(name))
        self.settled()


def copy(source, target):
    """All but the staged programs, which never change."""
    target.mkdir(exist_ok=True)
    copied = (f"tar -C '{source}' --exclude=./stage --exclude='./*/stage' --warning=no-file-ignored "
              f"-cf - . | tar -C '{target}' -xpf -")
    subprocess.run(["sh", "-c", copied], check=True)


def empty(directory):
    """Of all but the staged programs."""
    for path in directory.iterdir():
        if (path / "stage").is_dir():
            empty(path)
        elif path.name != "stage":
            subprocess.run(["rm", "-rf", str(path)], check=True)


# --- the chapters ------------------------------------------------------------------------------


def run_task(world, memo):
    """The main task of the story, from its start to its end."""
    memo["task"] = task = story.start_task(world)
    story.evidence(world, task)
    story.calls(world, story.walls(world, task))
    story.end(world, task)


def registered(world, _):
    """Whatever of the first chapter is still to be done, and what it leaves."""
    with_owner = [lambda: story.agent_manifest(world),
                  lambda: story.agent_manifest(world, "git-reader", program="git_reader.py",
                                               purpose="reads histories for other agents")]
    servers = [lambda: story.git_manifest(world), lambda: story.files_manifest(world),
               lambda: story.git_manifest(world, "scratch"),
               lambda: story.everything_manifest(world)]
    for kind, manifests in (("agent", with_owner), ("tools", servers)):
        for manifest in manifests:
            done = world.aims(kind, "register", manifest(), expect=None, quiet=True)
            if done.returncode != 0 and "name" not in done.stdout + done.stderr:
                raise Failed(f"{kind} register: {done.stdout}{done.stderr}")
    agents = {one["name"] for one in world.aims("agent", "list")}
    check("both agents are registered, each once", agents == {"release-notes", "git-reader"},
          agents)


def main_task_again(world, memo):
    (world.notes / "NOTES.md").unlink(missing_ok=True)
    world.tls.served = 0
    run_task(world, memo)


def approval_again(world, memo):
    """With another commit to make."""
    path = world.dir / "policy-before.cedar"
    path.write_text(memo["policy"])
    world.aims("policy", "set", path, expect=None, quiet=True)
    log = ["git", "-c", "safe.directory=*", "-C", str(world.scratch), "log", "--oneline"]
    done = subprocess.run(log, capture_output=True, text=True, check=False).stdout
    check("what was approved was done at most once", len(done.splitlines()) <= 1, done)
    shutil.rmtree(world.scratch)
    world.scratch.mkdir()
    story.git(world.scratch, "init", "-q", "-b", "main")
    (world.scratch / "VERSION").write_text("0.2.0\n")
    story.git(world.scratch, "add", "VERSION")
    worlds.owned_by_tools(world.scratch, *world.scratch.rglob("*"))
    for one in world.aims("approvals", who=world.bob):
        if one["stage"]["stage"] == "pending":
            # It may be withdrawn meanwhile, with the instance that asked.
            world.aims("deny", one["id"], "--reason", "asked before a crash", who=world.bob,
                       expect=None, quiet=True)
    memo["commits"] = story.approval(world)


def proof_again(world, memo):
    shutil.rmtree(world.dir / "auditor", ignore_errors=True)
    story.proof(world, memo["commits"])


def kill_again(world, _):
    world.aims("agent", "activate", "git-reader", expect=None, quiet=True)
    story.kill(world)


def model_works(world, _):
    """A name is used once, so the chapter can't be played twice: its main thing can."""
    listed = world.aims("upstream", "list")
    if not listed:
        return story.model(world)
    if listed[0]["retired_at"] is None:
        story.with_secret(world, "rotate", "model", key=world.model.key)
        world.model.refused = 0
        events, _ = story.run(world, story.model_task(world), {
            "instead": True, "model": [{"label": "after"}]})
        check("the model answers", events[-1]["decision"] == "permitted"
              and world.model.refused == 0, events)
        world.aims("upstream", "remove", "model")
    found = story.keys_at_rest(world, [world.model.key])
    check("the key is in no file of this installation", not found, found)


def first_approval(world, memo):
    memo["policy"] = world.aims("policy", "show")["text"]
    memo["commits"] = story.approval(world)


CHAPTERS = {
    # its name: as the story plays it, and again in the same world
    "register": (lambda world, _: story.register(world), registered),
    "run and call": (run_task, main_task_again),
    "deadline": (lambda world, _: story.deadline(world),) * 2,
    "delegate": (lambda world, _: story.delegation(world),) * 2,
    "approve": (first_approval, approval_again),
    "prove": (lambda world, memo: story.proof(world, memo["commits"]), proof_again),
    "kill": (lambda world, _: story.kill(world), kill_again),
    "freeze": (lambda world, _: story.freeze(world),) * 2,
    "model": (lambda world, _: story.model(world), model_works),
    "two gateways": (lambda world, _: story.two_gateways(world),) * 2,
    "tell": (lambda world, memo: story.tell(world, memo["task"]),) * 2,
}


# --- crashes -----------------------------------------------------------------------------------


class Crash:
    """`kill -9` of a process some time from now, and its start right after."""

    def __init__(self, world, name, seconds):
        self.world, self.name, self.seconds = world, name, seconds
        self.failure = None
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        time.sleep(self.seconds)
        process = self.world.processes[self.world.names().index(self.name)]
        process.kill()
        process.wait()
        try:
            self.world.start_again(self.name)
        except Failed as failure:
            self.failure = failure

    def over(self):
        self.thread.join()
        if self.failure:
            raise self.failure
        self.world.settled()


class Heard:
    """What agents said, also where the story looked for something else and did not find it."""

    def __init__(self):
        self.said = []
        self.run, self.background = story.run, story.Background

    def __enter__(self):
        heard = self

        class Background(heard.background):
            def __init__(self, *args, **more):
                super().__init__(*args, **more)
                heard.said.append(self.events)

        def run(*args, **more):
            done = heard.run(*args, **more)
            heard.said.append(done)
            return done

        story.run, story.Background = run, Background
        return self

    def __exit__(self, *_):
        story.run, story.Background = self.run, self.background

    def words(self):
        return "\n".join(json.dumps(one) for one in self.said)


def quietly(what, *args):
    """Plays without its words; what failed, if anything did."""
    with contextlib.redirect_stdout(io.StringIO()), Heard() as heard:
        try:
            what(*args)
        except Failed as failure:
            return f"{failure}\n{heard.words()}"
        except (LookupError, StopIteration, ValueError) as failure:
            return f"{failure!r}\n{heard.words()}"
    return None


def crash_in(world, chapter, name, seconds, memo):
    """One line of the table."""
    play, again = CHAPTERS[chapter]
    world.go_back(chapter)
    crash = Crash(world, name, random.uniform(0, seconds))
    memo = dict(memo)
    failed = quietly(play, world, memo)
    crash.over()
    said = "holds"
    if failed:
        reason = REASONS.search(failed)
        said = first_words(failed, reason) if reason else f"UNCLEAR: {failed}"
    failed = quietly(again, world, memo)
    check(f"{chapter}, kill -9 of {name} after {crash.seconds:.1f} of {seconds:.1f} s: {said}; "
          "then it holds", not failed, failed)
    report = world.aims("log", "check")
    if report["size"] < 10:
        raise Failed(f"the log is too short: {report}")
    return [chapter, name, f"{crash.seconds:.1f} of {seconds:.1f} s", said]


def first_words(failed, reason):
    """The line that says why, cut short."""
    begin = failed.rfind("\n", 0, reason.start()) + 1
    line = failed[begin:].splitlines()[0]
    at = max(0, reason.start() - begin - 60)
    return "…" + line[at:at + 120].strip() + "…"


def play_once(world, chapters):
    """The story without crashes: how long each chapter takes, and the world before each."""
    title(1, "The story as it is")
    memo, took, memos = {}, {}, {}
    for chapter in chapters:
        world.keep(chapter)
        memos[chapter] = dict(memo)
        began = time.monotonic()
        failed = quietly(CHAPTERS[chapter][0], world, memo)
        took[chapter] = time.monotonic() - began
        check(f"{chapter} ({took[chapter]:.1f} s)", not failed, failed)
    return took, memos


def play(world):
    chapters = [one for one in CHAPTERS if world.options.apart or one != "two gateways"]
    names = ["server", "gateway-0", "node-0"] if world.options.apart else ["server"]
    with contextlib.redirect_stdout(io.StringIO()):
        if world.options.apart:
            story.set_apart(world)
        story.enrol_bob(world)
    took, memos = play_once(world, chapters)
    title(2, "kill -9 of each process in each chapter")
    rows = []
    for chapter in chapters:
        if not world.options.only or chapter in world.options.only.split(","):
            for name in names * world.options.rounds:
                rows.append(crash_in(world, chapter, name, took[chapter], memos[chapter]))
    table(["chapter", "kill -9 of", "when", "what became of it"], rows)
    unclear = [row for row in rows if row[-1].startswith("UNCLEAR")]
    check("whatever did not hold said why", not unclear, unclear)
    held = sum(row[-1] == "holds" for row in rows)
    say(f"{len(rows)} crashes: {held} chapters held all the same, the others said why; each was "
        "played again afterwards, and held.")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("aims", "world", "agent-venv", "tool-venv", "node", "node-modules"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--rounds", type=int, default=1, help="crashes of each process a chapter")
    parser.add_argument("--only", default="", help="only these chapters, with commas between them")
    world = Chapters(parser.parse_args())
    random.seed(world.options.seed)
    print(f"seed {world.options.seed}")
    began = time.monotonic()
    try:
        story.set_up(world)
        play(world)
        print(f"\nAll of it holds ({time.monotonic() - began:.0f} s).")
    except Failed as failure:
        print(f"\nNot all of it holds: {failure}\n\nThe end of AIMS's log:\n{world.log_tail(6000)}",
              file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        worlds.stop(world)
        shutil.rmtree(world.kept, ignore_errors=True)
    return 0


sys.exit(main())
