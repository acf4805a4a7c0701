// The utilisation chart: slots at work and points finished, over the time in which points ran.

function span(seconds) {
  const units = [[172800, 86400, "days"], [7200, 3600, "hours"], [120, 60, "minutes"], [0, 1, "seconds"]];
  const [, size, unit] = units.find(([least]) => seconds >= least);
  return { size, unit };
}

function utilisationChart(plot, controls, caption) {
  const busy = DATA.utilisation;
  return function draw() {
    const colours = theme();
    const { size, unit } = span(busy.active_s);
    const edges = busy.edges.map((edge) => edge / size);
    const width = edges[1] - edges[0];
    const middle = edges.slice(0, -1).map((edge) => edge + width / 2);
    const range = (i) => `${show(edges[i], 3)} to ${show(edges[i + 1], 3)} ${unit}`;
    const traces = [
      { type: "scatter", mode: "lines", x: edges, y: [...busy.busy, busy.busy[busy.busy.length - 1]], fill: "tozeroy", hoverinfo: "skip",
        line: { shape: "hv", color: colours.series[0], width: 1.4 }, fillcolor: fade(colours.series[0], 0.25), xaxis: "x", yaxis: "y" },
      { type: "scatter", mode: "markers", x: middle, y: busy.busy, marker: { size: 10, color: "rgba(0,0,0,0)" }, hoverinfo: "text", xaxis: "x", yaxis: "y",
        text: busy.busy.map((value, i) => `<b>${show(value, 3)}</b> slots busy<br>${range(i)}`) },
      { type: "bar", name: "done", x: middle, y: busy.done, width, marker: { color: colours.series[2], line: { width: 0 } }, hoverinfo: "text", textposition: "none", xaxis: "x", yaxis: "y2",
        text: busy.done.map((n, i) => `<b>${count(n)}</b> done<br>${range(i)}`) },
    ];
    const failed = busy.failed.some((n) => n > 0);
    if (failed) {
      traces.push({ type: "bar", name: "failed", x: middle, y: busy.failed, width, marker: { color: colours.bad, line: { width: 0 } }, hoverinfo: "text", textposition: "none", xaxis: "x", yaxis: "y2",
        text: busy.failed.map((n, i) => `<b>${count(n)}</b> failed<br>${range(i)}`) });
    }
    const end = edges[edges.length - 1];
    const shapes = busy.cuts.map(({ at }) => ({ type: "line", xref: "x", x0: at / size, x1: at / size, yref: "paper", y0: 0, y1: 1, line: { color: colours.muted, width: 1, dash: "dot" } }));
    const annotations = busy.cuts.slice(0, 12).map(({ at, pause_s: pause }) => {
      const { size: unitSize, unit: pauseUnit } = span(pause);
      return { x: at / size, xref: "x", yref: "paper", y: 1, yanchor: "bottom", showarrow: false, text: `${show(pause / unitSize, 2)} ${pauseUnit} later`, font: { size: 11, color: colours.muted } };
    });
    if (busy.slots) {
      shapes.push({ type: "line", xref: "x", x0: 0, x1: end, yref: "y", y0: busy.slots, y1: busy.slots, line: { color: colours.ink, width: 1.2, dash: "dash" } });
      annotations.push({ x: 1, xref: "paper", xanchor: "right", yref: "y", y: busy.slots, yanchor: "bottom", yshift: 3, bgcolor: fade(colours.bg, 0.75), showarrow: false, text: `${count(busy.slots)} slot${busy.slots === 1 ? "" : "s"}`, font: { size: 12, color: colours.ink } });
    }
    const top = Math.max(busy.slots || 0, busy.busy.reduce((a, b) => Math.max(a, b), 0)) * 1.18 || 1;
    const more = {
      xaxis: { title: `${unit} since the first point started`, range: [0, end], anchor: "y2" },
      yaxis: { title: "slots busy", domain: [0.44, 1], range: [0, top] },
      yaxis2: { title: "points finished", domain: [0, 0.33], rangemode: "tozero", nticks: 4 },
      barmode: "stack", bargap: 0, hovermode: "closest", shapes, annotations,
    };
    Plotly.react(plot, traces, layout(colours, 420, more), CONFIG);
    const total = busy.cuts.reduce((sum, { pause_s: pause }) => sum + pause, 0);
    const { size: cutSize, unit: cutUnit } = span(total);
    const cut = busy.cuts.length ? `${show(total / cutSize, 3)} ${cutUnit} in which nothing ran are cut out, at the dotted line${busy.cuts.length > 1 ? "s" : ""}. ` : "";
    caption.textContent = `${cut}${failed ? "Failed points are on top, in the other colour." : ""}`;
  };
}
