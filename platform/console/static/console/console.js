// Brings the page's own entry of the menu into view where the menu scrolls sideways.
const current = document.querySelector(".sidebar [aria-current]");
if (current && current.closest(".sidebar").scrollWidth > current.closest(".sidebar").clientWidth) {
  current.scrollIntoView({ block: "nearest", inline: "center" });
}
// The button that counts them again is for browsers without scripts.
document.querySelector(".recount")?.setAttribute("hidden", "");
// Preferences are counted again when another study or base is chosen.
for (const select of document.querySelectorAll(".round-form select")) {
  select.addEventListener("change", () => {
    const form = select.form;
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(form)) {
      if (name !== "csrfmiddlewaretoken" && value) query.set(name, value);
    }
    if (select.name === "study") query.delete("base");
    window.location.assign(`${window.location.pathname.replace(/start\/$/, "new/")}?${query}`);
  });
}
