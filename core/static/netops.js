// What every page of a team does: hears of changes on a socket, keeps ages current, closes menus.
(() => {
  "use strict";
  const body = document.body;
  const team = body.dataset.team;
  const TOPICS = ["topology", "paths", "incidents", "agents", "consoles", "members"];
  const POLL_MS = 10_000;
  const GATHER_MS = 100;
  const APART_MS = 1000;

  // Changes: a topic that comes many times in a second is told once; a hidden page is told when it is looked at.
  const waiting = new Set();
  let timer = 0;
  let told = 0;
  const tell = () => {
    timer = 0;
    if (document.hidden) return;
    told = Date.now();
    for (const topic of waiting) body.dispatchEvent(new CustomEvent(`netops:${topic}`));
    waiting.clear();
  };
  const changed = (...topics) => {
    topics.forEach((topic) => waiting.add(topic));
    timer ||= setTimeout(tell, Math.max(GATHER_MS, told + APART_MS - Date.now()));
  };
  document.addEventListener("visibilitychange", () => waiting.size && !document.hidden && tell());

  const chip = document.getElementById("live");
  const show = (state, text) => {
    if (!chip || chip.dataset.live === state) return;
    chip.dataset.live = state;
    chip.querySelector("[data-live-text]").textContent = text;
  };

  let tries = 0;
  let polling = 0;
  const pause = () => {
    show("paused", "Not live");
    polling ||= setInterval(() => changed(...TOPICS), POLL_MS);
  };
  const connect = () => {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws/t/${team}/events`);
    socket.onopen = () => {
      clearInterval(polling);
      // Whatever changed while nobody listened is fetched now.
      if (polling || tries) changed(...TOPICS);
      polling = tries = 0;
      show("on", "Live");
    };
    socket.onmessage = (event) => {
      try {
        const { topic } = JSON.parse(event.data);
        if (TOPICS.includes(topic)) changed(topic);
      } catch {
        // Not ours to understand.
      }
    };
    socket.onclose = (event) => {
      pause();
      // No longer a member, or signed out elsewhere: the server says what there is to see.
      if (event.code === 4404) {
        location.reload();
        return;
      }
      const wait = Math.random() * Math.min(15_000, 500 * 2 ** tries++);
      setTimeout(connect, 250 + wait);
    };
  };
  if (team) connect();

  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [5, "s"]];
  const age = (seconds) => {
    const unit = UNITS.find(([size]) => seconds >= size);
    if (!unit) return "just now";
    return `${unit[1] === "s" ? Math.floor(seconds) : Math.floor(seconds / unit[0])} ${unit[1]} ago`;
  };
  setInterval(() => {
    if (document.hidden) return;
    for (const each of document.querySelectorAll("time[data-ago]")) {
      each.textContent = age((Date.now() - Date.parse(each.dateTime)) / 1000);
    }
  }, 5000);

  // On a phone the sections are a row that may be wider than the screen.
  document.querySelector(".rail [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });

  const close = (except) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (menu !== except) menu.open = false;
  };
  document.addEventListener("click", (event) => close(event.target.closest("details.menu")));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const open = document.querySelector("details.menu[open]");
    close(null);
    open?.querySelector("summary").focus();
  });

  // A session that ended answers with the sign-in page: go there, instead of showing it inside this one.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (new URL(event.detail.xhr.responseURL || location.href).pathname === "/sign-in/") {
      event.detail.shouldSwap = false;
      location.reload();
    }
  });
})();
