// The mean of a metric along one parameter, a line for each value of another.

function curvesChart(plot, controls, caption) {
  const { axes, metrics } = DATA;
  const along = firstNumber(axes);
  const few = (axis, i) => i !== along && axis.levels.length <= 12 && !axis.edges.length && !isOver(axis);
  const kinds = axes.findIndex((axis, i) => few(axis, i) && !axis.numeric);
  const group = kinds >= 0 ? kinds : axes.findIndex(few);
  const state = { x: along, group, metric: 0, band: null };

  // Bands of many lines cover each other: drawn for up to three unless asked for.
  function band() {
    return state.band || (state.group < 0 || axes[state.group].levels.length <= 3 ? "range" : "none");
  }

  function refresh() {
    if (state.group === state.x) state.group = -1;
    const pick = (key) => (value) => { state[key] = key === "band" ? value : Number(value); refresh(); draw(); };
    const boxes = [choose("Along", axisOptions(axes), String(state.x), pick("x"))];
    if (axes.length > 1) boxes.push(choose("One line for each", [["-1", "none"], ...axisOptions(axes, state.x)], String(state.group), pick("group")));
    boxes.push(...metricBox(state, pick));
    boxes.push(choose("Band", [["range", "minimum to maximum"], ["sd", "± 1 standard deviation"], ["none", "none"]], band(), pick("band")));
    selectors(controls, boxes);
  }

  function trace(table, at, j, colour, shift, name) {
    const [x, group] = [axes[state.x], state.group < 0 ? null : axes[state.group]];
    const points = x.levels.map((value, i) => ({ value, i, cell: at(i, j) }))
      .filter(({ cell }) => table.mean[cell] !== null)
      .map((point) => ({ ...point, mean: table.mean[point.cell], place: xOf(x, point.i) + (x.numeric ? 0 : shift), ...ends(table, point.cell) }));
    const text = points.map(({ i, cell, mean }) => `<b>${show(mean, 5)}</b> mean ${plain(metrics[state.metric])}<br>`
      + `${plain(x.name)} ${plain(levelText(x, i))}${group ? `<br>${plain(group.name)} ${plain(levelText(group, j))}` : ""}<br>`
      + `${show(table.min[cell], 5)} to ${show(table.max[cell], 5)}, ${count(table.n[cell])} row${table.n[cell] === 1 ? "" : "s"}`);
    const symbol = group && !group.numeric ? j % 8 : 0;
    const common = { type: "scatter", name, legendgroup: String(j), hoverinfo: "text" };
    const bars = (those) => ({ error_y: { type: "data", symmetric: false, visible: band() !== "none", color: colour, thickness: 1.5, width: 3,
      array: those.map(({ high, mean }) => high - mean), arrayminus: those.map(({ low, mean }) => mean - low) } });
    const part = (kept, more) => {
      const those = points.filter(kept);
      return { ...common, x: those.map(({ place }) => place), y: those.map(({ mean }) => mean), text: text.filter((_, k) => kept(points[k])), ...more(those) };
    };
    const apart = ({ value }) => !x.numeric || value === null; // a kind, or the lane of rows without the parameter: no part of a line
    const line = part((point) => !apart(point), () => ({ mode: "lines+markers", line: { color: colour, width: 2 }, marker: { color: colour, size: 5, symbol } }));
    const marks = part(apart, (those) => ({ mode: "markers", marker: { color: colour, size: 8, symbol }, showlegend: !line.x.length, ...bars(those) }));
    const along = points.filter((point) => !apart(point));
    const area = { type: "scatter", x: [...line.x, ...line.x.slice().reverse()], y: [...along.map(({ high }) => high), ...along.map(({ low }) => low).reverse()],
      fill: "toself", mode: "lines", fillcolor: fade(colour, 0.14), line: { width: 0, color: colour }, hoverinfo: "skip", showlegend: false, legendgroup: String(j) };
    return { traces: [...(line.x.length && band() !== "none" ? [area] : []), ...(line.x.length ? [line] : []), ...(marks.x.length ? [marks] : [])], means: points.map(({ mean }) => mean) };
  }

  function ends(table, cell) {
    const [mean, sd] = [table.mean[cell], table.sd[cell] || 0];
    return band() === "sd" ? { low: mean - sd, high: mean + sd } : { low: table.min[cell], high: table.max[cell] };
  }

  function draw() {
    const colours = theme();
    const x = axes[state.x];
    const group = state.group >= 0 ? axes[state.group] : null;
    const { table, at, sampled } = cells(state.metric, state.x, group ? state.group : null);
    const all = group ? group.levels.map((_, j) => j) : [0];
    const most = group && group.numeric ? 7 : 8;
    const shown = all.length <= most ? all : Array.from({ length: most }, (_, k) => Math.round((k * (all.length - 1)) / (most - 1)));
    const ramp = colours.dark ? ["#3b5f8a", "#9fe3c5"] : ["#0b3c6f", "#35b779"];
    const drawn = shown.map((j, order) => {
      const share = shown.length > 1 ? order / (shown.length - 1) : 0;
      const colour = group && group.numeric ? mix(...ramp, share) : colours.series[order % colours.series.length];
      const shift = (order - (shown.length - 1) / 2) * Math.min(0.12, 0.7 / shown.length);
      return trace(table, at, j, colour, shift, group ? plain(shorten(levelText(group, j), 24)) : "");
    });
    const means = drawn.flatMap((each) => each.means);
    const logY = means.length > 1 && means.every((value) => value > 0) && Math.max(...means) >= 1000 * Math.min(...means);
    const more = { xaxis: xAxis(x, plot.clientWidth - 70), yaxis: { title: plain(shorten(metrics[state.metric], 44)), type: logY ? "log" : "linear" }, hovermode: "closest" };
    if (group && shown.length > 1) {
      Object.assign(more, { showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 }, itemsizing: "constant",
        title: { text: `${plain(shorten(group.name, 24))}  `, font: { size: 12, color: colours.muted } } } });
    }
    Plotly.react(plot, drawn.flatMap((each) => each.traces), layout(colours, 420, more), CONFIG);
    const part = shown.length < all.length ? `${shown.length} of ${all.length} values of ${group.name} drawn. ` : "";
    const bins = x.edges.length ? `${x.name} in ${x.edges.length - 1} bins. ` : "";
    caption.textContent = `${goalText(metrics[state.metric])}${part}${bins}${basis(sampled)}`;
  }

  refresh();
  return draw;
}
