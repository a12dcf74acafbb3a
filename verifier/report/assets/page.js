"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const p = data.p, byId = (id) => document.getElementById(id), mod = (x) => ((x % p) + p) % p;
  const chosen = { a: data.input[0], b: data.input[1], wheel: 0 };
  const two = (x) => x.toFixed(2).replace("-", "−"), tau = 2 * Math.PI;
  const svg = (parent, tag, attributes, text) => {
    const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
    if (text !== undefined) e.textContent = text;
    parent.append(e);
    return e;
  };
  const say = (parent, tag, text) => {
    const e = document.createElement(tag);
    e.textContent = text;
    parent.append(e);
    return e;
  };
  const wrap = (x) => x + 0.5 - Math.floor(x + 0.5) - 0.5;

  // The quadrature picture: Theorem Q's rule at the chosen input.
  const rectangles = () => {
    const picture = byId("rectangles"), w = data.wheels[chosen.wheel], { a, b } = chosen;
    picture.replaceChildren();
    const offset = w.k * (a + b) / (2 * p) + (Math.cos(Math.PI * w.k * (a - b) / p) < 0 ? 0.5 : 0);
    const boxes = w.phase.map((phase, i) => {
      const here = wrap(phase + offset);
      return { here, share: w.share[i], height: Math.max(Math.cos(tau * here), 0) * Math.cos(tau * (2 * offset + w.turn[i])) };
    }).sort((x, y) => x.here - y.here);
    let end = 0, start = 0, sum = 0;
    for (const box of boxes) {
      end += box.share;
      start += box.share * (box.here - end + box.share / 2);
      sum += box.share * box.height;
    }
    const x = (v) => 20 + (v + 0.28) * 720 / 0.56, y = (v) => 24 + (1.05 - v) * 350 / 1.5;
    let left = start;
    for (const box of boxes) {
      if (box.height !== 0) svg(picture, "rect", { x: x(left), y: y(Math.max(0, box.height)), width: Math.max(0.4, x(left + box.share) - x(left)),
        height: Math.abs(y(box.height) - y(0)), class: box.height < 0 ? "down" : "up" });
      left += box.share;
    }
    svg(picture, "line", { x1: 10, x2: 750, y1: y(0), y2: y(0), class: "axis" });
    let path = "";
    for (let i = 0; i <= 240; i += 1) {
      const v = (i / 240 - 0.5) * 0.56;
      path += `${i ? "L" : "M"}${x(v).toFixed(1)} ${y(Math.max(Math.cos(tau * v), 0) * Math.cos(2 * tau * v)).toFixed(1)}`;
    }
    svg(picture, "path", { d: path, class: "curve" });
    for (const [v, word] of [[-0.25, "−¼ turn"], [0, "0"], [0.25, "¼ turn"]])
      svg(picture, "text", { x: x(v), y: 396, "text-anchor": "middle" }, word);
    const reading = byId("reading"), integral = 1 / (3 * Math.PI);
    reading.replaceChildren();
    for (const [value, words] of [
      [integral.toFixed(5), "the integral under the curve, 1/3π: infinitely many neurons"],
      [sum.toFixed(5), `the sum of the ${boxes.length} rectangles at ${a} + ${b} (drawn in float64, pure cosines)`],
      [two((sum - integral) / integral * 100) + " %", "off here"],
      [`≤ ${w.bound}`, `the error proved at every input, for weights that sum to 2π: ${w.times > 1 ? `${w.times.toFixed(1)} times less than` : "no better than"} 0.424, the bound for unknown phases`]]) {
      const line = say(reading, "p", "");
      say(line, "b", value);
      say(line, "span", words);
    }
  };

  // The two maps.
  const stops = [[68, 1, 84], [72, 36, 117], [65, 68, 135], [53, 95, 141], [42, 120, 142], [33, 145, 140], [34, 168, 132],
    [66, 190, 113], [122, 209, 81], [189, 223, 38], [253, 231, 37]];
  const colour = (t) => {
    const x = Math.min(1, Math.max(0, t)) * 10, i = Math.min(9, Math.floor(x));
    return `rgb(${stops[i].map((s, c) => Math.round(s + (stops[i + 1][c] - s) * (x - i))).join(",")})`;
  };
  const cell = Math.max(6, Math.ceil(600 / p)), top = Math.max(1, ...data.margins);
  const layer = (paint) => {
    const base = document.createElement("canvas");
    base.width = base.height = cell * p;
    const g = base.getContext("2d");
    for (let a = 0; a < p; a += 1) for (let b = 0; b < p; b += 1) paint(g, a * p + b, a * cell, (p - 1 - b) * cell, mod(a - b));
    return base;
  };
  const layers = {
    certified: layer((g, i, x, y) => {
      g.fillStyle = data.state[i] === 2 ? colour(data.margins[i] / top) : "transparent";
      g.fillRect(x, y, cell, cell);
      if (data.state[i] === 2) return;
      g.strokeStyle = g.fillStyle = data.state[i] ? "#c77700" : "#d55e00";
      g.lineWidth = Math.max(1.5, cell / 6);
      g.beginPath();
      if (data.state[i]) { g.arc(x + cell / 2, y + cell / 2, cell / 4, 0, tau); g.fill(); return; }
      g.moveTo(x + cell * 0.2, y + cell * 0.2);
      g.lineTo(x + cell * 0.8, y + cell * 0.8);
      g.moveTo(x + cell * 0.8, y + cell * 0.2);
      g.lineTo(x + cell * 0.2, y + cell * 0.8);
      g.stroke();
    }),
    explained: layer((g, i, x, y, d) => {
      const far = Math.min(1, 2 * data.deviations[i] / Math.max(1e-9, data.gap[d]));
      g.fillStyle = data.explained[d] ? `rgb(${[0, 1, 2].map((c) => Math.round([0, 84, 140][c] + ([214, 232, 243][c] - [0, 84, 140][c]) * far)).join(",")})` : "transparent";
      g.fillRect(x, y, cell, cell);
    }),
  };
  const paint = () => {
    for (const name of ["certified", "explained"]) {
      const canvas = byId(name), g = canvas.getContext("2d"), x = chosen.a * cell, y = (p - 1 - chosen.b) * cell, w = Math.max(2, cell / 5);
      g.clearRect(0, 0, canvas.width, canvas.height);
      g.drawImage(layers[name], 0, 0);
      for (const [width, ink] of [[2 * w, "#000"], [w, "#fff"]]) {
        g.lineWidth = width;
        g.strokeStyle = ink;
        g.strokeRect(x, y, cell, cell);
      }
    }
  };

  // The logits of the chosen input, and the closed form.
  const words = data.logits && new Int16Array(Uint8Array.from(atob(data.logits.sums), (c) => c.charCodeAt(0)).buffer);
  const logits = () => {
    const n = data.logits.lanes, at = (chosen.a * p + chosen.b) * n;
    const sums = Array.from(words.subarray(at, at + n), (x) => x * data.logits.unit);
    return data.logits.directions ? data.logits.directions.map((row) => row.reduce((s, u, l) => s + u * sums[l], 0)) : sums.slice(0, p);
  };
  const outputs = () => {
    const picture = byId("outputs"), { a, b } = chosen, t = mod(a + b), d = mod(a - b), E = data.error[d];
    picture.replaceChildren();
    if (!words) { byId("outputs-hint").hidden = true; return; }
    const own = logits(), form = data.constant.slice();
    for (const { j, g, wave } of data.terms) {
      const x = Math.cos(tau * j * t / p), y = Math.sin(tau * j * t / p), re = g[0][d] * x + g[1][d] * y, im = g[1][d] * x - g[0][d] * y;
      for (let c = 0; c < p; c += 1) form[c] += re * wave[0][c] - im * wave[1][c];
    }
    // Logits are known up to an amount that all share: the middle of the largest and the least distance.
    const gaps = own.map((v, c) => v - form[c]), shift = (Math.max(...gaps) + Math.min(...gaps)) / 2;
    const dots = own.map((v) => v - shift);
    const low = Math.min(...form, ...dots) - E, high = Math.max(...form, ...dots) + E;
    const x = (c) => 30 + c * 710 / (p - 1), y = (v) => 8 + (high - v) / (high - low) * 205;
    const line = (f) => form.map((v, c) => `${x(c).toFixed(1)} ${y(f(v)).toFixed(1)}`);
    svg(picture, "path", { d: `M${line((v) => v + E).join("L")}L${line((v) => v - E).reverse().join("L")}Z`, class: "band" });
    svg(picture, "line", { x1: 20, x2: 750, y1: y(0), y2: y(0), class: "axis" });
    svg(picture, "path", { d: `M${line((v) => v).join("L")}`, class: "curve" });
    dots.forEach((v, c) => svg(picture, "circle", { cx: x(c), cy: y(v), r: c === t ? 6 : 3, class: c === t ? "right" : "logit" }));
    for (const [c, anchor] of [[0, "start"], [p - 1, "end"]]) if (Math.abs(c - t) > p / 6) svg(picture, "text", { x: x(c), y: 236, "text-anchor": anchor }, `c = ${c}`);
    svg(picture, "text", { x: Math.min(700, Math.max(60, x(t))), y: 236, "text-anchor": "middle" }, `${t}`);
  };

  const show = () => {
    const { a, b } = chosen, i = a * p + b, d = mod(a - b), m = data.margins[i] / 100;
    for (const name of ["a", "b"]) {
      byId(`slide-${name}`).value = chosen[name];
      byId(`value-${name}`).textContent = chosen[name];
    }
    if (data.wheels.length) rectangles();
    paint();
    outputs();
    const state = [`the network answers wrong here`, `right as computed, but not proved: the best lower bound of its lead is ${two(m)}`,
      `proved right: its logit leads by ${m > 0 ? `at least ${two(m)}` : "more than 0"} (${data.semantics})`][data.state[i]];
    const why = data.explained[d] ? `Explained: at a − b = ${d} the formula leads by ${two(data.gap[d])}, more than twice its error ${two(data.error[d])}.`
      : `Not explained: at a − b = ${d} the formula leads by ${two(data.gap[d])}, not by twice its error ${two(data.error[d])}.`;
    byId("answer").textContent = `${a} + ${b} = ${mod(a + b)} (mod ${p}): ${state}. ${why}`;
  };
  const choose = (a, b) => {
    chosen.a = mod(a);
    chosen.b = mod(b);
    show();
  };
  const keys = (event) => {
    const step = event.shiftKey ? 10 : 1;
    const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
    if (!move) return;
    choose(chosen.a + move[0], chosen.b + move[1]);
    event.preventDefault();
  };
  for (const name of ["certified", "explained"]) {
    const canvas = byId(name);
    canvas.width = canvas.height = cell * p;
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      choose(Math.floor((event.clientX - box.left) / box.width * p), p - 1 - Math.floor((event.clientY - box.top) / box.height * p));
    });
    canvas.addEventListener("keydown", keys);
  }
  byId("rectangles").addEventListener("keydown", keys);
  for (const name of ["a", "b"]) {
    byId(`slide-${name}`).max = p - 1;
    byId(`slide-${name}`).addEventListener("input", (event) => choose(...(name === "a" ? [Number(event.target.value), chosen.b] : [chosen.a, Number(event.target.value)])));
  }
  const all = (selector) => document.querySelectorAll(selector);
  const turn = (i) => {
    chosen.wheel = i;
    all("[data-k]").forEach((e) => { e.hidden = ![0, data.wheels[i].k].includes(Number(e.dataset.k)); });
    all(".tabs button").forEach((e) => e.setAttribute("aria-pressed", Number(e.value) === i));
    rectangles();
  };
  all(".tabs").forEach((tabs) => data.wheels.forEach((w, i) => {
    const button = say(tabs, "button", `k = ${w.k}`);
    button.type = "button";
    button.value = i;
    button.addEventListener("click", () => turn(i));
  }));
  if (data.wheels.length) turn(data.wheels.reduce((best, w, i) => (w.logits > data.wheels[best].logits ? i : best), 0));
  const bar = byId("scale").getContext("2d");
  for (let x = 0; x < 200; x += 1) {
    bar.fillStyle = colour(x / 199);
    bar.fillRect(x, 0, 1, 8);
  }
  byId("scale-high").textContent = two(top / 100);
  byId("hero").hidden = data.wheels.length === 0;
  show();
})();
