package keepalived

// Reasons that several words share.
const (
	noMail     = "ulvs sends no mail; give [[notify]] a script or a webhook"
	noFIFO     = "ulvs has no FIFOs; read `ulvs events`, or give [[notify]] a script or a webhook"
	oneProcess = "ulvs is one process whose workers are pinned to cores; see [tuning]"
	noSNMP     = "ulvs has no SNMP and no D-Bus; see [metrics] for Prometheus"
	noFirewall = "ulvs needs no firewall rules: packets for a VIP never reach the kernel"
	noAddress  = "ulvs configures no addresses, routes or rules of the machine; do it where the network is set up, " +
		"or in notify_master and notify_backup"
	noBFD     = "ulvs speaks no BFD; see track_interface and track_script"
	noNeed    = "ulvs needs no such setting"
	noDaemon  = "about keepalived's own process; ulvs has no use for it"
	fixedVRRP = "ulvs does not let this be changed"
	unitNice  = "give ulvs.service Nice= by systemctl edit ulvs"
)

// topRules are the words outside blocks.
func topRules() []rule {
	return []rule{
		{"global_defs", "[node], [timeouts], [ipvs_sync]", mapGlobal, ""},
		{"virtual_server", "[[service]]", mapService, ""},
		{"virtual_server_group", "[[service]], one each", mapNothing, "each service of a group is written out"},
		{"vrrp_instance", "[[vrrp]]", mapInstance, ""},
		{"vrrp_sync_group", "[[vrrp_sync_group]]", mapSyncGroup, ""},
		{"vrrp_script", "[[track_script]]", mapScript, ""},
		{"track_file", "[[track_file]]", mapTrackFile, ""},
		{"vrrp_track_file", "[[track_file]]", mapTrackFile, ""},
		{"track_process", "[[track_process]]", mapTrackProcess, ""},
		{"vrrp_track_process", "[[track_process]]", mapTrackProcess, ""},
		{"static_ipaddress", "", nil, noAddress},
		{"static_routes", "", nil, noAddress},
		{"static_rules", "", nil, noAddress},
		{"track_group", "", nil, noAddress},
		{"garp_group", "", nil, "ulvs spaces its announcements itself"},
		{"bfd_instance", "", nil, noBFD},
		{"interface_up_down_delays", "", nil, "links are believed at once"},
		{"linkbeat_interfaces", "", nil, "ulvs hears of links from the kernel"},
		{"linkbeat_use_polling", "", nil, "ulvs hears of links from the kernel"},
		{"SSL", "", nil, "checks show no certificate of their own"},
		{"net_namespace", "", nil, "start ulvs in the namespace: ip netns exec NAME ulvs run"},
		{"net_namespace_ipvs", "", nil, "start ulvs in the namespace: ip netns exec NAME ulvs run"},
		{"namespace_with_ipsets", "", nil, noFirewall},
		{"instance", "", nil, "directors of one machine differ in node.control_socket"},
		{"use_pid_dir", "", nil, noDaemon},
		{"child_wait_time", "", nil, noDaemon},
	}
}

