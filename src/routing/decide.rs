//! The decision itself: the steps of the semantics, in their order, from subscriber to subscriber.

use std::sync::Arc;

use smallvec::SmallVec;

use super::after::{after_step, cause_after, rejection_after};
use super::decision::{
    Cause, Connect, Decision, Destination, Divert, Hop, Hops, Plan, Reasons, Rejection,
};
use super::question::{Failure, Question, Subscribers};
use super::reason::Reason;
use crate::presence::{
    BaseStatus, CallerClass, Chat, Handle, Layer, Moment, Pattern, Profile, Routing, Status,
    StatusLayer, Step, Target,
};

/// Where a call for a subscriber goes.
///
/// Follows forwardings among subscribers; each is asked under its own status. A forwarding to
/// somebody the call has been to, or beyond the limit, is skipped, and the first called
/// subscriber's no-answer action is taken in its place.
pub fn decide(question: &Question<'_>, subscribers: &impl Subscribers) -> Decision {
    let mut walk = Walk::new(question, subscribers);
    if question.is_emergency_callback {
        return walk.connect_regardless();
    }
    let callee = question.callee;
    let plan = if question.history.visited.contains(&callee) {
        walk.reasons.push(Reason::Loop { subscriber: callee });
        let skipped = Skipped::new(Cause::Unconditional, Rejection::LoopDetected);
        walk.first_called(skipped)
            .unwrap_or(Plan::Reject(skipped.rejection))
    } else {
        walk.follow(callee, None)
    };
    Decision {
        plan,
        reasons: walk.reasons,
    }
}

/// Where a call goes that could not be connected to `question.callee`.
///
/// `None` where nothing is set for this: the downstream's final response passes through, or the
/// phone goes on ringing.
pub fn decide_after(
    question: &Question<'_>,
    failure: Failure,
    subscribers: &impl Subscribers,
) -> Option<Decision> {
    let callee = question.callee;
    let mut walk = Walk::new(question, subscribers);
    let profile = subscribers.profile(callee)?;
    let base = profile.base_at(question.now_unix_s);
    let routing = subscribers.routing(callee);
    walk.reasons.push(Reason::Failed {
        subscriber: callee,
        failure,
    });
    let in_call =
        routing.calls >= question.call_limit || profile.is_in_meeting(question.now_unix_s);
    let class = question.caller.class;
    let admits = |step: &Step| walk.admits(callee, step);
    let (step, layer, moment) = after_step(&profile, base, in_call, (failure, class), admits)?;
    let rule = Reason::Rule {
        subscriber: callee,
        layer,
        moment,
        class,
        step: step.clone(),
    };
    walk.reasons.push(rule);
    let plan = match step {
        Step::Connect => None,
        Step::Reject => Some(Plan::Reject(rejection_after(failure))),
        Step::Missed => Some(Plan::Reject(Rejection::Missed)),
        Step::Voicemail => walk.voicemail(callee, cause_after(failure)),
        Step::Forward(target) => walk.forward_after(callee, target, cause_after(failure)),
    }?;
    Some(Decision {
        plan,
        reasons: walk.reasons,
    })
}

/// One decision on its way along a chain of forwardings.
struct Walk<'q, S> {
    question: &'q Question<'q>,
    subscribers: &'q S,
    hops: Hops,
    reasons: Reasons,
}

/// A forwarding that is not carried out.
#[derive(Clone, Copy)]
struct Skipped {
    cause: Cause,
    rejection: Rejection,
}

/// What one subscriber's settings say to a call that reaches it.
enum Said {
    Connect(Connect),
    Reject(Rejection),
    Voicemail(Cause),
    Forward(Arc<Target>, Cause),
}

/// A subscriber a call has reached, with the status in force.
struct Reached<'p> {
    subscriber: Handle,
    profile: &'p Profile,
    base: BaseStatus,
    in_call: bool,
}

