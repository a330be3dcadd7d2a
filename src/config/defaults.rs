//! What is in force where nothing is configured.

use std::net::SocketAddr;

use super::*;

impl Default for Sip {
    fn default() -> Self {
        Self {
            listen: vec![Listen {
                transport: Transport::Udp,
                address: SocketAddr::from(([127, 0, 0, 1], 5060)),
            }],
            advertise: Vec::new(),
            domains: Vec::new(),
            region: "DE".to_owned(),
            next_hop: None,
            outbound: None,
            voicemail: None,
            forwarding: Forwarding::Redirect,
            voicemail_forwarding: None,
            dnd_status: 480,
            unknown_callee: UnknownCallee::NextHop,
            call_limit: 1,
            hop_limit: 5,
            ring_for_s: 20,
            session_expires_s: 1_800,
            session_min_s: 90,
            max_call_s: 43_200,
            retry_after_s: 10,
            udp_limit_bytes: 1_300,
            join_datagrams: true,
            shards: None,
            receive_buffer_bytes: 4 << 20,
            proxy_protocol: Vec::new(),
            reuse_tcp: false,
        }
    }
}

impl Default for Presence {
    fn default() -> Self {
        Self {
            time_zone: None,
            team_sees: Level::Full,
            others_see: Level::Full,
            holidays: Vec::new(),
            calendar_refresh_s: 300,
            calendar_networks: Vec::new(),
        }
    }
}

impl Default for FeatureCodes {
    fn default() -> Self {
        Self {
            enabled: true,
            usual: true,
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate: None,
            private_key: None,
            client_ca: None,
            require_client_certificate: false,
            server_ca: None,
            client_certificate: None,
            client_key: None,
            min_version: TlsVersion::V1_2,
            verify_server: true,
            allow_wildcards: false,
        }
    }
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            name: String::new(),
            address: Vec::new(),
            certificate: Vec::new(),
            forwarding: None,
            voicemail_forwarding: None,
            trust_diversion: true,
            trust_identity: true,
            send_identity: None,
            external: false,
            check_s: 0,
        }
    }
}

impl Default for Node {
    fn default() -> Self {
        Self {
            name: String::new(),
            uri: HostPort::named("".into()),
            priority: 1,
            weight: 1,
            check_s: 30,
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            check_s: 0,
            failures: 2,
            penalty_s: 30,
        }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout_ms: 2_000,
        }
    }
}

impl Default for Registrar {
    fn default() -> Self {
        Self {
            mode: None,
            min_expires_s: 60,
            default_expires_s: 3_600,
            max_expires_s: 7_200,
            bindings_per_aor: 16,
        }
    }
}

impl Default for Events {
    fn default() -> Self {
        Self {
            packages: None,
            max_expires_s: 7_200,
            per_watcher: 1_000,
            lamp_shows_dnd: false,
        }
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            t1_ms: 500,
            t2_ms: 4_000,
            t4_ms: 5_000,
            timer_c_s: 185,
            failover_ms: 4_000,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            transactions: 1_000_000,
            calls: 200_000,
            bindings: 1_000_000,
            subscriptions: 100_000,
            branches: 16,
            message_bytes: 65_535,
            messages_per_source_s: 0,
            connections: 10_000,
            connections_per_source: 1_000,
            connections_opening: 1_000,
            connect_s: 3,
            handshake_s: 5,
            first_message_s: 30,
            message_s: 10,
            connection_idle_s: 600,
            connection_stall_s: 5,
            connection_queue_messages: 4_096,
            connection_queue_bytes: 1 << 20,
        }
    }
}

impl Default for Overload {
    fn default() -> Self {
        let default = crate::proxy::policy::Overload::default();
        Self {
            max_delay_ms: default.max_delay_ms,
            control: default.control,
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            engine: StoreEngine::Embedded,
            path: "pointsman-data".into(),
            journal_days: 90,
            journal_max_mib: 1_024,
        }
    }
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_token: None,
            admin_token_file: None,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Human,
            calls_per_s: 1_000,
        }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { grace_s: 30 }
    }
}
