// The best so far over the run's clock.

function historyChart(plot, controls, caption) {
  const { history, sample, metric, metrics } = DATA;

  function step(line, more) {
    const end = DATA.utilisation ? DATA.utilisation.active_s : line.at[line.at.length - 1];
    return { type: "scatter", mode: "lines", hoverinfo: "text", x: [...line.at, end], y: [...line.best, line.best[line.best.length - 1]], ...more,
      text: [...line.best, line.best[line.best.length - 1]].map((value, i) => `<b>${show(value, 6)}</b> ${more.name}<br>after ${seconds(i < line.at.length ? line.at[i] : end)}`) };
  }

  // The sweep's first values may be far off: the axis then shows from the best to what nine of ten rows reach.
  function range(values, log) {
    const sorted = values.slice().sort((a, b) => a - b);
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
    const [low, high] = [sorted[0], sorted[sorted.length - 1]];
    if (log || sorted.length < 20) return null;
    const minimize = metric.goal === "minimize";
    const reach = minimize ? at(0.9) - low : high - at(0.1);
    if (!(reach > 0) || high - low < 6 * reach) return null;
    return minimize ? [low - 0.08 * reach, low + 2 * reach] : [high - 2 * reach, high + 0.08 * reach];
  }

  return function draw() {
    const colours = theme();
    const { size, unit } = span(DATA.utilisation ? DATA.utilisation.active_s : 1);
    const place = metrics.indexOf(metric.name);
    const dots = sample.ended.map((when, row) => ({ when, value: sample.metrics[place][row] })).filter(({ when, value }) => when !== null && value !== null);
    const values = [...dots.map(({ value }) => value), ...history.rows.best];
    const low = values.reduce((a, b) => Math.min(a, b), Infinity);
    const log = low > 0 && values.reduce((a, b) => Math.max(a, b), 0) >= 1000 * low;
    const cut = range(values, log);
    const traces = [{ type: "scatter", mode: "markers", name: "one row", x: dots.map(({ when }) => when), y: dots.map(({ value }) => value), hoverinfo: "text",
      text: dots.map(({ when, value }) => `<b>${show(value, 6)}</b> ${plain(metric.name)}<br>after ${seconds(when)}`),
      marker: { size: dots.length > 600 ? 3.5 : 5, color: colours.muted, opacity: 0.35 } }];
    const grouped = history.configurations;
    traces.push(step(history.rows, { name: "best row so far", line: { shape: "hv", color: grouped ? colours.muted : colours.series[0], width: grouped ? 1.4 : 2.5, dash: grouped ? "dot" : "solid" } }));
    if (grouped && grouped.at.length) traces.push(step(grouped, { name: "best completed configuration so far", line: { shape: "hv", color: colours.series[0], width: 2.5 } }));
    traces.forEach((trace) => { trace.x = trace.x.map((when) => when / size); });
    const more = {
      xaxis: { title: `${unit} since the first point started`, rangemode: "tozero" },
      yaxis: { title: plain(shorten(metric.name, 44)), type: log ? "log" : "linear", ...(cut ? { range: cut } : {}) }, hovermode: "closest",
      showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 } },
    };
    Plotly.react(plot, traces, layout(colours, 340, more), CONFIG);
    const outside = cut ? dots.filter(({ value }) => value < cut[0] || value > cut[1]).length : 0;
    const hidden = outside ? `${count(outside)} rows are outside the range shown. ` : "";
    const some = sample.shown < sample.total ? `The lines are over all rows; of ${count(sample.total)} rows ${count(sample.shown)} are drawn. ` : "";
    caption.textContent = `${goalText(metric.name)}${hidden}${some}`;
  };
}

function seconds(value) {
  const { size, unit } = span(value);
  return `${show(value / size, 3)} ${unit}`;
}
