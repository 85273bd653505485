// Package events is what happened to a director that an operator wants to hear of: a real server
// kicked, a VIP taken over, a configuration loaded.
//
// It owns the vocabulary (Kind), the Event, and the Journal that keeps the last ones and hands them
// to whoever reads along: the log, clients of the control socket, notifications. It does not
// decide what happens, write anything anywhere, or survive a restart.
package events
