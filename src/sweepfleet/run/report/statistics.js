// Statistics of a metric over one parameter or two: those in the page, or worked out here from its sample of rows.

const worked = new Map();

// The place of a sampled row's level on an axis; -1 for none.
function placeOf(axis, value) {
  if (!axis.edges.length) return value === null ? -1 : value;
  if (value === null) return axis.levels[axis.levels.length - 1] === null ? axis.levels.length - 1 : -1;
  const bins = axis.edges.length - 1;
  const put = axis.log ? Math.log10 : (number) => number;
  const [low, high] = [put(axis.edges[0]), put(axis.edges[bins])];
  return Math.min(bins - 1, Math.max(0, Math.floor((put(value) - low) * (bins / (high - low)))));
}

// Whether charts of means count a sampled row: one of a configuration that lacks points would flatter it.
function countedRows() {
  const { sample } = DATA;
  if (!sample.counted) {
    const out = new Set(sample.left_out);
    sample.counted = Array.from({ length: sample.shown }, (_, row) => row).filter((row) => !out.has(row));
  }
  return sample.counted;
}

function fromSample(metric, axes) {
  const { sample } = DATA;
  const shape = axes.map((axis) => DATA.axes[axis].levels.length);
  const size = shape.reduce((product, length) => product * length, 1);
  const fill = (value) => new Array(size).fill(value);
  const table = { n: fill(0), mean: fill(null), sd: fill(null), min: fill(null), max: fill(null) };
  const squares = fill(0); // of the differences from the running mean (Welford)
  countedRows().forEach((row) => {
    const value = sample.metrics[metric][row];
    if (value === null) return;
    let cell = 0;
    for (let k = 0; k < axes.length; k += 1) {
      const place = placeOf(DATA.axes[axes[k]], sample.params[axes[k]][row]);
      if (place < 0) return;
      cell = cell * shape[k] + place;
    }
    table.n[cell] += 1;
    const off = value - (table.mean[cell] || 0);
    table.mean[cell] = (table.mean[cell] || 0) + off / table.n[cell];
    squares[cell] += off * (value - table.mean[cell]);
    table.min[cell] = table.min[cell] === null ? value : Math.min(value, table.min[cell]);
    table.max[cell] = table.max[cell] === null ? value : Math.max(value, table.max[cell]);
  });
  table.sd = table.n.map((n, cell) => (n > 1 ? Math.sqrt(squares[cell] / (n - 1)) : null));
  return table;
}

// The statistics of one metric over axis x, or over x and y, addressed by their levels.
function cells(metric, x, y) {
  const axes = y === null ? [x] : [Math.min(x, y), Math.max(x, y)];
  const key = axes.join(",");
  const embedded = DATA.crosses && DATA.crosses[y === null ? "singles" : "pairs"][key];
  if (!embedded && !worked.has(`${metric}:${key}`)) worked.set(`${metric}:${key}`, fromSample(metric, axes));
  const table = embedded ? embedded[metric] : worked.get(`${metric}:${key}`);
  const across = DATA.axes[axes[axes.length - 1]].levels.length;
  const at = y === null ? (i) => i : x < y ? (i, j) => i * across + j : (i, j) => j * across + i;
  return { table, at, sampled: !embedded && DATA.sample.shown < DATA.sample.total };
}

// What the reader must know of the rows behind a chart of means.
function basis(sampled) {
  const { sample, metric, incomplete } = DATA;
  const part = sampled ? `From ${count(sample.shown)} of ${count(sample.total)} finished rows, sampled evenly: this pair is not in the page. ` : "";
  const out = incomplete ? `${count(incomplete)} configuration${incomplete === 1 ? "" : "s"} without a finite ${metric.name} at every point ${incomplete === 1 ? "is" : "are"} left out. ` : "";
  return part + out;
}
