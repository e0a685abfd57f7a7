"""Asks for tokens over and over, and says how long each took; for `tokens.py`.

On the public library `requests-oauth2client`.
"""

import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "examples" / "others"))

import agent as agents  # noqa: E402


def now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def main():
    plan = json.loads(sys.argv[1])
    agent = agents.Agent(plan)
    agent.get_token()
    ask = agent.get_token
    if plan["kind"] == "token exchange":
        ask = lambda: agent.narrowed(plan["part"])  # noqa: E731
    ask()
    took = []
    time.sleep(max(0, plan["begin"] - now()))
    while now() < plan["end"]:
        began = time.perf_counter_ns()
        ask()
        took.append(time.perf_counter_ns() - began)
    print(json.dumps({"event": "took", "nanos": took}), flush=True)


main()
