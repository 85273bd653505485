// The list of services, and one service with its real servers.

import { ask, bits, clock, day, facts, full, h, health, made, panel, pill, rate, short, stateLook, table, words } from "./lib.js";
import { plot } from "./plot.js";

const link = (name) => made(name, () => h("a", { class: "mono", href: `#/service/${encodeURIComponent(name)}` }, name));

// look is a service's state as operators mean it: without real servers nothing is up.
function look(s) {
  if (s.state !== "up") return pill(words(s.state), stateLook[s.state]);
  if (!s.real_servers) return pill("empty", "warn");
  if (!s.up) return pill("down");
  return s.up < s.real_servers ? pill("partly up", "warn") : pill("up");
}

const how = (s) => [s.scheduler, ...s.flags, s.persistence_seconds && `persistent ${s.persistence_seconds} s`, s.one_packet && "one packet"]
  .filter(Boolean).join(", ");

// pager is a list's foot: where one is, and the way on.
export function pager(step, go) {
  const where = h("span", { class: "dim" });
  const before = h("button", { type: "button", onclick: () => go(-step) }, "Previous");
  const next = h("button", { type: "button", onclick: () => go(step) }, "Next");
  return {
    element: h("div", { class: "pages" }, where, before, next),
    update(words, offset, more) { where.textContent = words; before.disabled = !offset; next.disabled = !more; },
  };
}

export function services() {
  const step = 100;
  let offset = 0;
  const field = h("input", { type: "search", placeholder: "VIP, real server, scheduler", "aria-label": "Filter services", oninput: () => { offset = 0; update(); } });
  const sort = h("select", { "aria-label": "Order", onchange: () => { offset = 0; update(); } },
    ...[["", "by name"], ["conns", "by connections"], ["packets", "by packets"], ["bytes", "by traffic"], ["active", "by sessions"], ["down", "by real servers down"]]
      .map(([v, t]) => h("option", { value: v }, t)));
  const list = table([
    { title: "Service", cell: (s) => link(s.name) },
    { title: "State", cell: (s) => made([s.state, s.up, s.real_servers], () => look(s)) },
    { title: "Real servers", cell: (s) => health(s.up, s.real_servers) },
    { title: "Scheduler", cell: how },
    { title: "Method", cell: (s) => s.methods.map((m) => m.toUpperCase()).join(", ") || "–" },
    { title: "Weight", num: true, cell: (s) => full(s.weight) },
    { title: "Active", num: true, cell: (s) => full(s.active) },
    { title: "Inactive", num: true, cell: (s) => full(s.inactive) },
    { title: "Conn/s", num: true, cell: (s) => short(s.rates.conns) },
    { title: "Packets/s", num: true, cell: (s) => short(s.rates.in_packets) },
    { title: "Traffic in", num: true, cell: (s) => bits(s.rates.in_bytes) },
    { title: "Traffic out", num: true, help: "NAT only", cell: (s) => bits(s.rates.out_bytes) },
  ], (s) => s.name, "Services");
  const none = h("p", { class: "note", hidden: true });
  const foot = pager(step, (by) => { offset = Math.max(0, offset + by); update(); });
  const update = async () => {
    const asked = field.value, order = sort.value, from = offset;
    const got = await ask("services", { q: asked, sort: order, offset: from, limit: step });
    if (asked !== field.value || order !== sort.value || from !== offset) return; // an answer to what was asked before
    list.update(got.services);
    none.hidden = got.total > 0;
    none.textContent = asked ? "No service matches." : "No services are configured.";
    const to = offset + got.services.length;
    foot.update(got.total ? `${offset + 1}–${to} of ${full(got.total)}` : "", offset, to < got.total);
  };
  const element = h("div", {}, h("div", { class: "head" }, h("h1", {}, "Services"), h("span", { class: "grow" }), field, sort),
    h("section", { class: "panel" }, list.element, none, foot.element));
  return { element, update };
}

