"""A small MCP server over stdio, with nothing but the standard library."""
import json
import os
import sys

TOOLS = [
    {"name": "read", "description": "reads a file", "inputSchema": {
        "type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}},
    {"name": "whoami", "description": "says what it sees", "inputSchema": {"type": "object"}},
]


def call(name, arguments):
    if name == "read":
        try:
            with open(arguments["path"], encoding="utf-8") as file:
                return file.read()
        except OSError as error:
            return "error " + str(error.errno)
    names = sorted(os.environ)
    return json.dumps({"uid": os.getuid(), "pid": os.getpid(), "env": names,
                       "root": sorted(os.listdir("/"))})


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    method, params = message["method"], message.get("params", {})
    if method == "initialize":
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "small", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": TOOLS}
    else:
        text = call(params["name"], params.get("arguments", {}))
        result = {"content": [{"type": "text", "text": text}]}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
