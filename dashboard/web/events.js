// What happened, as it happens; and takeover.

import { ask, clock, day, full, h, made, panel, period, pill, short, table, words } from "./lib.js";

const bad = new Set(["config_refused", "quorum_down", "interface_gone", "owner_conflict"]);
const warn = new Set(["server_down", "sorry_in", "certificate_expiring", "workers_restarted", "zero_copy_failed", "vrrp_transition", "peer_left",
  "sync_lag", "template_rebuilt"]);
const good = new Set(["server_up", "quorum_up", "sorry_out", "interface_returned", "server_enabled", "sync_ready", "started"]);

const lookOf = (kind) => (bad.has(kind) ? "bad" : warn.has(kind) ? "warn" : good.has(kind) ? "good" : "");
const what = (e) => [e.instance, e.service, e.real_server].filter(Boolean).join(" · ");
const change = (e) => (e.from || e.to ? `${e.from || ""}${e.from ? " → " : ""}${e.to || ""}` : "");

// eventList is the newest few, for the overview.
export function eventList(context, limit) {
  const list = h("ul", { class: "list", "aria-live": "polite" });
  const draw = () => list.replaceChildren(...(context.events.length ? context.events.slice(0, limit).map((e) => h("li", {},
    h("span", { class: "t mono" }, clock(e.time)), h("span", {}, pill(words(e.kind), lookOf(e.kind))),
    h("p", {}, [what(e), change(e), e.reason].filter(Boolean).join(" — ")))) : [h("li", { class: "dim" }, "nothing happened yet")]));
  context.listeners.add(draw);
  draw();
  return { element: list };
}

export function eventsPage(context) {
  let paused = false, chosen = "all";
  const groups = { all: () => true, errors: (e) => bad.has(e.kind), warnings: (e) => warn.has(e.kind) || bad.has(e.kind),
    servers: (e) => /^(server|quorum|sorry)_/.test(e.kind), takeover: (e) => /^(vrrp|owner|peer|sync|template)_/.test(e.kind),
    configuration: (e) => /^(config|service)_/.test(e.kind) };
  const field = h("input", { type: "search", placeholder: "service, address, reason", "aria-label": "Filter events", oninput: () => draw() });
  const chips = h("div", { class: "chips", role: "group", "aria-label": "Kinds" }, ...Object.keys(groups).map((g) => h("button",
    { type: "button", "aria-pressed": g === chosen ? "true" : "false", onclick: (e) => choose(g, e.target) }, g)));
  const pause = h("button", { type: "button", onclick: () => { paused = !paused; pause.textContent = paused ? "Go on" : "Pause"; draw(); } }, "Pause");
  const state = h("span");
  const list = table([
    { title: "Time", cls: "mono", cell: (e) => `${day(e.time)} ${clock(e.time)}` },
    { title: "Event", cell: (e) => made(e.kind, () => pill(words(e.kind), lookOf(e.kind))) },
    { title: "Instance", cls: "mono", cell: (e) => e.instance || "" },
    { title: "Service", cls: "mono", cell: (e) => e.service || "" },
    { title: "Real server", cls: "mono", cell: (e) => e.real_server || "" },
    { title: "Change", cell: change },
    { title: "Count", num: true, cell: (e) => (e.count ? String(e.count) : "") },
    { title: "Reason", cls: "wide", cell: (e) => e.reason || "" },
  ], (e) => e.id, "Events");
  const none = h("p", { class: "note" }, "Nothing of that kind happened.");
  const draw = () => {
    state.replaceChildren(paused ? pill("paused", "warn") : context.stream === "live" ? pill("live", "good") : pill("connecting", "warn"));
    if (paused) return;
    const text = field.value.toLowerCase();
    const shown = context.events.filter((e) => groups[chosen](e) && (!text || JSON.stringify(e).toLowerCase().includes(text))).slice(0, 300);
    list.update(shown, { flash: (e) => Date.now() - new Date(e.time) < 10_000 });
    none.hidden = shown.length > 0;
  };
  const choose = (g, button) => {
    chosen = g;
    for (const b of chips.children) b.setAttribute("aria-pressed", b === button ? "true" : "false");
    draw();
  };
  context.listeners.add(draw);
  draw();
  const element = h("div", {}, h("div", { class: "head" }, h("h1", {}, "Events"), state, h("span", { class: "grow" }), chips, field, pause),
    h("section", { class: "panel" }, list.element, none));
  return { element, update: async () => draw() };
}

