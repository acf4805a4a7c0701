// The charts with selectors, drawn from the aggregates in the page, and the page's start.

const CONFIG = {
  displaylogo: false,
  displayModeBar: "hover",
  modeBarButtons: [["toImage", "resetScale2d"]],
  showTips: false,
};

function layout(colours, height, more) {
  const axis = {
    gridcolor: colours.line, linecolor: colours.muted, tickcolor: colours.muted, zeroline: false, showline: true, ticks: "outside",
    ticklen: 4, automargin: true, title: { font: { size: 13, color: colours.ink }, standoff: 8 }, tickfont: { size: 12, color: colours.muted },
  };
  const coarse = matchMedia("(pointer: coarse)").matches; // a finger must scroll the page, not zoom a chart
  const base = {
    height, autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: coarse ? false : "zoom",
    font: { family: colours.font, size: 12, color: colours.ink }, margin: { l: 56, r: 12, t: 28, b: 44 }, showlegend: false,
    hoverlabel: { bgcolor: colours.bg, bordercolor: colours.muted, font: { family: colours.font, size: 12, color: colours.ink }, align: "left" },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colours.muted, activecolor: colours.ink },
    ...more,
  };
  Object.keys(base).filter((key) => /^[xy]axis\d*$/.test(key)).forEach((key) => {
    const { title, ...rest } = base[key];
    base[key] = { ...axis, ...rest, title: { ...axis.title, text: title || "" } };
  });
  return base;
}

// Which of an axis' levels get a label when each needs `room` pixels of `length`.
function tickLabels(levels, length, room) {
  const step = Math.max(1, Math.ceil((levels.length * room) / Math.max(length, 1)));
  const at = levels.map((_, i) => i).filter((i) => i % step === 0);
  return { tickmode: "array", tickvals: at, ticktext: at.map((i) => plain(shorten(level(levels[i]), 22))) };
}

function longest(levels) {
  return Math.min(22, levels.reduce((most, value) => Math.max(most, level(value).length), 1));
}

function levelText(axis, i) {
  if (!axis.edges.length || axis.levels[i] === null) return level(axis.levels[i]);
  return `${show(axis.edges[i], 3)} to ${show(axis.edges[i + 1], 3)}`;
}

function goalText(name) {
  if (!DATA.metric || DATA.metric.name !== name) return "";
  return DATA.metric.goal === "minimize" ? "Lower is better. " : "Higher is better. ";
}

// The statistics of one metric over two axes (or one), addressed by their levels.
function cells(metric, x, y) {
  const { axes, pairs, singles } = DATA.crosses;
  if (y === null) return { table: singles[x][metric], at: (i) => i };
  const across = axes[Math.max(x, y)].levels.length;
  return { table: pairs[`${Math.min(x, y)},${Math.max(x, y)}`][metric], at: x < y ? (i, j) => i * across + j : (i, j) => j * across + i };
}

function axisOptions(axes, except) {
  return axes.map((axis, i) => [String(i), axis.name]).filter(([i]) => Number(i) !== except);
}

