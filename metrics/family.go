package metrics

import "github.com/prometheus/client_golang/prometheus"

// Family describes the series of one name.
type Family struct {
	Name   string
	Help   string
	Type   string // counter or gauge
	Labels []string
	desc   *prometheus.Desc
}

// families are all series of a Collector, by what they are about.
type families struct {
	restartFamilies
	list []*Family

	build, started, generation, modified, reloads *Family

	frames *Family

	sessions, templates, tableBytes, tableSize, maxSessions *Family
	grown, refused, replyClashes                            *Family

	stackFrames, stackLost, probes, probeLimit, probesRefused         *Family
	localSessions, localLimit, localAccepted, localRefused, localDown *Family

	workerFrames, workerBatches, workerIdle, workerGeneration, workerInfo *Family

	ifInfo, ifCopies, ifUp, ifMTU, ifReceived, ifSent, ifSendDrops, ifKernelDrops *Family
	ifSteered, ifPassed, ifFillEmpty, ifSendEmpty                                 *Family

	links, routes, neighbours, nextHops, unresolved *Family

	services, hidden *Family
	service, server  traffic

	serviceInfo, serviceServers, serviceUp, serviceWeight, serviceSessions *Family

	serverInfo, serverWeight, serverUp, serverOverloaded, serverHop, serverSessions *Family

	quorum, checkUp, checkAnswers, checkFailures, checkLatency, certExpires *Family

	vrrpState, vrrpPriority, vrrpMasters, vrrpAlarm, vrrpRejected *Family

	syncReady, syncSessions, syncPeers, syncMissing *Family

	peerSynced, peerLag, peerCoverage, peerSessions, peerReceived, peerRepaired *Family

	peerMatched, peerRate, peerDiffering, peerNotes *Family

	syncSent, syncResent, syncLost, syncDropped, syncReaped, syncRejected *Family

	ipvsMessages, ipvsConns, ipvsFailed, ipvsRejected *Family

	events, eventsLost, eventReaders *Family

	notified, notifyRetries, notifyBacklog *Family
}

// traffic is what IPVS counts of a service or a real server.
type traffic struct{ conns, inPackets, outPackets, inBytes, outBytes *Family }

// newFamilies describes everything. The order is that of the documentation.
func newFamilies() *families {
	f := &families{}
	f.director()
	f.dataplane()
	f.restarted()
	f.machine()
	f.balanced()
	f.checked()
	f.takenOver()
	f.replicated()
	f.kernels()
	f.told()
	return f
}

func (f *families) counter(name, help string, labels ...string) *Family {
	return f.add(name, help, "counter", labels)
}

func (f *families) gauge(name, help string, labels ...string) *Family {
	return f.add(name, help, "gauge", labels)
}

func (f *families) add(name, help, kind string, labels []string) *Family {
	m := &Family{Name: "ulvs_" + name, Help: help, Type: kind, Labels: labels}
	m.desc = prometheus.NewDesc(m.Name, m.Help, labels, nil)
	f.list = append(f.list, m)
	return m
}

func (f *families) director() {
	f.build = f.gauge("build_info", "1; what runs, and the director's name.", "version", "goversion", "director")
	f.started = f.gauge("start_time_seconds", "When the director started, since 1970.")
	f.generation = f.gauge("generation", "Number of the snapshot that workers should run.")
	f.modified = f.gauge("config_modified", "1 if what runs differs from the file as it was last read or written.")
	f.reloads = f.counter("config_reloads_total", "Reloads of the file, by result: applied, refused.", "result")
}

