// What the charts share: their look, their selectors and the ticks of an axis.

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
  const last = levels.length - 1;
  const missing = levels[last] === null; // "not set" stands last, and is always told
  const at = levels.map((_, i) => i).filter((i) => (i % step === 0 && !(missing && i > last - step)) || (missing && i === last));
  return { tickmode: "array", tickvals: at, ticktext: at.map((i) => plain(shorten(level(levels[i]), 22))) };
}

function axisOptions(axes, except) {
  return axes.map((axis, i) => [String(i), axis.name]).filter(([i]) => Number(i) !== except);
}

// Selectors above a chart, made again after every choice; the one in use keeps the focus.
function selectors(controls, boxes) {
  const focused = [...controls.children].findIndex((child) => child.contains(document.activeElement));
  controls.replaceChildren(...boxes);
  if (focused >= 0 && controls.children[focused]) controls.children[focused].querySelector("select").focus();
}

function metricBox(state, change) {
  return DATA.metrics.length > 1 ? [choose("Metric", DATA.metrics.map((name, i) => [String(i), name]), String(state.metric), change("metric"))] : [];
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

// Whether the sweep's best is a mean over this parameter.
function isOver(axis) {
  return Boolean(DATA.metric && DATA.metric.over.includes(axis.name));
}

// Whether every row has the parameter.
function isEverywhere(axis) {
  return axis.levels[axis.levels.length - 1] !== null;
}

// The parameter to begin with along a chart: the most important number with several values, at best one of all rows.
function firstNumber(axes) {
  const several = (axis) => axis.numeric && axis.levels.length > 2 && !isOver(axis);
  const whole = axes.findIndex((axis) => several(axis) && isEverywhere(axis));
  return whole >= 0 ? whole : Math.max(0, axes.findIndex(several));
}

// Where rows without the parameter stand on a numeric axis: in a lane of their own before its least value.
function laneOf(axis) {
  const known = axis.edges.length ? axis.edges : axis.levels.filter((value) => value !== null);
  const [low, high] = [known[0], known[known.length - 1]];
  if (axis.log) return low / (high / low) ** 0.12;
  return low - 0.12 * (high - low || Math.abs(low) || 1);
}

// A level's place along a chart's x axis.
function xOf(axis, i) {
  if (!axis.numeric) return i;
  return axis.levels[i] === null ? laneOf(axis) : axis.levels[i];
}

// The x axis of a parameter: at its own values where they have room, and a lane for rows without it.
function xAxis(axis, width) {
  const title = plain(shorten(axis.name, 44));
  if (!axis.numeric) {
    return { title, type: "linear", range: [-0.5, axis.levels.length - 0.5], zeroline: false, ...tickLabels(axis.levels, width, longest(axis.levels) * 7 + 14) };
  }
  const put = axis.log ? Math.log10 : (value) => value;
  const known = axis.levels.filter((value) => value !== null);
  const missing = known.length < axis.levels.length;
  const ends = axis.edges.length ? [axis.edges[0], axis.edges[axis.edges.length - 1]] : [known[0], known[known.length - 1]];
  const from = put(missing ? laneOf(axis) : ends[0]);
  const to = put(ends[1]);
  const pad = (to - from || 1) * 0.03;
  const scale = width / (to - from + 2 * pad || 1);
  const nice = ticksBetween(put(ends[0]), put(ends[1]), axis.log);
  const fits = (values) => values.every((value, i) => i === 0 || (put(value) - put(values[i - 1])) * scale > 7 * show(value, 4).length + 8);
  const own = !axis.edges.length && known.length <= 14 && fits(known);
  // Labels lie flat: those that have no room beside the one before are left out.
  const at = [];
  let before = missing ? put(laneOf(axis)) : -Infinity;
  (own ? known : nice).forEach((value) => {
    if ((put(value) - before) * scale < 7 * Math.max(show(value, 4).length, at.length ? 0 : missing ? 7 : 0) + 6) return;
    at.push(value);
    before = put(value);
  });
  return {
    title, type: axis.log ? "log" : "linear", range: [from - pad * (missing ? 2 : 1), to + pad], tickmode: "array", tickangle: 0,
    tickvals: missing ? [laneOf(axis), ...at] : at, ticktext: [...(missing ? ["not set"] : []), ...at.map((value) => show(value, 4))],
  };
}

function ticksBetween(low, high, log) {
  const step = log ? Math.max(1, Math.ceil((high - low) / 6)) : niceStep(high - low);
  const inner = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + Math.abs(step) * 1e-9; k += 1) {
    inner.push(log ? Number(`1e${Math.round(k * step)}`) : Number((k * step).toPrecision(12)));
  }
  return inner.length >= 2 ? inner : [log ? 10 ** low : low, log ? 10 ** high : high];
}

function niceStep(span) {
  if (!(span > 0)) return 1;
  const rough = span / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough) || power;
}
