// The charts that compare runs: pairs of points, distributions, means along a parameter, and the best so far.

function runColour(colours, place) {
  return colours.series[place % colours.series.length];
}

const LEGEND = { showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 }, itemsizing: "constant" } };

function pairsChart(plot, controls, caption) {
  const state = { metric: 0 };
  const change = (key) => (value) => { state[key] = Number(value); refresh(); draw(); };
  const refresh = () => selectors(controls, metricBox(state, change));

  function draw() {
    const colours = theme();
    const name = DATA.metrics[state.metric];
    const found = DATA.pairs.map((pairs) => pairs[name]);
    const values = found.flatMap((pair) => (pair ? [...pair.first, ...pair.other] : []));
    const [low, high] = [values.reduce((a, b) => Math.min(a, b), Infinity), values.reduce((a, b) => Math.max(a, b), -Infinity)];
    const log = low > 0 && high >= 1000 * low;
    const traces = [{ type: "scatter", mode: "lines", x: [low, high], y: [low, high], line: { color: colours.muted, width: 1.2, dash: "dash" }, hoverinfo: "skip", name: "equal" }];
    found.forEach((pair, place) => {
      if (!pair) return;
      const other = plain(DATA.runs[place + 1].name);
      traces.push({ type: "scatter", mode: "markers", name: other, x: pair.first, y: pair.other, hoverinfo: "text",
        text: pair.first.map((value, i) => `<b>${show(pair.other[i], 5)}</b> ${other}<br><b>${show(value, 5)}</b> ${plain(DATA.runs[0].name)}`),
        marker: { color: runColour(colours, place + 1), size: 6, opacity: Math.max(0.3, Math.min(0.75, 14 / Math.sqrt(pair.first.length))), symbol: place } });
    });
    const axis = (run) => ({ title: plain(`${shorten(name, 30)} of ${shorten(run, 30)}`), type: log ? "log" : "linear" });
    const there = DATA.runs.slice(1).filter((_, place) => found[place]);
    const others = there.length === 1 ? there[0].name : "the others";
    Plotly.react(plot, traces, layout(colours, 420, { xaxis: axis(DATA.runs[0].name), yaxis: axis(others), hovermode: "closest", ...LEGEND }), CONFIG);
    const below = DATA.metric.name === name ? `${DATA.metric.goal === "minimize" ? "Below" : "Above"} the dashed line, ${others} ${there.length === 1 ? "is" : "are"} better. ` : "";
    const cut = found.filter((pair) => pair && pair.units > pair.first.length).map((pair) => `${count(pair.first.length)} of ${count(pair.units)} are drawn. `)[0] || "";
    caption.textContent = below + cut;
  }

  refresh();
  return draw;
}

function spreadChart(plot, controls, caption) {
  const state = { metric: 0 };
  const change = (key) => (value) => { state[key] = Number(value); refresh(); draw(); };
  const refresh = () => selectors(controls, metricBox(state, change));

  function draw() {
    const colours = theme();
    const spread = DATA.spreads[state.metric];
    const traces = spread.runs.map((run, place) => ({
      type: "scatter", mode: "lines", name: plain(shorten(DATA.runs[place].name, 40)), x: spread.edges, y: [...run.shares, run.shares[run.shares.length - 1]].map((share) => 100 * share),
      line: { shape: "hv", color: runColour(colours, place), width: 1.8 }, fill: "tozeroy", fillcolor: fade(runColour(colours, place), 0.12), hoverinfo: "text",
      text: spread.edges.map((edge, i) => `<b>${show(100 * (run.shares[i] ?? 0), 3)} %</b> of ${count(run.count)} rows of ${plain(DATA.runs[place].name)}<br>${show(edge, 4)} to ${show(spread.edges[Math.min(i + 1, spread.edges.length - 1)], 4)}`),
    }));
    const shapes = spread.runs.map((run, place) => ({ type: "line", x0: run.middle, x1: run.middle, yref: "paper", y0: 0, y1: 1, line: { color: runColour(colours, place), width: 1.5, dash: "dash" } }));
    const more = { xaxis: { title: plain(shorten(spread.name, 44)), type: spread.log ? "log" : "linear" }, yaxis: { title: "% of its rows", rangemode: "tozero" }, shapes, hovermode: "closest", ...LEGEND };
    Plotly.react(plot, traces, layout(colours, 340, more), CONFIG);
    const words = spread.runs.map((run, place) => `${DATA.runs[place].name}: median ${show(run.middle, 4)}, half of its rows from ${show(run.lower, 4)} to ${show(run.upper, 4)}`);
    const outside = spread.runs.reduce((sum, run) => sum + run.outside, 0);
    caption.textContent = `${goalText(spread.name)}${words.join(" · ")}. ${outside ? `${count(outside)} rows are outside the range shown.` : ""}`;
  }

  refresh();
  return draw;
}

