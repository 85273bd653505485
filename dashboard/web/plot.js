// Plots of the last hour: SVG in pixels, drawn anew when data or width change. No library.

import { axis, clock, h, short } from "./lib.js";

const svgNS = "http://www.w3.org/2000/svg";

function s(tag, attrs = {}, text) {
  const e = document.createElementNS(svgNS, tag);
  for (const [k, v] of Object.entries(attrs)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
}

// nice rounds up to 1, 2 or 5 times a power of ten, where axes end.
function nice(v) {
  if (v <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(v));
  return [1, 2, 2.5, 5, 10].find((m) => m * power >= v * 1.0001) * power;
}

const pad = { left: 44, right: 10, top: 10, bottom: 20 };

// path is the line through values; step is the width of one in pixels, right the place of the last.
function path(values, right, step, y) {
  let d = "";
  values.forEach((v, i) => {
    d += `${i ? "L" : "M"}${(right - (values.length - 1 - i) * step).toFixed(1)} ${y(v).toFixed(1)}`;
  });
  return d;
}

// spark makes a small line without axes.
export function spark(color) {
  const svg = s("svg", { preserveAspectRatio: "none", "aria-hidden": "true" });
  const area = s("path", { class: `a f${color}` }), line = s("path", { class: `l c${color}` });
  svg.append(area, line);
  const update = (values, points) => {
    const w = svg.clientWidth || 200, height = svg.clientHeight || 34;
    const top = Math.max(...values, 1e-9), step = w / (points - 1);
    const y = (v) => height - 1.5 - (v / top) * (height - 5);
    const d = path(values, w, step, y);
    line.setAttribute("d", d);
    const left = w - (values.length - 1) * step;
    area.setAttribute("d", values.length ? `${d}L${w} ${height}L${left} ${height}Z` : "");
  };
  return { element: svg, update };
}

// plot makes a panel. series is a list of {name, label, color, scale}; words turns a value into text, ends one at
// an axis. With dynamic the series are those of the data, whatever they are.
export function plot({ title, series = [], words = short, ends = axis, max, dynamic, empty = "no data yet" }) {
  const svg = s("svg", { role: "img" });
  const legend = h("span", { class: "legend" });
  const tip = h("div", { class: "tip", hidden: true });
  const box = h("div", { class: "plot" }, svg, tip);
  const element = h("section", { class: "panel chart", "aria-label": title }, h("div", { class: "cap" }, h("h2", {}, title), legend), box);
  let data = { step_seconds: 5, end: null, lines: [] };
  const points = () => 3600 / data.step_seconds;

  const draw = () => {
    const w = box.clientWidth - 16, height = svg.clientHeight || 150;
    if (w < 50) return;
    const right = w - pad.right, bottom = height - pad.bottom;
    const step = (right - pad.left) / (points() - 1);
    const peak = Math.max(0, ...data.lines.flatMap((l) => l.values));
    const top = max || nice(peak);
    const y = (v) => bottom - (Math.min(v, top) / top) * (bottom - pad.top);
    svg.replaceChildren();
    for (const part of [0, 0.5, 1]) {
      svg.append(s("line", { class: "rule", x1: pad.left, x2: right, y1: y(top * part), y2: y(top * part) }),
        s("text", { x: pad.left - 6, y: y(top * part) + 3.5, "text-anchor": "end" }, ends(top * part)));
    }
    for (const minutes of right - pad.left < 330 ? [60, 30, 0] : [60, 45, 30, 15, 0]) {
      const x = right - (minutes * 60 / data.step_seconds) * step;
      svg.append(s("text", { x: Math.max(x, pad.left), y: height - 5,
        "text-anchor": minutes === 0 ? "end" : minutes === 60 ? "start" : "middle" }, minutes ? `−${minutes} min` : "now"));
    }
    if (!data.lines.length) {
      svg.append(s("text", { x: (pad.left + right) / 2, y: (pad.top + bottom) / 2, "text-anchor": "middle" }, empty));
    }
    for (const l of [...data.lines].reverse()) {
      const d = path(l.values, right, step, y);
      if (!dynamic && l.values.length) {
        const left = right - (l.values.length - 1) * step;
        svg.append(s("path", { class: `a f${l.color}`, d: `${d}L${right} ${bottom}L${left} ${bottom}Z` }));
      }
      svg.append(s("path", { class: `l c${l.color}`, d }));
    }
    svg.setAttribute("aria-label", `${title}, last hour. Now ${data.lines.map((l) => `${l.label} ${words(l.values.at(-1) ?? 0)}`).join(", ")}`);
    svg.append(s("line", { class: "cross", y1: pad.top, y2: bottom, visibility: "hidden" }));
  };

  const hover = (event) => {
    const cross = svg.querySelector(".cross"), n = Math.max(0, ...data.lines.map((l) => l.values.length));
    if (!cross || !n) return;
    const x = event.clientX - svg.getBoundingClientRect().left;
    const right = box.clientWidth - 16 - pad.right, step = (right - pad.left) / (points() - 1);
    const back = Math.min(Math.max(Math.round((right - x) / step), 0), n - 1);
    const at = right - back * step;
    cross.setAttribute("x1", at);
    cross.setAttribute("x2", at);
    cross.setAttribute("visibility", "visible");
    const time = new Date(new Date(data.end) - back * data.step_seconds * 1000);
    tip.replaceChildren(h("div", { class: "dim" }, clock(time)), ...data.lines.map((l) => h("div", {},
      h("span", {}, h("i", { class: `dot f${l.color}` }), " ", l.label), h("b", {}, words(l.values.at(-1 - back) ?? 0)))));
    tip.hidden = false;
    const left = at + 14 + tip.offsetWidth > box.clientWidth ? at - tip.offsetWidth - 6 : at + 20;
    tip.style.left = `${left}px`;
    tip.style.top = "14px";
  };
  svg.addEventListener("pointermove", hover);
  svg.addEventListener("pointerleave", () => {
    tip.hidden = true;
    svg.querySelector(".cross")?.setAttribute("visibility", "hidden");
  });
  new ResizeObserver(draw).observe(box);

  const update = (plots) => {
    const list = dynamic ? plots.plots.map((p) => ({ name: p.name, label: p.name })) : series;
    data = { step_seconds: plots.step_seconds, end: plots.end, lines: [] };
    list.forEach((want, i) => {
      const found = plots.plots.find((p) => p.name === want.name);
      if (found?.values.length) {
        data.lines.push({ label: want.label, color: want.color || (i % 8) + 1, values: found.values.map((v) => v * (want.scale || 1)) });
      }
    });
    legend.replaceChildren(...data.lines.map((l) => h("span", {}, h("i", { class: `f${l.color}` }), l.label, " ",
      h("b", {}, words(l.values.at(-1) ?? 0)))));
    draw();
  };
  return { element, update };
}