// globalRules are the words of global_defs that are no defaults of vrrp_instance.
func globalRules() []rule {
	list := []rule{
		{"router_id", "node.name", mapNode, ""},
		{"lvs_sync_daemon", "[ipvs_sync]", mapSyncDaemon, ""},
		{"lvs_timeouts", "timeouts.tcp, tcpfin, udp", mapTimeouts, ""},
		{"lvs_flush", "", ignore, "holds always: ulvs starts with the services of its file and no others"},
		{"lvs_flush_on_stop", "", ignore, "holds always: the services of ulvs end with it"},
		{"checker_log_all_failures", "check.log_all_failures", nil, "give log_all_failures in the checks that it is for"},
		{"script_user", "", nil, "ulvs runs scripts as its own user; let them change it"},
		{"enable_script_security", "", nil, "ulvs does not judge who may write a script; keep them root's"},
		{"startup_script", "", nil, "give it as ExecStartPre= of the systemd unit"},
		{"startup_script_timeout", "", nil, "give it as TimeoutStartSec= of the systemd unit"},
		{"shutdown_script", "", nil, "give it as ExecStopPost= of the systemd unit"},
		{"shutdown_script_timeout", "", nil, "give it as TimeoutStopSec= of the systemd unit"},
		{"dynamic_interfaces", "", nil, "interfaces may come and go, but those of [node] must be there at the start"},
		{"rs_init_notifies", "", nil, "notify_up and notify_down tell of changes only"},
		{"default_interface", "", nil, noAddress},
	}
	for _, group := range []struct {
		why   string
		words []string
	}{
		{noMail, []string{"notification_email", "notification_email_from", "smtp_server", "smtp_helo_name",
			"smtp_connect_timeout", "smtp_alert", "smtp_alert_vrrp", "smtp_alert_checker", "no_email_faults",
			"no_checker_emails"}},
		{noFIFO, []string{"notify_fifo", "notify_fifo_script", "vrrp_notify_fifo", "vrrp_notify_fifo_script",
			"lvs_notify_fifo", "lvs_notify_fifo_script", "fifo_write_vrrp_states_on_reload", "vrrp_notify_priority_changes"}},
		{noSNMP, []string{"snmp_socket", "enable_snmp_vrrp", "enable_snmp_checker", "enable_snmp_rfc", "enable_snmp_rfcv2",
			"enable_snmp_rfcv3", "enable_traps", "enable_snmp_keepalived", "enable_dbus", "dbus_service_name"}},
		{unitNice, []string{"vrrp_priority", "checker_priority", "bfd_priority", "vrrp_rt_priority", "checker_rt_priority",
			"bfd_rt_priority", "max_auto_priority", "min_auto_priority_delay", "vrrp_rlimit_rttime",
			"checker_rlimit_rttime", "bfd_rlimit_rttime"}},
		{oneProcess, []string{"vrrp_no_swap", "checker_no_swap", "bfd_no_swap", "vrrp_cpu_affinity",
			"checker_cpu_affinity", "bfd_cpu_affinity", "process_names", "process_name", "vrrp_process_name",
			"checker_process_name", "bfd_process_name"}},
		{noFirewall, []string{"nftables", "nftables_priority", "nftables_counters", "nftables_ifindex", "nftables_ipvs",
			"nftables_ipvs_priority", "nftables_ipvs_start_fwmark", "vrrp_iptables", "vrrp_ipsets"}},
		{noDaemon, []string{"tmp_config_directory", "config_save_dir", "umask", "reload_check_config", "include_check",
			"reload_time_file", "reload_repeat", "reload_file", "data_use_instance", "random_seed", "use_pid_dir",
			"child_wait_time", "instance"}},
		{noNeed, []string{"vrrp_netlink_cmd_rcv_bufs", "vrrp_netlink_cmd_rcv_bufs_force", "vrrp_netlink_monitor_rcv_bufs",
			"vrrp_netlink_monitor_rcv_bufs_force", "lvs_netlink_cmd_rcv_bufs", "lvs_netlink_cmd_rcv_bufs_force",
			"lvs_netlink_monitor_rcv_bufs", "lvs_netlink_monitor_rcv_bufs_force", "process_monitor_rcv_bufs",
			"process_monitor_rcv_bufs_force", "vrrp_rx_bufs_policy", "vrrp_rx_bufs_multiplier", "disable_local_igmp",
			"log_unknown_vrids", "vmac_prefix", "vmac_addr_prefix", "linkbeat_use_polling"}},
		{fixedVRRP, []string{"vrrp_startup_delay", "vrrp_garp_extra_if", "vrrp_garp_interval", "vrrp_gna_interval"}},
	} {
		for _, word := range group.words {
			list = append(list, rule{word, "", nil, group.why})
		}
	}
	return append(list, globalDefaults()...)
}

