// The start of a run's page.

if (document.querySelector("#rows .table")) drawTable(document.querySelector("#rows .table"), DATA.table);
startCharts({
  history: historyChart, parameters: scatterChart, curves: curvesChart, heatmap: heatmapChart,
  parallel: parallelChart, distribution: distributionChart, utilisation: utilisationChart,
});
