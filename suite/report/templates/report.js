"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Tables: a press on a heading sorts, a word filters.
const value = (cell) => cell.dataset.key ?? cell.textContent;
function compare(a, b, numeric) {
  if (numeric) {
    const [x, y] = [parseFloat(a), parseFloat(b)];
    // What is not there goes last in either order.
    if (isNaN(x) || isNaN(y)) return { missing: true, order: isNaN(x) - isNaN(y) };
    return { missing: false, order: x - y };
  }
  return { missing: false, order: a.localeCompare(b, undefined, { numeric: true }) };
}
for (const button of all("th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, body = head.closest("table").tBodies[0];
    const column = head.cellIndex, numeric = head.classList.contains("n");
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows].sort((p, q) => {
      const { missing, order } = compare(value(p.cells[column]), value(q.cells[column]), numeric);
      return down && !missing ? -order : order;
    });
    body.append(...rows);
  });
}
for (const input of all("input[data-table]")) {
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase(), rows = [...document.getElementById(input.dataset.table).tBodies[0].rows];
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    const shown = rows.filter((row) => !row.hidden).length;
    input.parentElement.querySelector("output").textContent = wanted ? `${shown} of ${rows.length}` : "";
  });
}

// A method's page: its rows of every table, gathered when it is first opened.
function gather(page) {
  const place = page.querySelector(".gathered");
  if (place.childElementCount) return;
  for (const head of all("th[data-method]")) {
    const source = head.closest("table"), column = head.cellIndex;
    const rows = [...source.tBodies[0].rows].filter((row) => row.cells[column].textContent === page.dataset.method);
    if (!rows.length) continue;
    const title = document.createElement("h4"), box = document.createElement("div"), table = document.createElement("table");
    const link = document.createElement("a");
    const section = source.closest("section.table");
    const study = section.parentElement.id.replace("study-", "").replaceAll("_", " ");
    link.textContent = [study, section.querySelector("h3")?.textContent].join(": ");
    link.href = `#${section.id}`;
    title.append(link);
    box.className = "scroll";
    const heads = table.createTHead().insertRow();
    for (const cell of head.parentElement.cells) {
      const copy = document.createElement("th");
      copy.className = `${cell.className} plain-head`;
      copy.textContent = cell.textContent;
      heads.append(copy);
    }
    table.createTBody().append(...rows.map((row) => row.cloneNode(true)));
    for (const row of table.rows) { row.hidden = false; row.deleteCell(column); }
    box.append(table);
    place.append(title, box);
  }
}
for (const page of all("details.method")) page.addEventListener("toggle", () => { if (page.open) gather(page); });
function openTarget() {
  const page = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (page?.matches("details")) { page.open = true; gather(page); page.scrollIntoView(); }
}
addEventListener("hashchange", openTarget);
openTarget();

// Pictures: a tile is a window on its photo's picture, less its rim; its row says own, reference or difference.
const RIM = 0.004;
const view = (svg) => svg.getAttribute("viewBox").split(" ").map(Number);
function turn(svg, side) {
  const [x, , width, height] = view(svg);
  svg.setAttribute("viewBox", [x, RIM + side * (height + 2 * RIM), width, height].join(" "));
}
for (const button of all("#pictures .sides button")) {
  button.addEventListener("click", () => {
    for (const other of all("#pictures .sides button")) other.setAttribute("aria-pressed", other === button);
    for (const svg of all(".tile[data-compared] svg")) turn(svg, button.dataset.side);
  });
}

const dialog = document.querySelector("dialog");
const large = { img: dialog.querySelector("img"), svg: dialog.querySelector("svg"), full: dialog.querySelector("form a") };
const choices = all(".sides button", dialog), names = ["own", "reference", "difference"];
let tile = null, side = 0;
function show(kind, full) {
  large.img.hidden = kind !== "img";
  large.svg.toggleAttribute("hidden", kind !== "svg");
  large.full.href = full;
  if (!dialog.open) dialog.showModal();
}
function enlarge(next, wanted) {
  [tile, side] = [next, "compared" in next.dataset ? wanted : 0];
  const small = next.querySelector("svg"), photo = document.getElementById(`maps-${next.dataset.photo}`);
  const title = `${next.dataset.name}${"compared" in next.dataset ? `, ${names[side]}` : ""}`;
  large.svg.setAttribute("viewBox", small.getAttribute("viewBox"));
  large.svg.firstElementChild.setAttribute("href", small.firstElementChild.getAttribute("href"));
  turn(large.svg, side);
  large.svg.setAttribute("aria-label", `${title}: ${small.getAttribute("aria-label")}`);
  dialog.querySelector(".caption").textContent = `${title} · ${photo.querySelector("figcaption b").textContent}`;
  dialog.querySelector(".sides").hidden = !("compared" in next.dataset);
  for (const choice of choices) choice.setAttribute("aria-pressed", Number(choice.dataset.side) === side);
  show("svg", photo.querySelector("figcaption a").href);
}
for (const button of all(".tile"))
  button.addEventListener("click", () => {
    const [, y, , height] = view(button.querySelector("svg"));
    enlarge(button, Math.floor(y / height));
  });
for (const choice of choices) choice.addEventListener("click", () => enlarge(tile, Number(choice.dataset.side)));
for (const link of all("a.zoom")) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const small = link.querySelector("img");
    tile = null;
    large.img.src = small.src;
    large.img.alt = small.alt;
    dialog.querySelector(".caption").textContent = link.closest("figure").querySelector("figcaption").textContent;
    dialog.querySelector(".sides").hidden = true;
    show("img", link.href);
  });
}
dialog.addEventListener("keydown", (event) => {
  if (!tile || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const wanted = ["1o", "2r", "3d"].findIndex((keys) => keys.includes(event.key));
  if (step) {
    const tiles = all(".tile", tile.closest("section"));
    enlarge(tiles[(tiles.indexOf(tile) + step + tiles.length) % tiles.length], side);
  } else if (wanted >= 0) enlarge(tile, wanted);
  else return;
  event.preventDefault();
});
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