impl<'q, S: Subscribers> Walk<'q, S> {
    fn new(question: &'q Question<'q>, subscribers: &'q S) -> Self {
        Self {
            question,
            subscribers,
            hops: SmallVec::new(),
            reasons: SmallVec::new(),
        }
    }

    fn connect_regardless(mut self) -> Decision {
        self.reasons.push(Reason::EmergencyCallback);
        let plan = Plan::Connect(Connect::plain(self.question.callee));
        Decision {
            plan,
            reasons: self.reasons,
        }
    }

    /// Asks one subscriber after the other until one of them does not forward. `target` is how the
    /// first of them was reached, if by forwarding. Ends because each is asked only once.
    fn follow(&mut self, start: Handle, target: Option<Arc<Target>>) -> Plan {
        let (mut current, mut reached_by) = (start, target);
        loop {
            let (target, cause) = match self.ask(current) {
                Said::Connect(connect) => return self.arrive(connect, reached_by),
                Said::Reject(rejection) => return Plan::Reject(rejection),
                Said::Voicemail(cause) => return self.voicemail_or_missed(current, cause),
                Said::Forward(target, cause) => (target, cause),
            };
            match self.hop(current, &target, cause) {
                Ok(None) => return self.divert(Destination::Target(target)),
                Ok(Some(next)) => (current, reached_by) = (next, Some(target)),
                Err(skipped) => {
                    return self
                        .first_called(skipped)
                        .unwrap_or(Plan::Reject(skipped.rejection));
                }
            }
        }
    }

    /// A forwarding after a failure. Skipped with nothing in its place it is as good as unset.
    fn forward_after(
        &mut self,
        callee: Handle,
        target: &Arc<Target>,
        cause: Cause,
    ) -> Option<Plan> {
        match self.hop(callee, target, cause) {
            Ok(None) => Some(self.divert(Destination::Target(Arc::clone(target)))),
            Ok(Some(next)) => Some(self.follow(next, Some(Arc::clone(target)))),
            Err(skipped) => self.first_called(skipped),
        }
    }

    /// Takes one hop: to a subscriber, or out of our hands (`None`).
    fn hop(
        &mut self,
        from: Handle,
        target: &Target,
        cause: Cause,
    ) -> Result<Option<Handle>, Skipped> {
        let next = self.subscribers.resolve(target);
        if let Some(again) = next.filter(|next| self.has_been_to(*next, from)) {
            self.reasons.push(Reason::Loop { subscriber: again });
            return Err(Skipped::new(cause, Rejection::LoopDetected));
        }
        let diversions = self.diversions();
        if diversions >= self.question.hop_limit {
            self.reasons.push(Reason::HopLimit { diversions });
            return Err(Skipped::new(cause, Rejection::TooManyHops));
        }
        self.hops.push(Hop {
            subscriber: from,
            cause,
        });
        Ok(next)
    }

    /// Whether the call comes from there, or was there before.
    fn has_been_to(&self, subscriber: Handle, current: Handle) -> bool {
        subscriber == current
            || self.question.caller.subscriber == Some(subscriber)
            || self.question.history.visited.contains(&subscriber)
            || self.hops.iter().any(|hop| hop.subscriber == subscriber)
    }

    fn diversions(&self) -> u8 {
        let hops = u8::try_from(self.hops.len()).unwrap_or(u8::MAX);
        self.question.history.diversions.saturating_add(hops)
    }

    /// Steps 4 to 7 for one subscriber. Most have nothing set that matters, which the routing word
    /// says by itself.
    fn ask(&mut self, subscriber: Handle) -> Said {
        let routing = self.subscribers.routing(subscriber);
        if routing.is_vacant {
            self.reasons.push(Reason::UnknownCallee);
            return Said::Reject(Rejection::UnknownCallee);
        }
        let is_call = !self.question.is_message;
        let in_call = is_call && routing.calls >= self.question.call_limit;
        let needs_profile =
            routing.has_rules || routing.is_timed || (in_call && routing.has_busy_rules);
        if !needs_profile {
            return self.plain(subscriber, routing, in_call);
        }
        match self.subscribers.profile(subscriber) {
            Some(profile) => {
                let base = self.status_in_force(subscriber, &profile);
                let is_in_meeting = profile.is_in_meeting(self.question.now_unix_s);
                let in_call = in_call || (is_call && is_in_meeting);
                self.by_rules(
                    &Reached {
                        subscriber,
                        profile: &profile,
                        base,
                        in_call,
                    },
                    routing,
                )
            }
            None => self.plain(subscriber, routing, in_call),
        }
    }

