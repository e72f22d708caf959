// A second try of the headphone check: it is begun here, and made on its own page.

import { Api } from "../api.js";

const button = document.querySelector("[data-act=again]");
const api = new Api({ root: button.dataset.apiRoot, csrfCookie: button.dataset.csrfCookie });

button.addEventListener("click", async () => {
  try {
    await api.send("POST", "arrival/device-check", {});
  } finally {
    location.assign(button.dataset.next);
  }
});
