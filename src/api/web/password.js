// The password asked for again when a session is over, and changed.
import { ask, get } from './api.js';
import { t } from './words.js';
import { dialog, field, h, toast } from './ui.js';
import { refusal, ways } from './signin.js';

/**
 * Asks whose session is over for the password again, over the page: what was typed there stays.
 * Answers with the new session; with nothing where it is given up, or only the whole form will do.
 */
export async function signInAgain(session) {
  const { passwords } = await ways();
  const byToken = session.role === 'administrator';
  if (session.via !== 'page' || session.at_provider || !(byToken || passwords)) return undefined;
  const secret = h('input', { name: 'secret', type: 'password', autocomplete: byToken ? 'off' : 'current-password' });
  return new Promise((resolve) => {
    let found;
    const box = dialog(t('session.over'), [
      h('p', null, t(byToken ? 'session.again_token' : 'session.again', { name: session.display_name ?? session.id })),
      !byToken && h('input', { name: 'username', autocomplete: 'username', value: session.id, readonly: true, hidden: true }),
      field(t(byToken ? 'sign_in.token' : 'sign_in.password'), secret, { name: 'secret' }),
    ], {
      className: 'small again', done: t('sign_in'), close: t('session.leave'),
      submit: async () => {
        try {
          found = (await ask('POST', 'session', byToken ? { token: secret.value.trim() } : { id: session.id, password: secret.value })).data;
        } catch (problem) {
          secret.select();
          throw Object.assign(new Error(), { problems: [{ field: 'secret', text: refusal(problem, byToken ? 'sign_in.no_token' : 'sign_in.wrong') }] });
        }
      },
    });
    box.addEventListener('close', () => resolve(found));
  });
}

export async function changePassword(id) {
  const path = `subscribers/${encodeURIComponent(id)}/page-password`;
  const { data } = await get(path);
  const old = h('input', { type: 'password', autocomplete: 'current-password' });
  const fresh = h('input', { type: 'password', autocomplete: 'new-password' });
  const again = h('input', { type: 'password', autocomplete: 'new-password' });
  dialog(t('password.change'), [
    h('input', { name: 'username', autocomplete: 'username', value: id, readonly: true, hidden: true }),
    field(t(data.is_set ? 'password.old' : 'password.old_phone'), old, { name: 'old' }),
    field(t('password.new'), fresh, { name: 'password', hint: t('password.hint') }),
    field(t('password.again'), again, { name: 'again' }),
  ], {
    className: 'small', done: t('save'),
    submit: async () => {
      if (fresh.value !== again.value) throw Object.assign(new Error(), { problems: [{ field: 'again', text: t('password.differ') }] });
      await ask('PUT', path, { password: fresh.value, old: old.value });
      toast(t('password.changed'));
    },
  });
}
