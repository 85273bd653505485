// The overview, and the page of the machine under it.

import { ask, bits, facts, full, h, made, panel, percent, period, pill, rate, short, size, table } from "./lib.js";
import { plot, spark } from "./plot.js";
import { eventList } from "./events.js";

// tile is one figure with its last hour.
function tile(name, color) {
  const big = h("div", { class: "big" }), sub = h("div", { class: "sub" }), line = spark(color);
  const element = h("section", { class: "panel tile", "aria-label": name }, h("h2", {}, name), big, sub, line.element);
  return {
    element,
    update(value, unit, words, values, points) {
      big.replaceChildren(value, h("small", {}, unit));
      sub.textContent = words;
      line.update(values, points);
    },
  };
}

export function overview(context) {
  const tiles = {
    conns: tile("New connections", 1), packets: tile("Packets from clients", 2), bytes: tile("Traffic from clients", 3),
    sessions: tile("Sessions", 6), drops: tile("Drops", 5), busy: tile("Worker load", 4),
  };
  const plots = [
    plot({ title: "Connections per second", series: [{ name: "conns", label: "new" }] }),
    plot({ title: "Traffic, bit/s", words: rate, series: [{ name: "in_bytes", label: "from clients", color: 3, scale: 8 },
      { name: "out_bytes", label: "to clients (NAT)", color: 5, scale: 8 }] }),
    plot({ title: "Packets per second", series: [{ name: "in_packets", label: "from clients", color: 2 },
      { name: "out_packets", label: "to clients (NAT)", color: 1 }] }),
    plot({ title: "Sessions", series: [{ name: "sessions", label: "active", color: 6 }, { name: "inactive", label: "inactive", color: 8 }] }),
  ];
  const drops = plot({ title: "Drops per second, by reason", dynamic: true, empty: "nothing was dropped in the last hour" });
  const busy = plot({ title: "Worker load", max: 1, words: percent, ends: percent, series: [{ name: "busy", label: "busy", color: 4 }] });
  const problems = h("div"), latest = eventList(context, 12);
  const element = h("div", {}, h("div", { class: "grid tiles" }, ...Object.values(tiles).map((t) => t.element)),
    h("div", { class: "grid board" },
      h("div", { class: "grid two" }, ...plots.map((p) => p.element), drops.element, busy.element),
      h("div", { class: "stack" }, panel("Needs attention", problems), panel("Latest events", latest.element))));

  return {
    element,
    async update() {
      const [totals, dropped] = await Promise.all([ask("history"), ask("history", { drops: 1 })]);
      plots.forEach((p) => p.update(totals));
      drops.update(dropped);
      busy.update(totals);
      updateTiles(tiles, context.overview, totals);
      updateProblems(problems, context.overview);
    },
  };
}

function updateTiles(tiles, o, totals) {
  const points = 3600 / totals.step_seconds;
  const values = (name) => totals.plots.find((p) => p.name === name)?.values || [];
  const peak = (name, words = short) => `peak ${words(Math.max(0, ...values(name)))}`;
  const rs = o.real_servers, all = Object.values(rs).reduce((a, b) => a + b, 0);
  const last = (name) => values(name).at(-1) ?? 0;
  tiles.conns.update(short(o.rates.conns), "/s", `${o.services.total} services, ${all} real servers`, values("conns"), points);
  tiles.packets.update(short(o.rates.in_packets), "/s", peak("in_packets"), values("in_packets"), points);
  const [value, unit] = bits(o.rates.in_bytes).split(" ");
  tiles.bytes.update(value, unit, peak("in_bytes", bits), values("in_bytes"), points);
  tiles.sessions.update(short(o.sessions.active), "active", `${short(o.sessions.inactive)} inactive, ${size(o.sessions.bytes)}`, values("sessions"), points);
  const dropped = o.verdicts.filter((v) => v.drop).reduce((sum, v) => sum + v.frames, 0);
  tiles.drops.update(short(last("drops")), "/s", `${short(dropped)} since the start`, values("drops"), points);
  tiles.busy.update(percent(last("busy")).replace(" %", ""), "%", `${o.workers.length} workers`, values("busy"), points);
}