    /// Nothing is set: everybody but `dnd` is connected.
    fn plain(&mut self, subscriber: Handle, routing: Routing, in_call: bool) -> Said {
        let status = routing.status;
        self.reasons.push(Reason::Status {
            subscriber,
            status,
            own: None,
            layer: StatusLayer::of_choice(status, false),
            until_unix_s: None,
        });
        if status == Status::Dnd {
            return Said::Reject(Rejection::Dnd);
        }
        if in_call {
            self.reasons.push(Reason::InCall {
                subscriber,
                calls: routing.calls,
            });
        }
        Said::Connect(Connect::plain(subscriber))
    }

    fn status_in_force(&mut self, subscriber: Handle, profile: &Profile) -> BaseStatus {
        let now = self.question.now_unix_s;
        let standing = profile.standing(now);
        if profile.is_expired(now) && profile.status() != Status::Available {
            self.reasons.push(Reason::Expired {
                subscriber,
                status: profile.status(),
            });
        }
        self.reasons.push(Reason::Status {
            subscriber,
            status: standing.status,
            own: standing.own,
            layer: standing.layer,
            until_unix_s: standing.until_unix_s,
        });
        standing.base()
    }

    fn by_rules(&mut self, reached: &Reached<'_>, routing: Routing) -> Said {
        if let Some(said) = self.by_exception(reached) {
            return said;
        }
        if let Some(said) = self.by_chat(reached) {
            return said;
        }
        if let Some(said) = self.immediate(reached, reached.base) {
            return said;
        }
        if reached.in_call {
            let (subscriber, calls) = (reached.subscriber, routing.calls);
            self.reasons.push(Reason::InCall { subscriber, calls });
            if let Some(said) = self.immediate(reached, Status::InCall.into()) {
                return said;
            }
        }
        Said::Connect(self.connect(reached))
    }

    /// Steps 2 and 3: the block list, callers who ring through, and the first rule that matches.
    fn by_exception(&mut self, reached: &Reached<'_>) -> Option<Said> {
        let exceptions = reached.profile.exceptions()?;
        let (subscriber, class) = (reached.subscriber, self.question.caller.class);
        let (question, subscribers) = (self.question, self.subscribers);
        let resolve = |target: &Target| subscribers.resolve(target);
        let is_meant = |pattern: &Pattern| question.caller.is_meant(pattern, resolve);
        if exceptions.is_blocked(is_meant) {
            self.reasons.push(Reason::Blocked { subscriber });
            return Some(Said::Reject(Rejection::Blocked));
        }
        if exceptions.is_vip(is_meant) {
            self.reasons.push(Reason::Vip { subscriber });
            return Some(Said::Connect(self.connect(reached)));
        }
        let mut applying = exceptions.applying(self.question.occasion(), is_meant);
        let matched = applying
            .find(|matched| self.admits(subscriber, &matched.step))?
            .clone();
        let step = matched.step.clone();
        self.reasons.push(Reason::Exception {
            subscriber,
            matched,
        });
        Some(match step {
            Step::Connect => Said::Connect(self.connect(reached)),
            Step::Reject if class == CallerClass::Anonymous => {
                Said::Reject(Rejection::AnonymousRefused)
            }
            Step::Reject => Said::Reject(Rejection::Refused),
            Step::Missed => Said::Reject(Rejection::Missed),
            Step::Voicemail => Said::Voicemail(Cause::Unconditional),
            Step::Forward(target) => Said::Forward(target, Cause::Unconditional),
        })
    }

