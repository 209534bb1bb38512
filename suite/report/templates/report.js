"use strict";
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
for (const button of document.querySelectorAll("th button")) {
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
for (const input of document.querySelectorAll("input[data-table]")) {
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    for (const row of document.getElementById(input.dataset.table).tBodies[0].rows)
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}
const dialog = document.querySelector("dialog");
for (const link of document.querySelectorAll("a.zoom")) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const small = link.querySelector("img"), large = dialog.querySelector("img");
    large.src = small.src;
    large.alt = small.alt;
    dialog.querySelector("a").href = link.href;
    dialog.showModal();
  });
}
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
