// Who is at a console, what each of them does, and the buttons by which it changes hands.
(() => {
  "use strict";
  const WORDS = {
    alone: ["lock", "has it alone"], typing: ["keyboard", "typing"], ready: ["user-circle", "here"], looking: ["eye", "looks on"],
  };
  const VIA = { ssh: "SSH", program: "program" };

  // In `bar`; `ask` sends what somebody wants: request, grant, refuse, release, take.
  window.netopsPeople = (bar, ask) => {
    const list = bar.querySelector("ul");
    const asked = bar.querySelector(".people-asked");
    const icons = bar.querySelector("template").content;
    const buttons = Object.fromEntries([...bar.querySelectorAll("[data-ask]")].map((each) => [each.dataset.ask, each]));
    let you = 0;
    let rights = { writes: false, takes: false };
    let state = { people: [], lock: null, asking: [] };

    const chip = (person) => {
      const item = document.createElement("li");
      const [icon, word] = WORDS[person.does] ?? WORDS.looking;
      const name = document.createElement("b");
      const does = document.createElement("span");
      name.textContent = person.n === you ? `${person.name} (you)` : person.name;
      does.textContent = VIA[person.via] ? `${word}, by ${VIA[person.via]}` : word;
      item.dataset.does = person.does;
      item.append(icons.querySelector(`[data-icon="${icon}"]`).firstElementChild.cloneNode(true), name, does);
      return item;
    };
    const draw = () => {
      const { people, lock, asking } = state;
      const mine = lock !== null && lock.n === you;
      const waiting = people.find((each) => each.n === asking[0]);
      const elsewhere = lock !== null && !people.some((each) => each.n === lock.n);
      list.replaceChildren(...people.map(chip));
      if (elsewhere) list.append(chip({ n: -1, name: lock.who, does: "alone" }));
      asked.textContent = mine && waiting ? `${waiting.name} asks for it` : "";
      buttons.request.hidden = !rights.writes || mine;
      buttons.request.disabled = asking.includes(you);
      buttons.request.lastChild.textContent = asking.includes(you) ? "Asked" : "Request exclusive";
      buttons.grant.hidden = buttons.refuse.hidden = asked.hidden = !(mine && waiting);
      buttons.release.hidden = !mine;
      buttons.take.hidden = !rights.takes || lock === null || mine;
      bar.querySelector(".people-readonly").hidden = rights.writes || you === 0;
    };
    bar.addEventListener("click", (event) => {
      const button = event.target.closest("[data-ask]");
      if (button) ask(button.dataset.ask);
    });
    return {
      hello: (message) => { you = message.you; },
      rights: (message) => { rights = message; draw(); },
      people: (message) => { state = message; draw(); },
    };
  };
})();
