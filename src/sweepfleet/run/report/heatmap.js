// The mean of a metric over two parameters.

function heatmapChart(plot, controls, caption) {
  const { axes, metrics } = DATA;
  // Across, a number with several values; upwards, the parameter that matters most of the others.
  const across = firstNumber(axes);
  const others = axes.map((_, i) => i).filter((i) => i !== across);
  const state = { x: across, y: others.find((i) => isEverywhere(axes[i]) && !isOver(axes[i])) ?? others[0], metric: 0 };

  function refresh() {
    const pick = (key) => (value) => {
      const before = state[key];
      state[key] = Number(value);
      if (state.x === state.y) state[key === "x" ? "y" : "x"] = before; // choosing the other axis' parameter swaps them
      refresh();
      draw();
    };
    const boxes = [choose("Across", axisOptions(axes), String(state.x), pick("x")), choose("Upwards", axisOptions(axes), String(state.y), pick("y"))];
    boxes.push(...metricBox(state, pick));
    selectors(controls, boxes);
  }

  function draw() {
    const colours = theme();
    const [x, y] = [axes[state.x], axes[state.y]];
    const { table, at, sampled } = cells(state.metric, state.x, state.y);
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
    caption.textContent = `${goalText(name)}${outlined}${bins}${basis(sampled)}`;
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
