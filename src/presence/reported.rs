//! What becomes of a document when clients and calendars report, and when somebody dismisses that.

use super::change::ChangeError;
use super::layers::{SIGNALS_LIMIT, Signal};
use super::model::{Source, Subscriber};

/// What was dismissed stays dismissed while the event lasts.
pub(super) fn report(next: &mut Subscriber, signal: Signal) -> Result<(), ChangeError> {
    let is_full = next.signals.len() >= SIGNALS_LIMIT;
    let mut signals = next.signals.iter_mut();
    let known = signals.find(|other| other.kind == signal.kind && other.id == signal.id);
    match known {
        Some(known) => {
            let dismissed = known.dismissed || signal.dismissed;
            *known = Signal {
                dismissed,
                ..signal
            };
        }
        None if is_full => {
            return Err(ChangeError::Refused(format!(
                "there are {SIGNALS_LIMIT} signals already; withdraw some, or give them an end"
            )));
        }
        None => next.signals.push(signal),
    }
    Ok(())
}

/// Hours that are dismissed stay so until their next boundary.
pub(super) fn dismiss_hours(
    next: &mut Subscriber,
    current: Option<Signal>,
    dismissed: bool,
) -> Result<(), ChangeError> {
    let current = current.ok_or_else(|| {
        ChangeError::Refused("there is nothing that the hours say now".to_owned())
    })?;
    next.signals.retain(|signal| !signal.is_of_hours());
    if dismissed {
        let dismissed = Signal {
            dismissed,
            ..current
        };
        report(next, dismissed)?;
    }
    Ok(())
}

/// What the calendars say no more is gone; what other clients report stays.
pub(super) fn report_calendar(next: &mut Subscriber, signals: Vec<Signal>) {
    let is_of_calendar = |signal: &Signal| signal.source == Source::Calendar;
    let before = std::mem::take(&mut next.signals);
    let (known, others): (Vec<_>, Vec<_>) = before.into_iter().partition(is_of_calendar);
    next.signals = others;
    let room = SIGNALS_LIMIT.saturating_sub(next.signals.len());
    next.signals
        .extend(signals.into_iter().take(room).map(|signal| {
            let mut known = known.iter();
            let before = known.find(|other| other.kind == signal.kind && other.id == signal.id);
            Signal {
                dismissed: before.is_some_and(|before| before.dismissed),
                ..signal
            }
        }));
}
