// The frame around the pages: which one is shown, keys, colours, the stream of events, and asking again.

import { ask, h, period, pill } from "./lib.js";
import { overview, director } from "./overview.js";
import { services, service } from "./services.js";
import { sessions } from "./sessions.js";
import { eventsPage, takeover } from "./events.js";

const pages = { "": overview, services, service, sessions, takeover, events: eventsPage, director };
const order = ["#/", "#/services", "#/sessions", "#/takeover", "#/events", "#/director"];
const every = 2000; // milliseconds between two questions

// context is what pages get: what is known, and who wants to hear of it.
const context = { overview: null, events: [], listeners: new Set(), stream: "connecting" };
const main = document.getElementById("main");
let current = { update: async () => {} };
let generation = 0;

function route() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  const make = pages[name] || overview;
  context.listeners.clear();
  generation++;
  current = make(context, rest.map(decodeURIComponent));
  main.replaceChildren(current.element);
  const shown = name === "service" ? "services" : name || "overview";
  for (const a of document.querySelectorAll(".tabs a")) {
    if (a.dataset.page === shown) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
  refresh();
}

async function refresh() {
  const mine = generation;
  try {
    context.overview = await ask("overview");
    frame(context.overview);
    await current.update();
    if (mine === generation) say("live", "good");
  } catch (err) {
    if (mine === generation) say(err instanceof TypeError ? "no answer" : err.message, "bad");
  }
}

async function loop() {
  for (;;) {
    await new Promise((done) => setTimeout(done, every));
    if (!document.hidden) await refresh();
  }
}

function say(words, look) {
  const link = document.getElementById("link");
  if (link.textContent !== words) link.textContent = words;
  link.className = `pill ${look}`;
}

function frame(o) {
  document.getElementById("name").textContent = o.name;
  document.getElementById("about").textContent = `ulvs ${o.version} · up ${period(o.uptime_seconds)} · generation ${o.generation}` +
    (o.modified ? " · differs from its file" : "");
  document.getElementById("role").replaceChildren(...o.takeover.slice(0, 3).map((t) => h("span", { title: `VRRP instance ${t.name}` }, pill(t.state))));
  const n = o.problems.length + o.more_problems;
  document.title = `${n ? `(${n}) ` : ""}${o.name} · ulvs`;
  const tab = document.querySelector('.tabs a[data-page="overview"]');
  tab.replaceChildren("Overview", ...(n ? [h("span", { class: "badge", "aria-label": `${n} problems` }, String(n))] : []));
}

function follow() {
  const source = new EventSource("api/events?limit=300");
  const tell = () => context.listeners.forEach((fn) => fn());
  source.onopen = () => { context.stream = "live"; tell(); };
  source.onerror = () => { context.stream = "connecting"; tell(); };
  source.onmessage = (m) => {
    const e = { id: m.lastEventId, ...JSON.parse(m.data) };
    context.events.unshift(e);
    context.events.length = Math.min(context.events.length, 1000);
    tell();
  };
}

function turnTheme() {
  const root = document.documentElement;
  const light = getComputedStyle(root).colorScheme === "light";
  root.dataset.theme = light ? "dark" : "light";
  localStorage.setItem("theme", root.dataset.theme);
}

addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.target.matches("input, select, textarea")) {
    if (e.key === "Escape") e.target.blur();
    return;
  }
  if (e.key === "/") {
    const field = main.querySelector("input");
    if (field) { e.preventDefault(); field.focus(); }
  } else if (e.key === "t") turnTheme();
  else if (order[e.key - 1]) location.hash = order[e.key - 1];
});

document.getElementById("theme").addEventListener("click", turnTheme);
addEventListener("hashchange", route);
follow();
route();
loop();
