"""Writes the release notes for the last commits of a repository.

An ordinary program: it uses the public `mcp` client library with its defaults and knows nothing of
AIMS but the address of the door. It holds no key and no token.
"""

import asyncio
import http.client
import json
import os
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request

from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client

DOOR = "http://127.0.0.1:8710"


def say(**event):
    """One line of JSON for each thing that happened."""
    print(json.dumps(event), flush=True)


def text_of(result):
    return "\n".join(part.text for part in result.content if part.type == "text")


async def attempt(client, label, tool, arguments):
    """Calls a tool and says what came of it, also where the call is denied."""
    try:
        result = await client.call_tool(tool, arguments)
    except MCPError as refused:
        data = refused.error.data or {}
        say(step=label, tool=tool, decision="denied", message=refused.error.message, data=data)
        return None
    say(step=label, tool=tool, decision="permitted", is_error=bool(result.is_error),
        text=text_of(result)[:400])
    return text_of(result)


async def write_notes(git, files, repo, notes):
    tools = [tool.name for tool in (await git.list_tools()).tools]
    say(step="list", server="git", tools=tools)
    tools = [tool.name for tool in (await files.list_tools()).tools]
    say(step="list", server="files", tools=tools)

    log = await attempt(git, "log", "git_log", {"repo_path": repo, "max_count": 10})
    await attempt(git, "show", "git_show", {"repo_path": repo, "revision": "HEAD"})
    lines = ["# Release notes", ""]
    lines += [f"- {line.split(':', 1)[1].strip().strip(chr(39))}"
              for line in (log or "").splitlines() if line.startswith("Message")]
    await attempt(files, "write", "write_file", {"path": notes, "content": "\n".join(lines)})


async def through_the_bridge(repo):
    """The same door for clients that start a command instead of opening a URL."""
    bridge = StdioServerParameters(command="aims", args=["mcp", "connect", "git"])
    async with Client(stdio_client(bridge)) as git:
        await attempt(git, "stdio bridge", "git_log", {"repo_path": repo, "max_count": 1})


async def overstep(git, repo, other):
    """What a confused or captured agent would try."""
    await attempt(git, "other repository", "git_log", {"repo_path": other, "max_count": 1})
    await attempt(git, "sneaky path", "git_log", {"repo_path": f"{repo}/../other", "max_count": 1})
    await attempt(git, "tool outside the task", "git_reset", {"repo_path": repo})
    await attempt(git, "argument not named", "git_log", {"repo_path": repo, "x": 1})


async def exhaust(git, repo, most):
    """Calls until the budget is spent; says how many calls were permitted."""
    permitted = 0
    for _ in range(most):
        try:
            await git.call_tool("git_log", {"repo_path": repo, "max_count": 1})
        except MCPError as refused:
            data = refused.error.data or {}
            say(step="budget", permitted=permitted, decision="denied",
                message=refused.error.message, data=data)
            return
        permitted += 1
    say(step="budget", permitted=permitted, decision="permitted")


def fetch(label, url, ca_file):
    """Fetches over HTTPS in the usual way: the proxy comes from the environment."""
    trust = ssl.create_default_context(cafile=ca_file)
    try:
        with urllib.request.urlopen(url, timeout=20, context=trust) as answer:
            say(step=label, url=url, decision="permitted", status=answer.status,
                text=answer.read(200).decode())
    except (urllib.error.URLError, OSError) as refused:
        say(step=label, url=url, decision="denied", message=str(refused))


def delegate(label, order):
    """Hands a piece of the authority to another agent, and says what became of it."""
    request = urllib.request.Request(f"{DOOR}/delegations", json.dumps(order).encode(),
                                     {"content-type": "application/json"})
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as refused:
        problem = json.load(refused)
        say(step=label, decision="denied", message=problem["detail"], code=problem["code"])
        return
    with answer:
        for line in answer:
            event = json.loads(line)
            if event["event"] == "stdout":
                for said in event["text"].splitlines():
                    print(said, flush=True)
            else:
                say(step=label, decision="permitted", **event)


async def ask_approval(scratch, order):
    """Calls what a person must approve; gives up after a while if it is told to."""
    if order.get("when_told"):
        sys.stdin.readline()
    waits = 0

    async def progress(done, total, message):
        nonlocal waits
        waits += 1
        if waits == 1:
            say(step="waits", message=message)

    say(step="asks", label=order["label"])
    try:
        result = await scratch.call_tool("git_commit", order["arguments"],
                                         read_timeout_seconds=order.get("patience", 60),
                                         progress_callback=progress)
    except MCPError as refused:
        data = refused.error.data if isinstance(refused.error.data, dict) else {}
        say(step=order["label"], decision="gave up" if not data else "denied",
            message=refused.error.message, data=data)
        return
    say(step=order["label"], decision="answered", is_error=bool(result.is_error),
        text=text_of(result)[:600])


