// A console's log, shown as it came: at any speed, from any moment. The terminal has no way back to a device: the page has
// no socket, and what the terminal would answer goes nowhere.
(() => {
  "use strict";
  const box = document.getElementById("replay");
  if (!box) return;
  const SILENCE_MS = 1000; // what longer ones are shortened to, in time of whoever looks
  const STEP_MS = 100; // within which the log knows when a byte came
  const BUSY = 1 << 19; // bytes that the terminal may be behind
  const LOW = 1 << 18; // fetch the next piece when less is left
  const LEAP_MS = 10_000;
  const { terminal, search } = netopsScreen(document.getElementById("console-screen"), { disableStdin: true, cursorBlink: false });
  const play = document.getElementById("replay-play");
  const speed = document.getElementById("replay-speed");
  const skip = document.getElementById("replay-skip");
  const clock = document.getElementById("replay-clock");
  const told = document.getElementById("replay-told");
  const lineBox = document.getElementById("replay-line");
  const slider = () => document.getElementById("replay-place");

  let queue = []; // {t, bytes, at}: when they came, and where they stand in the log
  let left = 0; // bytes in it
  let next = 0; // the offset to fetch
  let shown = 0; // the offset up to which the terminal has it
  let end = 0;
  let now = 0; // the time of the log, in milliseconds
  let playing = false;
  let fetching = null;
  let behind = 0;
  let round = 0; // counts places: what was fetched for one that was left is dropped

  const say = (sentence) => {
    told.textContent = sentence;
    told.hidden = !sentence;
  };
  const stamp = (ms) => new Date(ms).toISOString().replace("T", " ").replace("Z", "").slice(0, 21) + " UTC";
  const show = () => {
    clock.textContent = now ? stamp(now) : "";
    slider().value = now;
    slider().setAttribute("aria-valuetext", clock.textContent);
    box.dataset.shown = shown;
  };
  const toggle = (yes) => {
    playing = yes;
    play.setAttribute("aria-pressed", String(yes));
    play.setAttribute("aria-label", yes ? "Pause" : "Play");
    if (yes) {
      before = performance.now();
      requestAnimationFrame(tick);
    }
  };

  const fetchPiece = async (query) => {
    const answer = await fetch(`${box.dataset.piece}?${new URLSearchParams(query)}`, { redirect: "error" });
    if (!answer.ok) throw new Error(String(answer.status));
    const piece = await answer.json();
    piece.bytes = Uint8Array.from(atob(piece.data), (each) => each.charCodeAt(0));
    return piece;
  };
  // One event for each time that the log knows.
  const enqueue = (piece) => {
    const stop = piece.offset + piece.bytes.length;
    piece.times.forEach(([at, t], index) => {
      const from = Math.max(at, piece.offset);
      const to = Math.min(piece.times[index + 1]?.[0] ?? stop, stop);
      if (from < to) queue.push({ t, at: from, bytes: piece.bytes.subarray(from - piece.offset, to - piece.offset) });
    });
    left += piece.bytes.length;
    next = stop;
    end = piece.end;
  };
  const more = () => {
    if (fetching || next >= end || left > LOW) return;
    const mine = round;
    fetching = fetchPiece({ offset: next })
      .then((piece) => { if (mine === round) piece.bytes.length ? enqueue(piece) : (end = next); })
      .catch(() => { if (mine === round) { toggle(false); say("The log could not be fetched: try again in a moment."); } })
      .finally(() => { if (mine === round) fetching = null; });
  };
  const write = (bytes) => {
    behind += bytes.length;
    terminal.write(bytes, () => { behind -= bytes.length; });
    shown += bytes.length;
    left -= bytes.length;
  };
  const missing = (at) => {
    if (shown && at > shown) {
      const lost = at - shown;
      terminal.write(`\r\n\x1b[0;7m ${lost === 1 ? "something is" : `${lost} bytes are`} missing here \x1b[0m\r\n`);
    }
    shown = at;
  };
  // Up to `most` bytes of the first event.
  const take = (most) => {
    const event = queue[0];
    missing(event.at);
    const bytes = event.bytes.subarray(0, most);
    write(bytes);
    if (bytes.length === event.bytes.length) queue.shift();
    else queue[0] = { ...event, at: event.at + bytes.length, bytes: event.bytes.subarray(bytes.length) };
  };

  let before = 0;
  const tick = (frame) => {
    if (!playing) return;
    const wall = Math.min(250, Math.max(0, frame - before));
    before = frame;
    more();
    if (speed.value === "max") {
      while (queue.length && behind < BUSY) {
        now = queue[0].t;
        take(1 << 16);
      }
    } else {
      const factor = Number(speed.value);
      if (queue.length && behind < BUSY) now += wall * factor;
      while (queue.length && behind < BUSY) {
        const event = queue[0];
        if (event.t > now) {
          if (skip.checked) now = Math.max(now, event.t - SILENCE_MS * factor);
          break;
        }
        // Evenly over the time that the log does not tell apart.
        const share = Math.min(1, (now - event.t + 1) / STEP_MS);
        const portion = Math.ceil((event.bytes.length + (event.done ?? 0)) * share) - (event.done ?? 0);
        if (portion <= 0) break;
        const done = (event.done ?? 0) + portion;
        const whole = portion >= event.bytes.length;
        take(portion);
        if (!whole) {
          queue[0].done = done;
          break;
        }
      }
    }
    show();
    if (!queue.length && !fetching && next >= end) toggle(false);
    else requestAnimationFrame(tick);
  };

  // Draw what was seen at a place, {offset} or {time}; a line that stands there is shown to its end.
  const seek = async (query) => {
    const mine = ++round;
    fetching = null;
    let piece;
    try {
      piece = await fetchPiece({ ...query, context: 1 });
    } catch {
      if (mine === round) say("The log could not be fetched: try again in a moment.");
      return;
    }
    if (mine !== round) return;
    say("");
    queue = [];
    left = shown = now = 0;
    terminal.reset();
    // Not with half a sequence: from a line's begin.
    const first = piece.offset > piece.first ? piece.bytes.indexOf(10) + 1 : 0;
    piece.bytes = piece.bytes.subarray(first);
    piece.offset += first;
    enqueue(piece);
    let place = piece.place;
    if ("offset" in query && place < piece.end) {
      const newline = piece.bytes.indexOf(10, Math.max(0, place - piece.offset));
      if (newline >= 0) place = piece.offset + newline + 1;
    }
    while (queue.length && queue[0].at < place) {
      now = queue[0].t;
      take(place - queue[0].at);
    }
    if ("time" in query) now = Math.max(now, query.time);
    else if (!now && queue.length) now = queue[0].t;
    show();
  };
  const seekTime = (ms) => {
    const { since, until } = lineBox.firstElementChild.dataset;
    seek({ time: Math.round(Math.min(Number(until), Math.max(Number(since), ms))) });
  };

  play.addEventListener("click", async () => {
    if (!playing && shown >= end && !queue.length) await seek({ time: Number(lineBox.firstElementChild.dataset.since) });
    toggle(!playing);
  });
  let waiting = 0;
  lineBox.addEventListener("input", (event) => {
    if (event.target !== slider()) return;
    now = Number(event.target.value);
    clock.textContent = stamp(now);
    clearTimeout(waiting);
    waiting = setTimeout(() => seekTime(now), 60);
  });
  box.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-span]");
    if (!button) return;
    const answer = await fetch(`${box.dataset.line}?${new URLSearchParams({ span: button.dataset.span, offset: Math.max(0, shown - 1) })}`, { redirect: "error" }).catch(() => null);
    if (!answer?.ok) return say("The time line could not be fetched: try again in a moment.");
    lineBox.innerHTML = await answer.text();
    for (const each of box.querySelectorAll("[data-span]")) each.setAttribute("aria-pressed", String(each === button));
    show();
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-place]");
    if (!link) return;
    event.preventDefault();
    toggle(false);
    seek({ offset: Number(link.dataset.place) });
    box.scrollIntoView({ block: "nearest" });
  });
  const KEYS = {
    " ": () => play.click(),
    ArrowLeft: () => seekTime(now - LEAP_MS),
    ArrowRight: () => seekTime(now + LEAP_MS),
    Home: () => seekTime(0),
    End: () => seek({ offset: end }),
  };
  document.addEventListener("keydown", (event) => {
    const own = event.target.closest("input, select, button, a, textarea:not(.xterm-helper-textarea), [contenteditable]");
    if (own || event.ctrlKey || event.altKey || event.metaKey || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  const field = document.getElementById("console-search");
  field.addEventListener("input", () => search.findPrevious(field.value, { incremental: true }));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") event.shiftKey ? search.findNext(field.value) : search.findPrevious(field.value);
  });
  toggle(false);
  seek(box.dataset.place ? { offset: Number(box.dataset.place) } : { offset: Number.MAX_SAFE_INTEGER });
})();
