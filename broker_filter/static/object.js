// The page of one object: stamps by alert, light curve, probabilities and unknown score on one time axis.
// The page brings its data with it; while it is open, it asks the service for news.
"use strict";
(() => {
  const NS = "http://www.w3.org/2000/svg";
  const REFRESH_MS = 5000;
  const LEFT = 52, RIGHT = 44, TOP = 8, BOTTOM = 24;
  const DETECTION_SIGMA = 5;
  let data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);

  function shape(parent, name, attributes, text) {
    const made = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    parent.appendChild(made);
    return made;
  }

  function element(parent, name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    parent.appendChild(made);
    return made;
  }

  // Round steps that give about `count` ticks between two values.
  function ticks(low, high, count) {
    const rough = (high - low) / Math.max(count, 1), power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
    const made = [];
    for (let n = Math.ceil(low / step); n * step <= high * (1 + 1e-9); n += 1) made.push(Number((n * step).toPrecision(12)));
    return made;
  }

  const classified = () => data.classifications.filter((one) => Object.keys(one.probabilities).length > 0);
  const bestOf = (one) => Object.entries(one.probabilities).reduce((a, b) => (b[1] > a[1] ? b : a))[0];

  // The alert since which the most probable class has been what it is now.
  function decided() {
    const answers = classified();
    let since = null;
    for (const one of answers.slice().reverse()) {
      if (since && bestOf(one) !== bestOf(since)) break;
      since = one;
    }
    return since === answers[0] ? null : since;
  }

  function times() {
    const first = data.classifications[0].mjd, last = data.classifications[data.classifications.length - 1].mjd;
    const start = Math.min(first, ...data.lightCurve.map((point) => point.mjd));
    const margin = Math.max(0.02 * (last - start), 0.5);
    return { first, start: start - margin, end: last + margin };
  }

  // An empty chart at the size of its place, with axes; returns what turns values into coordinates.
  function chart(svg, height, low, high, labels) {
    const width = Math.max(svg.clientWidth || 0, 280), time = times();
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    const x = (mjd) => LEFT + ((mjd - time.start) / (time.end - time.start)) * (width - LEFT - RIGHT);
    const y = (value) => TOP + (1 - (value - low) / (high - low)) * (height - TOP - BOTTOM);
    for (const value of labels) {
      shape(svg, "line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) });
      shape(svg, "text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, String(value));
    }
    shape(svg, "line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: height - BOTTOM, y2: height - BOTTOM });
    for (const day of ticks(time.start - time.first, time.end - time.first, width / 110)) {
      shape(svg, "text", { x: x(day + time.first), y: height - 8, "text-anchor": "middle" }, day === 0 ? "first alert" : `${day} d`);
    }
    const since = decided();
    if (since) shape(svg, "line", { class: "since", x1: x(since.mjd), x2: x(since.mjd), y1: TOP, y2: height - BOTTOM });
    const now = shape(svg, "line", { class: "now", x1: 0, x2: 0, y1: TOP, y2: height - BOTTOM });
    svg.markNow = (mjd) => {
      now.classList.toggle("on", mjd !== null);
      if (mjd !== null) for (const end of ["x1", "x2"]) now.setAttribute(end, x(mjd));
    };
    svg.onmousemove = (event) => {
      const at = svg.createSVGPoint();
      at.x = event.clientX;
      const mjd = time.start + ((at.matrixTransform(svg.getScreenCTM().inverse()).x - LEFT) / (width - LEFT - RIGHT)) * (time.end - time.start);
      const nearest = data.classifications.reduce((a, b) => (Math.abs(b.mjd - mjd) < Math.abs(a.mjd - mjd) ? b : a));
      mark(nearest.alertId, false);
    };
    svg.onmouseleave = () => mark(null, false);
    return { x, y, width };
  }

  function drawCurve() {
    const svg = byId("curve"), height = 300;
    const measured = data.lightCurve.filter((point) => point.flux !== null && point.kind !== "limit");
    const ends = measured.flatMap((p) => [p.flux - (p.fluxError || 0), p.flux + (p.fluxError || 0)]).concat([0]).map((v) => v / 1000);
    let low = Math.min(...ends), high = Math.max(...ends);
    if (high === low) high = low + 1;
    const pad = 0.08 * (high - low);
    const to = chart(svg, height, low - pad, high + pad, ticks(low - pad, high + pad, 5));
    shape(svg, "line", { class: "axis", x1: LEFT, x2: to.width - RIGHT, y1: to.y(0), y2: to.y(0) });
    shape(svg, "text", { x: LEFT + 4, y: TOP + 6 }, "µJy");
    shape(svg, "text", { x: to.width - RIGHT + 8, y: TOP + 6 }, "AB mag");
    let above = -Infinity;
    for (let magnitude = 8; magnitude < 28; magnitude += 0.5) {
      const flux = 10 ** ((23.9 - magnitude) / 2.5), at = to.y(flux);
      if (flux < high + pad && flux > 0.04 * high && at > Math.max(above + 16, TOP + 18)) {
        shape(svg, "text", { x: to.width - RIGHT + 8, y: at + 4 }, String(magnitude));
        above = at;
      }
    }
    for (const point of data.lightCurve) {
      const colour = data.bandColours[point.band], flux = point.flux === null ? null : point.flux / 1000;
      if (flux === null || flux > high + pad || flux < low - pad) continue;
      const x = to.x(point.mjd), y = to.y(flux);
      if (point.kind === "limit") {
        shape(svg, "path", { d: `M${x - 3.5},${y - 3}h7l-3.5,6z`, fill: "none", stroke: colour, opacity: 0.6 });
        continue;
      }
      const error = (point.fluxError || 0) / 1000;
      if (point.kind === "measured") {
        shape(svg, "path", { d: `M${x - 2.5},${y - 2.5}l5,5m0,-5l-5,5`, stroke: colour, opacity: 0.7 });
        continue;
      }
      shape(svg, "line", { x1: x, x2: x, y1: to.y(flux - error), y2: to.y(flux + error), stroke: colour });
      const seen = error > 0 && Math.abs(flux) >= DETECTION_SIGMA * error;
      const dot = shape(svg, "circle", { cx: x, cy: y, r: 4, fill: seen ? colour : "var(--card)", stroke: colour });
      shape(dot, "title", {}, `${point.band} ${flux.toPrecision(4)} ± ${error.toPrecision(2)} µJy`);
    }
  }

  function drawProbabilities() {
    const svg = byId("probabilities"), answers = classified();
    const to = chart(svg, 200, -0.03, 1.03, [0, 0.5, 1]);
    if (answers.length === 0) return;
    const best = bestOf(answers[answers.length - 1]);
    const names = [...new Set(answers.flatMap((one) => Object.keys(one.probabilities)))].sort((a, b) => (a === best) - (b === best));
    const groups = [...new Set(answers.flatMap((one) => Object.keys(one.broadProbabilities || {})))].filter((name) => !names.includes(name));
    for (const name of groups) {
      const points = answers.map((one) => `${to.x(one.mjd)},${to.y((one.broadProbabilities || {})[name] || 0)}`);
      shape(svg, "polyline", { points: points.join(" "), fill: "none", stroke: "var(--ink)", "stroke-width": 1.2, "stroke-dasharray": "6 3" });
    }
    for (const name of names) {
      const colour = data.classColours[name] || "#7d8794";
      const points = answers.map((one) => [to.x(one.mjd), to.y(one.probabilities[name] || 0), one]);
      shape(svg, "polyline", { points: points.map((p) => `${p[0]},${p[1]}`).join(" "), fill: "none", stroke: colour, "stroke-width": name === best ? 2.4 : 1.3, "stroke-linejoin": "round" });
      for (const [cx, cy, one] of points) {
        const dot = shape(svg, "circle", { cx, cy, r: name === best ? 4 : 2.8, fill: colour });
        shape(dot, "title", {}, `${name} ${one.probabilities[name].toFixed(3)}`);
      }
    }
  }

  function drawUnknown() {
    const svg = byId("unknown"), answers = classified().filter((one) => one.unknownScore !== null);
    const scores = answers.map((one) => one.unknownScore);
    const low = Math.min(-1, ...scores) - 0.5, high = Math.max(data.strange + 1, ...scores) + 0.5;
    const to = chart(svg, 120, low, high, ticks(low, high, 3));
    shape(svg, "line", { class: "strange", x1: LEFT, x2: to.width - RIGHT, y1: to.y(data.strange), y2: to.y(data.strange) });
    shape(svg, "polyline", { points: answers.map((one) => `${to.x(one.mjd)},${to.y(one.unknownScore)}`).join(" "), fill: "none", stroke: "var(--faint)", "stroke-width": 1.4 });
    for (const one of answers) shape(svg, "circle", { cx: to.x(one.mjd), cy: to.y(one.unknownScore), r: 3, fill: "var(--faint)" });
  }

  function drawKeys() {
    const bands = byId("bands"), classes = byId("classes");
    bands.replaceChildren();
    classes.replaceChildren();
    const key = (parent, colour, words) => {
      const made = element(parent, "span");
      element(made, "i").style.background = colour;
      made.append(words);
    };
    for (const band of new Set(data.lightCurve.map((point) => point.band))) key(bands, data.bandColours[band], band);
    element(bands, "span", "faint", "× measured, no stamp   ▽ 5σ limit");
    const answers = classified();
    for (const name of Object.keys(answers.length ? answers[answers.length - 1].probabilities : {})) key(classes, data.classColours[name], name);
    const named = new Set(answers.flatMap((one) => Object.keys(one.probabilities)));
    for (const name of new Set(answers.flatMap((one) => Object.keys(one.broadProbabilities || {})))) {
      if (!named.has(name)) element(classes, "span", "", `┅ ${name}, all types`);
    }
    const since = decided();
    if (since) element(classes, "span", "faint", `┊ ${bestOf(since)} since day ${(since.mjd - data.classifications[0].mjd).toFixed(0)}`);
  }

  function drawStamps() {
    const strip = byId("stamps"), answers = new Map(data.classifications.map((one) => [one.alertId, one]));
    strip.replaceChildren();
    byId("stamps-words").textContent = data.stamps.length ? `${data.stamps.length} alerts, as the network reads them` : "the store has let them go";
    if (data.stamps.length === 0) return;
    const kinds = element(strip, "div", "kinds");
    for (const kind of data.stampKinds) element(kinds, "div", "", kind);
    for (const alertId of data.stamps) {
      const answer = answers.get(alertId), point = data.lightCurve.find((one) => one.alertId === alertId);
      const epoch = element(strip, "button", "epoch");
      epoch.dataset.alert = alertId;
      const days = (answer || point).mjd - data.classifications[0].mjd;
      const words = element(epoch, "span", "", `${(answer || point).band}  ${days.toFixed(1)} d`);
      words.style.color = data.bandColours[(answer || point).band];
      for (const kind of data.stampKinds) {
        const image = element(epoch, "img");
        image.loading = "lazy";
        image.alt = `${kind} stamp, ${days.toFixed(1)} days after the first alert`;
        image.src = `/object/${encodeURIComponent(data.objectId)}/stamps/${alertId}/${kind}.png`;
      }
      epoch.onmouseenter = epoch.onfocus = () => mark(alertId, false);
      epoch.onmouseleave = () => mark(null, false);
    }
  }

  // Mark one alert in every chart and among the stamps.
  function mark(alertId, scroll) {
    const answer = data.classifications.find((one) => one.alertId === alertId);
    for (const id of ["curve", "probabilities", "unknown"]) byId(id).markNow?.(answer ? answer.mjd : null);
    for (const epoch of document.querySelectorAll(".epoch")) {
      const on = epoch.dataset.alert === alertId;
      epoch.classList.toggle("on", on);
      if (on && scroll) epoch.scrollIntoView({ block: "nearest", inline: "center" });
    }
  }

  function drawCharts() {
    drawCurve();
    drawProbabilities();
    drawUnknown();
  }

  function drawAll() {
    drawStamps();
    drawKeys();
    drawCharts();
    byId("stamps").scrollLeft = byId("stamps").scrollWidth;
    document.documentElement.dataset.drawn = String(data.classifications.length);
  }

  async function refresh() {
    if (document.hidden) return;
    const answer = await fetch(`/object/${encodeURIComponent(data.objectId)}/data`, { cache: "no-store" });
    if (!answer.ok) return;
    const news = await answer.json();
    const sign = (one) => `${one.classifications.length} ${one.seenTimestamp}`;
    if (sign(news) === sign(data)) return;
    data = news;
    const answers = classified();
    if (answers.length) {
      const best = bestOf(answers[answers.length - 1]);
      byId("verdict").textContent = `${best} ${answers[answers.length - 1].probabilities[best].toFixed(2)}`;
      byId("verdict").style.color = data.classColours[best];
    }
    drawAll();
  }

  drawAll();
  addEventListener("resize", drawCharts);
  setInterval(() => refresh().catch(() => {}), REFRESH_MS);
})();