func (f *families) dataplane() {
	f.frames = f.counter("frames_total",
		"Frames by what became of them; drop is true for those that were not sent on.",
		"verdict", "drop")
	f.sessions = f.gauge("sessions", "Sessions by state: active, inactive, as ipvsadm counts them.", "state")
	f.templates = f.gauge("session_templates", "Persistence templates.")
	f.tableBytes = f.gauge("session_table_bytes", "Resident memory of the connection table.")
	f.tableSize = f.gauge("session_table_size", "Sessions that the table is sized for; no limit.")
	f.maxSessions = f.gauge("sessions_max", "node.max_conns: sessions beyond it are refused; 0: no limit.")
	f.grown = f.counter("session_table_grown_total", "Times that the table's index was doubled.")
	f.refused = f.counter("sessions_refused_total",
		"Sessions not made because of node.max_conns or for want of memory.")
	f.replyClashes = f.counter("session_reply_clashes_total",
		"NAT sessions whose replies cannot be told from another session's.")
	f.stack()
	f.workerInfo = f.gauge("worker_info", "1; the core that a worker is pinned to (-1: none) and its packet I/O.",
		"worker", "cpu", "io")
	f.workerFrames = f.counter("worker_frames_total", "Frames that a worker received.", "worker")
	f.workerBatches = f.counter("worker_batches_total",
		"Batches that a worker received; frames per batch tell its load.",
		"worker")
	f.workerIdle = f.counter("worker_idle_seconds_total", "Time that a worker slept for want of frames.", "worker")
	f.workerGeneration = f.gauge("worker_generation", "Number of the snapshot that a worker runs.", "worker")
}

// stack describes ulvs's own TCP/IP stack.
func (f *families) stack() {
	f.stackFrames = f.counter("stack_frames_total",
		"Packets of ulvs's own TCP/IP stack; they are in ulvs_frames_total, too.")
	f.stackLost = f.counter("stack_lost_total", "Packets lost between stack and workers for want of room.")
	f.probes = f.gauge("probes", "Checks down the real path that are under way.")
	f.probeLimit = f.gauge("probes_max", "As many as node.probe_ports has ports.")
	f.probesRefused = f.counter("probes_refused_total", "Checks down the real path that found no port free.")
	f.localSessions = f.gauge("local_sessions", "Sessions with servers on this host.")
	f.localLimit = f.gauge("local_sessions_max", "Clients beyond it are reset.")
	f.localAccepted = f.counter("local_sessions_accepted_total", "Sessions that a server on this host accepted.")
	f.localRefused = f.counter("local_sessions_refused_total", "Clients reset because of ulvs_local_sessions_max.")
	f.localDown = f.counter("local_sessions_unreachable_total",
		"Clients reset because the server on this host did not accept.")
}

func (f *families) machine() {
	const name = "interface"
	f.ifInfo = f.gauge("interface_info", "1; how frames get in and out.", name, "mac", "xdp_mode", "copy_mode")
	f.ifCopies = f.gauge("interface_zero_copy_failed",
		"1 if the driver granted zero-copy and moved nothing, so that frames are copied.", name)
	f.ifUp = f.gauge("interface_up", "1 if the link is up.", name)
	f.ifMTU = f.gauge("interface_mtu_bytes", "The interface's MTU.", name)
	f.ifReceived = f.counter("interface_received_frames_total", "Frames that workers received.", name)
	f.ifSent = f.counter("interface_sent_frames_total", "Frames that workers sent.", name)
	f.ifSendDrops = f.counter("interface_send_drops_total",
		"Frames that could not be sent: ring_full, or error of the interface.", name, "reason")
	f.ifKernelDrops = f.counter("interface_kernel_drops_total",
		"Frames lost before a worker saw them: dropped, ring_full, invalid.", name, "reason")
	f.ifSteered = f.counter("interface_steered_frames_total", "Frames that the XDP program gave to ulvs.", name)
	f.ifPassed = f.counter("interface_passed_frames_total", "Frames that the XDP program left to the kernel.", name)
	f.ifFillEmpty = f.counter("interface_fill_ring_empty_total",
		"Times that the kernel found no buffer to receive into: raise node.frames.", name)
	f.ifSendEmpty = f.counter("interface_send_ring_empty_total",
		"Times that the kernel found nothing to send; no loss.",
		name)
	f.links = f.gauge("routing_links", "Links that the director knows of.")
	f.routes = f.gauge("routing_routes", "Routes that the director knows of.")
	f.neighbours = f.gauge("routing_neighbours", "Neighbours that the director knows of.")
	f.nextHops = f.gauge("routing_next_hops", "Next hops in use.")
	f.unresolved = f.gauge("routing_next_hops_unresolved", "Next hops in use without a MAC address.")
}

