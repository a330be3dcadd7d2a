// Signing in.
import { ask, get } from './api.js';
import { t } from './words.js';
import { button, clearFaults, field, fill, h } from './ui.js';

/** How people can sign in; by password where the server does not say. */
export const ways = () => get('session/ways').then(({ data }) => data, () => ({ passwords: true }));

/** Why nobody was signed in, in words. */
export const refusal = (problem, wrong) => (problem.status === 429 ? t('sign_in.wait', { n: problem.wait || 60 })
  : problem.status === 401 ? t(wrong) : problem.message || t('error.line'));

/** Shows the form; `enter` is called with who is signed in, `failed` is why the provider signed nobody in. */
export async function signIn(app, { machine, enter, languages, failed }) {
  const { passwords, provider } = await ways();
  let byToken = !passwords && !provider;
  const hasForm = () => passwords || byToken;
  const id = h('input', { name: 'id', autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false', required: true });
  const password = h('input', { name: 'password', type: 'password', autocomplete: 'current-password', required: true });
  const token = h('input', { name: 'token', type: 'password', autocomplete: 'off', spellcheck: 'false' });
  const fields = h('div', { class: 'fields' });
  const other = button('', () => { byToken = !byToken; draw(); (hasForm() ? fields.querySelector('input') : form.querySelector('.button')).focus(); }, 'link');
  const fault = h('p', { class: 'fault', role: 'alert', hidden: true });
  const go = h('button', { type: 'submit', class: 'primary' }, t('sign_in'));
  const form = h('form', { class: 'card signin', novalidate: true },
    h('img', { src: '/assets/icon.svg', alt: '', width: 56, height: 56 }),
    h('h1', { tabindex: -1 }, t('sign_in.title')), fault,
    provider && h('a', { class: 'button primary', href: provider.path }, provider.label),
    provider && passwords && h('p', { class: 'or' }, t('sign_in.or')), fields, go, other,
    machine?.via === 'machine' && button(t('sign_in.machine'), () => enter(machine), 'link'));
  const draw = () => {
    fields.hidden = go.hidden = !hasForm();
    go.className = provider ? '' : 'primary';
    fill(fields, !hasForm() ? [] : byToken
      ? field(t('sign_in.token'), token, { name: 'token' })
      : [field(t('sign_in.id'), id, { name: 'id' }), field(t('sign_in.password'), password, { name: 'password' })]);
    other.textContent = t(!byToken ? 'sign_in.by_token' : passwords ? 'sign_in.by_password' : 'cancel');
    other.hidden = byToken && !passwords && !provider;
    fault.hidden = true;
  };
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    clearFaults(form);
    fault.hidden = true;
    const missing = [...fields.querySelectorAll('input')].find((input) => !input.value.trim());
    if (missing) { missing.setAttribute('aria-invalid', 'true'); missing.focus(); return; }
    go.disabled = true;
    try {
      const body = byToken ? { token: token.value.trim() } : { id: id.value.trim(), password: password.value };
      const { data } = await ask('POST', 'session', body);
      await enter(data);
      document.querySelector('h1')?.focus();
    } catch (problem) {
      fault.textContent = refusal(problem, byToken ? 'sign_in.no_token' : 'sign_in.wrong');
      fault.hidden = false;
      (byToken ? token : password).select();
    }
    go.disabled = false;
  });
  draw();
  document.title = `${t('sign_in')} · pointsman`;
  fill(app, h('main', { class: 'gate' }, form, h('footer', null, languages())));
  if (failed) { fault.textContent = t('provider.' + failed); fault.hidden = false; }
  (provider ? form.querySelector('.button') : id).focus();
}
