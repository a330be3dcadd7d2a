//! What no single value shows: values that contradict each other.

use std::collections::HashSet;

use super::{Config, ConfigError, RegistrarMode};
use crate::proxy::policy::Network;

impl Config {
    /// Every contradiction.
    pub(super) fn check(&self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        if !self.api.listen.ip().is_loopback() && self.api.admin_token.is_none() {
            let text = format!(
                "{} is reachable from other machines, and there is no token; set api.admin_token \
                 or api.admin_token_file, or listen on 127.0.0.1",
                self.api.listen
            );
            errors.push(self.error("api.listen", text));
        }
        if self.timers.t2_ms < self.timers.t1_ms {
            let text = format!(
                "T2 ({} ms) is below T1 ({} ms); allowed: at least T1",
                self.timers.t2_ms, self.timers.t1_ms
            );
            errors.push(self.error("timers.t2_ms", text));
        }
        errors.extend(self.check_oidc());
        errors.extend(self.check_registrar());
        errors.extend(self.check_tls());
        errors.extend(self.check_advertised());
        errors.extend(self.check_peers());
        errors.extend(self.check_nodes());
        errors.extend(self.check_statuses());
        errors.extend(self.check_hours());
        errors.extend(self.check_codes());
        errors
    }

    fn check_nodes(&self) -> impl Iterator<Item = ConfigError> {
        let mut names = HashSet::new();
        let twice = self.nodes.iter().enumerate();
        let twice = twice.filter(move |(_, node)| !names.insert(node.name.as_str()));
        let twice = twice.map(|(index, node)| {
            let text = format!("another node is called {:?}", node.name);
            self.error(&format!("node[{index}].name"), text)
        });
        let is_single = |peer: &super::Peer| match peer.address.as_slice() {
            [one] => *one == Network::host(one.base),
            _ => false,
        };
        let peers = self.peers.iter().enumerate();
        let unfit = peers.filter(move |(_, peer)| peer.check_s > 0 && !is_single(peer));
        let unfit = unfit.map(|(index, _)| {
            let text = "only a peer with a single address can be checked";
            self.error(&format!("peer[{index}].check_s"), text)
        });
        twice.chain(unfit)
    }

    fn check_registrar(&self) -> Vec<ConfigError> {
        let registrar = &self.registrar;
        let mut errors = Vec::new();
        let longest = registrar.max_expires_s;
        for (key, seconds) in [
            ("registrar.min_expires_s", registrar.min_expires_s),
            ("registrar.default_expires_s", registrar.default_expires_s),
        ] {
            if seconds > longest {
                let text = format!("{seconds} s is above max_expires_s ({longest} s)");
                errors.push(self.error(key, text));
            }
        }
        if self.registrar.mode == Some(RegistrarMode::Pass) && !self.has_pbx() {
            let text = "there is no PBX that REGISTER could be passed to; set sip.next_hop, or \
                        mode = \"local\"";
            errors.push(self.error("registrar.mode", text));
        }
        errors
    }

    /// Certificates and their keys come in pairs, and whoever listens with TLS has both.
    fn check_tls(&self) -> Vec<ConfigError> {
        let tls = &self.tls;
        let mut errors = Vec::new();
        let mut lacks = |key: &str, other: &str| {
            let text = format!("there is no `{other}`, which it needs");
            errors.push(self.error(key, text));
        };
        match (&tls.certificate, &tls.private_key) {
            (Some(_), None) => lacks("tls.certificate", "tls.private_key"),
            (None, Some(_)) => lacks("tls.private_key", "tls.certificate"),
            (None, None) if self.sip.listen.iter().any(|l| l.transport.is_secure()) => {
                lacks("sip.listen", "tls.certificate");
            }
            _ => {}
        }
        match (&tls.client_certificate, &tls.client_key) {
            (Some(_), None) => lacks("tls.client_certificate", "tls.client_key"),
            (None, Some(_)) => lacks("tls.client_key", "tls.client_certificate"),
            _ => {}
        }
        if tls.require_client_certificate && tls.client_ca.is_none() {
            lacks("tls.require_client_certificate", "tls.client_ca");
        }
        errors
    }

    fn check_advertised(&self) -> impl Iterator<Item = ConfigError> {
        let fits = |ip: std::net::IpAddr| {
            self.sip
                .listen
                .iter()
                .any(|listen| listen.address.is_ipv4() == ip.is_ipv4())
        };
        let unfit = self
            .sip
            .advertise
            .iter()
            .filter_map(move |entry| entry.ip().filter(|ip| ip.is_unspecified() || !fits(*ip)));
        unfit.map(|ip| {
            let text = if ip.is_unspecified() {
                format!("nobody can reach us at {ip}; allowed: a name or an address of ours")
            } else {
                format!("{ip} is of a family that no listener has")
            };
            self.error("sip.advertise", text)
        })
    }

    fn check_peers(&self) -> Vec<ConfigError> {
        let mut names = HashSet::new();
        let mut errors = Vec::new();
        for (index, peer) in self.peers.iter().enumerate() {
            if !names.insert(peer.name.as_str()) {
                let text = format!("another peer is called {:?}", peer.name);
                errors.push(self.error(&format!("peer[{index}].name"), text));
            }
        }
        errors.extend(self.check_peer_addresses());
        errors
    }

    /// The first match wins, so a block that stands in two peers would never reach the second.
    fn check_peer_addresses(&self) -> impl Iterator<Item = ConfigError> {
        self.peers
            .iter()
            .enumerate()
            .flat_map(move |(index, peer)| {
                let before = self.peers.get(..index).unwrap_or_default();
                let taken = |block: &_| {
                    before
                        .iter()
                        .filter(|earlier| earlier.certificate.is_empty())
                        .find(|earlier| earlier.address.contains(block))
                };
                let clash = peer
                    .address
                    .iter()
                    .find_map(|block| Some((block, taken(block)?)));
                clash.map(|(block, earlier)| {
                    let text = format!(
                        "{}/{} belongs to the peer {:?} already",
                        block.base, block.prefix, earlier.name
                    );
                    self.error(&format!("peer[{index}].address"), text)
                })
            })
    }
}
