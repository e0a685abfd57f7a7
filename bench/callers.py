"""Calls one tool over and over, through the door or over the tool's own pipes, and says how long
each call took.

Standard library only; knows nothing of AIMS but the address of the door.
"""

import http.client
import json
import os
import subprocess
import sys
import threading
import time

DOOR = ("127.0.0.1", 8710)
CALL = {"task": "bench", "label": "bench", "n": 0, "hold_ms": 0}
INITIALIZE = {"protocolVersion": "2025-06-18", "capabilities": {},
              "clientInfo": {"name": "bench", "version": "1"}}


def give_up(why):
    print(json.dumps({"event": "failed", "why": str(why)}), flush=True)
    os._exit(1)


class Door:
    """One MCP session over HTTP, on one connection."""

    def __init__(self, _command):
        self.http = http.client.HTTPConnection(*DOOR, timeout=60)
        self.headers = {"content-type": "application/json",
                        "accept": "application/json, text/event-stream"}
        self.ask("initialize", INITIALIZE, 1)
        self.ask("notifications/initialized")

    def ask(self, method, params=None, number=None):
        message = {"jsonrpc": "2.0", "method": method}
        message |= {} if params is None else {"params": params}
        message |= {} if number is None else {"id": number}
        self.http.request("POST", "/mcp/witness", json.dumps(message), self.headers)
        reply = self.http.getresponse()
        body = reply.read()
        if reply.status >= 300:
            give_up(f"{reply.status}: {body[:300]}")
        session = reply.getheader("mcp-session-id")
        if session:
            self.headers |= {"mcp-session-id": session, "mcp-protocol-version": "2025-06-18"}
        return body

    def call(self, number):
        body = self.ask("tools/call", {"name": "note", "arguments": CALL}, number)
        if b"noted" not in body:
            give_up(body[:300])


class Pipes:
    """The tool server as a process of one's own, without anything in between."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ask("initialize", INITIALIZE, 1)

    def ask(self, method, params, number):
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def call(self, number):
        body = self.ask("tools/call", {"name": "note", "arguments": CALL}, number)
        if b"noted" not in body:
            give_up(body[:300])


def main():
    plan = json.loads(sys.argv[1])
    kind = Pipes if "command" in plan else Door
    ready = threading.Barrier(plan["clients"] + 1)
    took = [[] for _ in range(plan["clients"])]

    def now():
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def client(mine):
        session = kind(plan.get("command"))
        session.call(2)
        ready.wait()
        time.sleep(max(0, plan["begin"] - now()))
        # The end is the same for all: a slow client makes fewer calls, it does not go on alone.
        number = 3
        while now() < plan["end"]:
            began = time.perf_counter_ns()
            session.call(number)
            mine.append(time.perf_counter_ns() - began)
            number += 1

    threads = [threading.Thread(target=client, args=(mine,), daemon=True) for mine in took]
    for thread in threads:
        thread.start()
    ready.wait()
    if now() > plan["begin"]:
        give_up("the clients were not ready in time")
    for thread in threads:
        thread.join()
    every = [nanos for mine in took for nanos in mine]
    print(json.dumps({"event": "took", "nanos": every}), flush=True)


main()
