// What happened to calls while somebody did not want to be disturbed, told once that is over.
import { get } from './api.js';
import { count, t, when } from './words.js';
import { fill, h, party, tool } from './ui.js';

export const read = (of, query) => get(`subscribers/${encodeURIComponent(of)}/journal?${new URLSearchParams(query)}`).then(({ data }) => data);

/** Who it is, as people know them: a colleague's name, else the number. */
export const caller = (one) => one.from_name ?? (/^sips?:anonymous@/i.test(one.from) ? t('class.anonymous') : party(one.from));

const seenAt = (of) => { try { return localStorage.getItem(`digest:${of}`) ?? ''; } catch { return ''; } };

/** "While you did not want to be disturbed: 3 calls", once that is over. */
export async function digest(place, of) {
  const [{ data }, { entries }] = await Promise.all([get(`subscribers/${encodeURIComponent(of)}/status`), read(of, { limit: 200 })]);
  const after = Math.max(Date.parse(seenAt(of)) || 0, Date.now() - 86400e3);
  const held = entries.filter((one) => one.kind === 'rejected_dnd' && Date.parse(one.at) > after);
  if (data.status === 'dnd' || !held.length) { fill(place); return; }
  const close = () => { try { localStorage.setItem(`digest:${of}`, held[0].at); } catch { /* shown again */ } fill(place); };
  fill(place, h('section', { class: 'card digest', 'aria-label': t('digest.title') },
    h('div', { class: 'heading' }, h('h2', null, `${t('digest.title')}: ${count('calls', held.length)}`), tool('close', t('digest.close'), close)),
    h('ul', null, held.slice(0, 5).map((one) => h('li', null, h('strong', null, caller(one)), ` ${when(one.at)}`))),
    held.length > 5 && h('p', { class: 'hint' }, t('digest.more', { n: held.length - 5 })),
    h('a', { href: '#/journal/rejected' }, t('digest.show'))));
}
