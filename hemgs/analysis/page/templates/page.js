"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const MIB = 1048576;
  const byId = (id) => document.getElementById(id);
  const methodOf = (id) => data.methods.find((method) => method.id === id);

  function element(name, attributes, parent) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (parent) parent.appendChild(node);
    return node;
  }

  function html(name, properties, parent) {
    const node = Object.assign(document.createElement(name), properties);
    if (parent) parent.appendChild(node);
    return node;
  }

  function fill(select, options) {
    const kept = select.value;
    select.replaceChildren(...options.map(([value, text]) => Object.assign(document.createElement("option"), { value, textContent: text })));
    if (options.some(([value]) => value === kept)) select.value = kept;
  }

  function mib(bytes) {
    const size = bytes / MIB;
    const digits = size >= 100 ? 1 : size >= 1 ? 2 : Math.min(6, 2 - Math.floor(Math.log10(size)));
    return `${size.toFixed(digits)} MiB`;
  }

  // ---- rate–distortion plot -------------------------------------------------------------------------------------

  const FRAME = { left: 62, right: 748, top: 14, bottom: 380 };
  const hidden = new Set();

  function niceTicks(low, high, count) {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
    const ticks = [];
    for (let index = Math.ceil(low / step); index * step <= high + step * 1e-9; index += 1) ticks.push(index * step);
    return ticks;
  }

  function logTicks(low, high) {
    const ticks = [];
    const factors = high / low < 100 ? [1, 2, 5] : high / low < 1000 ? [1, 3] : [1];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1)
      for (const factor of factors) {
        const tick = factor * 10 ** power;
        if (tick >= low && tick <= high) ticks.push(tick);
      }
    return ticks;
  }

  function plain(value) {
    return String(Number(value.toPrecision(4)));
  }

  function shape(marker, x, y) {
    const r = 4.6;
    const polygon = (points) => ["polygon", { points: points.map(([dx, dy]) => `${x + dx * r},${y + dy * r}`).join(" ") }];
    const shapes = {
      s: [[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]],
      D: [[0, -1.15], [1.15, 0], [0, 1.15], [-1.15, 0]],
      d: [[0, -1.2], [0.75, 0], [0, 1.2], [-0.75, 0]],
      "^": [[0, -1.1], [1, 0.8], [-1, 0.8]],
      v: [[0, 1.1], [1, -0.8], [-1, -0.8]],
      "<": [[-1.1, 0], [0.8, 1], [0.8, -1]],
      ">": [[1.1, 0], [-0.8, 1], [-0.8, -1]],
      p: [[0, -1.1], [1.05, -0.34], [0.65, 0.9], [-0.65, 0.9], [-1.05, -0.34]],
      h: [[0, -1.1], [0.95, -0.55], [0.95, 0.55], [0, 1.1], [-0.95, 0.55], [-0.95, -0.55]],
      P: [[-0.4, -1.1], [0.4, -1.1], [0.4, -0.4], [1.1, -0.4], [1.1, 0.4], [0.4, 0.4], [0.4, 1.1], [-0.4, 1.1], [-0.4, 0.4], [-1.1, 0.4], [-1.1, -0.4], [-0.4, -0.4]],
      X: [[-1, -0.5], [-0.5, -1], [0, -0.5], [0.5, -1], [1, -0.5], [0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5], [-0.5, 1], [-1, 0.5], [-0.5, 0]],
      "*": [[0, -1.3], [0.35, -0.45], [1.25, -0.4], [0.55, 0.18], [0.78, 1.05], [0, 0.55], [-0.78, 1.05], [-0.55, 0.18], [-1.25, -0.4], [-0.35, -0.45]],
    };
    return marker in shapes ? polygon(shapes[marker]) : ["circle", { cx: x, cy: y, r: r }];
  }

  function plottedCurves() {
    const dataset = byId("plot-dataset").value, scene = byId("plot-scene").value, metric = byId("plot-metric").value;
    return data.curves
      .filter((curve) => curve.dataset === dataset && curve.scene === scene && !hidden.has(curve.method))
      .map((curve) => ({ ...curve, points: curve.points.filter((point) => Number.isFinite(point[metric])) }))
      .filter((curve) => curve.points.length);
  }

  function drawPlot() {
    const svg = byId("plot");
    svg.replaceChildren();
    byId("plot-tip").hidden = true;
    const metric = data.metrics.find((candidate) => candidate.id === byId("plot-metric").value);
    const curves = plottedCurves();
    const all = curves.flatMap((curve) => curve.points);
    if (!all.length) {
      element("text", { x: 380, y: 200, "text-anchor": "middle" }, svg).textContent = "Nothing to draw: not measured, incomplete, or hidden.";
      return;
    }
    const sizes = all.map((point) => point.bytes / MIB), values = all.map((point) => point[metric.id]);
    const logarithmic = byId("plot-log").checked;
    let [low, high] = [Math.min(...sizes), Math.max(...sizes)];
    if (logarithmic) [low, high] = [low / 1.25, high * 1.25];
    else [low, high] = [Math.max(0, low - 0.06 * (high - low || low)), high + 0.06 * (high - low || high)];
    let [bottom, top] = [Math.min(...values), Math.max(...values)];
    const margin = 0.08 * (top - bottom || Math.abs(top) || 1);
    [bottom, top] = [bottom - margin, top + margin];
    const share = (size) => logarithmic ? Math.log(size / low) / Math.log(high / low) : (size - low) / (high - low);
    const x = (size) => FRAME.left + share(size) * (FRAME.right - FRAME.left);
    const y = (value) => FRAME.bottom - (value - bottom) / (top - bottom) * (FRAME.bottom - FRAME.top);

    for (const tick of logarithmic ? logTicks(low, high) : niceTicks(low, high, 8)) {
      element("line", { class: "grid", x1: x(tick), x2: x(tick), y1: FRAME.top, y2: FRAME.bottom }, svg);
      element("text", { x: x(tick), y: FRAME.bottom + 18, "text-anchor": "middle" }, svg).textContent = plain(tick);
    }
    for (const tick of niceTicks(bottom, top, 6)) {
      element("line", { class: "grid", x1: FRAME.left, x2: FRAME.right, y1: y(tick), y2: y(tick) }, svg);
      element("text", { x: FRAME.left - 8, y: y(tick) + 4, "text-anchor": "end" }, svg).textContent = plain(tick);
    }
    element("line", { class: "frame", x1: FRAME.left, x2: FRAME.right, y1: FRAME.bottom, y2: FRAME.bottom }, svg);
    element("line", { class: "frame", x1: FRAME.left, x2: FRAME.left, y1: FRAME.top, y2: FRAME.bottom }, svg);
    element("text", { class: "axis-title", x: (FRAME.left + FRAME.right) / 2, y: 422, "text-anchor": "middle" }, svg).textContent = "Size [MiB]";
    const title = element("text", { class: "axis-title", transform: `translate(14 ${(FRAME.top + FRAME.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, svg);
    title.textContent = metric.label + (metric.better === "lower" ? " (lower is better)" : "");

    for (const curve of curves) {
      const method = methodOf(curve.method);
      const points = [...curve.points].sort((a, b) => a.bytes - b.bytes);
      const line = points.map((point) => `${x(point.bytes / MIB)},${y(point[metric.id])}`).join(" ");
      element("polyline", { points: line, fill: "none", stroke: method.color, "stroke-width": 1.8 }, svg);
      for (const point of points) {
        const [name, attributes] = shape(method.marker, x(point.bytes / MIB), y(point[metric.id]));
        const mark = element(name, { ...attributes, class: "mark", fill: method.color, tabindex: 0, "data-method": method.id, "data-rate": point.rate }, svg);
        const lines = describe(method, point);
        mark.setAttribute("aria-label", lines.join(", "));
        for (const event of ["pointerenter", "focus"]) mark.addEventListener(event, () => showTip(mark, lines));
        for (const event of ["pointerleave", "blur"]) mark.addEventListener(event, () => { byId("plot-tip").hidden = true; });
      }
    }
  }

  function describe(method, point) {
    const lines = [method.label + (point.lmbda ? `, λ = ${point.lmbda.toFixed(4)}` : "")];
    lines.push(`${mib(point.bytes)} (${Math.round(point.bytes).toLocaleString("en")} bytes)`);
    for (const shown of data.metrics)
      if (Number.isFinite(point[shown.id])) lines.push(`${shown.label}: ${point[shown.id].toFixed(shown.decimals)}`);
    if (point.iterations) lines.push(`${point.iterations.toLocaleString("en")} iterations`);
    return lines;
  }

  function showTip(mark, lines) {
    const tip = byId("plot-tip");
    tip.replaceChildren(html("b", { textContent: lines[0] }), ...lines.slice(1).map((line) => html("div", { textContent: line })));
    tip.hidden = false;
    const box = tip.parentElement.getBoundingClientRect(), at = mark.getBoundingClientRect();
    const left = at.left - box.left + 16, width = tip.offsetWidth;
    tip.style.left = `${left + width > box.width ? Math.max(0, left - width - 32) : left}px`;
    tip.style.top = `${Math.max(0, at.top - box.top - tip.offsetHeight / 2)}px`;
  }

  function refreshScenes() {
    const dataset = data.datasets.find((candidate) => candidate.id === byId("plot-dataset").value);
    const present = new Set(data.curves.filter((curve) => curve.dataset === dataset.id).map((curve) => curve.scene));
    const options = dataset.scenes.filter((scene) => present.has(scene.id)).map((scene) => [scene.id, scene.label]);
    fill(byId("plot-scene"), present.has("mean") ? [["mean", `mean of ${dataset.scenes.length} scene${dataset.scenes.length > 1 ? "s" : ""}`], ...options] : options);
    const sizes = plottedCurves().flatMap((curve) => curve.points.map((point) => point.bytes));
    byId("plot-log").checked = sizes.length > 0 && Math.max(...sizes) > 6 * Math.min(...sizes);
  }

  function startPlot() {
    if (!byId("plot")) return;
    fill(byId("plot-dataset"), data.datasets.map((dataset) => [dataset.id, dataset.label]));
    fill(byId("plot-metric"), data.metrics.map((metric) => [metric.id, metric.label]));
    refreshScenes();
    byId("plot-dataset").addEventListener("change", () => { refreshScenes(); drawPlot(); });
    for (const id of ["plot-scene", "plot-metric", "plot-log"]) byId(id).addEventListener("change", drawPlot);
    for (const method of data.methods) {
      const label = html("label", {}, byId("plot-legend"));
      const box = html("input", { type: "checkbox", checked: true }, label);
      box.dataset.method = method.id;
      const icon = element("svg", { width: 16, height: 16, "aria-hidden": true }, label);
      const [name, attributes] = shape(method.marker, 8, 8);
      element(name, { ...attributes, fill: method.color }, icon);
      html("span", { textContent: method.label }, label);
      box.addEventListener("change", () => { hidden[box.checked ? "delete" : "add"](method.id); drawPlot(); });
    }
    drawPlot();
  }

  // ---- before and after -----------------------------------------------------------------------------------------

  function compared() {
    const scene = data.showcase[Number(byId("compare-scene").value)];
    const items = scene.items.filter((item) => item.method === byId("compare-method").value);
    return { scene, items, item: items[Math.min(items.length - 1, Number(byId("compare-rate").value))] };
  }

  function refreshMethods() {
    const scene = data.showcase[Number(byId("compare-scene").value)];
    const ids = [...new Set(scene.items.map((item) => item.method))];
    fill(byId("compare-method"), ids.map((id) => [id, methodOf(id).label]));
    refreshRates();
  }

  function refreshRates() {
    const { items } = compared();
    const slider = byId("compare-rate");
    slider.max = items.length - 1;
    slider.value = items.length - 1;
    slider.disabled = items.length < 2;
    drawCompare();
  }

  function drawCompare() {
    const { scene, item } = compared();
    const after = byId("compare-after"), before = byId("compare-before");
    after.src = item.src;
    before.src = scene.target;
    for (const image of [after, before]) image.classList.toggle("magnified", scene.width < 500);
    const parts = [item.lmbda ? `λ = ${item.lmbda.toFixed(4)}` : "single rate"];
    if (Number.isFinite(item.psnr)) parts.push(`${item.psnr.toFixed(2)} dB`);
    if (Number.isFinite(item.bytes)) parts.push(mib(item.bytes));
    byId("compare-caption").textContent = parts.join(" · ");
    drawSplit();
  }

  function drawSplit() {
    const share = Number(byId("compare-split").value);
    byId("compare-before").style.clipPath = `inset(0 ${100 - share}% 0 0)`;
    byId("compare-divider").style.left = `calc(${share}% - 1px)`;
  }

  function startCompare() {
    if (!byId("compare-box")) return;
    fill(byId("compare-scene"), data.showcase.map((scene, index) => [String(index), scene.label]));
    byId("compare-scene").addEventListener("change", refreshMethods);
    byId("compare-method").addEventListener("change", refreshRates);
    byId("compare-rate").addEventListener("input", drawCompare);
    byId("compare-split").addEventListener("input", drawSplit);
    const ids = new Set(data.showcase[0].items.map((item) => item.method));
    refreshMethods();
    if (ids.has(data.reference)) { byId("compare-method").value = data.reference; refreshRates(); }
  }

  // ---- bytes by section -----------------------------------------------------------------------------------------

  function drawBars() {
    const dataset = byId("bytes-dataset").value, absolute = byId("bytes-absolute").checked;
    const rows = data.curves
      .filter((curve) => curve.dataset === dataset && curve.scene === "mean")
      .flatMap((curve) => curve.points.map((point) => ({ method: methodOf(curve.method), point })));
    const largest = Math.max(...rows.map((row) => row.point.bytes));
    const used = data.sections.filter((section) => rows.some((row) => row.point.sections[section.id] > 0));
    byId("bytes-legend").replaceChildren(...used.map((section) => {
      const entry = html("span", {});
      html("i", {}, entry).style.background = section.color;
      entry.append(section.label);
      return entry;
    }));
    const bars = byId("bytes-bars");
    bars.replaceChildren();
    if (!rows.length) html("p", { className: "hole", textContent: "No complete set of scenes." }, bars);
    for (const { method, point } of rows) {
      const bar = html("div", { className: "bar" }, bars);
      html("span", { className: "name", textContent: method.label + (point.lmbda ? `, λ = ${point.lmbda.toFixed(4)}` : "") }, bar);
      const strip = html("span", { className: "strip" }, bar);
      for (const section of used) {
        const bytes = point.sections[section.id];
        if (!bytes) continue;
        const part = html("i", { title: `${section.label}: ${mib(bytes)}, ${(100 * bytes / point.bytes).toFixed(1)} %` }, strip);
        part.style.width = `${100 * bytes / (absolute ? largest : point.bytes)}%`;
        part.style.background = section.color;
      }
      html("span", { className: "total", textContent: mib(point.bytes) }, bar);
    }
  }

  function startBars() {
    if (!byId("bytes-bars")) return;
    fill(byId("bytes-dataset"), data.datasets.map((dataset) => [dataset.id, dataset.label]));
    for (const id of ["bytes-dataset", "bytes-absolute"]) byId(id).addEventListener("change", drawBars);
    drawBars();
  }

  // ---- sortable tables ------------------------------------------------------------------------------------------

  function sortKey(row, column) {
    const cell = row.cells[column];
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    const number = Number(cell.textContent);
    return cell.classList.contains("num") && cell.textContent && Number.isFinite(number) ? number : cell.textContent.trim();
  }

  function sortBy(header, column) {
    const ascending = header.getAttribute("aria-sort") !== "ascending";
    for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const body = header.closest("table").tBodies[0];
    const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b
      : typeof a === "number" ? -1 : typeof b === "number" ? 1 : a.localeCompare(b);
    const rows = [...body.rows].map((row) => [sortKey(row, column), row]);
    rows.sort((a, b) => {
      // Holes stay at the end in either direction.
      const order = compare(a[0], b[0]);
      return typeof a[0] === typeof b[0] && !ascending ? -order : order;
    });
    body.append(...rows.map(([, row]) => row));
  }

  function startTables() {
    for (const header of document.querySelectorAll("tr.sortable th")) {
      header.tabIndex = 0;
      const column = [...header.parentElement.cells].indexOf(header);
      header.addEventListener("click", () => sortBy(header, column));
      header.addEventListener("keydown", (event) => { if (event.key === "Enter") sortBy(header, column); });
    }
  }

  startPlot();
  startCompare();
  startBars();
  startTables();
})();
