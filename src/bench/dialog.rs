//! The dialog that a 2xx forms (RFC 3261 §12.1.2): its tag, remote target and route set, and where its
//! requests go.

use std::net::SocketAddr;

use super::calls::Call;
use super::check::contact_uri;
use super::plan::{Plan, is_near};
use crate::message::{Message, Name, NameAddr, Uri};

/// The To tag; empty where there is none.
pub(super) fn tag_of<'a>(message: &Message<'a>) -> &'a [u8] {
    message.to().ok().and_then(|to| to.tag).unwrap_or_default()
}

/// Takes remote target and route set from the 2xx (RFC 3261 §12.1.2): the Record-Routes
/// turned round. A first hop that routes strictly (§12.2.1.1) becomes the Request-URI.
pub(super) fn form_dialog(call: &mut Call, message: &Message<'_>) {
    let mut routes: smallvec::SmallVec<[&[u8]; 8]> = message
        .values(Name::RecordRoute)
        .map(|value| value.bytes)
        .collect();
    routes.reverse();
    let first = routes.first().and_then(|route| NameAddr::parse(route).ok());
    let is_strict = first
        .and_then(|first| first.parsed_uri().ok())
        .is_some_and(|uri| !uri.is_lr());
    let contact = contact_uri(message).unwrap_or(&call.to_uri);
    let target = first
        .filter(|_| is_strict)
        .map_or(contact, |first| first.uri);
    call.target.clear();
    call.target.extend_from_slice(target);
    call.routes.clear();
    for route in routes.iter().skip(usize::from(is_strict)) {
        write_route(route, &mut call.routes);
    }
    if is_strict {
        call.routes.extend_from_slice(b"Route: <");
        call.routes.extend_from_slice(contact);
        call.routes.extend_from_slice(b">\r\n");
    }
}

/// Where requests of a 2xx's dialog go: the first hop of the route set, else the remote target.
/// `None` stands for the server: where that is a name, or a host that must not be loaded.
pub(super) fn next_hop(plan: &Plan, message: &Message<'_>) -> Option<SocketAddr> {
    let route = message.values(Name::RecordRoute).last();
    let uri = match route {
        Some(route) => NameAddr::parse(route.bytes).ok()?.uri,
        None => contact_uri(message)?,
    };
    let uri = Uri::parse(uri).ok()?;
    let ip = uri.ip().filter(|ip| plan.may_go_far || is_near(*ip))?;
    let port = uri.port.unwrap_or(plan.transport.default_port());
    Some(SocketAddr::new(ip, port))
}

fn write_route(route: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"Route: ");
    out.extend_from_slice(route);
    out.extend_from_slice(b"\r\n");
}
