// Sessions, a page at a time: there may be millions, so nothing is asked again by itself.

import { ask, full, h, made, period, pill, table } from "./lib.js";
import { pager } from "./services.js";

const looks = { ESTABLISHED: "good", UDP: "good", SYN_RECV: "info", NONE: "" };

export function sessions() {
  const step = 100;
  let offset = 0, asked = 0;
  const field = (name, label, hint) => {
    const input = h("input", { name, placeholder: hint, autocomplete: "off", spellcheck: "false" });
    return { name, input, element: h("label", {}, label, input) };
  };
  const fields = [field("client", "Client", "198.51.100.0/24"), field("vip", "VIP", "192.0.2.10:80"),
    field("real_server", "Real server", "10.0.0.21 or :80"), field("state", "State", "established")];
  const protocol = h("select", { name: "protocol" }, ...["", "tcp", "udp", "sctp"].map((p) => h("option", { value: p }, p ? p.toUpperCase() : "any")));
  const list = table([
    { title: "Protocol", cell: (c) => c.protocol.toUpperCase() },
    { title: "State", cell: (c) => made(c.state, () => pill(c.state, looks[c.state] ?? "warn")) },
    { title: "Client", cls: "mono", cell: (c) => c.client },
    { title: "VIP", cls: "mono", cell: (c) => c.vip },
    { title: "Real server", cls: "mono", cell: (c) => c.real_server },
    { title: "Expires in", num: true, cell: (c) => period(c.expires_seconds) },
    { title: "Flags", cell: (c) => c.flags.join(", ").replaceAll("_", " ") },
  ], (c) => `${c.protocol} ${c.client} ${c.vip} ${c.real_server} ${c.flags}`, "Sessions");
  const note = h("p", { class: "note", hidden: true });
  const foot = pager(step, (by) => { offset = Math.max(0, offset + by); load(); });
  const load = async () => {
    const mine = ++asked;
    const params = Object.fromEntries(fields.map((f) => [f.name, f.input.value.trim()]));
    try {
      const got = await ask("sessions", { ...params, protocol: protocol.value, offset, limit: step });
      if (mine !== asked) return;
      list.update(got.sessions);
      note.hidden = got.sessions.length > 0;
      note.textContent = got.cut_off ? "Looking took too long; say more precisely what you look for." : "No session matches.";
      const to = offset + got.sessions.length;
      foot.update(got.sessions.length ? `${full(offset + 1)}–${full(to)}${got.more ? " of more" : ` of ${full(to)}`}` : "", offset, got.more);
    } catch (err) {
      list.update([]);
      note.hidden = false;
      note.textContent = err.message;
      foot.update("", 0, false);
    }
  };
  const form = h("form", { class: "filters", onsubmit: (e) => { e.preventDefault(); offset = 0; load(); } },
    ...fields.map((f) => f.element), h("label", {}, "Protocol", protocol), h("button", {}, "Show"));
  const element = h("div", {}, h("div", { class: "head" }, h("h1", {}, "Sessions"),
    h("span", { class: "dim" }, "as they were when asked for; press Show to ask again")),
  h("section", { class: "panel" }, form, list.element, note, foot.element));
  load();
  return { element, update: async () => {} };
}
