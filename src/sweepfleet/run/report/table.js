// The table of rows: sorts by any column, filters by text or by expressions, shows a page at a time.

const PAGE = 50;
const EXPRESSION = /("[^"]*"|'[^']*'|[^\s<>=!"']+)\s*(<=|>=|!=|==|=|<|>)\s*("[^"]*"|'[^']*'|[^\s<>=!"']+)/g;

function cellText(column, value) {
  if (value === null) return MISSING;
  if (column.kind === "time") return new Date(value * 1000).toISOString().slice(0, 19).replace("T", " ");
  if (typeof value === "number" && !column.float) return String(value); // whole numbers in full
  return show(value, 6, !column.float);
}

function unquote(word) {
  return word.replace(/^(["'])(.*)\1$/, "$2");
}

// "alpha<0.1 model=lasso ridge" -> expressions on columns, and words that any column may hold.
function parseFilter(text, columns) {
  const tests = [];
  const problems = [];
  const rest = text.replace(EXPRESSION, (_, left, operator, right) => {
    const name = unquote(left).toLowerCase();
    const column = columns.find((c) => c.label.toLowerCase() === name) || columns.find((c) => c.name.toLowerCase() === name);
    if (column) tests.push({ column, operator, right: unquote(right) });
    else problems.push(`There is no column “${unquote(left)}”.`);
    return " ";
  });
  if (/[<>=]/.test(rest)) problems.push("Write an expression as name<value.");
  const words = (rest.match(/"[^"]*"|'[^']*'|\S+/g) || [])
    .map((word) => unquote(word).toLowerCase())
    .filter((word) => word && !(tests.length && ["and", "&", "&&", ","].includes(word)));
  return { tests, words, problems };
}

function passes({ column, operator, right }, row) {
  const value = column.values[row];
  const equal = operator === "=" || operator === "==";
  if (right.toLowerCase() === "null") return operator === "!=" ? value !== null : equal && value === null;
  if (value === null) return operator === "!=";
  const shown = cellText(column, value).toLowerCase();
  const wanted = right.toLowerCase().replace(/^(\d{4}-\d\d-\d\d)t/, "$1 ");
  const numbers = column.kind === "number" && right !== "" && !Number.isNaN(Number(right));
  const [a, b] = numbers ? [Number(value), Number(right)] : [shown, wanted];
  switch (operator) {
    case "<": return a < b;
    case "<=": return a <= b;
    case ">": return a > b;
    case ">=": return a >= b;
    case "!=": return a !== b;
    default: return a === b;
  }
}

function sortRows(rows, column, descending) {
  const numeric = column.kind !== "text";
  const keys = column.values.map((value) => (value !== null && numeric ? Number(value) : value));
  const last = (key) => key === null || Number.isNaN(key);
  const text = new Intl.Collator("en", { numeric: true }).compare;
  return rows.slice().sort((a, b) => {
    const [x, y] = [keys[a], keys[b]];
    if (last(x) || last(y)) return last(x) - last(y) || a - b; // nothing to rank: at the end either way
    const order = numeric ? (x < y ? -1 : x > y ? 1 : 0) : text(String(x), String(y));
    return (descending ? -order : order) || a - b;
  });
}

function drawTable(host, table) {
  const { columns } = table;
  const all = columns.length ? columns[0].values.map((_, row) => row) : [];
  const texts = all.map((row) => columns.map((c) => cellText(c, c.values[row])).join("\n").toLowerCase());
  const printed = table.printed || {};
  const open = new Set(); // rows whose printed output is shown
  const state = { sort: null, descending: false, page: 0, rows: all };

  const status = element("span", { className: "status" });
  status.setAttribute("aria-live", "polite");
  const back = element("button", { type: "button", className: "button", textContent: "Previous" });
  const next = element("button", { type: "button", className: "button", textContent: "Next" });
  const input = element("input", { type: "search", placeholder: "text, or alpha<0.1 status=failed", spellcheck: false, autocomplete: "off" });
  const example = columns.find((c) => c.group === "param" && c.kind === "number") || columns.find((c) => c.kind === "number");
  if (example) input.placeholder = `text, or ${/\s/.test(example.label) ? `"${example.label}"` : example.label}<${show(Number(example.values.find((v) => v !== null) ?? 1), 3)} status=done`;
  const filter = element("label", { className: "filter" }, "Filter", input);

  const body = element("tbody");
  const heads = columns.map((column) => {
    const button = element("button", { type: "button", textContent: shorten(column.label, 40), title: column.name });
    const head = element("th", { scope: "col", className: column.kind === "number" ? "num" : "" }, button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sort(column, state.sort === column && !state.descending));
    return head;
  });
  const grid = element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body);
  const scroll = element("div", { className: "scroll tall", tabIndex: 0 }, grid);
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Rows");

  function sort(column, descending) {
    Object.assign(state, { sort: column, descending, page: 0 });
    columns.forEach((other, i) => {
      heads[i].setAttribute("aria-sort", other !== column ? "none" : descending ? "descending" : "ascending");
    });
    update();
  }

  function update() {
    const { tests, words, problems } = parseFilter(input.value, columns);
    const kept = problems.length ? [] : all.filter((row) =>
      tests.every((test) => passes(test, row)) && words.every((word) => texts[row].includes(word)));
    state.rows = state.sort ? sortRows(kept, state.sort, state.descending) : kept;
    input.setAttribute("aria-invalid", String(problems.length > 0));
    render(problems);
  }

  function render(problems = []) {
    scroll.scrollTop = 0;
    const { rows } = state;
    const pages = Math.max(1, Math.ceil(rows.length / PAGE));
    state.page = Math.min(state.page, pages - 1);
    const first = state.page * PAGE;
    body.replaceChildren(...rows.slice(first, first + PAGE).map((row) => line(row)).flat());
    const filtered = rows.length < all.length ? ` (filtered from ${count(all.length)})` : "";
    status.className = problems.length ? "status problem" : "status";
    status.textContent = problems.length ? problems.join(" ")
      : rows.length ? `${count(first + 1)}–${count(Math.min(first + PAGE, rows.length))} of ${count(rows.length)} rows${filtered}`
        : `No row matches${filtered}`;
    back.disabled = state.page === 0;
    next.disabled = state.page >= pages - 1;
  }

  function line(row) {
    const cells = columns.map((column) => cell(column, row));
    if (!(row in printed)) return [element("tr", {}, ...cells)];
    const button = element("button", { type: "button", className: "more", textContent: "output", title: "what this point printed" });
    button.setAttribute("aria-expanded", String(open.has(row)));
    button.addEventListener("click", () => {
      if (open.has(row)) open.delete(row);
      else open.add(row);
      const at = scroll.scrollTop;
      render();
      scroll.scrollTop = at;
      body.querySelector(`button[data-row="${row}"]`).focus({ preventScroll: true });
    });
    button.dataset.row = row;
    cells[0].append(" ", button);
    return [element("tr", {}, ...cells), ...(open.has(row) ? [output(row)] : [])];
  }

  function output(row) {
    const id = columns.find((column) => column.name === "point_id").values[row];
    const command = `inv output --name ${table.run} --point ${id}`;
    const words = element("p", {}, printed[row] ? "All of it: " : "It is too long for this page. ", element("code", { textContent: command }));
    const inside = element("div", { className: "printed" }, words, ...(printed[row] ? [element("pre", { tabIndex: 0, textContent: printed[row] })] : []));
    return element("tr", { className: "detail" }, element("td", { colSpan: columns.length }, inside));
  }

  function cell(column, row) {
    const value = column.values[row];
    const kinds = [column.kind === "number" ? "num" : "text"];
    if (value === null) kinds.push("none");
    if (column.name === "point_id") kinds.push("id");
    if (column.name === "status" && value === "failed") kinds.push("failed");
    return element("td", { className: kinds.join(" "), textContent: cellText(column, value), title: value === null ? "" : String(value) });
  }

  input.addEventListener("input", () => { state.page = 0; update(); });
  back.addEventListener("click", () => { state.page -= 1; render(); });
  next.addEventListener("click", () => { state.page += 1; render(); });
  host.append(element("div", { className: "controls" }, filter), edged(scroll), element("div", { className: "pager" }, status, back, next));
  const initial = columns.find((column) => column.name === table.sort);
  if (initial) sort(initial, table.descending);
  else update();
}
