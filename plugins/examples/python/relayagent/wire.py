"""The messages of relay.agent.v1, made from the descriptor set beside this file.

agent.binpb is a copy of proto/agent/v1/agent.binpb; no protoc is needed.
"""

import pathlib

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "relay.agent.v1"

_pool = descriptor_pool.DescriptorPool()
for _file in descriptor_pb2.FileDescriptorSet.FromString(
    pathlib.Path(__file__).with_name("agent.binpb").read_bytes()
).file:
    _pool.AddSerializedFile(_file.SerializeToString())


def _message(name):
    descriptor = _pool.FindMessageTypeByName(f"{PACKAGE}.{name}")
    if hasattr(message_factory, "GetMessageClass"):  # protobuf 4.22 and later
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(_pool).GetPrototype(descriptor)


def _enum(name, prefix):
    """The values of an enum by their names in lower case, without what all begin with."""
    values = _pool.FindEnumTypeByName(f"{PACKAGE}.{name}").values
    return {v.name[len(prefix):].lower(): v.number for v in values}


HostFrame, AgentFrame = _message("HostFrame"), _message("AgentFrame")
Envelope, HeaderBlock = _message("Envelope"), _message("HeaderBlock")
ConnectionInfo, ClientState, Mailbox = _message("ConnectionInfo"), _message("ClientState"), _message("Mailbox")
Edit = _message("Edit")
DescribeRequest, DescribeResponse = _message("DescribeRequest"), _message("DescribeResponse")
ConfigureRequest, ConfigureResponse = _message("ConfigureRequest"), _message("ConfigureResponse")
WatchRequest, AgentStatus = _message("WatchRequest"), _message("AgentStatus")

EVENTS = _enum("EventType", "EVENT_TYPE_")
PERMISSIONS = _enum("Permission", "PERMISSION_")
CAPABILITIES = _enum("Capability", "CAPABILITY_")
ACTIONS = _enum("Action", "ACTION_")
FAILURES = _enum("Failure.Kind", "KIND_")
CAUSES = _enum("RejectDetail.Cause", "CAUSE_")
REASONS = _enum("SessionEnd.Reason", "REASON_")
SCOPES = _enum("Property.Scope", "SCOPE_")
MODES = _enum("Subscription.Mode", "MODE_")
CONTENTS = _enum("Subscription.Content", "CONTENT_")
PARTS = _enum("StateChunk.Part", "PART_")
DIRECTIONS = _enum("Filter.Direction", "DIRECTION_")
STATES = _enum("AgentStatus.State", "STATE_")

MAX_EDITS = 1000
MAX_FRAME = 1 << 20


def name_of(enum, number):
    """The name of an enum's value; a number that this version does not know as digits."""
    return next((name for name, n in enum.items() if n == number), str(number))
