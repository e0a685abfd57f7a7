"""An agent that calls in a loop and does not give up when it is refused.

Standard library only; knows nothing of AIMS but the address of the door.
"""

import array
import fcntl
import http.client
import json
import os
import select
import socket
import sys
import termios
import threading
import time
import urllib.error
import urllib.request

DOOR = ("127.0.0.1", 8710)
# How many bytes are asked for that are not read, and what the reader's system is to hold of them.
UNREAD, RECEIVED_MAX = 2_000_000, 4096


def say(**event):
    os.write(1, (json.dumps(event) + "\n").encode())


class Broken(Exception):
    """The session is of no use any more."""


class Session:
    """One MCP session over HTTP."""

    def __init__(self):
        self.http = http.client.HTTPConnection(*DOOR, timeout=150)
        self.id = None
        self.ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {},
                                "clientInfo": {"name": "caller", "version": "1"}}, 0)
        self.ask("notifications/initialized")

    def ask(self, method, params=None, number=None):
        message = {"jsonrpc": "2.0", "method": method}
        message |= {} if params is None else {"params": params}
        message |= {} if number is None else {"id": number}
        headers = {"content-type": "application/json",
                   "accept": "application/json, text/event-stream"}
        if self.id:
            headers |= {"mcp-session-id": self.id, "mcp-protocol-version": "2025-06-18"}
        try:
            self.http.request("POST", "/mcp/witness", json.dumps(message), headers)
            reply = self.http.getresponse()
            body = reply.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise Broken(f"{type(error).__name__}: {error}") from error
        self.id = self.id or reply.getheader("mcp-session-id")
        if reply.status >= 300:
            raise Broken(f"{reply.status}: {body[:300]}")
        if number is None:
            return None
        if reply.getheader("content-type", "").startswith("text/event-stream"):
            body = next((line[5:] for line in body.splitlines()
                         if line.startswith("data:") and json.loads(line[5:]).get("id") == number),
                        None)
            if body is None:
                raise Broken("the stream ended without the answer")
        return json.loads(body)


def loop(plan, name, first, until):
    """Calls on and on; `most` ends it after so many permitted calls."""
    session, n, why, left = None, first, None, plan.get("most", 1_000_000)
    while time.monotonic() < until and left:
        try:
            session = session or Session()
            call = {"task": plan["task"], "label": plan["label"], "n": n,
                    "hold_ms": plan.get("hold_ms", 0)}
            say(event="asks", n=n)
            reply = session.ask("tools/call", {"name": "note", "arguments": call}, n + 1)
        except Broken as broken:
            session, said = None, f"broken: {broken}"
            n += 1  # never the same number twice: the witness tells repetition from a new call
        else:
            n += 1
            if "result" in reply and not reply["result"].get("isError"):
                say(event="ok", n=n - 1)
                why, left = None, left - 1
                time.sleep(plan.get("pace_ms", 0) / 1000)
                continue
            said = json.dumps(reply.get("error") or reply["result"])[:400]
        if said != why:
            why = said
            say(event="refused", n=n - 1, thread=name, why=why)
        time.sleep(0.01)


def delegate(order):
    request = urllib.request.Request(f"http://{DOOR[0]}:{DOOR[1]}/delegations",
                                     json.dumps(order).encode(),
                                     {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            for line in answer:
                event = json.loads(line)
                if event["event"] == "stdout":
                    for one in event["text"].splitlines():
                        os.write(1, (one + "\n").encode())
                else:
                    say(delegated=True, **event)
    except urllib.error.HTTPError as refused:
        say(event="delegation refused", why=refused.read().decode()[:400])
    except (OSError, http.client.HTTPException, ValueError) as error:
        say(event="delegation broken", why=f"{type(error).__name__}: {error}")


def ask_and_not_read(plan):
    """Asks for a long answer, reads its beginning, and the rest when the connection is over."""
    session = Session()
    call = {"task": plan["task"], "label": plan["label"], "n": 0, "hold_ms": 0, "bytes": UNREAD}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                       "params": {"name": "note", "arguments": call}})
    door = socket.socket()
    door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED_MAX)
    door.connect(DOOR)
    head = ["POST /mcp/witness HTTP/1.1", "host: door", "content-type: application/json",
            "accept: application/json, text/event-stream", f"mcp-session-id: {session.id}",
            f"content-length: {len(body)}", "", body]
    door.sendall("\r\n".join(head).encode())
    begun = door.recv(1000)
    say(event="waits", begun=begun.decode()[:40])
    over = select.poll()
    over.register(door, 0)
    is_reset = bool(over.poll(plan["patience_ms"]))
    here = array.array("i", [0])
    fcntl.ioctl(door, termios.FIONREAD, here)
    read = 0
    try:
        while more := door.recv(1 << 16):
            read += len(more)
    except ConnectionResetError:
        pass
    say(event="read", reset=is_reset, here=here[0], bytes=read)


def main():
    plan = json.loads(sys.argv[1])
    say(event="up", label=plan["label"])
    if "patience_ms" in plan:
        return ask_and_not_read(plan)
    until = time.monotonic() + plan.get("seconds", 300)
    work = [threading.Thread(target=loop, args=(plan, i, plan.get("first", 0) + i * 10_000_000,
                                                until)) for i in range(plan.get("threads", 1))]
    if "delegate" in plan:
        work.append(threading.Thread(target=delegate, args=(plan["delegate"],)))
    for one in work:
        one.start()
    for one in work:
        one.join()
    return say(event="done", label=plan["label"])


main()
