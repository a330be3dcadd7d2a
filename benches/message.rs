//! Reading, typing, checking, forwarding and answering one INVITE of 798 bytes and 25 headers, and
//! rsip doing the same.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pointsman::message::{Edits, Fault, Index, Message, Reply, check, forward, write_response};
use rsip::prelude::{HeadersExt, ToTypedHeader, UntypedHeader};
use std::hint::black_box;

const INVITE: &[u8] = include_bytes!("../fixtures/messages/invite.sip");
const VIA: &[u8] = b"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK0123456789abcdef";
const RECORD_ROUTE: &[u8] = b"<sip:192.0.2.1:5060;lr;t=0123456789abcdef>";

fn index(c: &mut Criterion) {
    let mut group = c.benchmark_group("index");
    group.throughput(Throughput::Bytes(INVITE.len() as u64));
    let mut index = Index::new();
    group.bench_function("pointsman", |b| {
        b.iter(|| black_box(index.parse(black_box(INVITE)).unwrap().headers_end()));
    });
    group.bench_function("rsip", |b| {
        b.iter(|| rsip::SipMessage::try_from(black_box(INVITE)).unwrap());
    });
    group.finish();
}

fn typed(c: &mut Criterion) {
    let mut group = c.benchmark_group("typed");
    let mut index = Index::new();
    let message = index.parse(INVITE).unwrap();
    group.bench_function("pointsman", |b| {
        b.iter(|| read_fields(black_box(&message)).unwrap())
    });
    let request = rsip::Request::try_from(INVITE).unwrap();
    group.bench_function("rsip", |b| b.iter(|| rsip_read_fields(black_box(&request))));
    group.finish();
}

fn checked(c: &mut Criterion) {
    let mut index = Index::new();
    let message = index.parse(INVITE).unwrap();
    c.bench_function("check/pointsman", |b| {
        b.iter(|| check(black_box(&message)).unwrap())
    });
}

fn whole_forward(c: &mut Criterion) {
    let mut group = c.benchmark_group("forward");
    group.throughput(Throughput::Elements(1));
    let (mut index, mut edits, mut out) = (Index::new(), Edits::new(), Vec::with_capacity(2048));
    group.bench_function("pointsman", |b| {
        b.iter(|| {
            let message = index.parse(black_box(INVITE)).unwrap();
            black_box(read_fields(&message).unwrap());
            forward_into(&message, &mut edits, &mut out).unwrap();
            black_box(out.len())
        });
    });
    group.bench_function("pointsman, checked and stamped", |b| {
        let source = "192.0.2.77:5062".parse().unwrap();
        b.iter(|| {
            let message = index.parse(black_box(INVITE)).unwrap();
            check(&message).unwrap();
            black_box(read_fields(&message).unwrap());
            edits.clear();
            forward::stamp_top_via(&message, &mut edits, source).unwrap();
            forward_edits(&message, &mut edits).unwrap();
            out.clear();
            edits.apply(message.bytes(), &mut out);
            black_box(out.len())
        });
    });
    group.bench_function("rsip", |b| b.iter(|| rsip_forward(black_box(INVITE))));
    group.finish();
}

fn respond(c: &mut Criterion) {
    let (mut index, mut out) = (Index::new(), Vec::with_capacity(2048));
    let message = index.parse(INVITE).unwrap();
    let reply = Reply {
        to_tag: Some(b"0123456789abcdef"),
        ..Reply::new(480)
    };
    c.bench_function("respond/pointsman", |b| {
        b.iter(|| {
            out.clear();
            write_response(black_box(&message), &reply, &mut out);
            black_box(out.len())
        });
    });
}

fn read_fields(message: &Message<'_>) -> Result<usize, Fault> {
    let via = message.top_via()?;
    let (from, to) = (message.from_()?, message.to()?);
    let (cseq, call_id) = (message.cseq()?, message.call_id()?);
    let tags = from.tag.map_or(0, <[u8]>::len) + to.tag.map_or(0, <[u8]>::len);
    Ok(via.branch.len() + tags + call_id.len() + cseq.number as usize)
}

fn forward_into(message: &Message<'_>, edits: &mut Edits, out: &mut Vec<u8>) -> Result<(), Fault> {
    edits.clear();
    forward_edits(message, edits)?;
    out.clear();
    edits.apply(message.bytes(), out);
    Ok(())
}

fn forward_edits(message: &Message<'_>, edits: &mut Edits) -> Result<(), Fault> {
    forward::push_via(message, edits, |out| out.extend_from_slice(VIA));
    forward::insert_header(message, edits, b"Record-Route", |out| {
        out.extend_from_slice(RECORD_ROUTE);
    });
    forward::count_hop(message, edits)?;
    Ok(())
}

fn rsip_read_fields(request: &rsip::Request) -> usize {
    let via = request.via_header().unwrap().clone().typed().unwrap();
    let from = request.from_header().unwrap().clone().typed().unwrap();
    let to = request.to_header().unwrap().clone().typed().unwrap();
    let cseq = request.cseq_header().unwrap().clone().typed().unwrap();
    let call_id = request.call_id_header().unwrap().value().len();
    let branch = via.branch().map_or(0, |branch| branch.value().len());
    let tags = from.params.len() + to.params.len();
    branch + tags + call_id + cseq.seq as usize
}

fn rsip_forward(bytes: &[u8]) -> Vec<u8> {
    let mut request = rsip::Request::try_from(bytes).unwrap();
    black_box(rsip_read_fields(&request));
    let hops = request.max_forwards_header().unwrap().num().unwrap();
    *request.max_forwards_header_mut().unwrap() = rsip::headers::MaxForwards::from(hops - 1);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let via = rsip::headers::Via::new(text(VIA));
    let record_route = rsip::headers::RecordRoute::new(text(RECORD_ROUTE));
    let headers = std::mem::take(&mut request.headers);
    let mut all = vec![record_route.into(), via.into()];
    all.extend(headers);
    request.headers = all.into();
    Vec::from(request)
}

criterion_group!(benches, index, typed, checked, whole_forward, respond);
criterion_main!(benches);