func (f *families) balanced() {
	f.services = f.gauge("services", "Services.")
	f.hidden = f.gauge("real_servers_hidden",
		"Real servers without series of their own, because there are more than metrics.real_servers.")
	f.serviceInfo = f.gauge("service_info", "1; how a service schedules.", "service", "scheduler")
	f.serviceServers = f.gauge("service_real_servers", "Real servers of a service.", "service")
	f.serviceUp = f.gauge("service_real_servers_up", "Real servers of a service that take new clients.", "service")
	f.serviceWeight = f.gauge("service_weight", "Sum of the weights of a service's real servers.", "service")
	f.serviceSessions = f.gauge("service_sessions", "Sessions of a service by state: active, inactive.",
		"service", "state")
	f.service = f.traffic("service", "of a service", "service")
	f.serverInfo = f.gauge("real_server_info", "1; how packets reach a real server.", "service", "real_server",
		"method")
	f.serverUp = f.gauge("real_server_up", "1 if a real server takes new clients: it is healthy and has a weight.",
		"service", "real_server")
	f.serverWeight = f.gauge("real_server_weight", "A real server's weight as schedulers see it.",
		"service", "real_server")
	f.serverOverloaded = f.gauge("real_server_overloaded", "1 above its upper threshold.", "service", "real_server")
	f.serverHop = f.gauge("real_server_next_hop_resolved", "1 if the MAC address to send to is known.",
		"service", "real_server")
	f.serverSessions = f.gauge("real_server_sessions",
		"Sessions of a real server by state: active, inactive, persistent (clients bound to it).",
		"service", "real_server", "state")
	f.server = f.traffic("real_server", "of a real server", "service", "real_server")
}

func (f *families) traffic(prefix, whose string, labels ...string) traffic {
	return traffic{
		f.counter(prefix+"_connections_total", "Connections "+whose+".", labels...),
		f.counter(prefix+"_in_packets_total", "Packets "+whose+" from clients.", labels...),
		f.counter(prefix+"_out_packets_total", "Packets "+whose+" to clients; only NAT's pass the director.",
			labels...),
		f.counter(prefix+"_in_bytes_total", "Bytes "+whose+" from clients, of IP packets.", labels...),
		f.counter(prefix+"_out_bytes_total", "Bytes "+whose+" to clients, of IP packets; only NAT's.", labels...),
	}
}

func (f *families) checked() {
	f.quorum = f.gauge("service_quorum", "1 if a service that is checked has enough real servers.", "service")
	labels := []string{"service", "real_server", "type"}
	f.checkUp = f.gauge("check_up", "1 if the checks of a type say that a real server is up.", labels...)
	f.checkAnswers = f.counter("check_answers_total", "Checks that came to an end, good or bad.", labels...)
	f.checkFailures = f.counter("check_failures_total", "Checks that failed.", labels...)
	f.checkLatency = f.gauge("check_latency_seconds", "How long the last check took; the longest of a type.",
		labels...)
	f.certExpires = f.gauge("check_certificate_expiry_timestamp_seconds",
		"When a real server's certificate expires, since 1970; the first of a type.", labels...)
}

func (f *families) takenOver() {
	f.vrrpState = f.gauge("vrrp_state", "1 for the state that a VRRP instance is in, 0 for the others.",
		"instance", "state")
	f.vrrpPriority = f.gauge("vrrp_priority", "Priority of a VRRP instance, with what it tracks.", "instance")
	f.vrrpMasters = f.gauge("vrrp_masters",
		"Directors that hold an instance's VIPs as far as this one hears, itself included; other than 1 for long: an alarm.",
		"instance")
	f.vrrpAlarm = f.gauge("vrrp_owner_alarm",
		"1 when no director, or more than one, holds an instance's VIPs for longer than a takeover takes.", "instance")
	f.vrrpRejected = f.counter("vrrp_rejected_adverts_total", "Adverts that were not taken, by reason.", "reason")
}

