// What the administrator laid down for everybody: own statuses, teams and who sees what, hours, targets.
import { get, on } from './api.js';
import { count, language, t } from './words.js';
import { card, empty, fill, h, heading, mark, statusWord } from './ui.js';
import { table } from './admin.js';
import { weekWords } from './personal.js';

/** `forwarding.deny "+49900*"`, as people say it. */
const targetWord = (rule) => {
  const [, kind, target] = /^forwarding\.(deny|allow) "(.*)"$/.exec(rule) ?? [];
  return kind ? [t('house.' + kind), ' ', h('code', null, target)] : rule;
};

export async function house(room) {
  const place = h('div', { class: 'stack' });
  const load = async () => {
    const [{ data: statuses }, { data: rules }] = await Promise.all([get('statuses'), get('house')]);
    fill(place,
      card(t('house.statuses'), table(t('house.statuses'), [t('status'), t('house.id'), t('house.counts_as')], statuses.map((one) => [
        [mark(one.id, 'tiny'), ' ', one.text[language] ?? one.id], h('code', null, one.id), one.own ? statusWord(one.status) : t('house.built_in')]))),
      card(t('house.seen'), h('dl', { class: 'facts' }, [['team', 'people.seen_team'], ['others', 'people.seen_others']].map(([who, name]) => h('div', null,
        h('dt', null, t(name)), h('dd', null, t('level.' + (rules.visibility[who] ?? 'full')))))), h('p', { class: 'hint' }, t('house.seen_hint'))),
      card(t('people.teams'), rules.teams.length ? table(t('people.teams'), [t('team'), t('house.members')], rules.teams.map((team) => [team.name, count('colleagues', team.members)])) : empty(t('house.no_teams'))),
      card(t('hours'), rules.hours.length ? table(t('hours'), [t('team'), t('hours')], rules.hours.map(({ team, week }) => [team ?? t('rule.everybody'), h('ul', null, weekWords(week).map((words) => h('li', null, words)))])) : empty(t('house.no_hours'))),
      card(t('house.targets'), rules.forwarding.length ? h('ul', { class: 'plain-list' }, rules.forwarding.map((rule) => h('li', null, targetWord(rule)))) : empty(t('house.no_targets'))),
      card(t('house.defaults'), h('dl', { class: 'facts' }, [['ring', rules.ring_for_s], ['dnd', rules.dnd_status], ['calls', rules.call_limit]].map(([name, value]) => h('div', null,
        h('dt', null, t('house.' + name)), h('dd', null, value))))));
  };
  await load();
  fill(room, heading(t('view.house')), h('p', { class: 'hint' }, t('house.hint')), place);
  const stop = on('resync', () => load().catch(() => {}));
  return stop;
}
