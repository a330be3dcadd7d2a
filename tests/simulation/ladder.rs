//! A call as a ladder that reads like a protocol trace.

use std::net::SocketAddr;

use crate::network::Line;

const MOST_LINES: usize = 400;

/// The datagrams of a call, one a line: when, from where to where, what; `x` is lost, `2` doubled.
pub fn draw(log: &[Line], call_id: &str) -> String {
    let lines: Vec<&Line> = log
        .iter()
        .filter(|line| call_id.is_empty() || line.message.call_id() == call_id)
        .collect();
    let skipped = lines
        .len()
        .saturating_sub(if call_id.is_empty() { 40 } else { MOST_LINES });
    let mut parties: Vec<SocketAddr> = Vec::new();
    for line in &lines[skipped..] {
        for party in [line.from, line.to] {
            if !parties.contains(&party) {
                parties.push(party);
            }
        }
    }
    let names: Vec<String> = parties.iter().map(SocketAddr::to_string).collect();
    let mut drawing = format!("{skipped} earlier lines left out\n");
    for line in &lines[skipped..] {
        let at = |party| parties.iter().position(|p| *p == party).unwrap_or(0);
        let (from, to) = (&names[at(line.from)], &names[at(line.to)]);
        let fate = match line.copies {
            0 => "x",
            1 => " ",
            _ => "2",
        };
        let m = &line.message;
        let (cseq, method) = m.cseq();
        let tags = format!("{}/{}", m.sender_tag(), m.to_tag());
        drawing += &format!(
            "{:>9}.{:03} {from:>20} --{fate}-> {to:<20} {} [{cseq} {method}] {tags} {}\n",
            line.at / 1_000,
            line.at % 1_000,
            m.first_line(),
            m.branch(0)
        );
    }
    drawing
}