function updateProblems(box, o) {
  const key = JSON.stringify([o.problems, o.more_problems]);
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  if (!o.problems.length) {
    box.replaceChildren(h("div", { class: "allgood" }, "✓ Everything is as it should be."));
    return;
  }
  const items = o.problems.map((p) => h("li", {},
    h("i", { class: `dot ${p.level === "error" ? "bad" : "warn"}`, role: "img", "aria-label": p.level }),
    h("span", {}, p.service ? h("a", { class: "mono", href: `#/service/${encodeURIComponent(p.service)}` }, p.service) : "director"),
    h("p", {}, p.text)));
  if (o.more_problems) items.push(h("li", {}, h("i"), h("span", { class: "dim" }, `and ${o.more_problems} more`)));
  box.replaceChildren(h("ul", { class: "list problems" }, ...items));
}

export function director(context) {
  const identity = facts(["Name", "Version", "Process", "Running for", "Configuration", "Generation"]);
  const sessions = facts(["Active", "Inactive", "Templates", "Sized for", "Limit", "Refused", "Memory", "Index doubled", "Reply clashes"]);
  const routing = facts(["Links", "Routes", "Neighbours", "Next hops", "Unresolved"]);
  const workers = table([
    { title: "Worker", cell: (w) => String(w.id) },
    { title: "Core", num: true, cell: (w) => (w.cpu < 0 ? "not pinned" : String(w.cpu)) },
    { title: "I/O", cell: (w) => w.io },
    { title: "Interfaces", cell: (w) => w.ports.join(", ") },
    { title: "Generation", num: true, cell: (w) => String(w.generation) },
    { title: "Frames", num: true, cell: (w) => full(w.frames) },
    { title: "Per batch", num: true, help: "frames per batch", cell: (w) => (w.batches ? (w.frames / w.batches).toFixed(1) : "–") },
    { title: "Busy", num: true, help: "since the start", cell: (w) => percent(1 - w.idle_fraction) },
  ], (w) => w.id, "Workers");
  const ports = table([
    { title: "Interface", cell: (p) => p.name },
    { title: "Link", cell: (p) => made(p.link_up, () => pill(p.link_up ? "up" : "down")) },
    { title: "MAC", cls: "mono", cell: (p) => p.mac },
    { title: "MTU", num: true, cell: (p) => String(p.mtu_bytes) },
    { title: "XDP", cell: (p) => `${p.xdp_mode}, ${p.copy_mode}` },
    { title: "Received", num: true, cell: (p) => full(p.rx_frames) },
    { title: "Sent", num: true, cell: (p) => full(p.tx_frames) },
    { title: "Not sent", num: true, cell: (p) => full(p.tx_full_frames + p.tx_error_frames) },
    { title: "Lost before", num: true, help: "before a worker saw them",
      cell: (p) => full(p.kernel_rx_dropped_frames + p.kernel_rx_ring_full_frames + p.kernel_invalid_descs) },
    { title: "Steered", num: true, cell: (p) => full(p.steered_frames) },
    { title: "Left to the kernel", num: true, cell: (p) => full(p.passed_frames) },
  ], (p) => p.name, "Interfaces");
  const verdicts = table([
    { title: "Verdict", cls: "mono", cell: (v) => v.name },
    { title: "", cell: (v) => made(v.drop, () => (v.drop ? pill("drop", "bad") : pill("sent on", "good"))) },
    { title: "Frames", num: true, cell: (v) => full(v.frames) },
    { title: "Share", num: true, cell: (v) => `${(v.share * 100).toFixed(v.share < 0.1 ? 2 : 1)} %` },
  ], (v) => v.name, "Verdicts");
  const element = h("div", { class: "stack" },
    h("div", { class: "grid three" }, panel("Director", identity.element), panel("Connection table", sessions.element),
      panel("Routing", routing.element)),
    h("div", { class: "grid two" }, panel("Workers", workers.element), panel("Verdicts", verdicts.element)),
    panel("Interfaces", ports.element));
  return {
    element,
    async update() {
      const o = context.overview, s = o.sessions, r = o.routing;
      identity.update([o.name, o.version, `pid ${o.pid}`, period(o.uptime_seconds),
        (o.config_path || "none") + (o.modified ? " (what runs differs)" : ""), String(o.generation)]);
      sessions.update([full(s.active), full(s.inactive), full(s.templates), full(s.size_hint), s.max_conns ? full(s.max_conns) : "none",
        full(s.refused), size(s.bytes), full(s.grown), full(s.reply_clash)]);
      routing.update([r.links, r.routes, r.neighbours, r.next_hops, r.unresolved].map(full));
      workers.update(o.workers);
      ports.update(o.ports);
      const sum = o.verdicts.reduce((n, v) => n + v.frames, 0) || 1;
      verdicts.update(o.verdicts.filter((v) => v.frames).map((v) => ({ ...v, share: v.frames / sum })).sort((a, b) => b.frames - a.frames));
    },
  };
}
