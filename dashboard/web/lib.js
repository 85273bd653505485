// What all pages share: elements, numbers in words, tables that change in place, and questions to the director.

// h makes an element: h("a", {href: "#/"}, "text", child). Text is never read as HTML.
export function h(tag, attrs = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attrs)) {
    if (v === undefined || v === null || v === false) continue;
    if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else e.setAttribute(k, v === true ? "" : v);
  }
  e.append(...children.filter((c) => c !== undefined && c !== null));
  return e;
}

export async function ask(path, params = {}) {
  const query = new URLSearchParams(Object.entries(params).filter(([, v]) => v !== "" && v !== undefined));
  const resp = await fetch(`api/${path}${query.size ? "?" + query : ""}`);
  const body = await resp.json().catch(() => ({}));
  if (!resp.ok) throw new Error(body.error || `it answers ${resp.status}`);
  return body;
}

const units = ["", "k", "M", "G", "T", "P"];

// short words a number with three digits: 999, 1.23k, 45.6M.
export function short(n) {
  if (!isFinite(n)) return "–";
  let i = 0;
  for (; Math.abs(n) >= 999.5 && i < units.length - 1; i++) n /= 1000;
  if (i === 0) return n < 10 && n % 1 ? n.toFixed(1) : String(Math.round(n));
  return n.toFixed(n < 9.995 ? 2 : n < 99.95 ? 1 : 0) + units[i];
}

// axis is short without zeros behind the point, for the ends of axes.
export const axis = (n) => short(n).replace(/\.0+(?=\D?$)|(\.\d*?)0+(?=\D?$)/, "$1");

export const rate = (bits) => `${spaced(short(bits))}bit/s`;
export const bits = (bytes) => rate(bytes * 8);
const spaced = (s) => s.replace(/([kMGTP]?)$/, " $1");
export const full = (n) => Math.round(n).toLocaleString("en").replaceAll(",", "\u202f");
export const percent = (x) => `${Math.round(x * 100)} %`;

export function size(bytes) {
  const names = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; bytes >= 1024 && i < names.length - 1; i++) bytes /= 1024;
  return `${i ? bytes.toFixed(1) : bytes} ${names[i]}`;
}

export function period(seconds) {
  const parts = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
  const first = parts.findIndex(([, n]) => seconds >= n);
  if (first < 0) return "0s";
  const out = [];
  for (const [name, n] of parts.slice(first, first + 2)) {
    if (Math.floor(seconds / n)) out.push(Math.floor(seconds / n) + name);
    seconds %= n;
  }
  return out.join(" ");
}

export const clock = (t) => new Date(t).toLocaleTimeString("en-GB");
export const day = (t) => new Date(t).toLocaleDateString("sv-SE");

export const stateLook = { up: "good", rising: "info", down: "bad", draining: "warn", drained: "warn", sorry: "bad",
  quorum_lost: "bad", resolved: "good", asking: "warn", "no route": "bad", "link down": "bad",
  MASTER: "good", BACKUP: "info", FAULT: "bad" };

export const pill = (word, look = stateLook[word]) => h("span", { class: `pill ${look || ""}` }, word);
export const words = (name) => name.replaceAll("_", " ");

// made is a cell that is an element; it is made anew only when key changes.
export const made = (key, make) => ({ key: String(key), make });

// table makes a table whose rows are told apart by key and change in place, so that focus and selection stay.
// A column is {title, num, cls, cell(row)}; a cell is text or made(...).
export function table(columns, key, caption) {
  const body = h("tbody");
  const cols = columns.map((c) => h("th", { scope: "col", class: c.num ? "num" : undefined, title: c.help }, c.title));
  const element = h("div", { class: "scroll" }, h("table", { "aria-label": caption }, h("thead", {}, h("tr", {}, ...cols)), body));
  const known = new Map();
  const fill = (cell, v) => {
    const now = typeof v === "object" ? v.key : String(v);
    if (cell.dataset.now === now) return;
    cell.dataset.now = now;
    if (typeof v === "object") cell.replaceChildren(v.make());
    else cell.textContent = now;
  };
  const update = (rows, { flash } = {}) => {
    const seen = new Set();
    rows.forEach((row, i) => {
      const k = key(row);
      seen.add(k);
      let tr = known.get(k);
      if (!tr) {
        const cells = columns.map((c) => h("td", { class: [c.num && "num", c.cls].filter(Boolean).join(" ") || undefined }));
        tr = h("tr", { class: flash?.(row) ? "new" : undefined }, ...cells);
        known.set(k, tr);
      }
      columns.forEach((c, n) => {
        const v = c.cell(row);
        fill(tr.children[n], v);
        if (c.num) tr.children[n].classList.toggle("zero", v === "0" || v === "0 bit/s");
      });
      if (body.children[i] !== tr) body.insertBefore(tr, body.children[i] || null);
    });
    for (const [k, tr] of known) {
      if (seen.has(k)) continue;
      tr.remove();
      known.delete(k);
    }
  };
  return { element, update };
}

// facts makes a list of names and values; update takes the values in order.
export function facts(names) {
  const values = names.map(() => h("dd"));
  const element = h("dl", { class: "facts" }, ...names.flatMap((n, i) => [h("dt", {}, n), values[i]]));
  return { element, update: (list) => list.forEach((v, i) => { if (values[i].textContent !== v) values[i].textContent = v; }) };
}

export const panel = (title, ...children) =>
  h("section", { class: "panel", "aria-label": title }, h("div", { class: "cap" }, h("h2", {}, title)), ...children);

// health is a bar of a real server each, or of parts where they are many.
export function health(up, total) {
  if (!total) return made("none", () => h("span", { class: "dim" }, "none"));
  const n = Math.min(total, 18);
  const good = up === total ? n : Math.min(Math.floor((up / total) * n), n - 1);
  return made(`${up}/${total}`, () => h("span", {}, h("span", { class: "bar", "aria-hidden": "true" },
    ...Array.from({ length: n }, (_, i) => h("i", { class: i < good ? "up" : undefined }))), `${up} / ${total}`));
}
