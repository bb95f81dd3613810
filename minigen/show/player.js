// The step player: <step-player kind="decoding"> with a storyboard in it, which tells the
// story without JavaScript, and its data in a <script type="application/json">. What
// stands in the data: minigen/show/frames.py. No dependency, no request.
"use strict";
if (!customElements.get("step-player")) {
  const set = (element, attributes) => {
    for (const name in attributes) element.setAttribute(name, attributes[name]);
    return element;
  };
  const make = (tag, props = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), props);
    element.append(...children);
    return element;
  };
  const svg = (tag, attributes) =>
    set(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes);
  const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
  const percent = p => `${(p / 100).toFixed(1)} %`;
  const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
  const size = n => n < 1e4 ? `${n} bytes` : n < 1e6 ? `${(n / 1e3).toFixed(1)} kB` : `${(n / 1e6).toFixed(1)} MB`;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  class Lane {                                   // one run: its boards, and what a cell says
    constructor(player, run) {
      this.player = player;
      const runs = player.data.runs;
      this.pick = make("select", { ariaLabel: "run", onchange: () => player.show(player.step) },
        ...runs.map((r, i) => make("option", { value: i, textContent: r.name })));
      this.pick.value = run;
      this.head = make("p", { className: "head" });
      this.boards = make("div", { className: "boards" });
      this.says = make("div", { className: "says" });
      const name = runs.length > player.data.lanes ? this.pick : make("p", { className: "name", textContent: runs[run].name });
      this.root = make("section", {}, name, this.head, this.boards, this.says);
    }
    get run() { return this.player.data.runs[this.pick.value]; }
    at(step) {                                   // of the longest run, or the same share of it
      const last = this.run.frames.length - 1, { player } = this;
      return player.data.abreast ? Math.min(step, last) : Math.round(last * step / Math.max(1, player.last));
    }
    draw(step) {
      const i = this.at(step), frame = this.run.frames[i], { player } = this;
      const panels = frame.panels || decoding(player, this.run, i), shown = frame.say || summary(player.data, frame);
      this.head.textContent = `step ${i + 1} of ${this.run.frames.length}: ${shown}`;
      while (this.boards.childElementCount > panels.length) this.boards.lastChild.remove();
      panels.forEach((panel, k) => {
        if (!this.boards.children[k]) this.boards.append(board(this, k));
        fill(player, this.boards.children[k], panel);
      });
      this.says.replaceChildren(...(frame.panels ? told(player, this.run, frame) : cell(player, this.run, i)));
    }
    get words() { return `${this.run.name}, ${this.head.textContent}. ${[...this.says.querySelectorAll(".word")].map(e => e.textContent).join(". ")}`; }
  }

  // ---- boards: a grid of cells, or a density

  function board(lane, k) {
    const { player } = lane, area = make("div", { className: "board" });
    set(area, { role: "application", "aria-roledescription": "board" });
    area.onpointerdown = event => {
      const { rows, columns } = area.panel, box = area.getBoundingClientRect();
      if (!rows) return;
      const on = (share, n) => Math.max(0, Math.min(n - 1, share * n | 0));
      player.choose(on((event.clientY - box.top) / box.height, rows) * columns + on((event.clientX - box.left) / box.width, columns), k);
    };
    area.onkeydown = event => {
      const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      const { rows, columns } = area.panel;
      if (!move || !rows || event.altKey || event.ctrlKey || event.metaKey) return;
      const y = (player.cell / columns | 0) + move[0], x = player.cell % columns + move[1];
      if (y >= 0 && x >= 0 && y < rows && x < columns) player.choose(y * columns + x, k);
      event.preventDefault(); event.stopPropagation();
    };
    return make("figure", {}, make("figcaption"), area, make("div", { className: "legend" }));
  }
  function fill(player, figure, panel) {
    const [title, area, legend] = figure.children, hidden = panel.hide && player.guessing;
    area.panel = panel;
    figure.className = panel.parts ? "curve" : "grid";
    title.textContent = panel.title;
    const picture = panel.parts ? density(panel, hidden) : grid(panel, hidden, player);
    area.replaceChildren(set(picture, { "aria-hidden": "true" }));
    area.style.aspectRatio = panel.rows ? `${panel.columns} / ${panel.rows}` : "";
    area.tabIndex = panel.rows ? 0 : -1;
    area.ariaLabel = panel.rows ? `${panel.title}, ${panel.rows} by ${panel.columns}; arrow keys choose a cell` : panel.title;
    legend.replaceChildren();
    if (panel.scale && !hidden) legend.append(make("span", { textContent: panel.scale[0] }), ramp(player.data.ramp), make("span", { textContent: panel.scale[1] }));
    if (panel.x) legend.append(make("span", { textContent: panel.x[0] }), make("span", { textContent: panel.unit, className: "wide" }), make("span", { textContent: panel.x[1] }));
  }
  const ramp = colours => set(make("i", { className: "ramp" }),
    { style: `background:linear-gradient(to right, ${colours.map(c => `rgb(${c})`)})` });
  function grid(panel, hidden, { cell: chosen, data }) {
    const { rows, columns } = panel, picture = svg("svg", { viewBox: `0 0 ${columns} ${rows}` });
    const box = (p, inset, more) => picture.append(svg("rect", {
      x: p % columns + inset, y: (p / columns | 0) + inset, width: 1 - 2 * inset, height: 1 - 2 * inset, ...more }));
    picture.append(svg("rect", { width: columns, height: rows, class: "paper" }));
    if (panel.image) picture.append(svg("image", { href: panel.image, width: columns, height: rows, preserveAspectRatio: "none" }));
    const shown = hidden ? {} : panel, whole = typeof shown.values === "string" ? 255 : 1000;
    const values = whole === 255 ? bytes(shown.values) : shown.values;
    values?.forEach((v, p) => v === null || box(p, 0, { fill: mix(data.ramp, v / whole), class: "heat" }));
    for (const mark of ["new", "odd", "wait"]) shown[mark]?.forEach(p => box(p, .05, { class: mark }));
    shown.text?.forEach((t, p) => {
      if (t === "") return;
      const label = svg("text", { x: p % columns + .5, y: (p / columns | 0) + .65, class: values ? "" : "plain" });
      label.textContent = t; picture.append(label);
    });
    if (!panel.still && chosen < rows * columns) box(chosen, .05, { class: "pick" });
    return picture;
  }
  function density(panel, hidden) {              // densities on top of each other, from 0 up
    const n = panel.parts[0].length, picture = svg("svg", { viewBox: "0 0 160 60", preserveAspectRatio: "none" });
    let low = Array(n).fill(0);
    panel.parts.forEach((part, k) => {
      const high = low.map((v, i) => v + part[i]), y = v => 60 - .058 * v, x = i => 160 * i / (n - 1);
      const points = [...high.map((v, i) => [x(i), y(v)]), ...low.map((v, i) => [x(i), y(v)]).reverse()];
      picture.append(svg("polygon", { points: points.map(p => p.map(v => v.toFixed(1))).join(" "), class: `part${k % 4}` }));
      low = high;
    });
    const at = 160 * (panel.at - panel.x[0]) / (panel.x[1] - panel.x[0]);
    if (panel.at !== undefined && !hidden) picture.append(svg("line", { x1: at, x2: at, y1: 0, y2: 60, class: "at" }));
    return picture;
  }
  function mix(colours, share) {
    const t = Math.max(0, Math.min(1, share)) * (colours.length - 1), i = Math.min(colours.length - 2, t | 0);
    return `rgb(${colours[i].map((v, k) => Math.round(v + (colours[i + 1][k] - v) * (t - i)))})`;
  }

  // ---- decoding: a canvas, and a map of what the step knew before it drew

  const odd = frame => frame.turn ? frame.new.filter((p, k) => 2 * frame.turn[k] < frame.p[k]) : [];
  const summary = (data, frame) => `${frame.new.length} new` +
    (frame.turn && frame.new.length > 1 ? `, ${odd(frame).length} would differ` : "") + `; guidance ${frame.weight}` +
    (frame.keeps ? `; ${data.keeps} ${size(frame.keeps)}` : "");
  const place = (data, p) => `row ${(p / data.grid[1] | 0) + 1}, column ${p % data.grid[1] + 1}`;
  function before(run, i) {                      // positions known before step i, as they were read
    return [...run.known, ...run.frames.slice(0, i).flatMap(f => f.new)];
  }
  function heard(data, run, i, position, layer) {  // shares of [class, known ...], layer -1: the mean
    const frame = run.frames[i], row = (data.brief ? frame.new : frame.open || []).indexOf(position);
    if (row < 0 || !frame.read) return null;
    const all = bytes(frame.read), rows = (data.brief ? frame.new : frame.open).length, keys = all.length / data.layers / rows;
    const of = l => Array.from(all.subarray((l * rows + row) * keys, (l * rows + row + 1) * keys), v => (v / 255) ** 2);
    if (layer >= 0) return of(layer);
    const layers = Array.from({ length: data.layers }, (_, l) => of(l));
    return layers[0].map((_, k) => layers.reduce((sum, shares) => sum + shares[k], 0) / data.layers);
  }
  function decoding(player, run, i) {
    const { data, cell } = player, frame = run.frames[i], [rows, columns] = data.grid, kind = player.map.value;
    const base = { rows, columns, image: frame.image };
    const canvas = { ...base, title: "canvas", new: frame.new, odd: odd(frame) };
    const values = Array(rows * columns).fill(null), map = { ...base, values, new: frame.new };
    if (kind === "doubt") {
      frame.open.forEach((p, k) => { values[p] = 1000 * frame.bits[k] / (100 * data.most); });
      return [canvas, { ...map, title: "doubt before the step", scale: [0, `${data.most} bits`], hide: true }];
    }
    if (kind === "order") {
      const text = Array(rows * columns).fill("");
      run.frames.forEach((f, t) => f.new.forEach(p => { text[p] = t + 1; values[p] = 1000 * t / Math.max(1, run.frames.length - 1); }));
      return [canvas, { ...map, title: "order: which step draws it", text, image: null, scale: ["first", "last"] }];
    }
    const layer = kind === "mean" ? -1 : +kind, shares = heard(data, run, i, cell, layer);
    if (shares) before(run, i).forEach((p, k) => { values[p] = 1000 * shares[k + 1] / data.loudest; });
    return [canvas, { ...map, image: null, title: shares ? `read from the cell; class ${percent(1e4 * shares[0])}` : "attention: choose an unknown cell",
      scale: [0, `${percent(1e4 * data.loudest)} or more`] }];
  }
  function stamp(data, code) {
    const made = make("span", { className: "stamp", title: `code ${code}` }), { stamps } = data;
    const k = stamps.codes.indexOf(code);
    if (k >= 0) made.style.cssText = `background-image:url(${stamps.src});background-size:${100 * stamps.columns}% ${100 * stamps.rows}%;` +
      `background-position:${100 * (k % stamps.columns) / Math.max(1, stamps.columns - 1)}% ${100 * (k / stamps.columns | 0) / Math.max(1, stamps.rows - 1)}%`;
    return made;
  }
  function verdict(data, frame, guess) {
    const most = Math.max(...frame.bits), k = frame.open.indexOf(guess), mine = frame.bits[k];
    const rank = k < 0 ? "is not unknown" : mine === most ? "was right" : `is number ${frame.bits.filter(b => b > mine).length + 1} of ${frame.bits.length}`;
    return word(`Least sure: ${place(data, frame.open[frame.bits.indexOf(most)])}, ${(most / 100).toFixed(2)} bits. Your guess, ${place(data, guess)}, ${rank}.`, "verdict");
  }
  const word = (text, more = "") => make("p", { textContent: text, className: `word ${more}` });
  function cell(player, run, i) {                // what the chosen cell says
    const { data, cell: p } = player, frame = run.frames[i], where = place(data, p);
    const open = (frame.open || []).indexOf(p), drawn = frame.new.indexOf(p);
    const when = run.frames.findIndex(f => f.new.includes(p));
    if (player.guessing && frame.bits) return [word(`Which cell is the model least sure of? Your guess: ${where}. Then press Reveal.`)];
    if (open < 0 && drawn < 0)
      return [word(`${where}: ` + (when < 0 ? "known from the start" : when < i ? `drawn in step ${when + 1}` : `drawn later, in step ${when + 1}; the model is not asked for it yet`))];
    if (!frame.bits) return [word(`${where}: ` + (drawn < 0 ? "unknown" : `features ${frame.vectors[drawn].join(", ").replaceAll("-", "−")}`))];
    const rank = frame.bits.filter(b => b > frame.bits[open]).length + 1, shares = heard(data, run, i, p, -1);
    const says = [word(`${where}: ${(frame.bits[open] / 100).toFixed(2)} bits of doubt, rank ${rank} of ${frame.bits.length}` +
      (shares ? `; the class gets ${percent(1e4 * shares[0])} of the attention` : ""))];
    if (player.told) says.push(verdict(data, frame, player.told.cell));
    frame.top[open].forEach((code, k) => {
      const share = frame.topp[open][k], bar = set(make("i"), { style: `width:${share / 100}%` });
      says.push(make("div", { className: "row" + (drawn >= 0 && frame.tokens[drawn] === code ? " drawn" : "") },
        stamp(data, code), make("span", { textContent: code }), make("span", {}, bar), make("span", { textContent: percent(share) })));
    });
    if (drawn >= 0) says.push(word(`drawn: code ${frame.tokens[drawn]}, ${percent(frame.p[drawn])}` +
      (frame.turn && frame.new.length > 1 ? `; had it seen those drawn beside it: ${percent(frame.turn[drawn])}` : ""), "soft"));
    return says;
  }

  // ---- the other kinds: frames with panels, a sentence, and perhaps lines of source

  function told(player, run, frame) {
    const says = [];
    if (frame.ask) says.push(word(player.guessing ? `${frame.ask} Then press Reveal.` : frame.answer || ""));
    const tips = frame.panels.find(panel => panel.tips)?.tips;
    if (tips?.[player.cell] && !player.guessing) says.push(word(tips[player.cell]));
    if (run.code) says.push(make("pre", { tabIndex: 0, ariaLabel: "source" }, ...run.code.map((line, k) =>
      make("span", { className: k === frame.line ? "here" : "", textContent: line + "\n" }))));
    return says;
  }

  let latest = null;                             // the player that was touched last gets the keys
  customElements.define("step-player", class extends HTMLElement {
    connectedCallback() {
      if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", () => this.build());
      else this.build();
    }
    build() {
      if (this.data) return;
      this.data = JSON.parse(this.querySelector("script").textContent);
      const { data } = this, frames = data.runs.flatMap(run => run.frames), again = () => { this.told = null; this.show(this.step); };
      this.cell = data.cell; this.step = 0; this.told = null;
      const button = (text, label, act, more = {}) => make("button", { type: "button", textContent: text, ariaLabel: label, onclick: act, ...more });
      this.slide = make("input", { type: "range", min: 0, ariaLabel: "step", oninput: () => this.show(+this.slide.value) });
      this.run = button("▶", "play", () => this.toggle());
      this.guess = make("input", { type: "checkbox", onchange: again });
      this.reveal = button("Reveal", "reveal", () => { this.told = { cell: this.cell }; this.show(this.step); });
      const maps = frames.some(f => f.panels) ? [] : [
        ...(frames.some(f => f.bits) ? [["doubt", "doubt"]] : []),
        ...(data.layers ? [["mean", data.layers > 1 ? "attention, mean of layers" : "attention"]] : []),
        ...Array.from({ length: data.layers > 1 ? data.layers : 0 }, (_, l) => [l, `attention, layer ${l}`]), ["order", "order"]];
      this.map = make("select", { ariaLabel: "map", onchange: () => this.show(this.step) }, ...maps.map(([value, textContent]) => make("option", { value, textContent })));
      if (maps.length) this.map.value = this.getAttribute("kind") === "attention" && data.layers ? "mean" : maps[0][0];
      this.link = make("a", { textContent: "#", ariaLabel: "link to this step", title: "link to this step" });
      const asks = frames.some(f => f.bits || f.ask);
      this.bar = make("div", { className: "bar" }, button("‹", "one step back", () => this.show(this.step - 1)), this.run,
        button("›", "one step on", () => this.show(this.step + 1)), this.slide, ...(maps.length > 1 ? [this.map] : []),
        ...(asks ? [make("label", {}, this.guess, " guess first"), this.reveal] : []), this.link);
      this.lanes = Array.from({ length: data.lanes }, (_, k) => new Lane(this, k));
      this.live = set(make("p", { className: "live" }), { "aria-live": "polite" });
      this.querySelector(".story")?.remove();
      this.append(this.bar, make("div", { className: `lanes lanes${data.lanes}` }, ...this.lanes.map(lane => lane.root)), this.live);
      this.onpointerdown = this.onfocusin = () => { latest = this; };
      this.alone = document.body.hasAttribute("data-alone");
      latest = latest || this;
      document.addEventListener("keydown", event => this.key(event));
      addEventListener("hashchange", () => this.read());
      this.show(0); this.read();
    }
    get guessing() { return this.guess.checked && !this.told; }
    get last() { return Math.max(...this.lanes.map(lane => lane.run.frames.length)) - 1; }
    key(event) {
      const { target } = event, inside = this.contains(target);
      if (event.altKey || event.ctrlKey || event.metaKey || latest !== this || !(inside || this.alone && target === document.body)) return;
      const control = /SELECT|INPUT/.test(target.tagName), move = { ArrowLeft: this.step - 1, ArrowRight: this.step + 1, ",": this.step - 1, ".": this.step + 1, Home: 0, End: this.last }[event.key];
      if (move !== undefined && !control) this.show(move);
      else if (event.key === " " && !control && target.tagName !== "BUTTON") this.toggle();
      else return;
      event.preventDefault();
    }
    read() {                                     // #step=7&cell=27, of another player of a page &player=NAME
      const asked = new URLSearchParams(location.hash.slice(1)), number = name => parseInt(asked.get(name), 10) || 0;
      const mine = asked.has("player") ? asked.get("player") === this.id : this === document.querySelector("step-player");
      if (!mine || !asked.has("step")) return;
      this.lanes.forEach((lane, k) => { if (this.data.runs[asked.get("ab"[k])]) lane.pick.value = asked.get("ab"[k]); });
      if (asked.has("cell")) this.cell = Math.max(0, number("cell"));
      if ([...this.map.options].some(option => option.value === asked.get("map"))) this.map.value = asked.get("map");
      latest = this;
      this.show(number("step") - 1);
      if (asked.has("player")) this.scrollIntoView();
    }
    show(step) {
      if (step !== this.step) this.told = null;
      this.step = step = Math.max(0, Math.min(this.last, step));
      Object.assign(this.slide, { max: this.last, value: step, ariaValueText: `step ${step + 1} of ${this.last + 1}` });
      this.dataset.step = step + 1;
      this.reveal.hidden = !this.guess.checked;
      this.reveal.disabled = this.told;
      this.lanes.forEach(lane => lane.draw(step));
      const state = { ...(this.id && { player: this.id }), step: step + 1, cell: this.cell, map: this.map.value };
      this.lanes.forEach((lane, k) => { state["ab"[k]] = lane.pick.value; });
      this.link.href = `#${new URLSearchParams(state)}`;
      if (!this.timer) this.live.textContent = this.lanes.map(lane => lane.words).join(" ");
    }
    choose(cell) { this.cell = cell; this.show(this.step); }
    toggle() {
      if (this.timer) this.timer = clearInterval(this.timer);
      else {
        if (this.step === this.last) this.show(0);
        this.timer = setInterval(() => this.step < this.last ? this.show(this.step + 1) : this.toggle(), calm.matches ? 1500 : 700);
      }
      Object.assign(this.run, this.timer ? { textContent: "❚❚", ariaLabel: "pause" } : { textContent: "▶", ariaLabel: "play" });
      if (!this.timer) this.show(this.step);
    }
  });
}
