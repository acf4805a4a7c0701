// Parallel coordinates on a plain canvas: the chart library's need WebGL, which many machines have turned off.

const AXES_AT_FIRST = 8; // parameters; all others are a click away
const STRIP = { top: 40, bottom: 382, lane: 408, height: 420 };

// The parameters and metrics as directions: values for each sampled row, and whether they are kinds or numbers.
function dimensions() {
  const { axes, metrics, sample } = DATA;
  const params = axes.map((axis, k) => ({
    label: axis.name, metric: false, log: axis.log, over: isOver(axis),
    kinds: axis.numeric ? null : axis.levels.filter((value) => value !== null),
    own: axis.numeric && !axis.edges.length ? axis.levels.filter((value) => value !== null) : null,
    values: sample.params[k].map((value) => (value === null || axis.edges.length ? value : axis.numeric ? axis.levels[value] : axis.levels[value] === null ? null : value)),
  }));
  const measured = metrics.map((name, k) => {
    const values = sample.metrics[k];
    const known = values.filter((value) => value !== null);
    const [low, high] = [known.reduce((a, b) => Math.min(a, b), Infinity), known.reduce((a, b) => Math.max(a, b), -Infinity)];
    return { label: name, metric: true, over: false, log: low > 0 && high >= 1000 * low, kinds: null, own: null, values };
  });
  return { params, measured };
}

// How a dimension's values are put between the ends of its axis, and its ticks: its own values where they are few.
function scaleOf({ kinds, own, log, values }) {
  const { top, bottom, lane } = STRIP;
  const missing = values.includes(null);
  const place = (share) => bottom - share * (bottom - top);
  if (kinds) {
    const at = (code) => (code === null ? lane : place(kinds.length === 1 ? 0.5 : code / (kinds.length - 1)));
    return { at, missing, ticks: kinds.map((value, code) => [at(code), level(value)]) };
  }
  const known = values.filter((value) => value !== null);
  const put = log ? Math.log10 : (value) => value;
  let [low, high] = known.length ? [put(known.reduce((a, b) => Math.min(a, b))), put(known.reduce((a, b) => Math.max(a, b)))] : [0, 1];
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const at = (value) => (value === null ? lane : place((put(value) - low) / (high - low)));
  const marks = own && own.length <= 24 ? own : ticksBetween(low, high, log).filter((value) => put(value) >= low - 1e-9 && put(value) <= high + 1e-9);
  return { at, missing, ticks: marks.map((value) => [at(value), show(value, 4)]) };
}

// Ticks that have room: both ends, and those between that stand apart enough.
function thin(ticks, room) {
  const sorted = ticks.slice().sort((a, b) => b[0] - a[0]);
  const last = sorted[sorted.length - 1];
  const kept = [];
  sorted.forEach((tick) => {
    if (!kept.length || (kept[kept.length - 1][0] - tick[0] >= room && (tick === last || tick[0] - last[0] >= room))) kept.push(tick);
  });
  return kept;
}

function svg(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  if (text !== undefined) made.textContent = text;
  return made;
}

