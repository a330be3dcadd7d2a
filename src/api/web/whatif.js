// What would happen to a call, before anybody calls.
import { get } from './api.js';
import { language, t, zoneHint } from './words.js';
import { button, card, field, fill, fromLocal, h, heading, icon, showFaults, clearFaults, toLocal } from './ui.js';
import { personInput } from './choice.js';

const DRAWN = { connect: 'in', redirect: 'forwarded', forward: 'forwarded', reject: 'no', pass_on: 'forwarded', relay: 'forwarded', final_response: 'in' };

export async function whatIf(room, { of, isAdmin }) {
  const caller = personInput();
  const callee = personInput();
  const from = caller.input;
  const to = callee.input;
  const at = h('input', { type: 'datetime-local', value: toLocal(Date.now()) });
  const answer = h('div', { 'aria-live': 'polite' });
  const form = h('form', { class: 'card ask', novalidate: true },
    h('div', { class: 'pair' },
      field(t('whatif.from'), from, { name: 'from', hint: t('whatif.from_hint') }),
      isAdmin && field(t('whatif.to'), to, { name: 'to', hint: t('whatif.to_hint') }),
      field(t('whatif.at'), at, { name: 'at', hint: zoneHint() })), caller.list, callee.list,
    h('div', { class: 'bar' }, h('button', { type: 'submit', class: 'primary' }, t('whatif.ask')),
      button(t('class.anonymous'), () => { from.value = 'anonymous'; from.focus(); }, 'quiet'),
      button(t('whatif.now'), () => { at.value = toLocal(Date.now()); at.focus(); }, 'quiet')));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    clearFaults(form);
    if (!from.value.trim()) { showFaults(form, { problems: [{ field: 'from', text: t('whatif.nobody') }] }); return; }
    try {
      const query = new URLSearchParams({ from: await caller.read(), to: isAdmin ? await callee.read() : of, lang: language });
      if (at.value) query.set('at', fromLocal(at.value));
      draw((await get(`explain?${query}`)).data, query.get('from'));
    } catch (problem) {
      showFaults(form, problem);
    }
  });
  function draw(found, typed) {
    const asked = `${found.caller_name ?? (found.caller_class === 'anonymous' ? t('class.anonymous') : typed)} → ${found.callee_name ?? (to.value.trim() || of)}`;
    fill(answer, h('section', { class: `card result plan-${found.plan}` },
      h('div', { class: 'verdict' }, icon(DRAWN[found.plan] ?? 'in'),
        h('div', null, h('h2', null, found.summary), h('p', { class: 'hint' }, [asked, t('class.' + found.caller_class), found.status && t('whatif.status', { n: found.status }), found.ring_for_s && t('whatif.rings', { n: found.ring_for_s })].filter(Boolean).join(' · ')))),
      h('h3', null, t('whatif.why')),
      h('ol', { class: 'chain' }, found.reasons.map((reason) => h('li', null, reason.sentence)))),
    found.afterwards.length > 0 && card(t('whatif.afterwards'), h('ul', { class: 'after' }, found.afterwards.map((one) => h('li', null,
      h('p', null, one.sentence), h('small', null, one.reasons.map((reason) => reason.sentence).join(' → ')))))));
  }
  fill(room, heading(t('view.whatif')), h('p', { class: 'hint' }, t('whatif.hint')), form, answer);
}
