// Parallel coordinates on a plain canvas: the chart library's need WebGL, which many machines have turned off.

function scaleOf(dimension, top, bottom) {
  if (dimension.levels) {
    const last = Math.max(dimension.levels.length - 1, 1);
    const at = (code) => (code === null ? NaN : bottom - ((dimension.levels.length === 1 ? 0.5 : code / last)) * (bottom - top));
    return { at, ticks: dimension.levels.map((value, code) => [at(code), level(value)]) };
  }
  const numbers = dimension.values.map((value) => (value === null ? NaN : Number(value)));
  const known = numbers.filter(Number.isFinite);
  const log = dimension.log && known.every((value) => value > 0);
  const put = log ? Math.log10 : (value) => value;
  let [low, high] = known.length ? [put(known.reduce((a, b) => Math.min(a, b))), put(known.reduce((a, b) => Math.max(a, b)))] : [0, 1];
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const at = (value) => (value !== null && Number.isFinite(Number(value)) ? bottom - ((put(Number(value)) - low) / (high - low)) * (bottom - top) : NaN);
  return { at, ticks: ticksBetween(low, high, log).map((value) => [at(value), show(value, 4)]) };
}

function ticksBetween(low, high, log) {
  const [first, last] = [log ? 10 ** low : low, log ? 10 ** high : high];
  const step = log ? Math.max(1, Math.ceil((high - low) / 6)) : niceStep(high - low);
  const inner = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k += 1) {
    inner.push(log ? 10 ** (k * step) : Number((k * step).toPrecision(12)));
  }
  return inner.length >= 2 ? inner : [first, last];
}

function niceStep(span) {
  const rough = span / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
}

function thin(ticks, room) {
  const kept = [];
  ticks.slice().sort((a, b) => b[0] - a[0]).forEach((tick) => {
    if (!kept.length || kept[kept.length - 1][0] - tick[0] >= room) kept.push(tick);
  });
  return kept;
}

function parallelChart(host, caption, chart) {
  const { dimensions } = chart;
  const size = dimensions[0].values.length;
  const brushes = dimensions.map(() => null); // [top, bottom] as shares of the axis' height
  const canvas = element("canvas");
  const svg = node("svg", {});
  host.classList.add("parallel");
  host.append(canvas, svg);
  let places = [];
  let xs = [];
  const top = 40;
  const height = 400;
  const bottom = height - 18;

  function node(tag, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function draw() {
    const width = Math.max(host.clientWidth, dimensions.length * 92);
    const ratio = window.devicePixelRatio || 1;
    host.style.height = `${height + 16}px`;
    Object.assign(canvas, { width: width * ratio, height: height * ratio });
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    const scales = dimensions.map((dimension) => scaleOf(dimension, top, bottom));
    const room = (width - 76) / Math.max(dimensions.length - 1, 1);
    xs = dimensions.map((_, i) => 12 + i * room);
    places = dimensions.map((dimension, i) => dimension.values.map(scales[i].at));
    svg.replaceChildren(...dimensions.flatMap((dimension, i) => axis(dimension, scales[i], i, room)));
    lines(ratio);
  }

  function axis(dimension, scale, i, room) {
    const x = xs[i];
    const parts = [node("line", { x1: x, x2: x, y1: top, y2: bottom, class: "rail" })];
    const wide = Math.max(6, Math.floor(room / 7.2));
    thin(scale.ticks, 15).forEach(([y, text]) => {
      parts.push(node("line", { x1: x, x2: x + 4, y1: y, y2: y, class: "rail" }));
      parts.push(node("text", { x: x + 7, y: y + 4, class: "tick" }, shorten(text, wide)));
    });
    const last = i === dimensions.length - 1; // its title ends where the chart ends
    const place = last ? { x: x + 62, "text-anchor": "end" } : { x: Math.max(0, x - 6) };
    const title = node("text", { ...place, y: 16, "font-weight": dimension.metric ? 650 : 500 }, shorten(dimension.label, wide));
    title.append(node("title", {}, dimension.label));
    parts.push(title);
    const brush = node("rect", { x: x - 6, width: 12, y: top, height: 0, class: "brush" });
    const grip = node("rect", { x: x - 11, width: 22, y: top - 6, height: bottom - top + 12, class: "grip" });
    const mark = () => {
      const range = brushes[i];
      brush.setAttribute("y", range ? top + range[0] * (bottom - top) : top);
      brush.setAttribute("height", range ? (range[1] - range[0]) * (bottom - top) : 0);
    };
    const share = (event) => Math.min(1, Math.max(0, (event.clientY - svg.getBoundingClientRect().top - top) / (bottom - top)));
    let from = null;
    grip.addEventListener("pointerdown", (event) => { grip.setPointerCapture(event.pointerId); from = share(event); brushes[i] = null; mark(); });
    grip.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const to = share(event);
      brushes[i] = Math.abs(to - from) > 0.008 ? [Math.min(from, to), Math.max(from, to)] : null;
      mark();
      lines(window.devicePixelRatio || 1);
    });
    const release = () => { from = null; lines(window.devicePixelRatio || 1); };
    grip.addEventListener("pointerup", release);
    grip.addEventListener("pointercancel", release);
    mark();
    return [...parts, brush, grip];
  }

  function lines(ratio) {
    const colours = theme();
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    const end = places[places.length - 1];
    const upwards = !(DATA.metric && DATA.metric.name === dimensions[dimensions.length - 1].label && DATA.metric.goal === "minimize");
    // Coloured by rank, so that one outlier does not leave all others in one shade; the best are drawn last.
    const order = Array.from({ length: size }, (_, row) => row).sort((a, b) => (upwards ? end[b] - end[a] : end[a] - end[b]));
    const inside = (row) => brushes.every((range, i) => {
      if (!range) return true;
      const share = (places[i][row] - top) / (bottom - top);
      return share >= range[0] - 0.004 && share <= range[1] + 0.004;
    });
    const brushed = brushes.some(Boolean);
    const kept = order.map(inside);
    const weak = mix(colours.bg, colours.muted, colours.dark ? 0.5 : 0.55);
    const opacity = Math.min(0.9, Math.max(0.16, 24 / Math.sqrt(size) / 2));
    [false, true].forEach((chosen) => order.forEach((row, rank) => {
      if (kept[rank] !== chosen) return;
      const strength = size > 1 ? (rank / (size - 1)) ** 3 : 1;
      context.strokeStyle = chosen ? mix(weak, colours.accent, strength) : colours.line;
      context.globalAlpha = !chosen ? 0.25 : brushed ? 0.8 : opacity + (0.9 - opacity) * strength ** 4;
      context.lineWidth = chosen && strength > 0.9 ? 1.4 : 1;
      context.beginPath();
      let pen = false;
      places.forEach((column, i) => {
        const y = column[row];
        if (Number.isNaN(y)) pen = false; // a parameter that this point does not have
        else if (pen) context.lineTo(xs[i], y);
        else { context.moveTo(xs[i], y); pen = true; }
      });
      context.stroke();
    }));
    const some = brushed ? `${count(kept.filter(Boolean).length)} of ${count(size)} lines kept. ` : "";
    const sample = chart.shown < chart.total ? `${count(chart.shown)} of ${count(chart.total)} finished rows, sampled evenly. ` : "";
    const name = dimensions[dimensions.length - 1].label;
    caption.textContent = `${some}${sample}The stronger a line's colour, the ${upwards ? "higher" : "lower"} its ${name}.`;
    host.dataset.lines = String(kept.filter(Boolean).length);
  }

  return draw;
}