// globalDefaults are the words of global_defs that hold for every vrrp_instance without its own.
func globalDefaults() (list []rule) {
	for _, r := range instanceRules() {
		switch r.word {
		case "version", "garp_master_delay", "garp_master_repeat", "garp_lower_prio_delay", "garp_lower_prio_repeat",
			"garp_master_refresh", "garp_master_refresh_repeat", "min_garp", "lower_prio_no_advert",
			"higher_prio_send_advert", "check_unicast_src", "skip_check_adv_addr", "strict_mode", "mcast_group4",
			"mcast_group6", "down_timer_adverts":
			word := "vrrp_" + r.word
			if r.word == "strict_mode" {
				word = "vrrp_strict"
			}
			r.word = word
			if r.key != "" {
				r.form = mapDefault(r.form)
			}
			list = append(list, r)
		}
	}
	return list
}

// serverRules are the words of virtual_server.
func serverRules() []rule {
	return append(inheritedRules(), []rule{
		{"lvs_sched", "scheduler", lower, ""},
		{"lb_algo", "scheduler", lower, ""},
		{"lvs_method", "method", method, "with tunnel_type, tunnel_port and tunnel_checksum for TUN"},
		{"lb_kind", "method", method, "as lvs_method"},
		{"protocol", "protocol", mapProtocol, ""},
		{"persistence_timeout", "persistence_timeout", mapPersistence, "360 where no number is given"},
		{"persistence_granularity", "persistence_granularity", mapGranularity, ""},
		{"persistence_engine", "", nil, "ulvs has no persistence engines; a client is its address"},
		{"ops", "one_packet", boolean, ""},
		{"flag-1", "flags", mapFlag, ""},
		{"flag-2", "flags", mapFlag, ""},
		{"flag-3", "flags", mapFlag, ""},
		{"sh-port", "flags", mapFlag, ""},
		{"sh-fallback", "flags", mapFlag, ""},
		{"mh-port", "flags", mapFlag, ""},
		{"mh-fallback", "flags", mapFlag, ""},
		{"ha_suspend", "ha_suspend", boolean, ""},
		{"omega", "omega", boolean, ""},
		{"quorum", "quorum", number, ""},
		{"hysteresis", "hysteresis", number, ""},
		{"quorum_up", "quorum_up", script, ""},
		{"quorum_down", "quorum_down", script, ""},
		{"ip_family", "family", mapFamily, "for firewall marks; a VIP tells"},
		{"sorry_server", "sorry_server", endpoint, ""},
		{"sorry_server_inhibit", "sorry_server_inhibit", boolean, ""},
		{"sorry_server_lvs_method", "sorry_server_method", method, ""},
		{"inhibit_on_failure", "inhibit_on_failure", boolean, ""},
		{"real_server", "[[service.real_server]]", mapReal, ""},
		{"smtp_alert", "", nil, noMail},
		{"snmp_name", "", nil, noSNMP},
	}...)
}

// inheritedRules are the words that a virtual_server gives its real servers, and they their checks.
func inheritedRules() []rule {
	return []rule{
		{"delay_loop", "delay_loop", seconds, ""},
		{"connect_timeout", "connect_timeout", seconds, ""},
		{"retry", "retry", number, ""},
		{"nb_get_retry", "retry", number, "an old word"},
		{"delay_before_retry", "delay_before_retry", seconds, ""},
		{"warmup", "warmup", seconds, ""},
		{"alpha", "alpha", boolean, ""},
		{"virtualhost", "virtualhost", text, ""},
	}
}

