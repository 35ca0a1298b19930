// The topology map. The server says what is where and in what condition; this draws it and keeps it current.
(() => {
  "use strict";
  const box = document.getElementById("map");
  const side = document.getElementById("side");
  const sideBody = document.getElementById("side-body");
  let map = null;
  let opener = null;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const drawing = (id, stroke) => {
    const svg = document.getElementById(id).content.firstElementChild.outerHTML.replace("currentColor", stroke);
    return `data:image/svg+xml;utf8,${encodeURIComponent(svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"'))}`;
  };
  const FONT = "system-ui, -apple-system, Segoe UI, Roboto, Liberation Sans, Arial, sans-serif";

  // Colour, width, dashes and a word: no condition is told by colour alone.
  const style = () => {
    const [ink, ink2, surface, ground, accent, edge] = ["--ink", "--ink-2", "--surface", "--surface", "--accent", "--edge-2"].map(colour);
    const [up, degraded, down] = ["--up", "--degraded", "--down"].map(colour);
    return [
      { selector: "node", style: {
        label: "data(label)", color: ink, "font-family": FONT, "font-size": 13, "font-weight": 600,
        "text-valign": "bottom", "text-margin-y": 7, "text-outline-color": ground, "text-outline-width": 3,
        "text-max-width": 150, "text-wrap": "ellipsis", "min-zoomed-font-size": 7,
        width: 40, height: 40, "background-color": surface, "border-width": 2.5, "border-color": accent,
        "background-image": drawing("icon-device", accent), "background-width": 21, "background-height": 21,
        "overlay-opacity": 0 } },
      { selector: "node[?learned][!up]", style: { "border-color": down, "border-style": "dashed", color: down, "background-image": drawing("icon-device", down) } },
      { selector: "node[kind='device'][!learned]", style: { "border-color": ink2, "border-width": 1.5, "border-style": "dotted", color: ink2, "font-weight": 500, "background-image": drawing("icon-device", ink2) } },
      { selector: "node[kind='endpoint']", style: {
        shape: "round-rectangle", width: 46, height: 26, "border-width": 1.5, "border-color": ink2,
        "background-image": drawing("icon-endpoint", ink2), "background-width": 17, "background-height": 17, "font-weight": 500, color: ink2 } },
      { selector: "edge", style: {
        width: 3, "line-color": up, "curve-style": "bezier", "font-family": FONT, "font-size": 11.5, "font-weight": 700,
        "text-background-color": surface, "text-background-opacity": 1, "text-background-padding": 4,
        "text-background-shape": "round-rectangle", "text-border-width": 1.2, "text-border-opacity": 1,
        "overlay-opacity": 0 } },
      { selector: "edge[condition='stub']", style: { width: 1.5, "line-color": edge } },
      { selector: "edge[condition='unlearned']", style: {
        width: 1.5, "line-color": edge, "line-style": "dashed", "line-dash-pattern": [2, 4], label: "data(word)", color: ink2,
        "font-weight": 500, "text-border-width": 0 } },
      { selector: "edge[condition='degraded']", style: {
        width: 4, "line-color": degraded, "line-style": "dashed", "line-dash-pattern": [14, 5],
        label: "data(word)", color: degraded, "text-border-color": degraded } },
      { selector: "edge[condition='fault']", style: {
        width: 5, "line-color": down, "source-label": "data(word)", "source-text-offset": 58, color: down, "text-border-color": down } },
      { selector: "edge[condition='down']", style: {
        width: 3, "line-color": down, "line-style": "dashed", "line-dash-pattern": [3, 7],
        "source-label": "data(word)", "source-text-offset": 58, color: down, "text-border-color": down } },
      { selector: "edge[toward='target']", style: { "target-arrow-shape": "triangle", "target-arrow-color": down, "arrow-scale": 1.3 } },
      { selector: "edge[toward='source']", style: { "source-arrow-shape": "triangle", "source-arrow-color": down, "arrow-scale": 1.3 } },
      { selector: ":selected", style: { "underlay-color": accent, "underlay-opacity": 0.25, "underlay-padding": 7 } },
    ];
  };

  const elements = ({ nodes, edges }) => {
    // The server lays the long side flat; a phone is tall.
    const tall = box.clientHeight > box.clientWidth * 1.1;
    const names = Object.fromEntries(nodes.map((node) => [node.id, node.label]));
    return [
      ...nodes.map(({ x, y, ...data }) => ({ group: "nodes", data, position: tall ? { x: y, y: x } : { x, y } })),
      ...edges.map(({ direction, ...data }) => {
        const [from, to] = direction.split("→");
        const toward = from === names[data.source] && to === names[data.target] ? "target"
          : from === names[data.target] && to === names[data.source] ? "source" : "";
        return { group: "edges", data: { ...data, toward } };
      }),
    ];
  };

  const fit = () => map.fit(undefined, box.clientWidth < 600 ? 24 : 48);

  const show = async (url, id) => {
    map.elements().unselect();
    map.getElementById(id).select();
    side.hidden = false;
    box.closest(".map-frame").classList.add("with-side");
    map.resize();
    await htmx.ajax("GET", url, { target: sideBody, swap: "innerHTML" });
    side.focus({ preventScroll: matchMedia("(min-width: 801px)").matches });
  };
  const hide = () => {
    if (side.hidden) return;
    side.hidden = true;
    sideBody.replaceChildren();
    box.closest(".map-frame").classList.remove("with-side");
    map?.elements().unselect();
    map?.resize();
    opener?.focus();
    opener = null;
  };

  const update = (data) => {
    const wanted = elements(data);
    const ids = new Set(wanted.map((each) => each.data.id));
    const before = map.nodes().length;
    map.batch(() => {
      map.elements().filter((each) => !ids.has(each.id())).remove();
      for (const each of wanted) {
        const known = map.getElementById(each.data.id);
        if (known.empty()) map.add(each);
        else {
          const { source, target, ...rest } = each.data;
          known.data(rest);
          if (each.position) known.position(each.position);
        }
      }
    });
    document.getElementById("map-empty").hidden = data.nodes.length > 0;
    if (map.nodes().length !== before) fit();
  };

  let fetching = false;
  let again = false;
  const load = async () => {
    again = fetching;
    if (fetching) return;
    fetching = true;
    try {
      const answer = await fetch(box.dataset.url, { headers: { Accept: "application/json" } });
      if (answer.ok && !answer.redirected) update(await answer.json());
    } catch {
      // The next change or the polling asks again.
    } finally {
      fetching = false;
      if (again) load();
    }
  };

  map = cytoscape({ container: box, style: style(), minZoom: 0.15, maxZoom: 3, boxSelectionEnabled: false, autoungrabify: true });
  map.on("tap", "node, edge", ({ target }) => target.data("url") && show(target.data("url"), target.id()));
  map.on("tap", (event) => event.target === map && hide());
  map.on("mouseover", "[url != '']", () => box.classList.add("pointing"));
  map.on("mouseout", "[url != '']", () => box.classList.remove("pointing"));
  document.documentElement.addEventListener("netops-theme", () => map.style(style()));
  document.body.addEventListener("netops:topology", load);
  document.body.addEventListener("netops:incidents", load);
  new ResizeObserver(() => { map.resize(); fit(); }).observe(box);

  document.querySelector(".map-tools").addEventListener("click", (event) => {
    const tool = event.target.closest("[data-map]")?.dataset.map;
    if (tool === "fit") fit();
    else if (tool) map.zoom({ level: map.zoom() * (tool === "in" ? 1.3 : 1 / 1.3), renderedPosition: { x: box.clientWidth / 2, y: box.clientHeight / 2 } });
  });
  document.addEventListener("click", (event) => {
    const pick = event.target.closest("a[data-pick]");
    if (!pick || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    opener = pick;
    show(pick.getAttribute("href"), pick.dataset.pick);
  });
  document.getElementById("side-close").addEventListener("click", hide);
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  load();
})();