export function service(context, [name]) {
  const step = 200;
  let offset = 0;
  const state = h("span"), title = h("h1", { class: "mono" }, name), sub = h("span", { class: "dim" });
  const plots = [
    plot({ title: "Connections per second", series: [{ name: "conns", label: "new" }] }),
    plot({ title: "Packets per second", series: [{ name: "in_packets", label: "in", color: 2 }, { name: "out_packets", label: "out", color: 1 }] }),
    plot({ title: "Traffic, bit/s", words: rate, series: [{ name: "in_bytes", label: "in", color: 3, scale: 8 },
      { name: "out_bytes", label: "out", color: 5, scale: 8 }] }),
    plot({ title: "Active sessions", series: [{ name: "sessions", label: "active", color: 6 }] }),
  ];
  const totals = facts(["Connections", "Packets in", "Packets out", "Bytes in", "Bytes out"]);
  const servers = table([
    { title: "Real server", cls: "mono", cell: (r) => r.address },
    { title: "State", cell: (r) => made([r.state, r.overloaded, r.weight], () => serverLook(r)) },
    { title: "Method", cell: (r) => r.method.toUpperCase() + (r.tunnel ? ` ${r.tunnel}` : "") },
    { title: "Weight", num: true, help: "as schedulers see it, of what is configured",
      cell: (r) => (r.weight === r.configured_weight ? String(r.weight) : `${r.weight} of ${r.configured_weight}`) },
    { title: "Active", num: true, cell: (r) => full(r.active) },
    { title: "Inactive", num: true, cell: (r) => full(r.inactive) },
    { title: "Persistent", num: true, cell: (r) => full(r.persistent) },
    { title: "Share of sessions", cell: (r) => made(r.share.toFixed(3), () => share(r.share)) },
    { title: "Conn/s", num: true, cell: (r) => short(r.rates.conns) },
    { title: "Packets/s", num: true, cell: (r) => short(r.rates.in_packets) },
    { title: "Traffic in", num: true, cell: (r) => bits(r.rates.in_bytes) },
    { title: "Next hop", cell: (r) => made(JSON.stringify(r.next_hop || 0), () => hop(r.next_hop)) },
    { title: "Reason", cls: "wide", cell: (r) => r.reason || "" },
  ], (r) => r.address, "Real servers");
  const checks = table([
    { title: "Check of", cls: "mono", cell: (c) => c.real_server },
    { title: "Type", cell: (c) => c.type },
    { title: "State", cell: (c) => made(c.up, () => pill(c.up ? "up" : "down")) },
    { title: "Since", cls: "mono", cell: (c) => `${day(c.since)} ${clock(c.since)}` },
    { title: "Last answer", cls: "wide", cell: (c) => c.last || "none yet" },
    { title: "Took", num: true, cell: (c) => (c.last_at ? `${(c.latency_seconds * 1000).toFixed(1)} ms` : "–") },
    { title: "Failed", num: true, cell: (c) => `${full(c.failures)} of ${full(c.answers)}` },
    { title: "Certificate ends", cell: (c) => (c.certificate_expires ? day(c.certificate_expires) : "–") },
    { title: "Target", cls: "mono", cell: (c) => c.target },
  ], (c) => `${c.real_server} ${c.type} ${c.target} ${c.index}`, "Checks");
  const watched = h("section", { class: "panel", "aria-label": "Checks", hidden: true }, checks.element);
  const foot = pager(step, (by) => { offset = Math.max(0, offset + by); update(); });
  const element = h("div", { class: "stack" },
    h("div", { class: "head" }, h("a", { href: "#/services", class: "dim" }, "Services"), h("span", { class: "dim", "aria-hidden": "true" }, "/"), title, state, sub),
    h("section", { class: "panel", "aria-label": "Real servers" }, servers.element, foot.element),
    watched, h("div", { class: "grid four" }, ...plots.map((p) => p.element)), panel("Since the start, or ipvsadm -Z", totals.element));
  const update = async () => {
    const [got, history] = await Promise.all([ask("service", { name, offset, limit: step }), ask("history", { service: name })]);
    const s = got.service, all = s.active + s.inactive || 1;
    state.replaceChildren(look(s));
    sub.textContent = how(s);
    servers.update(got.real_servers.map((r) => ({ ...r, share: (r.active + r.inactive) / all })));
    checks.update(got.checks.map((c, index) => ({ ...c, index })));
    watched.hidden = !got.checks.length;
    const to = offset + got.real_servers.length;
    foot.element.hidden = got.total <= step;
    foot.update(`${offset + 1}–${to} of ${full(got.total)}`, offset, to < got.total);
    plots.forEach((p) => p.update(history));
    totals.update([s.stats.conns, s.stats.in_packets, s.stats.out_packets, s.stats.in_bytes, s.stats.out_bytes].map(full));
  };
  return { element, update };
}

function serverLook(r) {
  if (r.state === "up" && r.overloaded) return pill("overloaded", "warn");
  if (r.state === "up" && !r.weight) return pill("weight 0", "warn");
  return pill(r.state);
}

const share = (x) => h("span", {}, h("meter", { min: 0, max: 1, value: x, "aria-hidden": "true" }), `${Math.round(x * 100)} %`);

function hop(n) {
  if (!n) return h("span", { class: "dim" }, "–");
  if (n.state !== "resolved") return h("span", {}, pill(n.state), " ", h("span", { class: "mono" }, n.address || ""));
  return h("span", { class: "mono", title: n.address }, n.mac, h("span", { class: "dim" }, ` ${n.port}`));
}