    /// What is set for chat messages, if it is one.
    fn by_chat(&mut self, reached: &Reached<'_>) -> Option<Said> {
        if !self.question.is_message {
            return None;
        }
        let subscriber = reached.subscriber;
        let (chat, layer) = reached.profile.chat(reached.base)?;
        self.reasons.push(Reason::Chat {
            subscriber,
            layer,
            chat,
        });
        Some(match (chat, reached.base.status) {
            (Chat::Deliver, _) => Said::Connect(Connect::plain(subscriber)),
            (Chat::Reject, Status::Dnd) => Said::Reject(Rejection::Dnd),
            (Chat::Reject, _) => Said::Reject(Rejection::Missed),
            (Chat::Suppress, _) => Said::Reject(Rejection::Suppressed),
        })
    }

    /// The immediate action of a status; of `in_call` for a second call. `None` to go on.
    fn immediate(&mut self, reached: &Reached<'_>, base: BaseStatus) -> Option<Said> {
        let (status, class) = (base.status, self.question.caller.class);
        let admits = |step: &Step| self.admits(reached.subscriber, step);
        let found = reached
            .profile
            .step(base, (Moment::Immediate, class), admits);
        let Some((step, layer)) = found else {
            return (status == Status::Dnd).then_some(Said::Reject(Rejection::Dnd));
        };
        let is_granted = reached.base.status != Status::Dnd || reached.grants_call_through();
        if is_granted && self.is_for_caller(step) {
            self.reasons.push(Reason::CallThrough {
                subscriber: reached.subscriber,
            });
            return None;
        }
        self.reasons.push(Reason::Rule {
            subscriber: reached.subscriber,
            layer,
            moment: Moment::Immediate,
            class,
            step: step.clone(),
        });
        let cause = Cause::of_immediate(status);
        match step {
            Step::Connect => None,
            Step::Reject => Some(Said::Reject(reached.refusal(status, layer, class))),
            Step::Missed => Some(Said::Reject(Rejection::Missed)),
            Step::Voicemail => Some(Said::Voicemail(cause)),
            Step::Forward(target) => Some(Said::Forward(Arc::clone(target), cause)),
        }
    }

    /// Whether a step can be taken; a forwarding that the administrator does not allow counts as not
    /// set, and is told.
    fn admits(&mut self, subscriber: Handle, step: &Step) -> bool {
        match step {
            Step::Forward(target) if !self.subscribers.may_forward_to(target) => {
                let target = Arc::clone(target);
                self.reasons
                    .push(Reason::TargetRefused { subscriber, target });
                false
            }
            _ => true,
        }
    }

    fn connect(&self, reached: &Reached<'_>) -> Connect {
        let may_forward = |target: &Target| self.subscribers.may_forward_to(target);
        reached.connect(self.question.caller.class, may_forward)
    }

    fn is_for_caller(&self, step: &Step) -> bool {
        let resolve = |target: &Target| self.subscribers.resolve(target);
        match step {
            Step::Forward(target) => self.question.caller.is(target, resolve),
            _ => false,
        }
    }

    /// The chain ends at a subscriber who is to be rung.
    fn arrive(&self, connect: Connect, reached_by: Option<Arc<Target>>) -> Plan {
        match reached_by {
            None => Plan::Connect(connect),
            Some(target) => self.divert(Destination::Subscriber { target, connect }),
        }
    }

    fn divert(&self, to: Destination) -> Plan {
        Divert {
            hops: self.hops.clone(),
            to,
        }
        .in_mode(self.question.forwarding)
    }

    fn voicemail_or_missed(&mut self, from: Handle, cause: Cause) -> Plan {
        self.voicemail(from, cause)
            .unwrap_or(Plan::Reject(Rejection::Missed))
    }

