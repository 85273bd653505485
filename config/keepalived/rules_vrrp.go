package keepalived

import "strings"

// instanceRules are the words of vrrp_instance. Those of them that global_defs has too, with vrrp_ before them, hold
// for all instances.
func instanceRules() []rule {
	return append(stateRules(), []rule{
		{"state", "state", mapState, ""},
		{"interface", "interface", text, ""},
		{"virtual_router_id", "virtual_router_id", number, ""},
		{"priority", "priority", number, ""},
		{"advert_int", "advert_int", seconds, ""},
		{"version", "version", number, ""},
		{"preempt", "preempt", boolean, ""},
		{"nopreempt", "nopreempt", boolean, ""},
		{"preempt_delay", "preempt_delay", seconds, ""},
		{"authentication", "auth_pass", mapAuthentication, "PASS only"},
		{"unicast_src_ip", "unicast_src_ip", text, ""},
		{"unicast_peer", "unicast_peer", mapList, ""},
		{"virtual_ipaddress", "vips", mapVIPs, ""},
		{"virtual_ipaddress_excluded", "vips_excluded", mapVIPs, ""},
		{"use_vmac", "use_vmac", mapVMAC, "no interface is made for it"},
		{"garp_master_delay", "garp_master_delay", seconds, ""},
		{"garp_master_repeat", "garp_master_repeat", number, ""},
		{"garp_lower_prio_delay", "", nil, "see garp_lower_prio_repeat and garp_master_delay"},
		{"garp_lower_prio_repeat", "garp_lower_prio_repeat", number, ""},
		{"garp_master_refresh", "garp_master_refresh", seconds, ""},
		{"garp_master_refresh_repeat", "", nil, "one announcement of each VIP"},
		{"lower_prio_no_advert", "lower_prio_no_advert", boolean, ""},
		{"higher_prio_send_advert", "higher_prio_send_advert", boolean, ""},
		{"check_unicast_src", "", ignore, "holds always: adverts are taken from unicast_peer only"},
		{"down_timer_adverts", "down_timer_adverts", number, ""},
		{"lvs_sync_daemon_interface", "[ipvs_sync]", mapSyncDaemon, "an old word"},
		{"mcast_src_ip", "mcast_src_ip", text, ""},
		{"mcast_dst_ip", "", nil, fixedVRRP},
		{"mcast_group4", "", nil, fixedVRRP},
		{"mcast_group6", "", nil, fixedVRRP},
		{"min_garp", "", nil, "give garp_master_repeat = 1 and garp_master_delay = 0"},
		{"track_src_ip", "", nil, "give the interface as track_interface"},
		{"unicast_ttl", "", nil, fixedVRRP},
		{"unicast_fault_no_peer", "", nil, fixedVRRP},
		{"old_unicast_checksum", "", nil, "either checksum is accepted"},
		{"skip_check_adv_addr", "", nil, "addresses of adverts are always compared, and only reported"},
		{"strict_mode", "", nil, "what RFC 5798 does not allow is not forbidden here"},
		{"garp_extra_if", "", nil, fixedVRRP},
		{"vmac_xmit_base", "", nil, "so are adverts sent with unicast_peer; without it from the virtual MAC address"},
		{"use_vmac_addr", "", nil, fixedVRRP},
		{"use_ipvlan", "", nil, "ulvs makes no interfaces"},
		{"vrf", "", nil, noAddress},
		{"native_ipv6", "", ignore, "the family of the VIPs tells"},
		{"dont_track_primary", "", nil, "the interface is always tracked"},
		{"promote_secondaries", "", nil, noAddress},
		{"virtual_routes", "", nil, noAddress},
		{"virtual_rules", "", nil, noAddress},
		{"accept", "", ignore, "holds always: a VIP answers echo, and services on it are served"},
		{"no_accept", "", nil, "a VIP answers echo, and services on it are served"},
		{"debug", "", nil, noDaemon},
		{"notify_master_rx_lower_pri", "", nil, "see `ulvs events` for lower masters that are heard"},
		{"notify_priority_changes", "", nil, noFIFO},
		{"kernel_rx_buf_size", "", nil, noNeed},
		{"linkbeat_use_polling", "", nil, "ulvs hears of links from the kernel"},
	}...)
}

// stateRules are the words that vrrp_instance and vrrp_sync_group share.
func stateRules() []rule {
	return []rule{
		{"track_interface", "track_interface", mapTracks, ""},
		{"track_script", "track_script", mapTracks, ""},
		{"track_file", "track_file", mapTracks, ""},
		{"track_process", "track_process", mapTracks, ""},
		{"track_bfd", "", nil, noBFD},
		{"notify_master", "notify_master", script, ""},
		{"notify_backup", "notify_backup", script, ""},
		{"notify_fault", "notify_fault", script, ""},
		{"notify_stop", "notify_stop", script, ""},
		{"notify", "notify", script, ""},
		{"notify_deleted", "", nil, "see `ulvs events` for reloads"},
		{"smtp_alert", "", nil, noMail},
	}
}

// syncGroupRules are the words of vrrp_sync_group: those of an instance, but for what it tracks.
func syncGroupRules() []rule {
	list := []rule{
		{"group", "group", block, ""},
		{"notify_priority_changes", "", nil, noFIFO},
		{"global_tracking", "", ignore, "an old word: tracks of a group hold for all its instances"},
		{"sync_group_tracking_weight", "", nil, tracksOfInstances},
	}
	for _, r := range stateRules() {
		if strings.HasPrefix(r.word, "track_") && r.form != nil {
			r = rule{r.word, "", nil, tracksOfInstances}
		}
		list = append(list, r)
	}
	return list
}

// Reasons that several words share.
const (
	tracksOfInstances = "give it to one instance of the group: all of them change state together"
	noDelay           = "ulvs knows no such delays"
)

// scriptRules are the words of vrrp_script.
func scriptRules() []rule {
	return []rule{
		{"script", "script", script, ""},
		{"interval", "interval", seconds, ""},
		{"timeout", "timeout", seconds, ""},
		{"weight", "weight", mapWeight, ""},
		{"rise", "rise", number, ""},
		{"fall", "fall", number, ""},
		{"init_fail", "init_fail", boolean, ""},
		{"user", "", mapUser, "ulvs runs scripts as its own user; let the script change it"},
	}
}

// trackFileRules are the words of track_file.
func trackFileRules() []rule {
	return []rule{
		{"file", "file", text, ""},
		{"weight", "weight", mapWeight, ""},
		{"init_file", "", nil, "ulvs writes no files that it tracks"},
	}
}

// trackProcessRules are the words of vrrp_track_process.
func trackProcessRules() []rule {
	return []rule{
		{"process", "process", mapProcess, ""},
		{"weight", "weight", mapWeight, ""},
		{"quorum", "quorum", number, ""},
		{"quorum_max", "", nil, "more processes than one needs are no failure"},
		{"delay", "", nil, noDelay},
		{"fork_delay", "", nil, noDelay},
		{"terminate_delay", "", nil, noDelay},
		{"full_command", "", nil, "a process is known by its name alone"},
		{"param_match", "", nil, "a process is known by its name alone"},
	}
}
