"""One answer's state machine: chat chunks in, Responses events out.

The rules: every answer ends with exactly one terminal event. ``completed`` only after a finish reason, or ``[DONE]``
after output. A call is finished only at the end, so a half one is never delivered. Items come in the order in which
the upstream began them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chatbridge.protocol import failure
from chatbridge.protocol.chat import CallPiece, Chunk, Piece, mended, read_chunk
from chatbridge.protocol.errors import ApiError, Kind, unavailable
from chatbridge.protocol.jsontext import Halves, loads
from chatbridge.protocol.kept import Lifecycle, ResponseTexts
from chatbridge.protocol.plain import read_plain
from chatbridge.protocol.responses import ResponsesRequest, response_object
from chatbridge.protocol.sse import DONE, ErrorData
from chatbridge.translate import compaction, structured
from chatbridge.translate.calls import Call, Calls
from chatbridge.translate.channels import Channels
from chatbridge.translate.finish import meaning
from chatbridge.translate.hosted import Hosted
from chatbridge.translate.items import (
    CallItem,
    Compaction,
    CutOffError,
    Event,
    FunctionCall,
    Keepsake,
    Message,
    NewId,
    Reasoning,
    WebSearch,
    call_item,
)
from chatbridge.translate.lane import Lane, Shapes, Texts
from chatbridge.translate.logprobs import Logprobs
from chatbridge.translate.markup import read_calls, say_calls
from chatbridge.translate.notes import Notes
from chatbridge.translate.output import Output
from chatbridge.translate.padding import pad
from chatbridge.translate.request import Translation
from chatbridge.translate.seals import Seals
from chatbridge.translate.usage import add_usage, final_usage, read_usage


class Turn:
    """Feed :meth:`data` with the payloads of the upstream's events, then call :meth:`end` or :meth:`fail`.

    Each returns the events to write now. *new_id* makes ids from a prefix; *now* returns seconds since the epoch;
    *for_codex* chooses the shapes that Codex acts on best; *redact* takes secrets out of error texts, which vendors
    quote.
    """

    # An object with more than 30 attributes does not share their names with others of its kind: 1 kB more for each.
    __slots__ = (
        "_call_items", "_calls", "_channels", "_chunk", "_for_codex", "_halves", "_hosted", "_lane", "_logprobs",
        "_new_id", "_notes", "_now", "_open", "_output", "_plain", "_redact", "_seals", "_shapes", "_space",
        "_streamed", "_summary", "_texts", "_thought_space", "_told_as_it_comes", "_usage", "_written", "chunks",
        "closed", "error", "finish", "may_ask_again", "mismatch", "refusal", "response", "spent", "translation",
    )  # fmt: skip

    def __init__(
        self,
        request: ResponsesRequest,
        translation: Translation,
        notes: Notes,
        *,
        new_id: NewId,
        now: Callable[[], float],
        for_codex: bool = False,
        redact: Callable[[str], str] = str,
    ) -> None:
        self.closed = False
        """The terminal event has been given."""
        self.error: ApiError | None = None
        """Why the answer failed."""
        self.may_ask_again = False
        """The upstream may be asked anew where it refuses before any output; who sets this looks at :attr:`refusal`."""
        self.refusal: failure.Failure | None = None
        """What the upstream said in place of an answer. Nothing more is read until :meth:`retranslate`."""
        self.response = response_object(request, translation.tools.echo, new_id("resp"), int(now()))
        """The Response object; whole when the turn is closed."""
        self._texts = ResponseTexts(self.response)
        self.finish = ""
        """The upstream's finish reason, once seen."""
        self.mismatch = ""
        """What is wrong with an answer that was to match a JSON schema."""
        self.spent: dict[str, Any] | None = None
        """The usage of an answer before this one, which was not good enough."""
        self.chunks = 0
        """How many chunks were understood."""
        self.translation = translation
        self._notes = notes
        self._new_id = new_id
        self._now = now
        self._for_codex = for_codex
        self._redact = redact
        obfuscated = request.part("stream_options", "include_obfuscation") is True
        self._output = Output((lambda events: pad(events, lambda: self._new_id("")[1:])) if obfuscated else None)
        self._open: Message | Reasoning | None = None
        self._calls = Calls()
        self._call_items: dict[Call, CallItem] = {}
        self._hosted = Hosted(notes)
        self._channels = Channels(translation.think_tags, markup=translation.read_markup)
        self._halves = Halves()
        self._seals = Seals(self.response["id"], notes)
        self._space: list[str] = []
        self._thought_space: list[str] = []
        self._summary: list[str] = []
        self._streamed = False
        self._usage: dict[str, Any] | None = None
        self._written = 0
        self._chunk: Chunk | None = None
        self._shapes = Shapes()
        self._lane: Lane | None = None
        self._logprobs = Logprobs() if request.logprobs else None
        self._plain = self._logprobs is None and not obfuscated
        # The events of an answer in the background can be read while it runs, however it was asked for.
        self._told_as_it_comes = request.stream or bool(request.get("background"))

    @property
    def events(self) -> int:
        """How many events have been given."""
        return self._output.sequence

    # --- what comes in

    def retranslate(self, translation: Translation) -> None:
        """Take the request as it was put otherwise, while nothing of the answer has been read."""
        self.translation = translation
        self.refusal = self._usage = None
        self.finish, self.chunks = "", 0
        self._channels = Channels(translation.think_tags, markup=translation.read_markup)

    def start(self) -> list[Event]:
        """Return the events that open the answer."""
        created = self._lifecycle("response.created")
        same = Lifecycle("response.in_progress", created["response"], self._texts)
        return [created, *self._output.number([same])]

    def keepalive(self) -> list[Event]:
        """Return a sign of life that resets Codex's idle timer, which comments do not."""
        return [] if self.closed else [self._lifecycle("response.in_progress")]

    def copy(self, event: bytes) -> bytes | None:
        """Do what :meth:`read` does, for a whole upstream event; None where it must be read, and nothing is done."""
        if self._lane is None or self.closed:
            return None
        copied = self._lane.copy(event, self._output.sequence)
        return None if copied is None else self._passed(copied[0], 1, copied[1])

    def read(self, payloads: list[bytes]) -> list[Event | bytes]:
        """Do what :meth:`data` does for each payload. Events that were as the one before come as framed bytes."""
        events: list[Event | bytes] = []
        at = 0
        while at < len(payloads):
            run = (
                self._lane.take(payloads, at, self._output.sequence)
                if self._lane is not None and not self.closed
                else None
            )
            if run is None:
                events += self._full(payloads[at])
                at += 1
                continue
            events.append(self._passed(run.frames, run.count, run.characters))
            at += run.count
        return events

    def _passed(self, frames: bytes, count: int, characters: int) -> bytes:
        self.chunks += count
        self._output.sequence += count
        self._written += characters
        self._shapes.missed = 0
        return frames

    def _full(self, payload: bytes) -> list[Event]:
        self._lane = self._chunk = None
        events = self.data(payload)
        if self._chunk is not None and len(events) == 1 and self._plain:
            self._lane = self._find_lane(payload, self._chunk, events[0])
        return events

    def _find_lane(self, payload: bytes, chunk: Chunk, event: Event) -> Lane | None:
        """Return the lane for what comes after *chunk*, if its text went into *event* and nothing else happened."""
        collected = self._collected(chunk)
        if self.closed or not collected or (shape := self._shapes.find(payload, chunk)) is None:
            return None
        told = chunk.pieces[0][1] if chunk.pieces else chunk.calls[0].arguments
        # The very text in the event: no half of a character was held back, and none waited.
        return Lane(shape, event, collected) if event.get("delta") == told else None

    def _collected(self, chunk: Chunk) -> tuple[Texts, ...]:
        """Return where the text of *chunk* was put, when more like it goes there unchanged."""
        item = self._open
        if len(chunk.pieces) + len(chunk.calls) != 1:
            return ()
        if chunk.pieces:
            channel = chunk.pieces[0][0]
            told = isinstance(item, Message) if channel == "text" else isinstance(item, Reasoning)
            return (item.texts,) if item is not None and told and self._channels.plain(channel) else ()
        call = self._calls.at(chunk.calls[0])
        of_call = self._call_items.get(call) if call is not None else None
        return (call.parts, of_call.texts) if call is not None and isinstance(of_call, FunctionCall) else ()

    def data(self, payload: bytes) -> list[Event]:
        """Take the data of one upstream event: a chunk, or ``[DONE]``. What is not JSON is skipped (quirk S55)."""
        if self.closed or self.refusal is not None:
            return []
        if payload == DONE:
            return self.end(done=True)
        if isinstance(payload, ErrorData):
            return self.refuse(failure.read_body(payload))
        try:
            value = loads(payload)
        except ValueError:
            return self._odd(payload)
        return self.chunk(value)

    def _odd(self, payload: bytes) -> list[Event]:
        if payload.strip().upper() == DONE:
            return self.end(done=True)
        if parts := mended(payload):
            return [event for part in parts for event in self.data(part)]
        self._notes.add("upstream:junk", "the upstream sent an event that is not JSON; skipped")
        return []

    def chunk(self, value: Any) -> list[Event]:
        """Take one decoded chunk, or a whole completion."""
        if self.closed or self.refusal is not None:
            return []
        chunk = read_plain(value)
        if chunk is None:
            chunk = read_chunk(value, streamed=self._streamed, called=bool(self._call_items))
        self._chunk = chunk
        self.chunks += 1
        if chunk.pieces or chunk.calls:
            self._streamed = True
        if chunk.usage is not None and (self._usage is None or read_usage(chunk.usage)):
            self._usage = chunk.usage
        if chunk.error is not None:
            return self.refuse(failure.read_failure(chunk.error))
        if self._logprobs is None:
            return self._read(chunk)
        self._logprobs.add(value)
        return self._with_logprobs(self._read(chunk))

    def refuse(self, found: failure.Failure) -> list[Event]:
        """Take the upstream's error, which came where an answer was due: the answer fails, or may be asked for anew."""
        if self.may_ask_again and not self._streamed and not self._output.items and not self.closed:
            self.refusal = found
            return []
        return self.fail(self.refused(found))

    def refused(self, found: failure.Failure) -> ApiError:
        """Return the error for what the upstream said."""
        return failure.upstream_error(200, found, overflow=self.translation.overflow)

    def end(self, *, done: bool = False) -> list[Event]:
        """The upstream's body has ended, or said ``[DONE]``: return the last events."""
        if self.closed or self.refusal is not None:
            return []
        events = self._with_logprobs(self._flush())
        if tool := self._hosted.waiting(alone=self._asks_nobody()):
            return [*events, *self.fail(_unanswered(tool))]
        if not self.finish and not (done and (self._output.items or self._calls.all or self._summary)):
            cut = "answered nothing" if done else "broke off its answer before it was complete"
            return [*events, *self.fail(unavailable(f"The upstream {cut}.", code="upstream_incomplete"))]
        match meaning(self.finish):
            case "failed":
                return [*events, *self.fail(unavailable(f"The upstream stopped with {self.finish!r}."))]
            case "overflow":
                text = "The conversation exceeds the model's context window."
                overflow = ApiError(400, text, code="context_length_exceeded", kind=Kind.OVERFLOW)
                return [*events, *self.fail(overflow)]
            case "content_filter":
                return [*events, *self._filtered()]
            case "max_output_tokens":
                return [*events, *self._incomplete("max_output_tokens")]
        return [*events, *self._complete()]

    def fail(self, error: ApiError) -> list[Event]:
        """Close the answer as failed."""
        if self.closed:
            return []
        error.message = self._redact(error.message)
        self.error = error
        self.response["error"] = error.response_error()
        return [self._terminal("failed", self._output.told())]

    def cancel(self) -> list[Event]:
        """Close the answer because nobody wants it any more."""
        if self.closed:
            return []
        self.response["error"] = {"code": "server_error", "message": "The response was cancelled."}
        return [self._terminal("cancelled", self._output.told())]

    def progress(self) -> dict[str, Any]:
        """Return the Response object as it stands."""
        if self.closed:
            return self.response
        return {**self.response, "output": self._output.told("in_progress")}

    # --- pieces

    def _read(self, chunk: Chunk) -> list[Event]:
        events: list[Event] = []
        if chunk.details or chunk.extra is not None:
            self._seals.read(chunk)
        calls = chunk.calls
        if calls or chunk.beside:
            calls = self._hosted.read(chunk, told=not self.translation.compaction)
            if self._open is None and self._hosted:
                events += self._searched()
        if chunk.pieces or calls:
            events += self._say(self._channels.feed(chunk.pieces, calls=bool(calls)))
        for piece in calls:
            events += self._call(piece)
        if chunk.finish:
            self.finish = chunk.finish
        return events

    def _searched(self) -> list[Event]:
        events: list[Event] = []
        for action in self._hosted.actions():
            item = WebSearch(self._new_id, len(self._output.items), action)
            events += self._output.whole(item)
        return events

    def _say(self, pieces: list[Piece]) -> list[Event]:
        events: list[Event] = []
        for channel, text in pieces:
            if channel == "reasoning":
                events += self._reasoning(text)
            else:
                events += self._text("text" if self._for_codex else channel, text)
        return events

    def _reasoning(self, text: str) -> list[Event]:
        if not text or self.translation.compaction:
            return []
        self._written += len(text)
        if isinstance(self._open, Reasoning):
            return self._output.number(self._open.delta(text))
        self._thought_space.append(text)
        if not text.strip():
            return []
        text = "".join(self._thought_space)
        self._thought_space.clear()
        events = self._close_open()
        self._open = item = Reasoning(self._new_id, len(self._output.items))
        return [*events, *self._output.begin(item), *self._output.number(item.delta(text))]

    def _text(self, kind: str, text: str) -> list[Event]:
        if not text:
            return []
        if self.translation.compaction:
            self._summary.append(text)
            return []
        self._written += len(text)
        if isinstance(self._open, Message):
            return self._output.number(self._open.delta(kind, text))
        self._space.append(text)
        if not text.strip():
            return []  # white space alone opens no message (quirk S38)
        text = "".join(self._space)
        self._space.clear()
        events = self._close_open()
        self._open = item = Message(self._new_id, len(self._output.items), self._hosted.cite)
        return [*events, *self._output.begin(item), *self._output.number(item.delta(kind, text))]

    def _call(self, piece: CallPiece) -> list[Event]:
        if self.translation.compaction:
            return []
        call, added = self._calls.add(piece)
        self._written += len(added)
        item = self._call_items.get(call)
        if item is not None:
            added = self._halves.join(call, added)
            return self._output.number(item.delta(added)) if added else []
        if not call.name:
            return []  # the name may come late (quirk S09)
        events = [*self._say(self._channels.release()), *self._close_open()]
        tool = self.translation.tools.resolve(call.name)
        call_id = self.translation.call_ids.unique(call.id or self._new_id("call"))
        item = self._call_items[call] = call_item(self._new_id, len(self._output.items), tool, call_id)
        events += self._output.begin(item)
        arguments = self._halves.join(call, "".join(call.parts))
        return [*events, *self._output.number(item.delta(arguments))] if arguments else events

    def _with_logprobs(self, events: list[Event]) -> list[Event]:
        if self._logprobs is not None:
            self._logprobs.tell(events, self._open if isinstance(self._open, Message) else None)
        return events

    # --- items

    def _close_open(self) -> list[Event]:
        """Close what is open. Searches that came in the meantime stand behind it: clients show one item at a time."""
        item, self._open = self._open, None
        if isinstance(item, Reasoning):
            item.sealed = self._seals.seal(self.translation, item.text)
        events = [] if item is None else self._output.finish(item)
        return [*events, *self._searched()] if self._hosted else events

    def _keepsake(self) -> list[Event]:
        """Give what came too late for a reasoning item of its own, and the calls' signatures."""
        extras = {item.call_id: call.extra for call, item in self._call_items.items() if call.extra is not None}
        sealed = self._seals.last(self.translation, extras, called=bool(self._call_items))
        if sealed is None:
            return []
        keepsake = Keepsake(self._new_id, len(self._output.items), sealed)
        return self._output.whole(keepsake)

    def _flush(self) -> list[Event]:
        """Give everything that was held back, at the end."""
        events = self._say(self._channels.rest())
        for call, text in self._halves.rest():
            assert isinstance(call, Call)
            events += self._output.number(self._call_items[call].delta(text))
        for call, added in self._calls.settle():
            events += self._output.number(self._call_items[call].delta(added))
        text = self._channels.marked()
        return [*events, *self._marked(text)] if text else events

    def _marked(self, text: str) -> list[Event]:
        """Give what may be calls, as calls or as the text that it is (quirk S25)."""
        cut = meaning(self.finish) == "max_output_tokens"
        found = None if self._calls.all or cut else read_calls(text, self.translation.body.get("tools", ()))
        if found is None:
            return self._text("text", text)
        rest, calls = found
        self._notes.add("upstream:markup calls", "the model's tool calls came as text, and were read there")
        events = self._text("text", rest)
        for name, arguments in calls:
            events += self._call(CallPiece(index=None, id="", name=name, arguments=arguments))
        return events

    # --- the end

    def _asks_nobody(self) -> bool:
        """The answer ends with calls, and none is for the client."""
        if self.finish != "tool_calls" or self._calls.all:
            return False
        return not any(isinstance(item, Message) for item in self._output.items)

    def _complete(self) -> list[Event]:
        events = self._close_open()
        if self.translation.compaction:
            events += self._compacted()
        try:
            for item in self._call_items.values():
                events += self._output.finish(item)
        except CutOffError as cut:
            text = f"The upstream's call of {cut} has arguments that are not whole JSON."
            return [*events, *self.fail(unavailable(text, code="upstream_incomplete"))]
        if len(self._calls.all) > len(self._call_items):
            text = "The upstream sent arguments of a call without its name."
            return [*events, *self.fail(unavailable(text, code="upstream_incomplete"))]
        if not self._output.items:
            return [*events, *self.fail(unavailable("The upstream answered nothing.", code="upstream_incomplete"))]
        output = self._output.told()
        if self.translation.body.get("tools") and not self._calls.all and say_calls(output):
            self._notes.add(
                "upstream:markup", "the model's tool call came as text: the upstream does not read its calls"
            )
        self.mismatch = self._mismatch(output)
        kept = self._keepsake()
        return [*events, *kept, self._terminal("completed", self._output.told() if kept else output)]

    def _mismatch(self, output: list[dict[str, Any]]) -> str:
        """Return what is wrong with an answer that was to match a schema; calls and refusals are no such answer."""
        if self.translation.schema is None:
            return ""
        texts = [part.get("text") for item in output for part in item.get("content", ())]
        if not texts or None in texts:
            return ""
        found = structured.mismatch("".join(texts), self.translation.schema)
        if found:
            self._notes.add("text.format:mismatch", "the model's answer does not match the JSON schema of its request")
        return found

    def _compacted(self) -> list[Event]:
        summary = "".join(self._summary).strip()
        if not summary:
            return []
        self._written = len(summary)
        item = Compaction(self._new_id, len(self._output.items), compaction.seal(summary))
        return self._output.whole(item)

    def _incomplete(self, reason: str) -> list[Event]:
        """Close what is whole. A cut call is not delivered: clients would run it.

        Who reads the stream has been told of its beginning, and finds it in the response, as incomplete.
        """
        events = self._close_open()
        if self.translation.compaction:
            events += self._compacted()
        for item in list(self._call_items.values()):
            try:
                events += self._output.finish(item)
            except CutOffError:
                continue
        self.response["incomplete_details"] = {"reason": reason}
        output = self._output.told() if self._told_as_it_comes else self._output.finished()
        return [*events, self._terminal("incomplete", output)]

    def _filtered(self) -> list[Event]:
        if not self._for_codex:
            return self._incomplete("content_filter")
        # As incomplete Codex would ask six times, and show the same part of the answer six times. So the answer fails,
        # which costs one request; the items that are done stay in the session. Calls are not done: they would be run.
        text = "The upstream's content filter stopped the answer."
        error = ApiError(400, text, code="content_filter", kind=Kind.FILTERED)
        return [*self._close_open(), *self.fail(error)]

    def _terminal(self, status: str, output: list[dict[str, Any]]) -> Event:
        self.closed = True
        response = self.response
        whole = status not in ("failed", "cancelled")
        if whole:
            self._hosted.end()
        if self._logprobs is not None and not self._logprobs.came and self._output.items:
            self._notes.add("logprobs:none", "log probabilities were asked for, and the upstream sent none")
        response["status"] = status
        response["output"] = output
        if status == "completed":
            response["completed_at"] = int(self._now())
        characters = self.translation.characters(), self._written
        window = self.translation.context_window
        usage = final_usage(self._usage, characters, context_window=window, whole=whole, notes=self._notes)
        response["usage"] = add_usage(usage, self.spent) if usage is not None and self.spent is not None else usage
        # The API has no event for the end of a cancelled response; all clients end at this one.
        return self._lifecycle("response.failed" if status == "cancelled" else f"response.{status}")

    # --- numbering

    def _lifecycle(self, kind: str) -> Event:
        # A copy, because the object goes on changing.
        return self._output.number([Lifecycle(kind, dict(self.response), self._texts)])[0]


def _unanswered(tool: str) -> ApiError:
    text = f"The model called its vendor's own tool {tool[:64]!r} and waits for its result; chatbridge does not run it."
    return ApiError(502, text, type="server_error", code="unsupported_tool")