// One parameter as several runs have it: the values of all of them, in order.
function joined(name) {
  const found = DATA.runs.map((run) => run.axes.find((axis) => axis.name === name));
  const numeric = found.every((axis) => !axis || axis.numeric);
  const levels = [];
  found.forEach((axis) => axis && axis.levels.forEach((value) => { if (value !== null && !levels.includes(value)) levels.push(value); }));
  if (numeric) levels.sort((a, b) => a - b);
  if (found.some((axis) => axis && axis.levels.includes(null))) levels.push(null);
  const log = numeric && found.some((axis) => axis && axis.log) && levels[0] > 0;
  return { name, numeric, log, levels, edges: [] };
}

function runCurves(plot, controls, caption) {
  const names = [...new Set(DATA.runs.flatMap((run) => run.axes.map((axis) => axis.name)))];
  const common = (name) => DATA.runs.filter((run) => run.axes.some((axis) => axis.name === name)).length;
  names.sort((a, b) => common(b) - common(a));
  const state = { x: 0, metric: 0 };
  const change = (key) => (value) => { state[key] = Number(value); refresh(); draw(); };
  const refresh = () => selectors(controls, [choose("Parameter", names.map((name, i) => [String(i), name]), String(state.x), change("x")), ...metricBox(state, change)]);

  function draw() {
    const colours = theme();
    const axis = joined(names[state.x]);
    const traces = DATA.runs.flatMap((run, place) => {
      const own = run.axes.findIndex((each) => each.name === axis.name);
      if (own < 0 || !run.singles[own]) return [];
      const table = run.singles[own][state.metric];
      const points = run.axes[own].levels.map((value, i) => ({ value, i, x: xOf(axis, axis.levels.indexOf(value)), y: table.mean[i] }))
        .filter(({ y }) => y !== null).sort((a, b) => a.x - b.x);
      const colour = runColour(colours, place);
      return [{ type: "scatter", mode: axis.numeric ? "lines+markers" : "markers", name: plain(shorten(run.name, 40)), x: points.map(({ x }) => x), y: points.map(({ y }) => y), hoverinfo: "text",
        text: points.map(({ value, i, y }) => `<b>${show(y, 5)}</b> mean of ${count(table.n[i])} rows of ${plain(run.name)}<br>${plain(axis.name)} ${plain(level(value))}`),
        line: { color: colour, width: 2 }, marker: { color: colour, size: axis.numeric ? 5 : 9, symbol: place } }];
    });
    const more = { xaxis: xAxis(axis, plot.clientWidth - 70), yaxis: { title: plain(shorten(DATA.metrics[state.metric], 44)) }, hovermode: "closest", ...LEGEND };
    Plotly.react(plot, traces, layout(colours, 380, more), CONFIG);
    const missing = DATA.runs.filter((run) => !run.axes.some((each) => each.name === axis.name)).map((run) => run.name);
    caption.textContent = `${goalText(DATA.metrics[state.metric])}${missing.length ? `${axis.name} does not vary in ${missing.join(", ")}.` : ""}`;
  }

  refresh();
  return draw;
}

function runHistories(plot, controls, caption) {
  return function draw() {
    const colours = theme();
    const runs = DATA.runs.map((run, place) => ({ ...run, place })).filter((run) => run.history && run.history.at.length);
    const end = runs.reduce((most, run) => Math.max(most, run.history.at[run.history.at.length - 1]), 0) || 1;
    const { size, unit } = span(end);
    const traces = runs.map((run) => ({
      type: "scatter", mode: "lines", name: plain(shorten(run.name, 40)), x: [...run.history.at, end * 1.05].map((when) => when / size),
      y: [...run.history.best, run.history.best[run.history.best.length - 1]], hoverinfo: "y+name", line: { shape: "hv", color: runColour(colours, run.place), width: 2.2 },
    }));
    Plotly.react(plot, traces, layout(colours, 320, { xaxis: { title: `${unit} since the run's first point started`, rangemode: "tozero" }, yaxis: { title: plain(shorten(DATA.metric.name, 44)) }, ...LEGEND }), CONFIG);
    caption.textContent = goalText(DATA.metric.name);
  };
}

startCharts({ pairs: pairsChart, distribution: spreadChart, curves: runCurves, history: runHistories });
