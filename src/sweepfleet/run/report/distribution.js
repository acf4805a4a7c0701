// How each metric is spread.

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
    const outside = entry.outside ? `${count(entry.outside)} rows are outside the range shown. ` : "";
    const odd = entry.not_finite ? `${count(entry.not_finite)} rows are NaN, infinite or beyond 1e300, and not drawn.` : "";
    caption.textContent = goalText(entry.name) + outside + odd;
  }

  return draw;
}