    /// To the first called subscriber's box. Costs no diversion of the limit: it is the way out.
    fn voicemail(&mut self, from: Handle, cause: Cause) -> Option<Plan> {
        if !self.question.voicemail_available {
            self.reasons.push(Reason::NoVoicemail);
            return None;
        }
        self.hops.push(Hop {
            subscriber: from,
            cause,
        });
        let to = Destination::Voicemail {
            of: self.question.first_called(),
        };
        let divert = Divert {
            hops: self.hops.clone(),
            to,
        };
        Some(divert.in_mode(self.question.voicemail))
    }

    /// In place of a skipped forwarding: the first called subscriber's no-answer action, unless
    /// that forwards again. The hops taken so far in this decision are forgotten; the call has not
    /// been anywhere yet.
    fn first_called(&mut self, skipped: Skipped) -> Option<Plan> {
        let first = self.question.first_called();
        let class = self.question.caller.class;
        let profile = self.subscribers.profile(first)?;
        let base = profile.base_at(self.question.now_unix_s);
        let (step, layer) = profile.step(base, (Moment::NoAnswer, class), |_| true)?;
        let plan = match step {
            Step::Connect | Step::Forward(_) => None,
            Step::Reject => Some(Plan::Reject(Rejection::NoAnswer)),
            Step::Missed => Some(Plan::Reject(Rejection::Missed)),
            Step::Voicemail => {
                let cause = self.hops.first().map_or(skipped.cause, |hop| hop.cause);
                self.hops.clear();
                self.voicemail(self.question.callee, cause)
            }
        }?;
        self.reasons.push(Reason::FirstCalled { subscriber: first });
        let moment = Moment::NoAnswer;
        let step = step.clone();
        self.reasons.push(Reason::Rule {
            subscriber: first,
            layer,
            moment,
            class,
            step,
        });
        Some(plan)
    }
}

impl Reached<'_> {
    /// Whether the forwarding's target comes through under `dnd`, too.
    fn grants_call_through(&self) -> bool {
        let exceptions = self.profile.exceptions();
        exceptions.is_some_and(|exceptions| exceptions.written().call_through_dnd)
    }

    fn refusal(&self, status: Status, layer: Layer, class: CallerClass) -> Rejection {
        let anonymous = class == CallerClass::Anonymous
            && self
                .profile
                .rules()
                .is_some_and(|rules| rules.is_for_class_alone(layer, Moment::Immediate, class));
        match status {
            _ if anonymous => Rejection::AnonymousRefused,
            Status::Dnd => Rejection::Dnd,
            Status::InCall => Rejection::Busy,
            Status::Available | Status::Away | Status::Break => Rejection::Refused,
        }
    }

    fn connect(&self, class: CallerClass, may_forward: impl Fn(&Target) -> bool) -> Connect {
        let admits = |step: &Step| match step {
            Step::Forward(target) => may_forward(target),
            _ => true,
        };
        let acts = |failure| {
            let asked = (failure, class);
            after_step(self.profile, self.base, self.in_call, asked, admits)
                .is_some_and(|(step, ..)| *step != Step::Connect)
        };
        let has_no_answer_action = acts(Failure::NoAnswer);
        let own = || {
            self.profile
                .own_ring_for_s(Status::InCall)
                .filter(|_| self.in_call)
        };
        let ring_for_s = own().or_else(|| self.profile.ring_for_s(self.base));
        Connect {
            callee: self.subscriber,
            ring_for_s: ring_for_s.filter(|_| has_no_answer_action),
            has_no_answer_action,
            has_after_action: Failure::ALL.into_iter().any(acts),
        }
    }
}

impl Skipped {
    /// Under do not disturb there is always an answer that says more than that of a loop.
    fn new(cause: Cause, rejection: Rejection) -> Self {
        let is_dnd = cause == Cause::DoNotDisturb;
        Self {
            cause,
            rejection: if is_dnd { Rejection::Dnd } else { rejection },
        }
    }
}

