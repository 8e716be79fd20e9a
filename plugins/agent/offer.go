package agent

// OfferedBy reports whether agents installed for a transport service see the event:
//
//	                                         FrontEnd  Hub  Edge
//	OnConnect                                yes       no   yes
//	OnHeloCommand … OnEndOfHeaders           yes       yes  yes
//	OnProxyInboundMessage                    yes       no   no
//	OnEndOfData                              no        yes  yes
//	OnHelpCommand, OnNoopCommand,
//	OnRsetCommand, OnReject, OnDisconnect    yes       yes  yes
//	OnSubmittedMessage, OnResolvedMessage,
//	OnRoutedMessage, OnCategorizedMessage    no        yes  yes
//	OnOpenConnection, OnDeliverMailItem,
//	OnCloseConnection                        no        yes  yes
//
// No other service has agents. It is the relay that decides: at install it refuses what its
// services do not have.
func (e Event) OfferedBy(service string) bool {
	switch service {
	case "FrontEnd":
		return e > 0 && e <= EventProxyInboundMessage && e != EventEndOfData
	case "Hub":
		return e != EventConnect && e.OfferedBy("Edge")
	case "Edge":
		return e > 0 && e <= EventCloseConnection && e != EventProxyInboundMessage
	}
	return false
}
