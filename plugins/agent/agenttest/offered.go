package agenttest

import agentv1 "example.org/relay/proto/agent/v1"

// demands returns the permission that an action needs and the class of its reply; 0: none.
func demands(a agentv1.Action) (needs agentv1.Permission, class uint32) {
	switch a {
	case agentv1.Action_ACTION_REJECT:
		return agentv1.Permission_PERMISSION_REJECT, 5
	case agentv1.Action_ACTION_TEMPFAIL, agentv1.Action_ACTION_DEFER:
		return agentv1.Permission_PERMISSION_REJECT, 4
	case agentv1.Action_ACTION_DISCONNECT:
		return agentv1.Permission_PERMISSION_REJECT, 0
	case agentv1.Action_ACTION_DISCARD, agentv1.Action_ACTION_QUARANTINE, agentv1.Action_ACTION_DELETE:
		return agentv1.Permission_PERMISSION_DISCARD, 0
	case agentv1.Action_ACTION_DELIVERED:
		return agentv1.Permission_PERMISSION_DELIVER, 2
	}
	return agentv1.Permission_PERMISSION_UNSPECIFIED, 0
}

// offered is the table that the contract has at Action, as far as it is about queues.
func offered(at agentv1.EventType, a agentv1.Action) bool {
	switch a {
	case agentv1.Action_ACTION_CONTINUE:
		return true
	case agentv1.Action_ACTION_ACCEPT:
		return !delivers(at)
	case agentv1.Action_ACTION_REJECT:
		return at != agentv1.EventType_EVENT_TYPE_CLOSE_CONNECTION
	case agentv1.Action_ACTION_QUARANTINE:
		return hasQueue(at)
	case agentv1.Action_ACTION_DEFER:
		return routes(at) || delivers(at) && at != agentv1.EventType_EVENT_TYPE_CLOSE_CONNECTION
	case agentv1.Action_ACTION_DELETE:
		return routes(at)
	case agentv1.Action_ACTION_DELIVERED:
		return at == agentv1.EventType_EVENT_TYPE_DELIVER_MAIL_ITEM
	}
	return !routes(at) && !delivers(at)
}

func routes(at agentv1.EventType) bool {
	return at >= agentv1.EventType_EVENT_TYPE_SUBMITTED_MESSAGE && at <= agentv1.EventType_EVENT_TYPE_CATEGORIZED_MESSAGE
}

func delivers(at agentv1.EventType) bool {
	return at >= agentv1.EventType_EVENT_TYPE_OPEN_CONNECTION && at <= agentv1.EventType_EVENT_TYPE_CLOSE_CONNECTION
}

// hasQueue reports whether the message is in, where recipients can be told of.
func hasQueue(at agentv1.EventType) bool {
	return at == agentv1.EventType_EVENT_TYPE_END_OF_DATA || routes(at)
}
