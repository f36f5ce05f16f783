// The page: reads its data, fills the sections, ties controls to state.

import { showBars } from "./bars.js";
import { el, place } from "./element.js";
import { showFilters } from "./filters.js";
import { showImportance } from "./importance.js";
import { showLegend } from "./legend.js";
import { showMaps } from "./maps.js";
import { measured, readNets, varies } from "./nets.js";
import { showAccuracies, showFacts, showOptions } from "./overview.js";
import { MOMENTS, readPoints } from "./points.js";
import { showRegression } from "./regression.js";
import { makeScatter } from "./scatter.js";
import { makeState, passing } from "./state.js";
import { showSelection } from "./table.js";

const WAITING = {
  bars: "nws classify ZOO or nws figures ZOO makes the table meta_classification",
  maps: "nws figures ZOO makes the table maps",
  importance: "nws figures ZOO makes the table importance, of nets of one architecture",
  regression: "nws figures ZOO makes the table regression",
};
const id = (name) => document.getElementById(name);
const data = JSON.parse(id("data").textContent);
const nets = readNets(data);
const state = makeState({ colour: data.colour, progress: 1, trail: "all", filters: {}, selected: new Set(), hover: null, lasso: false, theme: "auto" });

id("title").textContent = data.title;
id("sentence").textContent = data.sentence;
id("origin").textContent = [`nws ${data.origin.version}`, data.origin.commit && `commit ${data.origin.commit}`, `seed ${data.settings.seed}`, (data.settings.images ?? []).join(", ")].filter(Boolean).join(" · ");
themes();
showFacts(id("facts"), data, nets);
const tested = measured(nets.byName.get("test_accuracy"));
if (nets.byName.has("dataset") && tested) showAccuracies(id("accuracies"), nets);
showOptions(id("options"), nets);
id("says").textContent = tested ? "Test accuracy at the end of training, per image set and per option." : "Nets per option.";
if (data.plane) picture();
else place(id("picture"), el("p", { class: "absent" }, data.method));
const reading = [...(data.meta_classification ?? []), ...(data.local ?? [])];
section("bars", reading, (root) => showBars(root, reading));
section("maps", data.maps, (root) => showMaps(root, data.maps, state));
section("importance", data.importance, (root) => showImportance(root, data.importance, state));
section("regression", data.regression, (root) => showRegression(root, data.regression));
for (const [name, tables] of Object.entries({ bars: ["meta_classification", "local"], maps: ["maps"], importance: ["importance"], regression: ["regression"] })) {
  const said = [...new Set(tables.flatMap((table) => data.notes[table] ?? []))];
  if (said.length) id(name).after(el("p", { class: "quiet" }, `${said.join("; ")}.`));
}
document.documentElement.dataset.ready = "yes";

function section(name, rows, show) {
  if (rows && rows.length) show(id(name));
  else place(id(name), el("p", { class: "absent" }, "Nothing to show yet: ", el("code", {}, WAITING[name]), ", if the zoo can have one, then ", el("code", {}, "nws report ZOO"), "."));
}

function picture() {
  const points = readPoints(data.plane, nets);
  const columns = nets.columns.filter(varies);
  const moments = MOMENTS.filter(([name]) => name !== "accuracy_now" || nets.curves.test.some((v) => !Number.isNaN(v)));
  place(id("colour"), [...columns.map((c) => [c.name, c.label]), ...moments].map(([value, text]) => el("option", { value }, text)));
  id("colour").value = state.get("colour");
  id("colour").addEventListener("change", () => state.set({ colour: id("colour").value }));
  id("trail").addEventListener("change", () => state.set({ trail: id("trail").value, hover: null }));
  const plot = makeScatter(id("plot"), nets, points, state);
  id("method").textContent = `${points.count.toLocaleString("en")} snapshots of ${nets.count.toLocaleString("en")} nets. ${data.method}. Large dots: each net at the moment of the slider.`;
  id("reset").addEventListener("click", plot.reset);
  id("in").addEventListener("click", () => plot.zoom(0.75));
  id("out").addEventListener("click", () => plot.zoom(1 / 0.75));
  id("lasso").addEventListener("click", () => state.set({ lasso: !state.get("lasso") }));
  state.on(["lasso"], () => {
    id("lasso").setAttribute("aria-pressed", String(state.get("lasso")));
    id("plot").classList.toggle("lassoing", state.get("lasso"));
  });
  slider();
  showLegend(id("legend"), nets, state);
  showFilters(id("filters"), id("shown"), nets, state);
  id("unfilter").addEventListener("click", () => state.set({ filters: {}, hover: null }));
  id("take").addEventListener("click", () => {
    const mask = passing(nets, state.get("filters"));
    state.set({ selected: new Set([...mask.keys()].filter((n) => mask[n])) });
  });
  showSelection(id("selection"), nets, state, data.title.replace(/[^\w-]+/g, "_") || "zoo");
}

function slider() {
  const input = id("progress");
  const tell = () => { id("moment").textContent = `${Math.round(100 * state.get("progress"))}%`; };
  input.addEventListener("input", () => { stop(); state.set({ progress: Number(input.value) / 1000 }); });
  state.on(["progress"], () => {
    input.value = Math.round(1000 * state.get("progress"));
    tell();
  });
  let playing = 0;
  const stop = () => {
    cancelAnimationFrame(playing);
    playing = 0;
    id("play").textContent = "Play";
  };
  id("play").addEventListener("click", () => {
    if (playing) return stop();
    const from = state.get("progress") >= 1 ? 0 : state.get("progress");
    const started = performance.now();
    const step = (now) => {
      const progress = Math.min(1, from + Math.max(0, now - started) / 8000);
      state.set({ progress });
      if (progress >= 1) stop();
      else playing = requestAnimationFrame(step);
    };
    id("play").textContent = "Pause";
    playing = requestAnimationFrame(step);
  });
  tell();
}

function themes() {
  const order = ["auto", "light", "dark"];
  id("theme").addEventListener("click", () => {
    const next = order[(order.indexOf(state.get("theme")) + 1) % 3];
    document.documentElement.dataset.theme = next;
    id("theme").textContent = `Theme: ${next}`;
    state.set({ theme: next });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    const chosen = state.get("theme");
    state.set({ theme: "" }); // so that what is drawn is drawn again
    state.set({ theme: chosen });
  });
}