function curvesChart(plot, controls, caption) {
  const { axes, metrics } = DATA.crosses;
  const few = (axis, i) => i > 0 && axis.levels.length <= 8 && !axis.edges.length;
  const kinds = axes.findIndex((axis, i) => few(axis, i) && !axis.numeric);
  const group = kinds > 0 ? kinds : axes.findIndex(few);
  const state = { x: 0, group: group > 0 ? group : axes.length > 1 ? 1 : -1, metric: 0, band: "range" };

  function refresh() {
    if (state.group === state.x) state.group = -1;
    const pick = (key) => (value) => { state[key] = key === "band" ? value : Number(value); refresh(); draw(); };
    const boxes = [choose("Along", axisOptions(axes), String(state.x), pick("x"))];
    if (axes.length > 1) boxes.push(choose("One line for each", [["-1", "none"], ...axisOptions(axes, state.x)], String(state.group), pick("group")));
    if (metrics.length > 1) boxes.push(choose("Metric", metrics.map((name, i) => [String(i), name]), String(state.metric), pick("metric")));
    boxes.push(choose("Band", [["range", "least to greatest"], ["sd", "± 1 standard deviation"]], state.band, pick("band")));
    const focused = [...controls.children].findIndex((child) => child.contains(document.activeElement));
    controls.replaceChildren(...boxes);
    if (focused >= 0 && controls.children[focused]) controls.children[focused].querySelector("select").focus();
  }

  function draw() {
    const colours = theme();
    const x = axes[state.x];
    const group = state.group >= 0 ? axes[state.group] : null;
    const { table, at } = cells(state.metric, state.x, group ? state.group : null);
    const all = group ? group.levels.map((_, j) => j) : [0];
    const most = group && group.numeric ? 7 : 8;
    const shown = all.length <= most ? all : Array.from({ length: most }, (_, k) => Math.round((k * (all.length - 1)) / (most - 1)));
    const traces = [];
    const means = [];
    shown.forEach((j, order) => {
      const ramp = colours.dark ? ["#3b5f8a", "#9fe3c5"] : ["#0b3c6f", "#35b779"];
      const colour = group && group.numeric ? mix(ramp[0], ramp[1], shown.length > 1 ? order / (shown.length - 1) : 0) : colours.series[order % colours.series.length];
      const points = x.levels.map((value, i) => ({ i, value, cell: at(i, j) }))
        .filter(({ value, cell }) => table.mean[cell] !== null && !(x.numeric && value === null));
      if (!points.length) return;
      const xs = points.map(({ i, value }) => (x.numeric ? value : i));
      const mean = points.map(({ cell }) => table.mean[cell]);
      const low = points.map(({ cell }) => (state.band === "sd" ? table.mean[cell] - (table.sd[cell] || 0) : table.min[cell]));
      const high = points.map(({ cell }) => (state.band === "sd" ? table.mean[cell] + (table.sd[cell] || 0) : table.max[cell]));
      means.push(...mean);
      const name = group ? plain(shorten(levelText(group, j), 30)) : "";
      const text = points.map(({ i, cell }) => `<b>${show(table.mean[cell], 5)}</b> mean ${plain(metrics[state.metric])}<br>`
        + `${plain(x.name)} ${plain(levelText(x, i))}${group ? `<br>${plain(group.name)} ${plain(levelText(group, j))}` : ""}<br>`
        + `${show(table.min[cell], 5)} to ${show(table.max[cell], 5)}, ${count(table.n[cell])} row${table.n[cell] === 1 ? "" : "s"}`);
      if (x.numeric) {
        traces.push({ type: "scatter", x: [...xs, ...xs.slice().reverse()], y: [...high, ...low.reverse()], fill: "toself", mode: "lines",
          fillcolor: fade(colour, 0.14), line: { width: 0, color: colour }, hoverinfo: "skip", showlegend: false, legendgroup: String(j) });
      }
      traces.push({ type: "scatter", x: x.numeric ? xs : xs.map((value) => value + (order - (shown.length - 1) / 2) * Math.min(0.12, 0.7 / shown.length)),
        y: mean, text, hoverinfo: "text", mode: x.numeric ? "lines+markers" : "markers", name, legendgroup: String(j),
        line: { color: colour, width: 2 }, marker: { color: colour, size: x.numeric ? 5 : 8, symbol: (group && !group.numeric) ? order % 8 : 0 },
        ...(x.numeric ? {} : { error_y: { type: "data", symmetric: false, array: high.map((v, i) => v - mean[i]), arrayminus: mean.map((v, i) => v - low[i]), color: colour, thickness: 1.5, width: 3 } }) });
    });
    const positive = means.length > 1 && means.every((value) => value > 0);
    const logY = positive && Math.max(...means) >= 1000 * Math.min(...means);
    const width = plot.clientWidth - 70;
    const xaxis = { title: plain(shorten(x.name, 44)), ...(x.numeric ? { type: x.log ? "log" : "linear", ...decades(x) } : { type: "linear", range: [-0.5, x.levels.length - 0.5], ...tickLabels(x.levels, width, longest(x.levels) * 7 + 14) }) };
    const more = { xaxis, yaxis: { title: plain(shorten(metrics[state.metric], 44)), type: logY ? "log" : "linear" }, hovermode: "closest" };
    if (group && shown.length > 1) {
      Object.assign(more, { showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 }, title: { text: `${plain(shorten(group.name, 24))}  `, font: { size: 12, color: colours.muted } }, itemsizing: "constant" } });
    }
    Plotly.react(plot, traces, layout(colours, 420, more), CONFIG);
    const part = shown.length < all.length ? `${shown.length} of ${all.length} values of ${group.name} drawn. ` : "";
    caption.textContent = `${goalText(metrics[state.metric])}${part}${x.edges.length ? `${x.name} in ${x.edges.length - 1} bins. ` : ""}`;
  }

  refresh();
  return draw;
}

