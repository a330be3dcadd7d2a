// Choosing somebody by name, among all there are.
import { get } from './api.js';
import { calmly, fill, h } from './ui.js';

const PROPOSED = 20;
let lists = 0;

/** Reads colleagues, as far as they may be seen. */
export const readColleagues = (query) => get(`colleagues?${query}`).then(({ data }) => data);

/** How many names are asked for at once. */
const NAMES = 50;
const named = new Map();

/** The names of those who are meant by their ids, as far as they may be seen. */
export async function namesOf(ids) {
  const asked = [...new Set(ids)].filter((id) => /^[\w.~-]*[a-z][\w.~-]*$/i.test(id) && !named.has(id)).slice(0, NAMES);
  await Promise.all(asked.map((id) => get(`subscribers/${encodeURIComponent(id)}/status`).then(({ data }) => named.set(id, data.display_name), () => {})));
  return named;
}

/**
 * An input that proposes colleagues as one types. `read` says who or what is meant: an id where a
 * colleague was chosen or named, else what was typed. `show` writes somebody in.
 */
export function personInput({ leaves = () => false } = {}) {
  const known = new Map();
  const list = h('datalist', { id: `people${lists += 1}` });
  const input = h('input', { list: list.id, autocomplete: 'off', spellcheck: 'false' });
  let asked = 0;
  const written = (one) => (one.display_name && one.display_name !== one.id ? `${one.display_name} (${one.id})` : one.id);
  const propose = async () => {
    const typed = input.value.trim();
    if (known.has(typed)) return;
    const mine = asked += 1;
    const { colleagues } = await readColleagues(new URLSearchParams({ limit: PROPOSED, search: typed }));
    if (mine !== asked) return;
    colleagues.forEach((one) => known.set(written(one), one));
    fill(list, colleagues.filter((one) => !leaves(one.id)).map((one) => h('option', { value: written(one) })));
  };
  const read = async () => {
    const typed = input.value.trim();
    if (!typed) return typed;
    await propose();
    const called = [...known.values()].filter((one) => one.display_name?.toLowerCase() === typed.toLowerCase());
    return known.get(typed)?.id ?? (called.length === 1 ? called[0].id : typed);
  };
  const show = async (id) => {
    input.value = id;
    const { data } = await get(`subscribers/${encodeURIComponent(id)}/status`);
    known.set(written(data), data);
    if (input.value === id) input.value = written(data);
  };
  input.addEventListener('input', calmly(() => propose().catch(() => {}), 150));
  input.addEventListener('focus', () => propose().catch(() => {}), { once: true });
  return { input, list, read, show };
}
