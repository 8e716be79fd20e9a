"""One Session stream: one SMTP session after the other."""

import inspect
import time

import grpc

from .session import Session
from .verdicts import Verdict
from .wire import EVENTS, FAILURES, MAX_EDITS, MAX_FRAME, PARTS, AgentFrame, Envelope, HeaderBlock

_MAIL = EVENTS["mail_command"]
_ENDED = AgentFrame()
_ENDED.ended.SetInParent()
_ENDED = _ENDED.SerializeToString()
_MAX_STATE = 64 << 20  # of what comes in chunks; the relay's own limits are far below


class Conversation:
    """One stream. Its handlers run one after the other, beside those of other streams."""

    def __init__(self, service, context):
        self._service, self._context = service, context
        self._instance = self._session = None
        self._chunks = {}  # state that comes before its Events frame

    async def run(self):
        while (frame := await self._context.read()) is not grpc.aio.EOF:
            kind = frame.WhichOneof("frame")  # None: one this version does not know
            if kind == "start":
                self._begin(frame.start)
            elif kind == "state":
                await self._chunk(frame.state)
            elif kind == "events":
                if self._session is None:
                    await self._context.abort(grpc.StatusCode.INVALID_ARGUMENT, "events before the start of a session")
                await self._answer(frame.events)
            elif kind == "end":
                await self._end(frame.end)

    def _begin(self, start):
        self._instance = self._service.current
        self._session = Session(start, self._instance.name)
        self._chunks = {}

    async def _chunk(self, state):
        part = self._chunks.setdefault(state.part, bytearray())
        if sum(map(len, self._chunks.values())) + len(state.data) > _MAX_STATE:
            await self._context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the state of the session is too large")
        part += state.data

    def _join(self, event):
        """Attaches what came in chunks to the first event of a frame."""
        if PARTS["envelope"] in self._chunks:
            event.envelope.CopyFrom(Envelope.FromString(bytes(self._chunks[PARTS["envelope"]])))
        if PARTS["headers"] in self._chunks:
            event.headers.CopyFrom(HeaderBlock.FromString(bytes(self._chunks[PARTS["headers"]])))
        self._chunks = {}

    async def _answer(self, frame):
        answer = AgentFrame()
        await self._handle(frame.events, frame.timeout_ms, answer.verdicts)
        if answer.verdicts.verdicts:
            await self._context.write(answer.SerializeToString())

    async def _end(self, frame):
        """Runs the handlers of the events still pending and gives the stream back."""
        if self._session is not None:
            for event in frame.events:
                event.notify = True
            await self._handle(frame.events, 0, None)
        self._session = self._instance = None
        await self._context.write(_ENDED)

    async def _handle(self, events, timeout, verdicts):
        if events and self._chunks:
            self._join(events[0])
        self._session.deadline = time.monotonic() + timeout / 1000 if timeout else None
        for event in events:
            self._take(event)
            if event.notify:
                await self._call(event, True, None)
            else:
                await self._decide(event, verdicts.verdicts.add(seq=event.seq))

    def _take(self, event):
        """Brings the session up to an event. Another transaction has the newest agent."""
        before = self._session.message
        self._session.take(event, event.type == _MAIL)
        if self._session.message is not before:
            self._instance = self._service.current

    async def _decide(self, event, wire):
        """Runs a handler for its verdict. What watching handlers have set goes with it, or with the next."""
        session, properties = self._session, len(self._session._properties)
        await self._call(event, False, wire)
        if wire.HasField("failure"):
            return
        session._edits(wire)
        problem = _too_much(wire)
        if not problem:
            session._commit()
            return
        wire.Clear()
        wire.seq, wire.failure.kind, wire.failure.detail = event.seq, FAILURES["internal"], problem
        session._roll_back(properties)
        if properties >= MAX_EDITS:  # it would fail for ever
            session._properties.clear()

    async def _call(self, event, notify, wire):
        """Runs a handler. Its failure takes back what it did and costs nobody else anything."""
        handler = self._instance.handlers.get(event.type)
        if handler is None:
            return
        session, properties = self._session, len(self._session._properties)
        session._watching = notify or handler.watches
        try:
            verdict = await _result(handler, session, event)
            if wire is None:
                failed = False
            else:
                failed = verdict is not None and verdict.failure is not None
                if verdict is not None:
                    verdict.fill(wire)
        except Exception as problem:  # not BaseException: a cancelled stream ends the conversation
            self._instance.log.exception("%s: session %s", handler.name, session.id)
            failed = True
            if wire is not None:
                wire.Clear()
                wire.seq = event.seq
                wire.failure.kind = FAILURES["internal"]
                wire.failure.detail = f"{type(problem).__name__} in {handler.name}: {problem}"
        finally:
            session._watching = False
        if failed:
            session._roll_back(properties)


async def _result(handler, session, event):
    subject = session.in_hand() if handler.event.of_message else session
    if handler.event.detail:
        verdict = handler.call(subject, handler.event.detail(event))
    else:
        verdict = handler.call(subject)
    if inspect.isawaitable(verdict):
        verdict = await verdict
    if verdict is not None and not isinstance(verdict, Verdict):
        raise TypeError(f"it returned {type(verdict).__name__}, not a verdict such as reject()")
    return verdict


def _too_much(wire):
    if len(wire.edits) > MAX_EDITS:
        return f"{len(wire.edits)} edits; a verdict may have {MAX_EDITS}"
    size, limit = wire.ByteSize(), MAX_FRAME - 4096
    return f"a verdict of {size} bytes; it may have {limit}" if size > limit else ""