// takeover shows the VRRP instances.
export function takeover(context) {
  const ofTakeover = { listeners: context.listeners, get events() { return context.events.filter((e) => /^(vrrp|owner|peer|sync|template)_/.test(e.kind)); } };
  const latest = eventList(ofTakeover, 30);
  const none = h("section", { class: "panel note", hidden: true }, "This director holds its VIPs alone: there is no [[vrrp]] in its configuration.");
  const list = table([
    { title: "Instance", cell: (i) => i.name },
    { title: "Group", cell: (i) => i.group || "–" },
    { title: "State", cell: (i) => made(i.state, () => pill(i.state)) },
    { title: "For", num: true, cell: (i) => period(Math.floor(i.state_seconds)) },
    { title: "Priority", num: true, help: "with what is tracked, of what is configured", cell: (i) => `${i.effective_priority} of ${i.priority}` },
    { title: "Interface", cell: (i) => i.interface },
    { title: "Router id", num: true, cell: (i) => String(i.virtual_router_id) },
    { title: "Version", num: true, cell: (i) => String(i.version) },
    { title: "Adverts every", num: true, cell: (i) => `${i.master_advert_int_ms || i.advert_int_ms} ms` },
    { title: "Holds", cls: "wide mono", cell: (i) => (i.state === "MASTER" ? (i.vips || []).join(", ") : "–") },
    { title: "Owner", cell: (i) => (i.owner ? `${i.owner}, term ${i.term}` : "–") },
    { title: "Preempts", cell: (i) => (i.released ? "released" : i.preempts ? "yes" : i.preempt_delay_left_seconds > 0
      ? `in ${period(Math.ceil(i.preempt_delay_left_seconds))}` : "no") },
  ], (i) => i.name, "VRRP instances");
  const rejected = table([{ title: "Adverts that were not taken", cell: (r) => r[0] }, { title: "Count", num: true, cell: (r) => full(r[1]) }],
    (r) => r[0], "Rejected adverts");
  const peers = table([
    { title: "Peer", cell: (p) => p.name },
    { title: "Address", cls: "mono", cell: (p) => p.address },
    { title: "Sessions are", cell: (p) => made(p.state, () => pill(p.state, p.state === "in sync" ? "good" : "warn")) },
    { title: "Lag", num: true, help: "age of the oldest record that it has not acknowledged", cell: (p) => `${Math.round(p.lag_ms)} ms` },
    { title: "It has", num: true, cell: (p) => full(p.sessions) },
    { title: "Of them here", num: true, cell: (p) => `${p.coverage_percent.toFixed(1)} %` },
    { title: "Digests matched", num: true, cell: (p) => (p.digest_matched_seconds < 0 ? "never yet" : `${period(Math.round(p.digest_matched_seconds))} ago`) },
    { title: "Records/s", num: true, cell: (p) => short(p.received_records_per_second) },
    { title: "Repaired", num: true, cell: (p) => full(p.repaired_datagrams) },
  ], (p) => p.name, "Peers");
  const ready = h("span"), sharing = h("section", { class: "panel", hidden: true, "aria-label": "Sessions of peers" },
    h("div", { class: "cap" }, h("h2", {}, "Sessions of peers"), ready), peers.element);
  const box = h("section", { class: "panel" }, list.element), lost = h("section", { class: "panel", hidden: true }, rejected.element);
  const element = h("div", { class: "stack" }, h("div", { class: "head" }, h("h1", {}, "Takeover")), none, box, sharing, lost,
    panel("Latest events of takeover", latest.element));
  const update = async () => {
    const got = await ask("takeover");
    none.hidden = got.instances.length > 0;
    box.hidden = !none.hidden;
    list.update(got.instances);
    sharing.hidden = !got.sync;
    if (got.sync) {
      const missing = got.sync.missing_peers || [];
      ready.replaceChildren(got.sync.ready ? pill("may take over", "good") : pill("not ready to take over", "warn"),
        ` ${full(got.sync.sessions)} shared sessions`, missing.length ? ` · missing: ${missing.join(", ")}` : "",
        got.sync.secure ? "" : " · without a key");
      peers.update(got.sync.peers || []);
    }
    const reasons = Object.entries(got.rejected || {});
    lost.hidden = !reasons.length;
    rejected.update(reasons);
  };
  return { element, update };
}