// Ticks at powers of ten, written as all other numbers are; every second or third power when there are many.
function decades(axis) {
  if (!axis.log) return {};
  const known = axis.levels.filter((value) => value !== null);
  const [low, high] = [Math.floor(Math.log10(known[0]) + 1e-9), Math.ceil(Math.log10(known[known.length - 1]) - 1e-9)];
  const step = Math.ceil((high - low) / 8) || 1;
  const powers = Array.from({ length: Math.floor((high - low) / step) + 1 }, (_, i) => Number(`1e${low + i * step}`));
  return { tickmode: "array", tickvals: powers, ticktext: powers.map((value) => show(value, 4)) };
}

function heatmapChart(plot, controls, caption) {
  const { axes, metrics } = DATA.crosses;
  const state = { x: 0, y: 1, metric: 0 };

  function refresh() {
    const pick = (key) => (value) => {
      const before = state[key];
      state[key] = Number(value);
      if (state.x === state.y) state[key === "x" ? "y" : "x"] = before; // choosing the other axis' parameter swaps them
      refresh();
      draw();
    };
    const boxes = [choose("Across", axisOptions(axes), String(state.x), pick("x")), choose("Upwards", axisOptions(axes), String(state.y), pick("y"))];
    if (metrics.length > 1) boxes.push(choose("Metric", metrics.map((name, i) => [String(i), name]), String(state.metric), pick("metric")));
    const focused = [...controls.children].findIndex((child) => child.contains(document.activeElement));
    controls.replaceChildren(...boxes);
    if (focused >= 0 && controls.children[focused]) controls.children[focused].querySelector("select").focus();
  }

  function draw() {
    const colours = theme();
    const [x, y] = [axes[state.x], axes[state.y]];
    const { table, at } = cells(state.metric, state.x, state.y);
    const name = metrics[state.metric];
    const grid = (pick) => y.levels.map((_, j) => x.levels.map((__, i) => pick(at(i, j), i, j)));
    const z = grid((cell) => table.mean[cell]);
    const text = grid((cell, i, j) => (table.mean[cell] === null ? "" : `<b>${show(table.mean[cell], 5)}</b> mean ${plain(name)}<br>`
      + `${plain(x.name)} ${plain(levelText(x, i))}<br>${plain(y.name)} ${plain(levelText(y, j))}<br>`
      + `${show(table.min[cell], 5)} to ${show(table.max[cell], 5)}, ${count(table.n[cell])} row${table.n[cell] === 1 ? "" : "s"}`));
    const width = plot.clientWidth - 150;
    const labels = x.levels.length * y.levels.length <= 150 && width / x.levels.length > 44;
    const gap = width / x.levels.length > 14 && 340 / y.levels.length > 14 ? 1 : 0;
    const trace = { type: "heatmap", z, hovertext: text, hoverinfo: "text", colorscale: "Viridis", xgap: gap, ygap: gap, hoverongaps: false,
      colorbar: { thickness: 12, outlinewidth: 0, ticks: "outside", ticklen: 3, tickfont: { size: 11, color: colours.muted }, title: { text: plain(shorten(name, 14)), side: "top", font: { size: 12 } } } };
    if (labels) Object.assign(trace, { text: z.map((row) => row.map((value) => (value === null ? "" : show(value, 3)))), texttemplate: "%{text}", textfont: { size: 11 } });
    const more = {
      xaxis: { title: plain(shorten(x.name, 44)), showgrid: false, showline: false, ticks: "", range: [-0.5, x.levels.length - 0.5], ...tickLabels(x.levels, width, longest(x.levels) * 7 + 12) },
      yaxis: { title: plain(shorten(y.name, 44)), showgrid: false, showline: false, ticks: "", range: [-0.5, y.levels.length - 0.5], ...tickLabels(y.levels, 340, 17) },
      shapes: bestCell(z, name),
    };
    Plotly.react(plot, [trace], layout(colours, 420, more), CONFIG);
    const outlined = more.shapes.length ? "The best cell is outlined. " : "";
    const bins = [x, y].filter((axis) => axis.edges.length).map((axis) => `${axis.name} in ${axis.edges.length - 1} bins. `).join("");
    caption.textContent = `${goalText(name)}${outlined}${bins}`;
  }

  function bestCell(z, name) {
    if (!DATA.metric || DATA.metric.name !== name) return [];
    let best = null;
    z.forEach((row, j) => row.forEach((value, i) => {
      if (value !== null && (best === null || (DATA.metric.goal === "minimize" ? value < best.value : value > best.value))) best = { value, i, j };
    }));
    if (best === null) return [];
    const box = { type: "rect", x0: best.i - 0.5, x1: best.i + 0.5, y0: best.j - 0.5, y1: best.j + 0.5 };
    return [{ ...box, line: { color: "#000000", width: 5 } }, { ...box, line: { color: "#ffffff", width: 2 } }];
  }

  refresh();
  return draw;
}

