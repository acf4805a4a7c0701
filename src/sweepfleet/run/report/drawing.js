// Charts are drawn as they come near the window, again when it changes, and all of them for paper.

const NEAR = 700; // pixels below the window within which a chart is drawn already

function startCharts(makers) {
  const charts = [];
  Object.entries(makers).forEach(([name, make]) => {
    const section = document.getElementById(name);
    if (!section) return;
    const plot = section.querySelector(".plot");
    charts.push({ plot, made: null, make: () => make(plot, section.querySelector(".controls"), section.querySelector(".caption")) });
  });
  document.querySelectorAll(".edged > .scroll").forEach(watchEdges);

  function draw(chart) {
    try {
      chart.made = chart.made || chart.make();
      chart.made();
    } catch (error) { // one chart that fails takes no other with it
      console.error(error);
    }
    chart.plot.dataset.drawn = "yes";
  }
  const drawAll = () => charts.forEach(draw);
  const drawAgain = () => charts.filter(({ made }) => made).forEach(draw);

  const near = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
    const chart = charts.find(({ plot }) => plot === entry.target);
    near.unobserve(chart.plot);
    if (!chart.made) draw(chart);
  }), { rootMargin: `${NEAR}px 0px` });
  charts.forEach((chart) => {
    if (chart.plot.getBoundingClientRect().top < window.innerHeight) draw(chart);
    else near.observe(chart.plot);
  });

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAgain);
  let width = window.innerWidth;
  let waiting = 0;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return; // a phone's address bar comes and goes
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(drawAgain, 120);
  });
  // Paper is white, whatever the screen is, and all of it is drawn.
  window.addEventListener("beforeprint", () => { document.documentElement.dataset.print = "yes"; drawAll(); });
  window.addEventListener("afterprint", () => { delete document.documentElement.dataset.print; drawAgain(); });
  document.documentElement.dataset.ready = "yes";
}
