"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const p = data.p;
  const byId = (id) => document.getElementById(id);
  const canvas = byId("canvas"), answer = byId("answer"), fields = { a: byId("field-a"), b: byId("field-b") };
  const rivals = data.rivals === null ? null : Uint8Array.from(atob(data.rivals), (c) => c.charCodeAt(0));
  const margins = data.margins; // hundredths, rounded down, [a * p + b]
  const failing = new Set(data.failing);
  const worst = margins.indexOf(Math.min(...margins));
  const top = Math.max(1, Math.max(...margins));
  const chosen = { a: Math.floor(worst / p), b: worst % p };
  // Viridis at eleven points.
  const stops = [[68, 1, 84], [72, 36, 117], [65, 68, 135], [53, 95, 141], [42, 120, 142], [33, 145, 140], [34, 168, 132],
    [66, 190, 113], [122, 209, 81], [189, 223, 38], [253, 231, 37]];
  const colour = (t) => {
    const x = Math.min(1, Math.max(0, t)) * (stops.length - 1), i = Math.min(stops.length - 2, Math.floor(x));
    return stops[i].map((s, c) => Math.round(s + (stops[i + 1][c] - s) * (x - i)));
  };
  const hundredths = (x) => (x < 0 ? "−" : "") + (Math.abs(x) / 100).toFixed(2);
  const make = (tag, text) => {
    const e = document.createElement(tag);
    if (text !== undefined) e.textContent = text;
    return e;
  };
  const svg = (tag, attributes) => {
    const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
    return e;
  };

  const cell = Math.max(6, Math.ceil(720 / p));
  canvas.width = canvas.height = cell * p;
  const base = document.createElement("canvas");
  base.width = base.height = cell * p;
  {
    const g = base.getContext("2d");
    for (let a = 0; a < p; a += 1) {
      for (let b = 0; b < p; b += 1) {
        const i = a * p + b, m = margins[i], x = a * cell, y = (p - 1 - b) * cell;
        g.fillStyle = !failing.has(i) ? `rgb(${colour(m / top)})` : "#f3f5f7";
        g.fillRect(x, y, cell, cell);
        if (failing.has(i)) {
          g.strokeStyle = "#d55e00";
          g.lineWidth = Math.max(1.5, cell / 6);
          g.beginPath();
          g.moveTo(x + cell * 0.2, y + cell * 0.2);
          g.lineTo(x + cell * 0.8, y + cell * 0.8);
          g.moveTo(x + cell * 0.8, y + cell * 0.2);
          g.lineTo(x + cell * 0.2, y + cell * 0.8);
          g.stroke();
        }
      }
    }
    const bar = byId("scale").getContext("2d");
    for (let x = 0; x < 200; x += 1) {
      bar.fillStyle = `rgb(${colour(x / 199)})`;
      bar.fillRect(x, 0, 1, 10);
    }
    byId("scale-low").textContent = "0";
    byId("scale-high").textContent = hundredths(top);
    byId("scale-bad").hidden = failing.size === 0;
  }

  const paint = () => {
    const g = canvas.getContext("2d");
    g.drawImage(base, 0, 0);
    const x = chosen.a * cell, y = (p - 1 - chosen.b) * cell, w = Math.max(2, cell / 5);
    g.lineWidth = w * 2;
    g.strokeStyle = "#000000";
    g.strokeRect(x, y, cell, cell);
    g.lineWidth = w;
    g.strokeStyle = "#ffffff";
    g.strokeRect(x, y, cell, cell);
  };

  const bars = (own) => {
    const W = 560, H = 170, left = 46, bottom = 22;
    const low = Math.min(0, ...own.map((r) => r.bound)), high = Math.max(1, ...own.map((r) => r.bound));
    const y = (v) => 8 + (H - 8 - bottom) * (high - v) / (high - low);
    const picture = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "Lower bounds of the margin over every other output" });
    const width = (W - left) / p, least = Math.min(...own.map((r) => r.bound));
    for (const r of own) {
      const bar = svg("rect", { x: left + r.c * width, y: Math.min(y(0), y(r.bound)), width: Math.max(0.5, width * 0.85),
        height: Math.max(0.8, Math.abs(y(r.bound) - y(0))), class: r.bound === least ? "worst" : "rival" });
      const title = svg("title", {});
      title.textContent = `output ${r.c}: at least ${r.text}`;
      bar.append(title);
      picture.append(bar);
    }
    picture.append(svg("line", { x1: left, x2: W, y1: y(0), y2: y(0), class: "axis" }));
    for (const [text, x, v, anchor] of [[high.toFixed(0), left - 6, y(high) + 8, "end"], ["0", left - 6, y(0) + 4, "end"],
      ["output 0", left, H - 5, "start"], [`output ${p - 1}`, W, H - 5, "end"]]) {
      const label = svg("text", { x, y: v, "text-anchor": anchor });
      label.textContent = text;
      picture.append(label);
    }
    return picture;
  };

  const show = () => {
    const { a, b } = chosen, i = a * p + b, m = margins[i], target = (a + b) % p;
    fields.a.value = a;
    fields.b.value = b;
    answer.replaceChildren();
    answer.append(make("h3", `${a} + ${b} = ${target} (mod ${p})`));
    answer.append(make("p", !failing.has(i)
      ? `Certified: the logit of ${target} is above every other one by ${m > 0 ? `at least ${hundredths(m)}` : "a margin above 0"}.`
      : `Not certified: the best lower bound of its margin is ${hundredths(m)}.`));
    if (rivals !== null) {
      const own = [];
      for (let d = 1; d < p; d += 1) {
        const bound = data.low + data.step * rivals[i * (p - 1) + d - 1];
        own.push({ c: (target + d) % p, bound, text: hundredths(Math.floor(bound * 100 - 1e-6)) });
      }
      own.sort((x, y) => x.c - y.c);
      const least = own.reduce((x, y) => (y.bound < x.bound ? y : x));
      answer.append(make("p", `Closest rival: output ${least.c}. Lower bound of the margin over each other output:`));
      answer.append(bars(own));
    }
    const table = make("table"), body = make("tbody");
    table.append(make("caption", "How far its logits can be from their closed form (upper bounds)"));
    let sum = 0;
    for (const [name, values] of data.budget) {
      const row = make("tr"), value = Array.isArray(values) ? values[i] : values;
      sum += value;
      row.append(make("td", name), make("td", hundredths(value)));
      body.append(row);
    }
    const total = make("tr");
    total.className = "total";
    total.append(make("td", "together"), make("td", hundredths(sum)));
    body.append(total);
    table.append(body);
    answer.append(table);
    paint();
  };

  const clamp = (x) => Math.min(p - 1, Math.max(0, x));
  const choose = (a, b) => {
    if (!Number.isInteger(a) || !Number.isInteger(b)) return;
    chosen.a = clamp(a);
    chosen.b = clamp(b);
    show();
  };
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [Math.floor((event.clientX - box.left) / box.width * p), p - 1 - Math.floor((event.clientY - box.top) / box.height * p)];
  };
  let pinned = false;
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && !pinned) choose(...at(event));
  });
  canvas.addEventListener("click", (event) => {
    pinned = true; // a click keeps the input; leaving the map lets go
    choose(...at(event));
  });
  canvas.addEventListener("pointerleave", () => { pinned = false; });
  canvas.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 10 : 1;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (event.key === "Home") choose(Math.floor(worst / p), worst % p);
    else if (event.key in moves) choose(chosen.a + moves[event.key][0], chosen.b + moves[event.key][1]);
    else return;
    event.preventDefault();
  });
  for (const name of ["a", "b"]) {
    fields[name].max = p - 1;
    fields[name].addEventListener("change", () => choose(Number(fields.a.value), Number(fields.b.value)));
  }
  byId("worst").addEventListener("click", () => choose(Math.floor(worst / p), worst % p));
  byId("explorer").hidden = false;
  show();
})();