function parallelChart(plot, controls, caption) {
  const { params, measured } = dimensions();
  const { sample } = DATA;
  // The sweep's own metric ends the line; a parameter that the best is a mean over is left for a click.
  const all = [...params, ...measured.slice().reverse()];
  const end = measured[0];
  const first = params.filter((each) => !each.over).slice(0, AXES_AT_FIRST);
  const chosen = new Set([...(first.length ? first : params.slice(0, 1)), ...measured.slice(0, first.length > 5 ? 1 : 3), end]);
  const brushes = new Map(); // dimension: [top, bottom] in pixels
  const canvas = element("canvas");
  const frame = svg("svg", {});
  const scroll = element("div", { className: "canvas", tabIndex: 0 }, canvas, frame);
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Parallel coordinates");
  plot.append(edged(scroll));
  let drawn = [];

  all.forEach((each) => {
    const box = element("input", { type: "checkbox", checked: chosen.has(each), disabled: each === end });
    box.addEventListener("change", () => {
      if (box.checked) chosen.add(each);
      else { chosen.delete(each); brushes.delete(each); }
      draw();
    });
    controls.append(element("label", { className: each.metric ? "chip metric" : "chip", title: each.label }, box, shorten(each.label, 28)));
  });

  function draw() {
    const shown = all.filter((each) => chosen.has(each));
    const scales = shown.map(scaleOf);
    const ticks = scales.map((scale) => thin(scale.ticks, 15));
    const gutters = shown.map((_, i) => 12 + 6.4 * Math.min(14, ticks[i].reduce((most, [, text]) => Math.max(most, text.length), scales[i].missing ? 7 : 2)));
    const least = shown.map((each, i) => gutters[i] + Math.max(46, Math.min(150, 7.2 * each.label.length) - gutters[i] + 12));
    const needed = least.reduce((sum, width) => sum + width, 0) - 40;
    const width = Math.max(plot.clientWidth, needed);
    const gap = (width - gutters.reduce((sum, gutter) => sum + gutter, 0) - 2) / Math.max(shown.length - 1, 1);
    let x = 1;
    drawn = shown.map((each, i) => {
      const made = { each, from: x, to: x + gutters[i], ticks: ticks[i], missing: scales[i].missing, places: each.values.map(scales[i].at), room: gutters[i] + (i < shown.length - 1 ? gap - 8 : 0) };
      x += gutters[i] + gap;
      return made;
    });
    const ratio = window.devicePixelRatio || 1;
    Object.assign(canvas, { width: width * ratio, height: STRIP.height * ratio });
    Object.assign(canvas.style, { width: `${width}px`, height: `${STRIP.height}px` });
    frame.setAttribute("width", width);
    frame.setAttribute("height", STRIP.height);
    frame.replaceChildren(...drawn.flatMap((axis, i) => strip(axis, i === drawn.length - 1)));
    lines();
    scroll.dispatchEvent(new Event("scroll"));
  }

  function strip({ each, from, to, ticks, missing, room }, last) {
    const { top, bottom, lane } = STRIP;
    const title = svg("text", last ? { x: to, y: 16, "text-anchor": "end" } : { x: from, y: 16 }, shorten(each.label, Math.max(5, Math.floor((last ? 150 : room) / 6.9))));
    title.setAttribute("font-weight", each.metric ? 650 : 500);
    title.append(svg("title", {}, each.label));
    const parts = [title, svg("rect", { x: from, width: to - from, y: top - 9, height: bottom - top + 18, rx: 4, class: "gutter" })];
    ticks.forEach(([y, text]) => parts.push(svg("text", { x: (from + to) / 2, y: y + 4, "text-anchor": "middle", class: "tick" }, shorten(text, 14))));
    if (missing) {
      parts.push(svg("rect", { x: from, width: to - from, y: lane - 9, height: 18, rx: 4, class: "gutter missing" }));
      parts.push(svg("text", { x: (from + to) / 2, y: lane + 4, "text-anchor": "middle", class: "tick" }, each.metric ? "none" : "not set"));
    }
    return [...parts, ...brush(each, from, to, missing ? lane + 9 : bottom + 9)];
  }

  function brush(each, from, to, low) {
    const high = STRIP.top - 9;
    const mark = svg("rect", { x: from, width: to - from, rx: 4, class: "brush" });
    const grip = svg("rect", { x: from, width: to - from, y: high, height: low - high, class: "grip" });
    const show_ = () => {
      const range = brushes.get(each);
      mark.setAttribute("y", range ? range[0] : high);
      mark.setAttribute("height", range ? range[1] - range[0] : 0);
    };
    const at = (event) => Math.min(low, Math.max(high, event.clientY - frame.getBoundingClientRect().top));
    let start = null;
    grip.addEventListener("pointerdown", (event) => { grip.setPointerCapture(event.pointerId); start = at(event); brushes.delete(each); show_(); });
    grip.addEventListener("pointermove", (event) => {
      if (start === null) return;
      const stop = at(event);
      if (Math.abs(stop - start) > 3) brushes.set(each, [Math.min(start, stop), Math.max(start, stop)]);
      else brushes.delete(each);
      show_();
      lines();
    });
    const release = () => { start = null; lines(); };
    grip.addEventListener("pointerup", release);
    grip.addEventListener("pointercancel", release);
    show_();
    return [mark, grip];
  }

  function lines() {
    const colours = theme();
    const ratio = window.devicePixelRatio || 1;
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    const size = sample.shown;
    const upwards = !(DATA.metric && DATA.metric.name === end.label && DATA.metric.goal === "minimize");
    // Coloured by rank, so that one outlier does not leave all others in one shade; the best are drawn last.
    const rank = (value) => (value === null ? -Infinity : upwards ? value : -value);
    const order = Array.from({ length: size }, (_, row) => row).sort((a, b) => rank(end.values[a]) - rank(end.values[b]) || a - b);
    const kept = order.map((row) => drawn.every(({ each, places }) => {
      const range = brushes.get(each);
      return !range || (places[row] >= range[0] - 1 && places[row] <= range[1] + 1);
    }));
    const weak = mix(colours.bg, colours.muted, colours.dark ? 0.5 : 0.55);
    const opacity = Math.min(0.9, Math.max(0.12, 12 / Math.sqrt(size)));
    [false, true].forEach((those) => order.forEach((row, position) => {
      if (kept[position] !== those) return;
      const strength = size > 1 ? (position / (size - 1)) ** 3 : 1;
      context.strokeStyle = those ? mix(weak, colours.accent, strength) : colours.line;
      context.globalAlpha = !those ? 0.25 : brushes.size ? 0.8 : opacity + (0.9 - opacity) * strength ** 4;
      context.lineWidth = those && strength > 0.9 ? 1.4 : 1;
      context.beginPath();
      for (let i = 0; i + 1 < drawn.length; i += 1) { // between the strips, so that labels stay free
        context.moveTo(drawn[i].to, drawn[i].places[row]);
        context.lineTo(drawn[i + 1].from, drawn[i + 1].places[row]);
      }
      context.stroke();
    }));
    const number = kept.filter(Boolean).length;
    const some = brushes.size ? `${count(number)} of ${count(size)} lines kept. ` : "";
    const part = sample.shown < sample.total ? `${count(sample.shown)} of ${count(sample.total)} finished rows, sampled evenly. ` : "";
    caption.textContent = `${some}${part}The stronger a line's colour, the ${upwards ? "higher" : "lower"} its ${end.label}.`;
    plot.dataset.lines = String(number);
  }

  return draw;
}
