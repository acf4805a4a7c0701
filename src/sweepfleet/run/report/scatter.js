// Every sampled row's metric over one parameter, and the mean at each of its values.

function scatterChart(plot, controls, caption) {
  const { axes, metrics, sample } = DATA;
  const state = { x: 0, metric: 0 };
  const bars = [...document.querySelectorAll("#importance button")];

  function change(key) {
    return (value) => { state[key] = Number(value); refresh(); draw(); };
  }

  function refresh() {
    selectors(controls, [choose("Parameter", axisOptions(axes), String(state.x), change("x")), ...metricBox(state, change)]);
    bars.forEach((bar) => bar.setAttribute("aria-pressed", String(bar.dataset.name === axes[state.x].name)));
  }

  bars.forEach((bar) => bar.addEventListener("click", () => {
    change("x")(axes.findIndex((axis) => axis.name === bar.dataset.name));
    plot.closest("section").scrollIntoView({ block: "nearest" });
  }));

  // Points of one value stand side by side, by a fixed pattern without a period.
  function jitter(row) {
    return ((row * 0.6180339887498949) % 1) - 0.5;
  }

  function draw() {
    const colours = theme();
    const axis = axes[state.x];
    const values = sample.metrics[state.metric];
    const known = axis.levels.filter((value) => value !== null);
    const spread = axis.numeric && !axis.log && !axis.edges.length && known.length > 1
      ? 0.25 * known.slice(1).reduce((least, value, i) => Math.min(least, value - known[i]), Infinity) : 0;
    const points = [];
    sample.params[state.x].forEach((value, row) => {
      const place = placeOf(axis, value);
      if (place < 0 || values[row] === null) return;
      const exact = axis.edges.length && value !== null ? value : xOf(axis, place);
      const x = axis.numeric ? (axis.log ? exact : exact + jitter(row) * spread) : exact + jitter(row) * 0.5;
      points.push({ x, y: values[row], text: `<b>${show(values[row], 5)}</b> ${plain(metrics[state.metric])}<br>${plain(axis.name)} ${value !== null && axis.edges.length ? show(value, 5) : plain(levelText(axis, place))}` });
    });
    const { table } = cells(state.metric, state.x, null);
    const means = axis.levels.map((value, i) => ({ value, i, x: xOf(axis, i), y: table.mean[i] })).filter(({ y }) => y !== null);
    const lined = means.filter(({ value }) => axis.numeric && value !== null);
    const text = (those) => those.map(({ i, y }) => `<b>${show(y, 5)}</b> mean of ${count(table.n[i])} rows<br>${plain(axis.name)} ${plain(levelText(axis, i))}`);
    const mean = (those, more) => ({ type: "scatter", x: those.map(({ x }) => x), y: those.map(({ y }) => y), text: text(those), hoverinfo: "text", ...more });
    const alone = means.filter((point) => !lined.includes(point));
    const strong = colours.series[1];
    const traces = [
      { type: "scatter", mode: "markers", x: points.map(({ x }) => x), y: points.map(({ y }) => y), text: points.map(({ text: words }) => words), hoverinfo: "text",
        marker: { size: points.length > 600 ? 4 : 5.5, color: colours.series[0], opacity: Math.max(0.25, Math.min(0.7, 14 / Math.sqrt(points.length))) } },
      mean(lined, { mode: "lines+markers", line: { color: strong, width: 2.5 }, marker: { color: strong, size: 6 } }),
      mean(alone, { mode: "markers", marker: { symbol: "line-ew", size: 34, color: strong, line: { color: strong, width: 3 } } }),
    ];
    const ys = points.map(({ y }) => y);
    const low = ys.reduce((a, b) => Math.min(a, b), Infinity);
    const log = low > 0 && ys.reduce((a, b) => Math.max(a, b), 0) >= 1000 * low;
    const more = { xaxis: xAxis(axis, plot.clientWidth - 70), yaxis: { title: plain(shorten(metrics[state.metric], 44)), type: log ? "log" : "linear" }, hovermode: "closest" };
    if (!axis.numeric) more.xaxis.showgrid = false;
    Plotly.react(plot, traces, layout(colours, 420, more), CONFIG);
    const some = sample.shown < sample.total ? `${count(points.length)} of ${count(sample.total)} finished rows, sampled evenly; the mean is over all rows. ` : "";
    const aside = spread || !axis.numeric ? "Rows with the same value are side by side. " : "";
    caption.textContent = `${goalText(metrics[state.metric])}${some}${aside}${basis(false)}`;
  }

  refresh();
  return draw;
}
