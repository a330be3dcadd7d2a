//! The systems around us.

use super::*;
use crate::message::Transport;
use crate::proxy::{HealthRules, Now, Trouble};

#[tokio::test]
async fn systems_are_shown_with_their_state_and_certificates_with_their_expiry() {
    let world = world().await;
    let shared = world.state.shared();
    let target = (Transport::Udp, "127.0.0.1:5080".parse().unwrap());
    let now = Now {
        ms: 999_000,
        unix_ms: 1,
    };
    let trouble = Trouble::Unavailable(Some(60));
    shared
        .health
        .penalise(target, trouble, now, &HealthRules::default());
    let answer = world.get("/api/v1/peers").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let document = answer.json();
    let systems: Vec<_> = document["systems"].as_array().unwrap().iter().collect();
    let names: Vec<_> = systems
        .iter()
        .map(|s| s["role"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["next_hop", "voicemail"]);
    assert_eq!(systems[0]["state"], "penalised");
    let target = &systems[0]["targets"][0];
    assert_eq!(target["address"], "127.0.0.1:5080");
    assert_eq!(target["trouble"], "unavailable");
    assert_eq!(document["certificates"][0]["days_left"], 3);
    assert_eq!(document["peers"][0]["name"], "trunk");
    let metrics = world.get("/metrics").await.text();
    assert!(
        metrics.contains("pointsman_node_up{node=\"hop\"} 0"),
        "{metrics}"
    );
    assert!(metrics.contains("pointsman_penalties_total 1"), "{metrics}");
    assert!(
        metrics.contains("pointsman_dns_queries_total 0"),
        "{metrics}"
    );
}

#[tokio::test]
async fn only_the_administrator_sees_them() {
    let world = world().await;
    let token = world.token_of("anna").await;
    let answer = world.with_token(Some(&token)).get("/api/v1/peers").await;
    assert_eq!(answer.status, 403);
}
