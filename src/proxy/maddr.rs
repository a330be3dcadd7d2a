//! A Request-URI whose `maddr` leads to ourselves (RFC 3261 §16.4): it has done what it was for, so
//! it goes, and the request is routed as if it had never been there.

use super::policy::{Listener, Policy};
use super::rejection::Rejection;
use super::request::ProxyRequest;
use super::{Arrival, Proxy};
use crate::message::{Index, Scheme, Transport, Uri};

impl Proxy {
    /// The request without `maddr`, port and transport in its Request-URI, where these name the
    /// listener that it came in by.
    pub(super) fn without_our_maddr(
        &self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
    ) -> Option<Vec<u8>> {
        let listener = self.policy.listeners.get(usize::from(arrival.listener))?;
        let uri = &request.uri;
        if !names_listener(uri, listener, &self.policy) {
            return None;
        }
        let span = request.message.uri_span();
        let bytes = request.message.bytes();
        let mut repaired = Vec::with_capacity(bytes.len());
        repaired.extend_from_slice(bytes.get(..span.start)?);
        write_without(request.uri_bytes, uri, &mut repaired);
        repaired.extend_from_slice(bytes.get(span.end..)?);
        Some(repaired)
    }

    /// Admits what [`Proxy::without_our_maddr`] made of a request.
    ///
    /// # Errors
    /// As [`Proxy::admit`].
    pub(super) fn admit_repaired(
        &mut self,
        arrival: &Arrival,
        bytes: &[u8],
        server_key: u64,
    ) -> Result<(), Rejection> {
        let mut index = Index::new();
        let Ok(message) = index.parse(bytes) else {
            return Err(Rejection::Unresolvable);
        };
        let request = ProxyRequest::check(message, message.top_via()?)?;
        self.admit(arrival, request, server_key)
    }
}

/// Whether `maddr` is ours and the URI asks for the listener's port and transport.
fn names_listener(uri: &Uri<'_>, listener: &Listener, policy: &Policy) -> bool {
    let Some(maddr) = uri.param(b"maddr").flatten() else {
        return false;
    };
    let maddr = maddr.strip_prefix(b"[").unwrap_or(maddr);
    let maddr = maddr.strip_suffix(b"]").unwrap_or(maddr);
    let named = uri.param(b"transport").flatten();
    let default = match uri.scheme {
        Scheme::Sips => Transport::Tls,
        _ => Transport::Udp,
    };
    let transport = named.map_or(Some(default), Transport::from_name);
    policy.is_ours(maddr)
        && transport == Some(listener.transport)
        && uri.port.unwrap_or(listener.transport.default_port()) == listener.port
}

/// Appends the URI without its port and the parameters `maddr` and `transport`.
fn write_without(bytes: &[u8], uri: &Uri<'_>, out: &mut Vec<u8>) {
    let offset = |part: &[u8]| part.as_ptr() as usize - bytes.as_ptr() as usize;
    let host_end = offset(uri.host_port) + uri.host_port.len();
    let port = uri.port.map_or(0, |_| {
        let colon = uri.host_port.iter().rposition(|byte| *byte == b':');
        uri.host_port.len() - colon.unwrap_or(uri.host_port.len())
    });
    out.extend_from_slice(bytes.get(..host_end - port).unwrap_or_default());
    for param in crate::message::Params::new(uri.params) {
        if !param.is(b"maddr") && !param.is(b"transport") {
            out.extend_from_slice(uri.params.get(param.span).unwrap_or_default());
        }
    }
    if let Some(question) = bytes.iter().position(|byte| *byte == b'?') {
        out.extend_from_slice(bytes.get(question..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_named_us_goes() {
        let without = |text: &str| {
            let mut out = Vec::new();
            write_without(
                text.as_bytes(),
                &Uri::parse(text.as_bytes()).unwrap(),
                &mut out,
            );
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            without("sip:b@h:5070;a=1;maddr=192.0.2.1;transport=udp;lr?X=y"),
            "sip:b@h;a=1;lr?X=y"
        );
        assert_eq!(
            without("sip:b@[2001:db8::1];maddr=[::1]"),
            "sip:b@[2001:db8::1]"
        );
    }
}
