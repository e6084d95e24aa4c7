"""A scripted chat/completions upstream: each test says what it answers, and sees what came."""

from __future__ import annotations

import json
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import vendor

from chatbridge.translate import compaction

PATH = "/v1/chat/completions"
MODELS_PATH = "/v1/models"


@dataclass(frozen=True)
class Reply:
    """What the upstream answers to one request."""

    text: str = ""
    reasoning: str = ""
    calls: tuple = ()  # (name, arguments as a dict)
    prompt_tokens: int = 1000
    cut: str | None = None  # the connection breaks in the middle of "text" or "arguments"
    status: int = 200
    headers: dict = field(default_factory=dict)
    content: bytes | None = None  # a whole body instead of an answer
    finish: str = ""  # another finish reason than the usual one


def failure(status, message, *, code=None, kind="invalid_request_error", headers=None):
    """Return an error as vendors of chat/completions write it."""
    error = {"message": message, "type": kind, "param": None, "code": code}
    return Reply(status=status, content=json.dumps({"error": error}).encode(), headers=headers or {})


class Request:
    """One request that reached the upstream, with what a script wants to know of it."""

    def __init__(self, body, headers):
        self.body = body
        self.headers = headers
        self.messages = body["messages"]
        self.tools = {tool["function"]["name"]: tool["function"] for tool in body.get("tools", ())}

    @property
    def rounds(self):
        """How often the assistant has called tools so far."""
        return sum(1 for message in self.messages if message.get("tool_calls"))

    @property
    def results(self):
        """The texts of all tool messages."""
        return [text_of(message) for message in self.messages if message["role"] == "tool"]

    @property
    def images(self):
        """(index of the message, URL) of each image."""
        return [
            (index, part["image_url"]["url"])
            for index, message in enumerate(self.messages)
            if isinstance(message["content"], list)
            for part in message["content"]
            if part["type"] == "image_url"
        ]

    @property
    def wants_summary(self):
        """Whether this is a compaction: Codex's own prompt for it, or the bridge's."""
        return text_of(self.messages[-1]).startswith(("You are performing a CONTEXT CHECKPOINT", compaction.PROMPT))

    def says(self, words, role=None):
        """Whether *words* stand in a message (of *role*)."""
        return any(words in text_of(m) for m in self.messages if role in (None, m["role"]))

    def tool(self, short):
        """Return the full name of the offered tool *short*, whatever namespace it is in, or ``None``."""
        return next((name for name in self.tools if re.split(r"__|\.", name)[-1] == short), None)

    def call(self, short, arguments):
        """Return a call of the tool *short*; a plain string goes into its only argument."""
        name = self.tool(short)
        assert name, f"{short} is not offered, only {sorted(self.tools)}"
        if isinstance(arguments, str):
            (only,) = self.tools[name]["parameters"]["properties"]
            arguments = {only: arguments}
        return name, arguments

    def shell(self, command):
        """Return a call that runs *command*, by whatever tool is offered for it."""
        if self.tool("exec_command"):
            return self.call("exec_command", {"cmd": command})
        return self.call("exec", f"text((await tools.exec_command({{cmd: {json.dumps(command)}}})).output)")

    def patch(self, patch):
        """Return a call that applies *patch*, or ``None`` when no tool can."""
        if self.tool("apply_patch"):
            return self.call("apply_patch", patch)
        if self.tool("exec"):
            return self.call("exec", f"text(await tools.apply_patch({json.dumps(patch)}))")
        return None


def text_of(message):
    content = message["content"]
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)


class ScriptedUpstream:
    """The server. Set :attr:`script` (request → :class:`Reply`), then look at :attr:`requests`."""

    def __init__(self, key=None):
        self.key = key
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Connection)
        self._server.daemon_threads = True
        self._server.upstream = self
        self.url = f"http://127.0.0.1:{self._server.server_port}{PATH}"
        self.reset()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def reset(self):
        self.script = lambda request: Reply(text="plain answer")
        self.requests = []
        self.problems = []
        self.models = []

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def take(self, body, headers):
        """Note one request and return the answer to it."""
        found = vendor.problems(body, headers, self.key)
        if found:
            self.problems += found
            return failure(400, "picky upstream: " + "; ".join(found))
        request = Request(body, headers)
        self.requests.append(request)
        try:
            return self.script(request)
        except Exception as error:
            self.problems.append(f"the script failed: {error!r}")
            return failure(400, f"the script failed: {error!r}")


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        if self.path != MODELS_PATH:
            self._whole(failure(404, f"no such path {self.path}"))
            return
        self._whole(Reply(content=json.dumps({"object": "list", "data": self.server.upstream.models}).encode()))

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != PATH:
            self._whole(failure(404, f"no such path {self.path}"))
            return
        body = json.loads(raw)
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.upstream.take(body, headers)
        try:
            if reply.content is not None:
                self._whole(reply)
            elif body.get("stream"):
                self._stream(body, reply)
            else:
                self._whole(Reply(content=json.dumps(_completion(body, reply)).encode()))
        except OSError:
            self.close_connection = True  # the client left

    def _whole(self, reply):
        self.send_response(reply.status)
        for name, value in ({"Content-Type": "application/json"} | reply.headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.content)))
        self.end_headers()
        self.wfile.write(reply.content)

    def _stream(self, body, reply):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        head = {"id": "chatcmpl-e2e", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
        for delta in _deltas(reply):
            if delta is None:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            self._event(head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        finish = reply.finish or ("tool_calls" if reply.calls else "stop")
        self._event(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        if body.get("stream_options", {}).get("include_usage"):
            self._event(head | {"choices": [], "usage": _usage(reply)})
        self._chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, value):
        self._chunk(b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n")

    def _chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


def _deltas(reply):
    """Yield the answer in pieces; ``None`` is where the connection breaks."""
    yield {"role": "assistant", "content": ""}
    for piece in _pieces(reply.reasoning):
        yield {"reasoning_content": piece}
    for count, piece in enumerate(_pieces(reply.text)):
        yield {"content": piece}
        if reply.cut == "text" and count == 1:
            yield None
    for index, call in enumerate(_calls(reply)):
        arguments = call["function"].pop("arguments")
        yield {"tool_calls": [{"index": index} | call | {"function": call["function"] | {"arguments": ""}}]}
        for count, piece in enumerate(_pieces(arguments)):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
            if reply.cut == "arguments" and count == 1:
                yield None


_ids = iter(range(1, 10**9))


def _calls(reply):
    return [
        {"id": f"call_{next(_ids)}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for name, arguments in reply.calls
    ]


def _pieces(text):
    return [text[at : at + 7] for at in range(0, len(text), 7)]


def _usage(reply):
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": 50,
        "total_tokens": reply.prompt_tokens + 50,
        "prompt_tokens_details": {"cached_tokens": 600},
        "completion_tokens_details": {"reasoning_tokens": 7},
    }


def _completion(body, reply):
    message = {"role": "assistant", "content": reply.text, "reasoning_content": reply.reasoning}
    if reply.calls:
        message["tool_calls"] = _calls(reply)
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if reply.calls else "stop"}
    return {
        "id": "chatcmpl-e2e",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [choice],
        "usage": _usage(reply),
    }
