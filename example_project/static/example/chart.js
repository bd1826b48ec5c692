// A small chart of the last minutes: one value each second, drawn as an area that grows from the
// right.

const SECONDS = 120;
const [WIDTH, HEIGHT] = [240, 44];
const SVG = "http://www.w3.org/2000/svg";

export class Chart {
  /**
   * `format(value)` is what is written beside it; `least` the value that the height stands for at
   * least.
   */
  constructor(figure, { format, least }) {
    this.values = [];
    this.format = format;
    this.least = least;
    this.number = figure.querySelector("output");
    this.most = figure.querySelector(".most");
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    [this.area, this.line] = ["area", "line"].map((name) => {
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("class", name);
      svg.append(path);
      return path;
    });
    figure.querySelector(".plot").append(svg);
  }

  add(value) {
    this.values.push(value);
    if (this.values.length > SECONDS) this.values.shift();
    const known = this.values.filter((each) => each !== null);
    const most = Math.max(this.least, ...known);
    const step = WIDTH / (SECONDS - 1);
    const left = WIDTH - (this.values.length - 1) * step;
    const points = this.values.map((each, place) => {
      const height = ((each ?? 0) / most) * (HEIGHT - 3);
      return `${(left + place * step).toFixed(1)},${(HEIGHT - 1 - height).toFixed(1)}`;
    });
    const [first, last] = [`${left.toFixed(1)},${HEIGHT}`, `${WIDTH},${HEIGHT}`];
    this.line.setAttribute("d", `M${points.join("L")}`);
    this.area.setAttribute("d", `M${first}L${points.join("L")}L${last}Z`);
    this.number.textContent = value === null ? "–" : this.format(value);
    this.most.textContent = `peak ${this.format(Math.max(0, ...known))}`;
  }
}

/** Feeds two charts, of events per second and of lag, with what REST says of a stream. */
export function chartReports() {
  const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const rate = new Chart(document.getElementById("rate"), {
    format: (value) => `${number.format(value)}/s`,
    least: 5,
  });
  const lag = new Chart(document.getElementById("lag"), {
    format: (value) => (value < 10 ? `${value.toFixed(1)} s` : `${number.format(value)} s`),
    least: 1,
  });
  let before = null;
  return (report) => {
    const now = performance.now();
    if (report === null) {
      before = null;
      rate.add(null);
      lag.add(null);
      return;
    }
    const read = report.ordinal - (before?.ordinal ?? report.ordinal);
    rate.add(before ? Math.max(0, read) / ((now - before.now) / 1000) : 0);
    lag.add(report.lag_seconds ?? 0);
    before = { ordinal: report.ordinal, now };
  };
}
