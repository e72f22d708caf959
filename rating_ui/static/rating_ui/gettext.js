// Sentences in the page's language. The page brings them as data; English needs none.

const element = document.querySelector("#script-texts");
const catalog = element ? JSON.parse(element.textContent) : {};
const ORDER = ["zero", "one", "two", "few", "many", "other"];

export const language = document.documentElement.lang || "en";
const plurals = new Intl.PluralRules(language);
const forms = ORDER.filter((form) => plurals.resolvedOptions().pluralCategories.includes(form));

export function gettext(message) {
  const found = catalog[message];
  return (Array.isArray(found) ? found[0] : found) || message;
}

export function ngettext(one, many, n) {
  const found = catalog[one];
  if (!Array.isArray(found)) return n === 1 ? one : many;
  return found[forms.indexOf(plurals.select(n))] || many;
}

/** The sentence with each %(name)s replaced by values.name. */
export function fill(sentence, values) {
  return sentence.replace(/%\((\w+)\)s/g, (_, name) => String(values[name]));
}

/** A number as the language writes it, with so many digits after the point. */
export function digits(value, n_digits = 1) {
  return value.toLocaleString(language, {
    minimumFractionDigits: n_digits,
    maximumFractionDigits: n_digits,
  });
}
