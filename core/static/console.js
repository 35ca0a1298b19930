// A serial console. The server keeps every byte by its offset; this shows them, and sends what is typed or pasted.
(() => {
  "use strict";
  const PIECE = 1024;
  const MAX_TRIES_MS = 15_000;

  const start = (box) => {
    const part = (name) => box.querySelector(`.console-${name}`) ?? document.getElementById(`console-${name}`);
    const stateChip = part("state");
    const told = part("told");
    const { terminal, fit, search } = netopsScreen(part("screen"));

    let socket = null;
    let place = null;
    let tries = 0;
    let over = false;
    let writes = false;
    let key = "";
    const people = netopsPeople(part("people"), (what) => socket?.send(JSON.stringify({ type: "ask", what })));

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
      for (const each of box.querySelectorAll("[data-writes]")) each.disabled = !yes;
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
      refused: (message) => {
        paste.stop("it was refused");
        say(message.sentence);
      },
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
      readable(bytes);
      terminal.write(bytes, () => paste.seen());
    };

    // Said once: what is shown as \uFFFD, and why that may be.
    const decoder = new TextDecoder();
    let odd = false;
    const readable = (bytes) => {
      if (odd || !decoder.decode(bytes, { stream: true }).includes("\uFFFD")) return;
      odd = true;
      say(`Some of this is not UTF-8 and shows as \uFFFD. If all of it does, the speed of the port is not ${box.dataset.baud} baud.`);
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
    const send = (text) => {
      if (!writes || socket?.readyState !== WebSocket.OPEN) return false;
      const bytes = encoder.encode(text);
      for (let at = 0; at < bytes.length; at += PIECE) socket.send(bytes.slice(at, at + PIECE));
      return true;
    };
    const paste = netopsPaste(box, terminal, { send, say, waiting: () => socket?.bufferedAmount ?? 0 });
    let typed = false;
    terminal._core.coreService.onUserInput(() => { typed = true; });
    terminal.onData((text) => {
      const byPerson = typed;
      typed = false;
      if (byPerson) send(text);
    });

    const size = (change) => {
      terminal.options.fontSize = Math.min(28, Math.max(9, terminal.options.fontSize + change));
      fit.fit();
    };
    const copy = () => {
      const text = terminal.getSelection();
      if (!text) say("Select something first.");
      else navigator.clipboard?.writeText(terminal.getSelection()).then(() => say("Copied."), () => say("The browser did not allow it."));
    };
    const ACTIONS = {
      copy,
      paste: () => paste.open(""),
      smaller: () => size(-1),
      larger: () => size(1),
      break: () => socket?.send(JSON.stringify({ type: "break" })),
      full: () => (document.fullscreenElement ? document.exitFullscreen() : box.requestFullscreen()),
    };
    box.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do]");
      if (!button) return;
      ACTIONS[button.dataset.do]();
      if (button.dataset.do !== "paste") terminal.focus();
    });
    // Ctrl+C goes to the device; with Shift it is the clipboard's, as in other terminals.
    terminal.attachCustomKeyEventHandler((event) => {
      if (!(event.ctrlKey && event.shiftKey && event.code === "KeyC")) return true;
      if (event.type === "keydown") copy();
      event.preventDefault();
      return false;
    });
    const field = box.querySelector("input[type=search]");
    field?.addEventListener("input", () => search.findPrevious(field.value, { incremental: true }));
    field?.addEventListener("keydown", (event) => {
      if (event.key === "Enter") event.shiftKey ? search.findNext(field.value) : search.findPrevious(field.value);
      if (event.key === "Escape") terminal.focus();
    });
    may(false);
    connect();
    return terminal;
  };

  const terminals = [...document.querySelectorAll(".console[data-ticket]")].map(start);
  terminals[0].focus();
})();
