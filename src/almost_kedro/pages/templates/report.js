"use strict";
// Draws the charts; all that they show stands in the page's tables, too.
const charts = JSON.parse(document.getElementById("charts").textContent);
const figures = [...document.querySelectorAll("[data-chart]")];
// About the width of an A4 page: paper does not tell its width before it is printed on.
const paperWidth = 680;

for (const figure of figures) {
  const { data, layout } = charts[figure.dataset.chart];
  Plotly.newPlot(figure, data, layout, { responsive: true, displaylogo: false });
}

addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.open = true;
    details.dataset.opened = "";
  }
  for (const figure of figures) Plotly.relayout(figure, { width: paperWidth });
});
addEventListener("afterprint", () => {
  for (const details of document.querySelectorAll("[data-opened]")) {
    details.open = false;
    delete details.dataset.opened;
  }
  for (const figure of figures) {
    Plotly.relayout(figure, { autosize: true, width: null }).then(Plotly.Plots.resize);
  }
});
