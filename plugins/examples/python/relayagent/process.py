"""The process: go-plugin's handshake, signals, the end."""

import asyncio
import grp
import logging
import os
import signal
import sys
import tempfile

import grpc

from .service import Service

_COOKIE = ("RELAY_AGENT", "relay.agent.v1")
_VERSION = 1  # of the contract


def serve(*factories):
    """Serves the factories to the relay that started the process, and never returns.

    Standard output and error both go to the relay's log. The process ends when the relay ends
    it, and when the relay is gone; SIGINT and SIGTERM do not end it while the relay holds it.
    """
    names = [f.name for f in factories]
    try:
        if not factories or len(set(names)) < len(names):
            raise ValueError(f"a program needs factories of different names; there are {names}")
        for factory in factories:
            factory.check()
    except ValueError as problem:
        sys.exit(f"{sys.argv[0]}: {problem}")
    if os.environ.get(_COOKIE[0]) != _COOKIE[1]:
        sys.exit(f"{sys.argv[0]} is an agent of a relay, which starts it by itself: "
                 f"relay install-agent NAME --path {os.path.abspath(sys.argv[0])}")
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    asyncio.run(_serve(factories))


async def _serve(factories):
    over = asyncio.Event()
    service = Service(factories, over.set)
    loop = asyncio.get_running_loop()
    # Sent to the whole group they would take the agent away before the relay has ended its sessions.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_signal_handler(signal.SIGTERM, lambda: service.watched or over.set())
    server = grpc.aio.server(options=[
        ("grpc.max_receive_message_length", 8 << 20),  # above the frames' 1 MiB
        ("grpc.http2.max_frame_size", 1 << 20),
        ("grpc.so_reuseport", 0),
    ])
    server.add_generic_rpc_handlers(service.handlers())
    path = _socket_path()
    server.add_insecure_port("unix:" + path)
    await server.start()
    _share(path)
    try:
        _shake_hands(path)
        await over.wait()
        await server.stop(0.1)
    finally:
        if os.path.exists(path):
            os.unlink(path)


def _socket_path():
    directory = os.environ.get("PLUGIN_UNIX_SOCKET_DIR") or tempfile.gettempdir()
    return os.path.join(directory, f"plugin{os.getpid()}")


def _share(path):
    """Lets the relay in where it runs as another user of a common group."""
    group = os.environ.get("PLUGIN_UNIX_SOCKET_GROUP")
    if group:
        os.chown(path, -1, int(group) if group.isdigit() else grp.getgrnam(group).gr_gid)
        os.chmod(path, 0o660)


def _shake_hands(path):
    """Says where the process listens, the only thing that goes to the real standard output.

    What is printed later goes to standard error: a pipe that nobody reads would stop the process.
    """
    sys.stdout.flush()
    out = os.dup(1)
    os.dup2(2, 1)
    os.write(out, f"1|{_VERSION}|unix|{path}|grpc|\n".encode())
    os.close(out)
