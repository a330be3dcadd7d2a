//! Whole calls through the generator in virtual time: against a server that is right, and against
//! one that gets each thing wrong in turn. Here is the stage they are played on.

mod back_to_back;
mod calls;
mod loss;
mod strays;
mod subscriptions;
mod wrong;

use std::net::SocketAddr;
use std::sync::Arc;

use super::*;
use crate::message::{Index, Transport};

const SERVER: &str = "127.0.0.9:5060";
const MS: u64 = 1_000_000;

/// Changes a message on its way, or drops it.
type Spoil<'s> = &'s mut dyn FnMut(String) -> Option<String>;

struct Stage {
    generator: Generator,
    server: Reflector,
    now_ns: u64,
    callee: SocketAddr,
    elsewhere: SocketAddr,
}

fn addresses() -> [Option<SocketAddr>; 3] {
    ["127.0.0.1:5071", "127.0.0.1:5072", "127.0.0.1:5073"].map(|text| text.parse().ok())
}

fn plan(scenario: Scenario, users: &str) -> Plan {
    Plan {
        items: vec![Item {
            scenario,
            weight: 1,
            targets: Arc::new(Targets::of_pattern(users).unwrap().with_password("secret")),
            finals: scenario.usual_finals().to_vec(),
        }],
        templates: Arc::new(
            Templates::compile(&[], "sip:{user}@{domain}", "sip:b@{domain}").unwrap(),
        ),
        server: SERVER.parse().unwrap(),
        transport: Transport::Udp,
        seats: addresses(),
        times: Times {
            ring_ns: 0,
            hold_ns: 0,
            t1_ns: 500 * MS,
            t2_ns: 4_000 * MS,
            timeout_ns: 32_000 * MS,
            late_ns: 4_000 * MS,
        },
        checks: Checks::ALL,
        is_back_to_back: false,
        domain: "example.com".to_owned(),
        event: Event::Dialog,
        credentials: None,
        seed: 0x00c0_ffee,
        thread: 0,
        threads: 1,
        turn_step: 1,
        most_open: 8,
        slots: 8,
        may_go_far: true,
        samples: 4,
    }
}

impl Stage {
    fn new(plan: Plan) -> Self {
        let [_, callee, elsewhere] = plan.seats;
        let mut generator = Generator::new(plan.clone());
        generator.set_measuring(true);
        Self {
            generator,
            server: Reflector::new(plan.server, callee.or(Some(plan.server))),
            now_ns: 0,
            callee: callee.unwrap_or(plan.server),
            elsewhere: elsewhere.unwrap_or(plan.server),
        }
    }

    /// Delivers what is under way until nothing is.
    fn settle(&mut self, spoil: Spoil<'_>) {
        let mut index = Index::new();
        loop {
            let sent = self.take();
            if sent.is_empty() {
                return;
            }
            for (hop, from, text) in sent {
                let Some(text) = spoil(text) else { continue };
                let Ok(message) = index.parse(text.as_bytes()) else {
                    continue;
                };
                let server = self.generator_server();
                if hop.to == server && from != server {
                    self.server.receive(from, &message);
                    continue;
                }
                let seat = match hop.to {
                    to if to == self.callee => Seat::Callee,
                    to if to == self.elsewhere => Seat::Elsewhere,
                    _ => Seat::Caller,
                };
                let hop = Hop {
                    seat,
                    to: from,
                    connection: None,
                };
                self.generator.receive(self.now_ns, hop, &message);
            }
        }
    }

    fn generator_server(&self) -> SocketAddr {
        SERVER.parse().unwrap()
    }

    fn take(&mut self) -> Vec<(Hop, SocketAddr, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let seats = addresses().map(Option::unwrap);
        let mut sent: Vec<_> = self
            .generator
            .outbox()
            .iter()
            .map(|(hop, bytes)| (hop, seats[hop.seat as usize], text(bytes)))
            .collect();
        self.generator.outbox().clear();
        let own = self.generator_server();
        sent.extend(
            self.server
                .outbox()
                .iter()
                .map(|(hop, bytes)| (hop, own, text(bytes))),
        );
        self.server.outbox().clear();
        sent
    }

    /// Lets time pass in small steps.
    fn pass(&mut self, ms: u64, spoil: Spoil<'_>) {
        for _ in 0..ms.div_ceil(10) {
            self.now_ns += 10 * MS;
            self.generator.tick(self.now_ns);
            self.settle(spoil);
        }
    }

    fn call(&mut self, spoil: Spoil<'_>) {
        self.generator.place(self.now_ns, self.now_ns);
        self.settle(spoil);
    }

    /// Gives the generator a message of the server's; what it sends for it, and where to.
    fn hear(&mut self, seat: Seat, text: &str) -> Vec<(SocketAddr, String)> {
        let mut index = Index::new();
        let message = index.parse(text.as_bytes()).unwrap();
        let hop = Hop {
            seat,
            to: self.generator_server(),
            connection: None,
        };
        self.take();
        self.generator.receive(self.now_ns, hop, &message);
        let sent = self.take().into_iter();
        sent.map(|(hop, _, text)| (hop.to, text)).collect()
    }

    fn counts(&self) -> Counts {
        self.generator.tally().counts
    }

    /// What was told to be wrong with messages.
    fn wrongs(&self) -> Vec<(Wrong, u64)> {
        self.generator.tally().wrongs().collect()
    }
}

fn same(text: String) -> Option<String> {
    Some(text)
}

/// Plays one call whose messages pass through `spoil`.
fn played(plan: Plan, mut spoil: impl FnMut(String) -> Option<String>) -> Stage {
    let mut stage = Stage::new(plan);
    stage.call(&mut spoil);
    stage.pass(40_000, &mut spoil);
    stage
}

fn assert_right(stage: &Stage) {
    let counts = stage.counts();
    assert_eq!(
        (counts.placed, counts.right),
        (1, 1),
        "{counts:?} {:?}",
        stage.generator.tally().samples
    );
    assert_eq!(stage.wrongs(), []);
    assert_eq!(
        (counts.unexpected, counts.invites_again),
        (0, 0),
        "{counts:?}"
    );
    assert_eq!(
        (stage.generator.open(), stage.generator.setting_up()),
        (0, 0)
    );
}
