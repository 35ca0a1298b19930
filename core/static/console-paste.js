// Paste with pacing: text of several lines is shown first, goes out no faster than the port, line by line, and can wait
// for the device's prompt. What waits here waits nowhere else, so nobody is held up by a long paste.
(() => {
  "use strict";
  const MOST = 1 << 20;
  const SHOWN = 20_000;
  const AHEAD = 16 << 10;
  const TICK_MS = 50;
  const PATIENCE_MS = 30_000;
  const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });
  const size = (count) => (count < 1024 ? `${count} characters` : `${Math.round(count / 1024)} K characters`);

  // Keys that a text has: a line's end is Return, other controls are not text.
  const keys = (text) => text.replace(/\r?\n/g, "\r").replace(/[\x00-\x08\x0a-\x0c\x0e-\x1f\x7f]/g, "");
  const cut = (text) => keys(text).split(/(?<=\r)/);

  // `send` says whether it could; `say` tells a sentence; `waiting` is how many bytes the socket has not taken yet.
  window.netopsPaste = (box, terminal, { send, say, waiting }) => {
    const dialog = document.getElementById("paste");
    const bar = box.querySelector(".console-pasting");
    const meter = bar.querySelector("progress");
    const words = bar.querySelector("span");
    let running = null;
    let ended = "";
    const stop = (why) => {
      ended = why;
      running = null;
    };

    const row = () => terminal.buffer.active.baseY + terminal.buffer.active.cursorY;
    const line = () => {
      const buffer = terminal.buffer.active;
      return buffer.getLine(row())?.translateToString(true, 0, buffer.cursorX).trim() ?? "";
    };
    let seen = () => {};
    // Further down than `from`: the prompt at which the line was typed is not the one that follows it.
    const prompted = async (prompt, from, stopped) => {
      const until = Date.now() + PATIENCE_MS;
      while ((!from.isDisposed && row() <= from.line) || !line().endsWith(prompt)) {
        if (stopped() || Date.now() > until) return false;
        await Promise.race([new Promise((done) => { seen = done; }), pause(500)]);
      }
      return true;
    };

    const run = async (text, { speed, delay, prompt }) => {
      const lines = cut(text);
      const mine = {};
      const stopped = () => running !== mine;
      running = mine;
      bar.hidden = false;
      meter.max = lines.length;
      let why = "";
      let done = 0;
      for (; done < lines.length && !why; done += 1) {
        meter.value = done;
        const from = terminal.registerMarker(0);
        words.textContent = `Pasting line ${done + 1} of ${lines.length}`;
        for (let at = 0; at < lines[done].length && !why;) {
          const piece = lines[done].slice(at, at + Math.max(1, Math.round((speed * TICK_MS) / 1000)));
          if (stopped()) why = ended;
          else if (waiting() > AHEAD) await pause(TICK_MS);
          else if (!send(piece)) why = "you may not type here now";
          else {
            at += piece.length;
            await pause((piece.length * 1000) / speed);
          }
        }
        if (!why && delay && done + 1 < lines.length) await pause(delay);
        if (!why && prompt && done + 1 < lines.length && !(await prompted(prompt, from, stopped))) {
          why = stopped() ? ended : `${prompt} did not come for ${PATIENCE_MS / 1000} s`;
        }
        from.dispose();
      }
      if (running === mine) running = null;
      bar.hidden = true;
      say(why ? `Pasting ended in line ${done} of ${lines.length}: ${why}.` : `Pasted ${lines.length} ${lines.length === 1 ? "line" : "lines"}.`);
      terminal.focus();
    };
    bar.querySelector("button").addEventListener("click", () => stop("cancelled"));

    // The dialog is one for all terminals of a page: it is told whose it is now.
    let kept = "";
    const open = (text) => {
      if (terminal.options.disableStdin) return say("You may not type here now: nothing was pasted.");
      if (running) return say("A paste is under way here: cancel it first.");
      const form = dialog.querySelector("form");
      const field = form.elements.text;
      const fault = dialog.querySelector(".field-error");
      const about = dialog.querySelector(".paste-size");
      const long = text.length > SHOWN;
      kept = text;
      field.value = long ? `${text.slice(0, SHOWN)}\n…` : text;
      field.readOnly = long;
      form.elements.speed.placeholder = box.dataset.baud / 10;
      form.elements.prompt.value = line().slice(-40);
      fault.hidden = true;
      const tell = () => {
        const whole = long ? kept : field.value;
        about.textContent = whole ? `${size(whole.length)} in ${cut(whole).length} lines` : "";
      };
      field.oninput = tell;
      tell();
      form.onsubmit = (event) => {
        event.preventDefault();
        const whole = long ? kept : field.value;
        if (!whole || whole.length > MOST) {
          fault.textContent = whole
            ? `The text has ${size(whole.length)}: at most ${size(MOST)} can be pasted at once.`
            : "Put a text in first.";
          fault.hidden = false;
          return;
        }
        dialog.close();
        run(whole, {
          speed: Number(form.elements.speed.value) || box.dataset.baud / 10,
          delay: Number(form.elements.delay.value) || 0,
          prompt: form.elements.wait.checked ? form.elements.prompt.value.trim() : "",
        });
      };
      dialog.onclose = () => {
        kept = field.value = "";
        terminal.focus();
      };
      dialog.showModal();
      return field.focus();
    };

    box.addEventListener("paste", (event) => {
      const text = event.clipboardData?.getData("text/plain") ?? "";
      if (event.target.closest("input[type=search]") || !/[\r\n]./.test(text)) return;
      event.preventDefault();
      event.stopPropagation();
      open(text);
    }, true);
    return { open, stop, seen: () => seen() };
  };

  document.getElementById("paste").addEventListener("click", (event) => {
    if (event.target.closest("[data-close]")) document.getElementById("paste").close();
  });
})();