impl Connect {
    /// Ring, and leave everything else to the phones.
    const fn plain(callee: Handle) -> Self {
        Self {
            callee,
            ring_for_s: None,
            has_no_answer_action: false,
            has_after_action: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::presence::sample::{self, IDS};
    use crate::presence::{Directory, Mark, MarkKind, NumberPlan, Subscriber};
    use crate::routing::{Caller, History, Lookup, Mode};

    const NOW: i64 = 1_000;

    struct World {
        directory: Arc<Directory>,
        plan: NumberPlan,
        handles: Vec<Handle>,
        documents: Vec<Subscriber>,
        _calls: Vec<Mark>,
    }

    #[derive(Clone, Debug)]
    struct Asked {
        caller: Option<usize>,
        class: CallerClass,
        callee: usize,
        visited: Vec<usize>,
        diversions: u8,
        retarget: bool,
        voicemail: bool,
    }

    fn world() -> impl Strategy<Value = World> {
        (
            sample::subscribers(),
            prop::collection::vec(0..IDS.len(), 0..4),
        )
            .prop_map(|(documents, busy)| {
                let plan = sample::plan();
                let directory = Arc::new(Directory::new(2));
                let handles: Vec<Handle> = documents
                    .iter()
                    .map(|document| directory.put(document, &plan).unwrap())
                    .collect();
                let calls = busy
                    .iter()
                    .map(|n| directory.mark(handles[*n], MarkKind::InCall))
                    .collect();
                World {
                    directory,
                    plan,
                    handles,
                    documents,
                    _calls: calls,
                }
            })
    }

    impl std::fmt::Debug for World {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.documents.fmt(f)
        }
    }

    fn asked() -> impl Strategy<Value = Asked> {
        let class = select(&CallerClass::ALL[..]);
        let caller = proptest::option::of(0..IDS.len());
        let visited = prop::collection::vec(0..IDS.len(), 0..3);
        (
            caller,
            class,
            0..IDS.len(),
            visited,
            0u8..7,
            any::<bool>(),
            any::<bool>(),
        )
            .prop_map(
                |(caller, class, callee, visited, diversions, retarget, voicemail)| Asked {
                    caller,
                    class,
                    callee,
                    visited,
                    diversions,
                    retarget,
                    voicemail,
                },
            )
    }

    impl World {
        fn history(&self, asked: &Asked) -> History {
            History {
                visited: asked.visited.iter().map(|n| self.handles[*n]).collect(),
                diversions: asked.diversions,
            }
        }

        fn question<'a>(&self, asked: &Asked, history: &'a History) -> Question<'a> {
            let caller = Caller {
                class: asked.class,
                subscriber: asked.caller.map(|n| self.handles[n]),
                key: b"+4989999999",
                uri: b"sip:+4989999999@trunk.example",
            };
            Question {
                forwarding: if asked.retarget {
                    Mode::Retarget
                } else {
                    Mode::Redirect
                },
                voicemail_available: asked.voicemail,
                ..Question::new(caller, self.handles[asked.callee], history, NOW)
            }
        }

