package main

import (
	"bytes"
	"strings"
	"testing"

	"ulvs/control"
)

// aSync is replication with a bit of everything: a peer that is well, one that is behind and differs, one that is
// not there, and both daemons of IPVS.
func aSync() *control.Sync {
	return &control.Sync{
		Name: "lvs1", Address: "10.9.0.1:8849", Mode: "lane", Secure: true, Ready: true, Sessions: 41208, Term: 3,
		Peers: []control.SyncPeer{
			{Name: "lvs2", Address: "10.9.0.2:8849", State: "in sync", Sessions: 41208, Coverage: 100, MatchedSeconds: 2,
				Repaired: 7, Received: 90000, Rate: 812.4, Version: "v0.3.0", Notes: []string{}},
			{Name: "lvs3", Address: "10.9.0.3:8849", State: "behind", LagMS: 140.25, Sessions: 50000, Coverage: 82.4,
				MatchedSeconds: -1, Differing: 12, Version: "v0.2.0", Notes: []string{
					"runs ulvs v0.2.0, this director v0.3.0", "runs another configuration of services",
					"holds for down what is up here: [10.0.0.16:80]"}},
		},
		Missing: []string{"10.9.0.4:8849"}, Unbound: 4,
		Records:  map[string]uint64{"inserted": 41208, "updated": 12},
		Rejected: map[string]uint64{"forged": 1, "replay": 2}, SentRecords: 1000, SentDatagrams: 40, Resent: 7,
		IPVS: []control.IPVSDaemon{
			{Role: "master", Interface: "eth1", SyncID: 51, Group: "224.0.0.81", Port: 8848, Seconds: 3700, Messages: 1200,
				Conns: 40000, Bytes: 1 << 20, Records: map[string]uint64{}, Rejected: map[string]uint64{"family": 3}},
			{Role: "backup", Interface: "eth1", SyncID: 51, Group: "224.0.0.81", Port: 8848, Seconds: 12, Messages: 9,
				Conns: 300, Records: map[string]uint64{"inserted": 290, "refreshed": 10},
				Rejected: map[string]uint64{"sync_id": 1, "malformed": 2}},
		},
	}
}

func TestSyncShowsPeersAndDaemons(t *testing.T) {
	var text, json bytes.Buffer
	printSync(&text, aSync())
	golden(t, "sync", text.String())
	if err := printJSON(&json, aSync()); err != nil {
		t.Fatal(err)
	}
	golden(t, "sync-json", json.String())
	text.Reset()
	printSync(&text, &control.Sync{IPVS: aSync().IPVS[1:]})
	golden(t, "sync-ipvs-only", text.String())
	text.Reset()
	printSync(&text, &control.Sync{Name: "new", Address: "10.9.0.1:8849"})
	golden(t, "sync-alone-insecure", text.String())
}

func TestVRRPShowsStatesAndAlarms(t *testing.T) {
	v := &control.VRRP{Rejected: map[string]uint64{"ttl": 2, "auth": 1}, Instances: []control.VRRPInstance{
		{Name: "VI_1", Interface: "eth0", VRID: 51, State: "MASTER", StateSeconds: 93784, Priority: 100,
			EffectivePriority: 80, MasterMillis: 100, Term: 7, Owner: "lvs1",
			VIPs: []string{"192.0.2.10"}, Mode: "available", Masters: 2,
			Alarm: "more than one director holds its VIPs"},
		{Name: "VI_2", Group: "G", Interface: "eth1", VRID: 52, State: "BACKUP", Priority: 100, EffectivePriority: 100,
			MasterMillis: 30, Mode: "quorum", Members: 1, Directors: 3, Alarm: "no director holds its VIPs"},
		{Name: "VI_3", Interface: "eth2", VRID: 53, State: "BACKUP", Priority: 1, EffectivePriority: 1, Gateway: "silent"},
		{Name: "VI_4", Interface: "eth2", VRID: 54, State: "BACKUP", Priority: 1, EffectivePriority: 1, Released: true},
	}}
	var text bytes.Buffer
	printVRRP(&text, v)
	golden(t, "vrrp", text.String())
}

func TestVRRPShowsTheVirtualMACWhereThereIsOne(t *testing.T) {
	v := &control.VRRP{Instances: []control.VRRPInstance{
		{Name: "VI_1", Interface: "eth0", VRID: 51, State: "MASTER", Owner: "lvs1", VIPs: []string{"192.0.2.10"},
			VirtualMAC: "00:00:5e:00:01:33"},
		{Name: "VI_2", Interface: "eth0", VRID: 52, State: "BACKUP"},
	}}
	var text bytes.Buffer
	printVRRP(&text, v)
	golden(t, "vrrp-virtual-mac", text.String())
	text.Reset()
	if err := printJSON(&text, v.Instances); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(text.String(), `"virtual_mac"`)
	if len(got) != 2 || !strings.Contains(got[1], "00:00:5e:00:01:33") {
		t.Errorf("got %s", text.String())
	}
}
