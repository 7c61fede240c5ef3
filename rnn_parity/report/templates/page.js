"use strict";

// The headers of the list sort it: by what a cell shows, or by the number behind it.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  heads.forEach((head, column) => {
    const key = (row) => row.cells[column].dataset.v;
    const order = (a, b) => {
      const [x, y] = [key(a), key(b)];
      const difference = Number(x) - Number(y);
      return Number.isNaN(difference) ? x.localeCompare(y, undefined, { numeric: true }) : difference;
    };
    head.querySelector("button").addEventListener("click", () => {
      const descends = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descends ? "descending" : "ascending");
      body.append(...[...body.rows].sort((a, b) => (descends ? order(b, a) : order(a, b))));
    });
  });
}

// What a link leads to is opened.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const folded = target && target.closest("details");
  if (folded) {
    folded.open = true;
    folded.scrollIntoView();
  }
}
addEventListener("hashchange", openTarget);
openTarget();