func (f *families) replicated() {
	f.syncReady = f.gauge("sync_ready", "1 if everything that peers have is here: this director may take over.")
	f.syncSessions = f.gauge("sync_sessions", "Sessions that are shared, as counted every 5 s.")
	f.syncPeers = f.gauge("sync_peers", "Directors that are there.")
	f.syncMissing = f.gauge("sync_peers_missing", "Directors of the configuration that are not there.")
	f.syncSent = f.counter("sync_sent_records_total", "Changes of sessions sent to peers.")
	f.syncResent = f.counter("sync_resent_datagrams_total", "Datagrams sent again because a peer missed them.")
	f.syncLost = f.counter("sync_lost_datagrams_total",
		"Datagrams of peers lost for good; digests repair what was in them.")
	f.syncDropped = f.counter("sync_dropped_records_total",
		"Changes that workers had no room for; digests repair them.")
	f.syncReaped = f.counter("sync_reaped_sessions_total", "Sessions of a peer that it did not know any more.")
	f.syncRejected = f.counter("sync_rejected_total", "What peers sent and was refused, by reason.", "reason")
	f.peerSynced = f.gauge("sync_peer_in_sync", "1 if a peer's sessions are all here.", "peer")
	f.peerLag = f.gauge("sync_peer_lag_seconds", "Age of the oldest record that a peer has not acknowledged.", "peer")
	f.peerCoverage = f.gauge("sync_peer_coverage_ratio", "Share of a peer's sessions that are here, 0 to 1.", "peer")
	f.peerSessions = f.gauge("sync_peer_sessions", "Sessions that a peer has.", "peer")
	f.peerMatched = f.gauge("sync_peer_digest_matched_seconds",
		"How long ago the digests of both tables were equal; absent until they were.", "peer")
	f.peerDiffering = f.gauge("sync_peer_differing_leaves", "Leaves of the digest that differed in the last round.",
		"peer")
	f.peerRate = f.gauge("sync_peer_received_records_per_second", "Changes of sessions that come from a peer.", "peer")
	f.peerNotes = f.gauge("sync_peer_notes",
		"Differences that ulvs sync names: another version, another configuration, real servers down for one only.", "peer")
	f.peerReceived = f.counter("sync_peer_received_records_total", "Changes of sessions received from a peer.",
		"peer")
	f.peerRepaired = f.counter("sync_peer_repaired_datagrams_total", "Datagrams that a peer missed and got again.",
		"peer")
}

func (f *families) kernels() {
	f.ipvsMessages = f.counter("ipvs_sync_messages_total",
		"Messages of IPVS's sync protocol that a master sent or a backup received.", "role")
	f.ipvsConns = f.counter("ipvs_sync_connections_total", "Sessions and templates in such messages.", "role")
	f.ipvsFailed = f.counter("ipvs_sync_failed_total", "Messages that could not be sent, reads that failed.", "role")
	f.ipvsRejected = f.counter("ipvs_sync_rejected_total",
		"Messages, or sessions in them, that were refused (of a master: not sent), by reason.", "role", "reason")
}

func (f *families) told() {
	f.events = f.counter("events_total", "Events by kind; docs/observability.md lists the kinds.", "kind")
	f.eventsLost = f.counter("events_lost_total", "Events that left the journal before a reader had read them.")
	f.eventReaders = f.gauge("event_readers", "Readers of the journal: the log, notifications, streams.")
	f.notified = f.counter("notifications_total",
		"Events told to a [[notify]] target, by result: delivered, failed after all attempts, lost (too many waited).",
		"notify", "target", "result")
	f.notifyRetries = f.counter("notification_retries_total", "Attempts after the first.", "notify", "target")
	f.notifyBacklog = f.gauge("notification_backlog", "Events that wait to be told.", "notify", "target")
}
