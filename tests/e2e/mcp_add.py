"""A small MCP server over standard input and output, with one tool that adds."""

from __future__ import annotations

import json
import sys

_NUMBER = {"type": "number"}
_TOOL = {
    "name": "add",
    "description": "Add two numbers.",
    "inputSchema": {"type": "object", "properties": {"a": _NUMBER, "b": _NUMBER}, "required": ["a", "b"]},
}


def result(method, params):
    if method == "initialize":
        information = {"name": "demo", "version": "1"}
        version = params["protocolVersion"]
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": information}
    if method == "tools/list":
        return {"tools": [_TOOL]}
    if method == "tools/call":
        numbers = params["arguments"]
        return {"content": [{"type": "text", "text": f"the sum is {numbers['a'] + numbers['b']}"}]}
    return {}


def main():
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message:
            answer = {"jsonrpc": "2.0", "id": message["id"], "result": result(message["method"], message.get("params"))}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
