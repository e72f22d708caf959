// Brings the page's own entry of the menu into view where the menu scrolls sideways.
const current = document.querySelector(".sidebar [aria-current]");
if (current && current.closest(".sidebar").scrollWidth > current.closest(".sidebar").clientWidth) {
  current.scrollIntoView({ block: "nearest", inline: "center" });
}
// The button that counts them again is for browsers without scripts.
document.querySelector(".recount")?.setAttribute("hidden", "");
// A reload finds a plan as it was chosen: the address keeps it.
const plan = document.querySelector("[data-plan]");
plan?.addEventListener("change", () => {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(plan)) {
    if (value) query.append(name, value);
  }
  history.replaceState(null, "", `${new URL(plan.action).pathname}?${query}`);
});
