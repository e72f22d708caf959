// Words pinned to a moment of a clip: asked for in a dialog, listed under the deck, shown as pins.

import { uuid } from "./answers.js";
import { SIDES } from "./graph.js";
import { clock, texts } from "./texts.js";

function button(className, label, icon = "") {
  const element = document.createElement("button");
  element.type = "button";
  element.className = className;
  if (icon) {
    element.innerHTML = `<svg class="icon" aria-hidden="true"><use href="#icon-${icon}"/></svg>`;
    element.setAttribute("aria-label", label);
  } else {
    element.textContent = label;
  }
  return element;
}

export class Remarks {
  /** say: tells screen readers a sentence. */
  constructor({ list, dialog, deck, player, answers, say }) {
    Object.assign(this, { list, dialog, deck, player, answers, say });
    this.pair = null;
    this.place = null; // {side, at_s} while the dialog is open
    this.form = dialog.querySelector("form");
    this.form.addEventListener("submit", () => this.add());
  }

  /** Shows what was remarked about a pair; the pair keeps its remarks. */
  show(pair) {
    this.pair = pair;
    if (!pair.remarks) {
      const { id, remarks } = pair.assignment;
      const waiting = this.answers.remarksOn(id);
      const stored = remarks.filter((r) => !waiting.some((w) => w.client_id === r.client_id));
      pair.remarks = [...stored, ...waiting];
    }
    this.draw();
  }

  /** Asks for words about this moment of the clip that is listened to. */
  ask() {
    const { player } = this;
    this.place = { side: player.side, at_s: Math.floor(player.position_s * 10) / 10 };
    this.dialog.querySelector("h2").textContent = texts.remarkAt(this.place.side, this.place.at_s);
    this.form.reset();
    this.dialog.showModal();
  }

  add() {
    const text = new FormData(this.form).get("text").trim();
    const { pair, place } = this;
    if (!pair || !place || !text) return;
    const remark = { client_id: uuid(), assignment: pair.assignment.id, ...place, text };
    pair.remarks.push(remark);
    this.answers.add({ kind: "remark", ...remark });
    this.say(texts.remarkAdded(place.side, place.at_s));
    this.draw();
  }

  remove(remark) {
    this.forget(this.pair, remark.client_id);
    this.answers.removeRemark(remark.client_id);
    this.say(texts.remarkRemoved);
    (this.list.querySelector("button") ?? document.querySelector("[data-act=remark]")).focus();
  }

  /** Takes a remark off the page, because its rater or the site did not want it. */
  forget(pair, client_id) {
    if (!pair?.remarks) return;
    pair.remarks = pair.remarks.filter((remark) => remark.client_id !== client_id);
    if (pair === this.pair) this.draw();
  }

  draw() {
    const remarks = [...this.pair.remarks].sort((x, y) => x.at_s - y.at_s);
    this.list.hidden = remarks.length === 0;
    this.list.replaceChildren(...remarks.map((remark) => this.item(remark)));
    for (const side of SIDES) {
      this.deck.showPins(side, remarks.filter((r) => r.side === side).map((r) => r.at_s));
    }
  }

  item(remark) {
    const { side, at_s, text } = remark;
    const item = document.createElement("li");
    item.dataset.side = side;
    const go = button("go", "");
    go.innerHTML = `<span class="visually-hidden"></span> <b>${side}</b> <span class="at">${clock(at_s)}</span> <span class="words"></span>`;
    go.querySelector(".visually-hidden").textContent = texts.hear;
    go.querySelector(".words").textContent = text;
    go.addEventListener("click", () => {
      if (this.player.side !== side) this.player.listenTo(side);
      this.player.seek(at_s);
    });
    const remove = button("remove", texts.removeRemark(side, at_s), "close");
    remove.addEventListener("click", () => this.remove(remark));
    item.append(go, remove);
    return item;
  }
}