function distributionChart(plot, controls, caption) {
  const state = { entry: DATA.distributions[0] };
  if (DATA.distributions.length > 1) {
    controls.append(choose("Metric", DATA.distributions.map((entry, i) => [String(i), entry.name]), "0", (i) => { state.entry = DATA.distributions[Number(i)]; draw(); }));
  }

  function draw() {
    const colours = theme();
    const { entry } = state;
    if (entry.kind === "text") {
      const order = entry.labels.map((_, i) => entry.labels.length - 1 - i);
      const more = { xaxis: { title: "rows" }, yaxis: { showline: false, ticks: "", tickmode: "array", tickvals: order, ticktext: entry.labels.map((label) => plain(shorten(level(label), 30))) } };
      const text = entry.labels.map((label, i) => `<b>${count(entry.counts[i])}</b> rows<br>${plain(label)}`);
      Plotly.react(plot, [{ type: "bar", orientation: "h", x: entry.counts, y: order, text, textposition: "none", hoverinfo: "text", marker: { color: colours.series[0] } }], layout(colours, Math.max(180, 80 + 26 * order.length), more), CONFIG);
      caption.textContent = entry.more ? `The ${entry.labels.length} most frequent values.` : "";
      return;
    }
    const middle = entry.edges.slice(0, -1).map((edge, i) => (entry.log ? Math.sqrt(edge * entry.edges[i + 1]) : (edge + entry.edges[i + 1]) / 2));
    const steps = { type: "scatter", mode: "lines", x: entry.edges, y: [...entry.counts, entry.counts[entry.counts.length - 1]], fill: "tozeroy",
      line: { shape: "hv", color: colours.series[0], width: 1.2 }, fillcolor: fade(colours.series[0], 0.3), hoverinfo: "skip" };
    const hover = { type: "scatter", mode: "markers", x: middle, y: entry.counts, marker: { size: 14, color: "rgba(0,0,0,0)" }, hoverinfo: "text",
      text: entry.counts.map((n, i) => `<b>${count(n)}</b> rows<br>${show(entry.edges[i], 4)} to ${show(entry.edges[i + 1], 4)}`) };
    const at = entry.log ? Math.log10(entry.median) : entry.median;
    const more = { xaxis: { title: plain(shorten(entry.name, 44)), type: entry.log ? "log" : "linear" }, yaxis: { title: "rows", rangemode: "tozero" }, hovermode: "x",
      shapes: [{ type: "line", x0: entry.median, x1: entry.median, yref: "paper", y0: 0, y1: 1, line: { color: colours.muted, width: 1.2, dash: "dash" } }],
      annotations: [{ x: at, yref: "paper", y: 1, yanchor: "bottom", text: `median ${show(entry.median, 4)}`, showarrow: false, font: { size: 12, color: colours.muted } }] };
    Plotly.react(plot, [steps, hover], layout(colours, 300, more), CONFIG);
    const outside = entry.outside ? `${count(entry.outside)} rows lie outside the range drawn. ` : "";
    const odd = entry.not_finite ? `${count(entry.not_finite)} rows are NaN, infinite or past 1e300 and not drawn.` : "";
    caption.textContent = goalText(entry.name) + outside + odd;
  }

  return draw;
}

function start() {
  const makers = { curves: curvesChart, heatmap: heatmapChart, distribution: distributionChart, utilisation: utilisationChart };
  const draws = [];
  Object.entries(makers).forEach(([name, make]) => {
    const section = document.getElementById(name);
    if (section) draws.push(make(section.querySelector(".plot"), section.querySelector(".controls"), section.querySelector(".caption")));
  });
  const parallel = document.getElementById("parallel");
  if (parallel) draws.push(parallelChart(parallel.querySelector(".plot"), parallel.querySelector(".caption"), DATA.parallel));
  const rows = document.querySelector("#rows .table");
  if (rows) drawTable(rows, DATA.table);

  const drawAll = () => draws.forEach((draw) => {
    try {
      draw();
    } catch (error) { // one chart that fails takes no other with it
      console.error(error);
    }
  });
  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  let width = window.innerWidth;
  let waiting = 0;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return; // a phone's address bar comes and goes
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(drawAll, 120);
  });
  // Paper is white, whatever the screen is.
  window.addEventListener("beforeprint", () => { document.documentElement.dataset.print = "yes"; drawAll(); });
  window.addEventListener("afterprint", () => { delete document.documentElement.dataset.print; drawAll(); });
  document.documentElement.dataset.ready = "yes";
}

start();
