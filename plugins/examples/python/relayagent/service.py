"""The four calls of AgentService, and what go-plugin asks beside them."""

import asyncio
import logging
from typing import NamedTuple

import grpc

from .conversation import Conversation
from .events import ALL, Event
from .factory import Setup, watches
from .settings import SettingsError
from .wire import (CAPABILITIES, PACKAGE, STATES, AgentStatus, ConfigureRequest, ConfigureResponse,
                   DescribeRequest, DescribeResponse, HostFrame, WatchRequest)

_CAN = [CAPABILITIES[c] for c in ("deferred_events", "batch_decide", "resume", "large_state")]
_ORPHANED = 10  # seconds without a Watch before the process ends
_READY = AgentStatus(state=STATES["ready"]).SerializeToString()


class Handler(NamedTuple):
    event: Event
    call: object
    name: str
    watches: bool


class Instance:
    """An agent with what a session needs of it."""

    def __init__(self, name, agent, log):
        self.name, self.agent, self.log = name, agent, log
        self.handlers = {}
        for event in ALL:
            call = getattr(agent, event.handler, None)
            if call is not None:
                self.handlers[event.number] = Handler(event, call, event.handler, watches(event, call))


class Service:
    """Answers the host for the factories of a program."""

    def __init__(self, factories, gone):
        self._factories, self._gone = factories, gone
        self.current = None  # the Instance for new sessions and transactions
        self._watches, self._orphan = 0, None

    @property
    def watched(self):
        return self._watches > 0

    async def describe(self, _request, _context):
        answer = DescribeResponse(agent_version=self._factories[0].version)
        for factory in self._factories:
            factory.describe(answer.factories.add())
        return answer

    async def configure(self, request, _context):
        answer = ConfigureResponse()
        factory = self._factory(request.factory)
        if factory is None:
            names = ", ".join(f.name for f in self._factories)
            answer.errors.add(problem=f"the program has no factory {request.factory!r}; it has {names}")
            return answer
        answer.agent_version = factory.version
        factory.subscribe(answer.subscriptions)
        answer.capabilities.extend(c for c in _CAN if c in request.capabilities)
        log = logging.getLogger(request.agent_name or factory.name)
        try:
            made = Instance(request.agent_name, factory.agent(Setup(request, log)), log)
        except SettingsError as refused:
            for field, problem in refused.problems:
                answer.errors.add(field=field, problem=problem)
            return answer
        except Exception as problem:  # a constructor that breaks refuses its settings
            log.exception("the agent could not be made")
            answer.errors.add(problem=f"{type(problem).__name__} in the constructor: {problem}")
            return answer
        if not request.validate_only:
            self.current = made
        return answer

    def _factory(self, name):
        if not name and len(self._factories) == 1:
            return self._factories[0]
        return next((f for f in self._factories if f.name == name), None)

    async def watch(self, request, context):
        self._watches += 1
        if self._orphan:
            self._orphan.cancel()
        try:
            while True:
                await context.write(_READY)
                await asyncio.sleep((request.heartbeat_ms or 1000) / 1000)
        finally:
            self._watches -= 1
            if not self._watches:
                self._orphan = asyncio.get_running_loop().call_later(_ORPHANED, self._gone)

    async def session(self, _requests, context):
        if self.current is None:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "a session before Configure")
        await Conversation(self, context).run()

    def handlers(self):
        """All services of the process, for grpc.aio.Server.add_generic_rpc_handlers."""
        return (
            grpc.method_handlers_generic_handler(PACKAGE + ".AgentService", {
                "Describe": grpc.unary_unary_rpc_method_handler(
                    self.describe, DescribeRequest.FromString, DescribeResponse.SerializeToString),
                "Configure": grpc.unary_unary_rpc_method_handler(
                    self.configure, ConfigureRequest.FromString, ConfigureResponse.SerializeToString),
                "Watch": grpc.unary_stream_rpc_method_handler(self.watch, WatchRequest.FromString),
                "Session": grpc.stream_stream_rpc_method_handler(self.session, HostFrame.FromString),
            }),
            # go-plugin's own. Their messages are empty or not read, so that bytes do.
            grpc.method_handlers_generic_handler("plugin.GRPCController", {
                "Shutdown": grpc.unary_unary_rpc_method_handler(self._shutdown)}),
            grpc.method_handlers_generic_handler("plugin.GRPCStdio", {
                "StreamStdio": grpc.unary_stream_rpc_method_handler(_held)}),
            grpc.method_handlers_generic_handler("plugin.GRPCBroker", {
                "StartStream": grpc.stream_stream_rpc_method_handler(_held)}),
            grpc.method_handlers_generic_handler("grpc.health.v1.Health", {
                "Check": grpc.unary_unary_rpc_method_handler(_healthy)}),
        )

    async def _shutdown(self, _request, _context):
        asyncio.get_running_loop().call_soon(self._gone)
        return b""


async def _held(_request, _context):
    """A stream that go-plugin opens and that says nothing."""
    await asyncio.Event().wait()


async def _healthy(_request, _context):
    return b"\x08\x01"  # HealthCheckResponse{status: SERVING}
