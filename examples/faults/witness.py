"""A tool server whose own log is the witness of what began, and when.

MCP over standard input and output, newline-delimited JSON-RPC, standard library only. Each call is
written down before anything else happens: what begins after a kill returned can't hide.
"""

import json
import os
import sys
import time

NOTE = {
    "name": "note",
    "description": "Writes down that it was called, takes its time, and writes down that it ended.",
    "inputSchema": {
        "type": "object",
        "properties": {
            "task": {"type": "string"}, "label": {"type": "string"}, "n": {"type": "integer"},
            "hold_ms": {"type": "integer"}, "bytes": {"type": "integer"}},
        "required": ["task", "label", "n", "hold_ms"],
        "additionalProperties": False,
    },
}


def write_down(log, what, call):
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    # One write in append mode: lines of many processes never mix.
    os.write(log, f"{now} {what} {call['task']} {call['label']} {call['n']}\n".encode())


def answer(log, method, params):
    if method == "initialize":
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}},
                "serverInfo": {"name": "witness", "version": "1"}}
    if method == "tools/list":
        return {"tools": [NOTE]}
    if method == "tools/call":
        call = params["arguments"]
        write_down(log, "begin", call)
        time.sleep(call["hold_ms"] / 1000)
        write_down(log, "end", call)
        text = f"noted {call['n']}" + "x" * call.get("bytes", 0)
        return {"content": [{"type": "text", "text": text}], "isError": False}
    return {}


def main():
    log = os.open(os.path.join(sys.argv[1], "calls.log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            result = answer(log, message["method"], message.get("params", {}))
            reply = {"jsonrpc": "2.0", "id": message["id"], "result": result}
            sys.stdout.write(json.dumps(reply) + "\n")
            sys.stdout.flush()


main()