        fn lookup(&self) -> Lookup<'_> {
            Lookup {
                directory: &self.directory,
                plan: &self.plan,
                domains: &[],
            }
        }

        fn status(&self, n: usize) -> Status {
            self.directory
                .profile(self.handles[n])
                .unwrap()
                .status_at(NOW)
        }
    }

    fn check(
        decision: &Decision,
        question: &Question<'_>,
    ) -> Result<(), proptest::test_runner::TestCaseError> {
        prop_assert!(!decision.reasons.is_empty());
        let Some(divert) = decision.plan.divert() else {
            return Ok(());
        };
        let diverting: HashSet<Handle> = divert.hops.iter().map(|hop| hop.subscriber).collect();
        prop_assert_eq!(
            diverting.len(),
            divert.hops.len(),
            "a subscriber diverts twice"
        );
        prop_assert_eq!(divert.hops[0].subscriber, question.callee);
        let to_voicemail = matches!(divert.to, Destination::Voicemail { .. });
        let forwarded = divert.hops.len() - usize::from(to_voicemail);
        let before = usize::from(question.history.diversions);
        prop_assert!(forwarded == 0 || before + forwarded <= usize::from(question.hop_limit));
        match &divert.to {
            Destination::Voicemail { of } => {
                prop_assert!(question.voicemail_available);
                prop_assert_eq!(*of, question.first_called());
            }
            Destination::Subscriber { connect, .. } => {
                prop_assert!(!question.history.visited.contains(&connect.callee));
                prop_assert!(!diverting.contains(&connect.callee));
                prop_assert!(question.caller.subscriber != Some(connect.callee));
            }
            Destination::Target(_) => {}
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn a_decision_ends_and_never_goes_where_the_call_has_been(
            world in world(), asked in asked(),
        ) {
            let history = world.history(&asked);
            let question = world.question(&asked, &history);
            let decision = decide(&question, &world.lookup());
            check(&decision, &question)?;
            prop_assert_eq!(&decision, &decide(&question, &world.lookup()));
        }

        #[test]
        fn what_follows_a_failure_never_goes_where_the_call_has_been(
            world in world(), asked in asked(), failure in select(&Failure::ALL[..]),
        ) {
            let history = world.history(&asked);
            let question = world.question(&asked, &history);
            if let Some(decision) = decide_after(&question, failure, &world.lookup()) {
                check(&decision, &question)?;
                prop_assert!(!matches!(decision.plan, Plan::Connect(_)));
            }
        }

        #[test]
        fn connect_says_whether_there_is_anything_to_ask_afterwards(
            world in world(), asked in asked(),
        ) {
            let history = world.history(&asked);
            let question = Question {
                voicemail_available: true,
                hop_limit: u8::MAX,
                ..world.question(&asked, &history)
            };
            let Plan::Connect(connect) = decide(&question, &world.lookup()).plan else {
                return Ok(());
            };
            let after = |failure| decide_after(&question, failure, &world.lookup()).is_some();
            if !connect.has_after_action {
                prop_assert!(Failure::ALL.into_iter().all(|failure| !after(failure)));
            }
            if !connect.has_no_answer_action {
                prop_assert!(!after(Failure::NoAnswer) && connect.ring_for_s.is_none());
            }
        }

        #[test]
        fn dnd_without_an_action_rejects_and_no_call_lifts_it(
            world in world(), asked in asked(), calls in 0usize..3,
        ) {
            let mut asked = asked;
            asked.visited.clear();
            let callee = world.handles[asked.callee];
            let mut document = world.documents[asked.callee].clone();
            document.status = Status::Dnd;
            document.until = None;
            document.settings.dnd = Default::default();
            document.settings.all.immediate = None;
            world.directory.put(&document, &world.plan).unwrap();
            let _calls: Vec<Mark> =
                (0..calls).map(|_| world.directory.mark(callee, MarkKind::InCall)).collect();
            let history = world.history(&asked);
            let decision = decide(&world.question(&asked, &history), &world.lookup());
            prop_assert_eq!(decision.plan, Plan::Reject(Rejection::Dnd));
        }

        #[test]
        fn a_status_that_is_connected_without_its_own_word_is_not_dnd(
            world in world(), asked in asked(),
        ) {
            let history = world.history(&asked);
            let decision = decide(&world.question(&asked, &history), &world.lookup());
            if let Plan::Connect(connect) = decision.plan
                && world.status(asked.callee) == Status::Dnd
            {
                let profile = world.directory.profile(connect.callee).unwrap();
                let own = profile.own_step(Status::Dnd, Moment::Immediate, asked.class);
                prop_assert_eq!(own, Some(&Step::Connect));
            }
        }

        #[test]
        fn a_new_version_of_the_same_settings_is_decided_alike(
            world in world(), asked in asked(),
        ) {
            let history = world.history(&asked);
            let question = world.question(&asked, &history);
            let one = decide(&question, &world.lookup());
            let mut document = world.documents[asked.callee].clone();
            document.version += 1;
            world.directory.put(&document, &world.plan).unwrap();
            prop_assert_eq!(one, decide(&question, &world.lookup()));
        }
    }
}
