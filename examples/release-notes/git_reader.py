"""Reads the history of a repository for another agent.

An agent of its own: it was started through the door of the one that delegated to it, and calls in
its own name with the narrower authority that it was given.
"""

import asyncio
import json
import sys

from mcp import Client, MCPError

DOOR = "http://127.0.0.1:8710"


def say(**event):
    print(json.dumps(event), flush=True)


async def attempt(client, label, tool, arguments):
    try:
        result = await client.call_tool(tool, arguments)
    except MCPError as refused:
        say(step=label, tool=tool, decision="denied", message=refused.error.message,
            data=refused.error.data or {})
        return
    text = "\n".join(part.text for part in result.content if part.type == "text")
    say(step=label, tool=tool, decision="permitted", text=text[:200])


async def main():
    plan = json.loads(sys.argv[1])
    async with Client(f"{DOOR}/mcp/git") as git:
        tools = [tool.name for tool in (await git.list_tools()).tools]
        say(step="sub list", server="git", tools=tools)
        await attempt(git, "sub log", "git_log", {"repo_path": plan["repo"], "max_count": 2})
        await attempt(git, "sub show", "git_show", {"repo_path": plan["repo"], "revision": "HEAD"})
        await attempt(git, "sub log again", "git_log", {"repo_path": plan["repo"], "max_count": 2})
        await attempt(git, "sub budget", "git_log", {"repo_path": plan["repo"], "max_count": 2})
        if plan.get("hold"):
            say(step="sub holds")
            await asyncio.sleep(600)


asyncio.run(main())
