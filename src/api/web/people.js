// The administrator's subscribers.
import { ask, get, on, replace, Overtaken } from './api.js';
import { count, t } from './words.js';
import { avatar, button, calmly, dialog, empty, field, fill, h, heading, icon, linesOf, mark, select, shownOf, statusWord, sure, toast, tool, warnings, wrong } from './ui.js';

const PAGE = 100;

export async function people(room) {
  let found = []; let next; let order = 0;
  const search = h('input', { type: 'search', 'aria-label': t('search'), placeholder: t('people.search'), autocomplete: 'off' });
  const total = h('p', { class: 'hint', role: 'status' });
  const list = h('ul', { class: 'people wide' });
  const none = empty(t('people.none'));
  const told = h('div');
  const more = button(t('more'), () => load(true).catch(wrong));

  async function load(isMore = false) {
    const mine = order += 1;
    const query = new URLSearchParams({ limit: PAGE });
    if (search.value.trim()) query.set('search', search.value.trim());
    if (isMore) query.set('after', next);
    const { data } = await get(`subscribers?${query}`);
    if (mine !== order) return;
    found = isMore ? [...found, ...data.subscribers] : data.subscribers;
    next = data.next;
    total.textContent = count('people', data.total);
    draw();
  }

  function draw() {
    const at = list.contains(document.activeElement) ? document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent : null;
    const before = new Map([...list.children].map((item) => [item.dataset.id, item]));
    const keep = (item) => (before.get(item.dataset.id)?.isEqualNode(item) ? before.get(item.dataset.id) : item);
    fill(list, found.map((one) => keep(h('li', { 'data-id': one.id },
      avatar(one.display_name, shownOf(one)),
      h('div', { class: 'words' },
        h('a', { class: 'name', href: `#/of/${encodeURIComponent(one.id)}/status` }, one.display_name),
        h('p', { class: 'hint' }, [one.id, ...one.aliases ?? []].join(' · '))),
      h('p', { class: 'state' }, mark(shownOf(one), 'tiny'), statusWord(shownOf(one))),
      h('div', { class: 'tools' }, tool('edit', t('people.edit', { name: one.display_name }), () => edit(one.id).catch(wrong)),
        tool('bin', t('people.delete', { name: one.display_name }), () => remove(one)))))));
    if (at) [...list.querySelectorAll('a,button')].find((element) => (element.getAttribute('aria-label') ?? element.textContent) === at)?.focus();
    none.hidden = found.length > 0;
    more.hidden = !next;
  }

  const remove = (one) => sure(t('people.delete', { name: one.display_name }), t('people.delete_hint'), t('delete'), async () => {
    const { data } = await ask('DELETE', `subscribers/${encodeURIComponent(one.id)}`);
    toast(t('deleted'));
    if (data.forwarding_total) toast(`${count('people.led_there', data.forwarding_total)}: ${data.forwarding.slice(0, 20).join(', ')}`, 'bad');
    await load();
  });

  async function edit(known) {
    const path = () => `subscribers/${encodeURIComponent(known)}`;
    const seen = known ? await get(path()) : { data: {} };
    const one = seen.data;
    const id = h('input', { value: one.id ?? '', readonly: Boolean(known), autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false' });
    const name = h('input', { value: one.display_name ?? '', autocomplete: 'off' });
    const aliases = h('textarea', { rows: 3, spellcheck: 'false', value: (one.aliases ?? []).join('\n') });
    const tongue = select([['', t('people.language_any')], ['de', 'Deutsch'], ['en', 'English']], one.language ?? '');
    const delegates = h('input', { value: (one.delegates ?? []).join(', '), autocomplete: 'off', spellcheck: 'false' });
    const teams = h('input', { value: (one.teams ?? []).join(', '), autocomplete: 'off' });
    const levels = [['', t('level.configured')], ...['full', 'status', 'free_busy', 'none'].map((level) => [level, t('level.' + level)])];
    const seenBy = { team: select(levels, one.visibility?.team ?? ''), others: select(levels, one.visibility?.others ?? '') };
    const page = h('input', { type: 'password', autocomplete: 'new-password', placeholder: known ? t('people.keep') : '' });
    const phone = h('input', { type: 'password', autocomplete: 'new-password', placeholder: one.has_password ? t('people.keep') : '' });
    dialog(known ? t('people.edit', { name: one.display_name }) : t('people.new'), [
      h('div', { class: 'pair' }, field(t('people.id'), id, { name: 'id', hint: known ? '' : t('people.id_hint') }), field(t('name'), name, { name: 'display_name' })),
      field(t('people.aliases'), aliases, { name: 'aliases', hint: t('people.aliases_hint') }),
      h('div', { class: 'pair' }, field(t('language'), tongue, { name: 'language' }), field(t('people.delegates'), delegates, { name: 'delegates', hint: t('people.delegates_hint') })),
      field(t('people.teams'), teams, { name: 'teams', hint: t('people.teams_hint') }),
      h('div', { class: 'pair' }, field(t('people.seen_team'), seenBy.team, { name: 'visibility.team' }), field(t('people.seen_others'), seenBy.others, { name: 'visibility.others' })),
      h('div', { class: 'pair' }, field(t('people.page_password'), page, { name: 'page_password', hint: t('people.page_password_hint') }), field(t('people.phone_password'), phone, { name: 'password' })),
    ], {
      done: t('save'),
      submit: async () => {
        const { effective_status, calls, has_password, warnings: odd, version, ...document } = one;
        const body = { ...document, id: id.value.trim(), display_name: name.value.trim(), aliases: linesOf(aliases), delegates: linesOf(delegates), teams: linesOf(teams) };
        body.visibility = Object.fromEntries(Object.entries(seenBy).map(([who, choice]) => [who, choice.value]).filter(([, level]) => level));
        delete body.language;
        if (tongue.value) body.language = tongue.value;
        if (phone.value) body.password = phone.value;
        const part = (whole) => [whole.display_name, whole.aliases, whole.language, whole.delegates, whole.teams, whole.visibility, whole.settings, whole.exceptions, whole.status, whole.status_message, whole.until, whole.triggers];
        let saved;
        try {
          saved = known ? await replace(path(), seen, body, { part }) : await ask('POST', 'subscribers', body);
        } catch (problem) {
          if (!(problem instanceof Overtaken)) throw problem;
          toast(t('overtaken'), 'bad');
          await load();
          return true;
        }
        fill(told, warnings(saved.data.warnings));
        if (page.value) {
          try {
            await ask('PUT', `subscribers/${encodeURIComponent(saved.data.id)}/page-password`, { password: page.value });
          } catch (problem) {
            known ??= saved.data.id;
            Object.assign(seen, saved);
            throw Object.assign(problem, { problems: problem.problems.map(({ text }) => ({ field: 'page_password', text })) });
          }
        }
        toast(t('saved'));
        await load();
        return true;
      },
    });
  }

  await load();
  fill(room, heading(t('view.people'), button([icon('plus'), t('people.new')], () => edit().catch(wrong), 'primary')),
    h('div', { class: 'filters', role: 'search' }, h('span', { class: 'find' }, icon('search'), search)), told, total, list, none, more);
  const again = () => load().catch(() => {});
  search.addEventListener('input', calmly(again));
  const later = calmly(again, 500);
  const stops = [on('resync', again), on('document', later), on('status', (news) => {
    const at = found.findIndex((one) => one.id === news.id);
    if (at < 0 || news.deleted) { later(); return; }
    found[at] = { ...found[at], effective_status: news.effective_status, own_status: news.own_status, display_name: news.display_name ?? found[at].display_name };
    draw();
  })];
  return () => stops.forEach((stop) => stop());
}