def ask_model(order):
    """Asks a model in the usual way: plain HTTP to the door, whatever key the program has."""
    body = {"model": order.get("model", "small"),
            "messages": [{"role": "user", "content": order.get("words", "What is new?")}]}
    body |= {"stream": True} if order.get("stream") else {}
    body |= order.get("more", {})
    request = urllib.request.Request(
        f"{DOOR}/http/model{order.get('path', '/v1/chat/completions')}", json.dumps(body).encode(),
        {"content-type": "application/json", "authorization": "Bearer sk-the-agents-own-key"})
    label = order["label"]
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as refused:
        problem = json.load(refused)
        say(step=label, decision="denied", status=refused.code, message=problem["detail"],
            data=problem)
        return
    except OSError as broken:
        # What was cut off is reset, and takes along what was not read yet.
        say(step=label, decision="cut", message=f"{type(broken).__name__}", text="")
        return
    with answer:
        text, headers, done = "", dict(answer.headers), not order.get("stream")
        try:
            if not order.get("stream"):
                text = json.load(answer)["choices"][0]["message"]["content"]
            for line in answer if order.get("stream") else ():
                event = line.removeprefix(b"data: ").strip()
                done = done or event == b"[DONE]"
                if event and not done:
                    text += json.loads(event)["choices"][0]["delta"]["content"]
                    say(step=f"{label} token", text=text[-40:])
        except (http.client.HTTPException, OSError, ValueError) as broken:
            say(step=label, decision="cut", message=f"{type(broken).__name__}", text=text)
            return
    # A stream that ends without its last event was broken off.
    decision = "permitted" if done else "cut"
    say(step=label, decision=decision, text=text, headers=headers)


def secrets_in_reach(form):
    """Whatever has the form of a key in the environment and in every file that can be read."""
    found, looked = [], 0
    form = re.compile(form.encode())
    places = [f"{name}={value}".encode() for name, value in os.environ.items()]
    for top in ("/tmp", "/etc", "/run", "/var", "/home", os.path.dirname(sys.argv[0])):
        for where, _, names in os.walk(top):
            for name in names:
                try:
                    path = os.path.join(where, name)
                    if os.path.isfile(path):
                        with open(path, "rb") as file:
                            places.append(file.read(1 << 20))
                except OSError:
                    pass
    for text in places:
        looked += 1
        found += [match.decode() for match in form.findall(text)]
    say(step="secrets in reach", found=found, looked=looked)


async def long_call(seconds):
    async def progress(done, total, message):
        say(step="progress", done=done, total=total)

    async with Client(f"{DOOR}/mcp/everything") as everything:
        await everything.call_tool("trigger-long-running-operation",
                                   {"duration": seconds, "steps": seconds * 5},
                                   progress_callback=progress)
        say(step="long call ended")


async def spend(git, repo, times):
    """So many calls, each said."""
    for _ in range(times):
        await attempt(git, "spend", "git_log", {"repo_path": repo, "max_count": 1})


async def other_plans(plan):
    """What one run of the story is about, if not the release notes."""
    for order in plan.get("delegate", []):
        await asyncio.to_thread(delegate, order.pop("label"), order)
    if "approve" in plan:
        async with Client(f"{DOOR}/mcp/scratch") as scratch:
            for order in plan["approve"]:
                await ask_approval(scratch, order)
    for order in plan.get("model", []):
        await asyncio.to_thread(ask_model, order)
    if "form" in plan:
        secrets_in_reach(plan["form"])
    if "direct" in plan:
        fetch("model directly", plan["direct"], plan["ca"])
    if "spend" in plan:
        async with Client(f"{DOOR}/mcp/git") as git:
            await spend(git, plan["repo"], plan["spend"])
    if "long" in plan:
        await long_call(plan["long"])


async def main():
    plan = json.loads(sys.argv[1])
    if plan.get("instead"):
        await other_plans(plan)
        return
    if "probe" in plan:
        found = subprocess.run([sys.executable, plan["probe"], json.dumps(plan["secrets"])],
                               capture_output=True, text=True, check=False)
        say(step="probe", reached=json.loads(found.stdout or "null"), stderr=found.stderr[-400:])
    if "late" in plan:
        async with Client(f"{DOOR}/mcp/git") as git:
            await attempt(git, "before the deadline", "git_log",
                          {"repo_path": plan["repo"], "max_count": 1})
            await asyncio.sleep(max(0, plan["late"] - time.time()))
            await attempt(git, "after the deadline", "git_log",
                          {"repo_path": plan["repo"], "max_count": 1})
        return
    async with Client(f"{DOOR}/mcp/git") as git, Client(f"{DOOR}/mcp/files") as files:
        await write_notes(git, files, plan["repo"], plan["notes"])
        await through_the_bridge(plan["repo"])
        fetch("host of the task", plan["host"], plan["ca"])
        fetch("host not named", plan["other_host"], plan["ca"])
        await overstep(git, plan["repo"], plan["other"])
        await exhaust(git, plan["repo"], plan["most"])


asyncio.run(main())
