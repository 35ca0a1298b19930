// A serial console. The server keeps every byte by its offset; this shows them, and sends what is typed or pasted.
(() => {
  "use strict";
  const box = document.getElementById("console");
  const screen = document.getElementById("console-screen");
  const stateChip = document.getElementById("console-state");
  const told = document.getElementById("console-told");
  const PASTE = 1024;
  const MAX_TRIES_MS = 15_000;

  const { terminal, fit, search } = netopsScreen(screen);

  let socket = null;
  let place = null;
  let tries = 0;
  let over = false;
  let writes = false;
  let key = "";
  const people = netopsPeople((what) => socket?.send(JSON.stringify({ type: "ask", what })));

  const show = (look, text) => {
    stateChip.className = `state state-${look}`;
    stateChip.textContent = text;
  };
  let quiet = 0;
  const say = (sentence) => {
    told.textContent = sentence;
    told.hidden = !sentence;
    clearTimeout(quiet);
    quiet = setTimeout(() => { told.hidden = true; }, 8000);
  };
  const may = (yes) => {
    writes = yes;
    terminal.options.disableStdin = !yes;
    for (const each of document.querySelectorAll("[data-writes]")) each.disabled = !yes;
  };
  const portIs = (trouble) => {
    if (trouble) show("degraded", `This port ${trouble}`.replace("This port its", "Its"));
    else show("up", writes ? "Open" : "Open, you look on");
  };

  const messages = {
    hello: (message) => {
      tries = 0;
      key = message.key;
      people.hello(message);
      messages.writes(message);
      portIs(message.trouble);
      if (place === null) place = message.from;
    },
    people: people.people,
    state: (message) => portIs(message.trouble),
    writes: (message) => {
      may(message.writes);
      people.rights(message);
    },
    told: (message) => say(message.sentence),
    refused: (message) => say(message.sentence),
  };
  const output = (data) => {
    const view = new DataView(data);
    const offset = Number(view.getBigUint64(0));
    if (place !== null && offset > place) {
      const lost = offset - place;
      terminal.write(`\r\n\x1b[0;7m ${lost === 1 ? "something is" : `${lost} bytes are`} missing here \x1b[0m\r\n`);
    }
    const bytes = new Uint8Array(data, 8);
    place = offset + bytes.length;
    terminal.write(bytes);
  };

  const connect = async () => {
    let answer;
    try {
      const token = document.querySelector("#console-token input").value;
      const got = await fetch(box.dataset.ticket, { method: "POST", headers: { "X-CSRFToken": token }, redirect: "error" });
      if (got.status === 403 || got.status === 404) over = true;
      if (!got.ok) throw new Error(String(got.status));
      answer = await got.json();
    } catch {
      again();
      return;
    }
    socket = new WebSocket(answer.url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(JSON.stringify({ ticket: answer.ticket, from: place, key }));
    socket.onmessage = (event) => {
      if (event.data instanceof ArrayBuffer) output(event.data);
      else {
        const message = JSON.parse(event.data);
        messages[message.type]?.(message);
      }
    };
    socket.onclose = again;
  };
  const again = () => {
    socket = null;
    may(false);
    if (over) {
      show("down", "Closed");
      say("This console is not open to you any more: reload the page.");
      return;
    }
    show("degraded", "Connecting again");
    setTimeout(connect, 200 + Math.random() * Math.min(MAX_TRIES_MS, 500 * 2 ** tries++));
  };

  // Only what a person typed or pasted goes out. The terminal also answers questions that output asks (what are you,
  // where is the cursor); such answers are told apart by the event that xterm.js fires for a person's input alone.
  const encoder = new TextEncoder();
  let typed = false;
  terminal._core.coreService.onUserInput(() => { typed = true; });
  terminal.onData((text) => {
    const byPerson = typed;
    typed = false;
    if (!byPerson || !writes || socket?.readyState !== WebSocket.OPEN) return;
    const bytes = encoder.encode(text);
    for (let at = 0; at < bytes.length; at += PASTE) socket.send(bytes.slice(at, at + PASTE));
  });

  const size = (change) => {
    terminal.options.fontSize = Math.min(28, Math.max(9, terminal.options.fontSize + change));
    fit.fit();
  };
  const ACTIONS = {
    copy: () => navigator.clipboard?.writeText(terminal.getSelection()).then(() => say("Copied."), () => say("The browser did not allow it.")),
    smaller: () => size(-1),
    larger: () => size(1),
    break: () => socket?.send(JSON.stringify({ type: "break" })),
    full: () => (document.fullscreenElement ? document.exitFullscreen() : box.requestFullscreen()),
  };
  box.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    if (!button) return;
    ACTIONS[button.dataset.do]();
    terminal.focus();
  });
  const field = document.getElementById("console-search");
  field.addEventListener("input", () => search.findPrevious(field.value, { incremental: true }));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") event.shiftKey ? search.findNext(field.value) : search.findPrevious(field.value);
    if (event.key === "Escape") terminal.focus();
  });
  may(false);
  terminal.focus();
  connect();
})();
