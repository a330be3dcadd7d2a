//! Whole calls through the engine without sockets: what each call costs us beside the kernel.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::too_many_lines,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a bench that cannot set itself up has failed"
)]

#[path = "../tests/harness/mod.rs"]
mod harness;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use harness::{CALLER, PBX, SDP, World, address, policy, retargeting};
use pointsman::engine::{Engine, Input, Now, Outbox, Source};

const SUBSCRIBERS: u32 = 100_000;

/// The messages of one call, made once with a place-holder for the call's number.
struct Script {
    text: Vec<u8>,
    places: Vec<usize>,
}

impl Script {
    fn new(text: &str) -> Self {
        let places = text.match_indices("########").map(|(at, _)| at).collect();
        Self {
            text: text.as_bytes().to_vec(),
            places,
        }
    }

    fn fill(&mut self, number: u32) -> &[u8] {
        let digits = format!("{number:08}");
        for at in &self.places {
            self.text[*at..*at + 8].copy_from_slice(digits.as_bytes());
        }
        &self.text
    }
}

fn subscribers(kind: &str) -> Vec<String> {
    (0..SUBSCRIBERS)
        .map(|number| {
            let rules = match kind {
                "redirect" => {
                    r#","status":"away","settings":{"away":{"immediate":{"forward":"sip:8@192.0.2.9"}}}"#
                }
                "reject" => r#","status":"dnd""#,
                _ => r#","settings":{"in_call":{"immediate":"connect"}}"#,
            };
            format!(r#"{{"id":"{number:08}","display_name":"User {number}"{rules}}}"#)
        })
        .collect()
}

fn world(kind: &str) -> World {
    let subscribers = subscribers(kind);
    let documents: Vec<&str> = subscribers.iter().map(String::as_str).collect();
    let policy = if kind == "retarget" {
        retargeting()
    } else {
        policy()
    };
    World::new(policy, &documents)
}

fn invite_script(callee: &str) -> Script {
    Script::new(&format!(
        "INVITE sip:{callee}@example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP {CALLER};rport;branch=z9hG4bK########i\r\nMax-Forwards: 70\r\n\
         From: \"Alice Caller\" <sip:3000000000@elsewhere.net>;tag=########f\r\n\
         To: <sip:{callee}@example.com>\r\nCall-ID: ########@uac.test.invalid\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:3000000000@{CALLER}>\r\n\
         Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO, UPDATE, PRACK\r\n\
         Supported: replaces, timer, path\r\nUser-Agent: LeanPhone 2.4.1\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    ))
}

struct Bench {
    engine: Engine,
    out: Outbox,
    number: u32,
    ms: u64,
}

impl Bench {
    fn new(kind: &str) -> Self {
        let world = world(kind);
        Self {
            engine: world.engine,
            out: Outbox::new(),
            number: 0,
            ms: 0,
        }
    }

    /// Everybody is called in turn, in an order that no cache can guess.
    fn callee(&self) -> u32 {
        (self.number % SUBSCRIBERS * 7_919) % SUBSCRIBERS
    }

    fn now(&self) -> Now {
        Now {
            ms: self.ms,
            unix_ms: harness::NOON_UNIX_MS + self.ms as i64,
        }
    }

    fn take(&mut self, from: &str, bytes: &[u8]) -> usize {
        let input = Input::Message {
            source: Source::datagram(address(from), 0),
            bytes,
        };
        self.engine.handle(self.now(), input, &mut self.out);
        let sent = self.out.transmits().len();
        self.out.clear();
        sent
    }

    /// Lets the transactions of earlier calls end, so that tables stay as full as in real life.
    fn pass_time(&mut self) {
        self.number += 1;
        self.ms += 1;
        let now = self.now();
        self.engine.handle_timeouts(now, &mut self.out);
        self.out.clear();
    }
}

/// INVITE, 302 or 480, ACK.
fn refused(c: &mut Criterion, kind: &'static str) {
    let mut bench = Bench::new(kind);
    let mut invite = invite_script("########");
    let mut ack = Script::new(&format!(
        "ACK sip:########@example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP {CALLER};rport;branch=z9hG4bK########i\r\nMax-Forwards: 70\r\n\
         From: \"Alice Caller\" <sip:3000000000@elsewhere.net>;tag=########f\r\n\
         To: <sip:########@example.com>;tag=x\r\nCall-ID: ########@uac.test.invalid\r\n\
         CSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"
    ));
    c.bench_function(&format!("engine/{kind}"), |b| {
        b.iter(|| {
            let number = bench.callee();
            let sent = bench.take(CALLER, invite.fill(number));
            assert_eq!(sent, 1);
            bench.take(CALLER, ack.fill(number));
            bench.pass_time();
        });
    });
}

/// INVITE, 180, 200, ACK, BYE, 200 through the engine: 6 in, 7 out.
fn full_call(c: &mut Criterion) {
    let mut bench = Bench::new("call");
    let mut invite = invite_script("########");
    c.bench_function("engine/full_call", |b| {
        b.iter_batched(
            || (),
            |()| {
                let number = bench.callee();
                let input = Input::Message {
            source: Source::datagram(address(CALLER), 0),
            bytes: invite.fill(number),
        };
                let now = bench.now();
                bench.engine.handle(now, input, &mut bench.out);
                let copy = bench.out.payload(&bench.out.transmits()[1]).to_vec();
                bench.out.clear();
                let (head, _) = copy.split_at(copy.windows(4).position(|w| w == b"\r\n\r\n").unwrap());
                let mut lines = head.split(|b| *b == b'\n').skip(1);
                let (via, route) = (lines.next().unwrap(), lines.next().unwrap());
                let id = format!("{number:08}");
                let reply = |status: &str, branch: &str, cseq: &str| {
                    let mut text = format!("SIP/2.0 {status}\r\n").into_bytes();
                    text.extend_from_slice(via);
                    text.push(b'\n');
                    text.extend_from_slice(
                        format!(
                            "Via: SIP/2.0/UDP {CALLER};rport=5070;received=192.0.2.50;branch=z9hG4bK{branch}\r\n"
                        )
                        .as_bytes(),
                    );
                    text.extend_from_slice(route);
                    text.push(b'\n');
                    text.extend_from_slice(
                        format!(
                            "From: \"Alice Caller\" <sip:3000000000@elsewhere.net>;tag={id}f\r\n\
                             To: <sip:{id}@example.com>;tag=uas{id}\r\nCall-ID: {id}@uac.test.invalid\r\n\
                             CSeq: {cseq}\r\nContact: <sip:pbx@{PBX}>\r\nContent-Length: 0\r\n\r\n"
                        )
                        .as_bytes(),
                    );
                    text
                };
                assert_eq!(bench.take(PBX, &reply("180 Ringing", &format!("{id}i"), "1 INVITE")), 1);
                assert_eq!(bench.take(PBX, &reply("200 OK", &format!("{id}i"), "1 INVITE")), 1);
                let route = String::from_utf8_lossy(route).replace("Record-Route", "Route");
                let request = |method: &str, cseq: u32| {
                    format!(
                        "{method} sip:pbx@{PBX} SIP/2.0\r\n\
                         Via: SIP/2.0/UDP {CALLER};rport;branch=z9hG4bK{id}{method}\r\n{route}\n\
                         Max-Forwards: 70\r\nFrom: \"Alice Caller\" <sip:3000000000@elsewhere.net>;tag={id}f\r\n\
                         To: <sip:{id}@example.com>;tag=uas{id}\r\nCall-ID: {id}@uac.test.invalid\r\n\
                         CSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
                    )
                };
                assert_eq!(bench.take(CALLER, request("ACK", 1).as_bytes()), 1);
                let bye = request("BYE", 2);
                let input =
                    Input::Message {
            source: Source::datagram(address(CALLER), 0),
            bytes: bye.as_bytes(),
        };
                let now = bench.now();
                bench.engine.handle(now, input, &mut bench.out);
                let bye = bench.out.payload(&bench.out.transmits()[0]).to_vec();
                bench.out.clear();
                let via = bye.split(|b| *b == b'\n').nth(1).unwrap();
                let mut text = b"SIP/2.0 200 OK\r\n".to_vec();
                text.extend_from_slice(via);
                text.extend_from_slice(
                    format!(
                        "\nVia: SIP/2.0/UDP {CALLER};rport=5070;received=192.0.2.50;branch=z9hG4bK{id}BYE\r\n\
                         From: \"Alice Caller\" <sip:3000000000@elsewhere.net>;tag={id}f\r\n\
                         To: <sip:{id}@example.com>;tag=uas{id}\r\nCall-ID: {id}@uac.test.invalid\r\n\
                         CSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n"
                    )
                    .as_bytes(),
                );
                assert_eq!(bench.take(PBX, &text), 1);
                assert_eq!(bench.engine.load().calls, 0, "the BYE ended the call");
                bench.pass_time();
            },
            BatchSize::SmallInput,
        );
    });
}

fn all(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine");
    group.throughput(Throughput::Elements(1));
    group.finish();
    refused(c, "redirect");
    refused(c, "reject");
    full_call(c);
}

criterion_group!(benches, all);
criterion_main!(benches);
