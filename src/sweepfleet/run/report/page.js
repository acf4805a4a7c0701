// Shared by the other scripts of the page: its data, its colours, and how numbers are written.

const DATA = JSON.parse(document.getElementById("data").textContent);
const MISSING = "–";

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function theme() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  const dark = luminance(read("bg")) < 0.5;
  return {
    dark,
    bg: read("bg"),
    ink: read("ink"),
    muted: read("muted"),
    line: read("line"),
    accent: read("accent"),
    bad: read("bad"),
    font: read("sans"),
    // Okabe and Ito's colours, which colour-blind readers tell apart; lighter where the page is dark.
    series: dark
      ? ["#56b4e9", "#e69f00", "#2fcf9f", "#e58fc1", "#f0e442", "#ff8f4a", "#9db4ff", "#c9ced6"]
      : ["#0072b2", "#d55e00", "#009e73", "#b8569a", "#b07d00", "#3a9bd6", "#5b4bb7", "#4a4f57"],
  };
}

function channels(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function luminance(hex) {
  const [red, green, blue] = channels(hex);
  return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255;
}

function mix(from, to, share) {
  const [a, b] = [channels(from), channels(to)];
  return `#${a.map((value, i) => Math.round(value + (b[i] - value) * share).toString(16).padStart(2, "0")).join("")}`;
}

function fade(hex, opacity) {
  return `rgba(${channels(hex).join(",")},${opacity})`;
}

// A value for reading, as Python's %.6g writes it everywhere else: 1e-05, 1.5e+06; true, false; whole numbers in full.
// A text in a column of numbers is one that JSON has no number for: NaN, a huge integer.
function show(value, digits = 6, whole = true) {
  if (value === null || value === undefined) return MISSING;
  if (typeof value !== "number") return String(value);
  if (whole && Number.isInteger(value) && Math.abs(value) < 10 ** Math.max(digits, 6)) return String(value);
  const [digitsShown, exponent] = value.toExponential(digits - 1).split("e");
  const power = Number(exponent);
  if (value === 0 || (power >= -4 && power < digits)) return String(Number(value.toPrecision(digits)));
  const shown = digitsShown.includes(".") ? digitsShown.replace(/\.?0+$/, "") : digitsShown;
  return `${shown}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

function level(value) {
  return value === null ? "not set" : show(value, 4);
}

function count(value) {
  return value.toLocaleString("en-US");
}

// The chart library reads a little markup in its labels; a user's text must stay a text.
function plain(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/\s+/g, " ");
}

function shorten(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

function choose(label, options, selected, onChange) {
  const list = element("select");
  options.forEach(([value, text]) => list.append(element("option", { value, textContent: shorten(text, 60) })));
  list.value = selected;
  list.addEventListener("change", () => onChange(list.value));
  return element("label", {}, label, list);
}

// A region that scrolls sideways, with a shadow at each edge beyond which there is more.
function edged(scroll) {
  const frame = element("div", { className: "edged" }, scroll);
  watchEdges(scroll);
  return frame;
}

function watchEdges(scroll) {
  const look = () => {
    const frame = scroll.parentElement;
    if (!frame) return;
    frame.toggleAttribute("data-left", scroll.scrollLeft > 1);
    frame.toggleAttribute("data-right", scroll.scrollLeft + scroll.clientWidth < scroll.scrollWidth - 1);
  };
  scroll.addEventListener("scroll", look, { passive: true });
  new ResizeObserver(look).observe(scroll);
}