// realRules are the words of real_server.
func realRules() []rule {
	list := append(inheritedRules(), []rule{
		{"weight", "weight", number, ""},
		{"lvs_method", "method", method, "with tunnel_type, tunnel_port and tunnel_checksum for TUN"},
		{"lb_kind", "method", method, "as lvs_method"},
		{"uthreshold", "upper_threshold", number, ""},
		{"lthreshold", "lower_threshold", number, ""},
		{"inhibit_on_failure", "inhibit_on_failure", boolean, ""},
		{"notify_up", "notify_up", script, ""},
		{"notify_down", "notify_down", script, ""},
		{"smtp_alert", "", nil, noMail},
		{"snmp_name", "", nil, noSNMP},
		{"BFD_CHECK", "", nil, noBFD},
	}...)
	for _, c := range checkers() {
		list = append(list, rule{c.word, `check with type = "` + c.kind + `"`, mapCheck, ""})
	}
	return list
}

// checker is a kind of check, and the words that only it has.
type checker struct {
	word, kind string
	rules      []rule
}

func checkers() []checker {
	http := []rule{
		{"http_protocol", "http_protocol", upper, ""},
		{"fast_recovery", "fast_recovery", boolean, ""},
		{"url", "path, status_code, digest, regex; urls for several", mapURL, ""},
	}
	return []checker{
		{"TCP_CHECK", "tcp", nil},
		{"HTTP_GET", "http", http},
		{"SSL_GET", "https", append(http[:len(http):len(http)], rule{"enable_sni", "", ignore,
			"holds always: TLS asks for the virtual host; sni gives another name"})},
		{"SMTP_CHECK", "smtp", []rule{
			{"helo_name", "helo_name", text, ""},
			{"host", "connect_ip, connect_port, bindto", mapHost, "an old block"},
		}},
		{"DNS_CHECK", "dns", []rule{{"type", "record", text, ""}, {"name", "name", text, ""}}},
		{"MISC_CHECK", "script", []rule{
			{"misc_path", "path", script, ""},
			{"misc_timeout", "timeout", seconds, ""},
			{"misc_dynamic", "dynamic", boolean, ""},
			{"user", "", mapUser, "ulvs runs scripts as its own user; let the script change it"},
		}},
		{"UDP_CHECK", "udp", []rule{
			{"payload", "payload", words, ""},
			{"require_reply", "require_reply, reply", mapReply, ""},
			{"min_reply_length", "", nil, "replies of any length will do"},
			{"max_reply_length", "", nil, "replies of any length will do"},
		}},
		{"PING_CHECK", "ping", nil},
		{"FILE_CHECK", "file", []rule{
			{"track_file", "path", mapTracked, "the path of the track_file's file"},
			{"weight", "weight", mapFileWeight, ""},
			{"dynamic", "dynamic", boolean, ""},
		}},
	}
}

// checkRules are the words of every check.
func checkRules() []rule {
	return append(inheritedRules(), []rule{
		{"connect_ip", "connect_ip", text, ""},
		{"connect_port", "connect_port", number, ""},
		{"bindto", "bindto", text, ""},
		{"bind_if", "", nil, "give bindto an address of that interface"},
		{"bind_port", "", nil, "the system chooses the port that a check comes from"},
		{"fwmark", "", nil, "checks carry no firewall mark"},
		{"log_all_failures", "log_all_failures", boolean, ""},
	}...)
}

// urlRules are the words of url.
func urlRules() []rule {
	return []rule{
		{"path", "path", text, ""},
		{"digest", "digest", text, ""},
		{"status_code", "status_code", words, ""},
		{"virtualhost", "virtualhost", text, ""},
		{"regex", "regex", text, "PCRE there, Go's RE2 here"},
		{"regex_no_match", "", nil, "ulvs's regex has to match"},
		{"regex_options", "", nil, "write options into the regex: (?i), (?s), (?m)"},
		{"regex_stack", "", nil, "RE2 needs no stack"},
		{"regex_min_offset", "", nil, "the regex may match anywhere in the body"},
		{"regex_max_offset", "", nil, "the regex may match anywhere in the body"},
		{"tls_compliant", "", nil, "ulvs's TLS always is"},
	}
}
