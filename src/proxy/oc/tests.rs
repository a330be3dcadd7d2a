//! What is read, what is written, and how much is held back.

use proptest::prelude::*;

use super::*;

fn via(params: &str) -> String {
    format!("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx{params}")
}

fn read(params: &str) -> Option<Feedback> {
    Feedback::read(&Via::parse(via(params).as_bytes(), 0).unwrap())
}

fn hop() -> Hop {
    Hop::new("192.0.2.3:5080".parse().unwrap(), 0)
}

fn feedback(percent: u32, validity_ms: Ms, sequence: u64) -> Feedback {
    Feedback {
        percent,
        validity_ms,
        sequence: Some(sequence * SEQUENCE_UNIT),
    }
}

fn stamped(response: &str, ask: Option<u32>) -> Option<String> {
    let (mut index, mut edits) = (Index::new(), Edits::new());
    let stamp = Stamp {
        ask,
        unix_ms: 1_282_321_615_072,
    };
    let bytes = response.as_bytes();
    let is_edited = may_mention(bytes) && stamp.edit(bytes, &mut index, &mut edits);
    is_edited.then(|| {
        let mut out = Vec::new();
        edits.apply(bytes, &mut out);
        String::from_utf8(out).unwrap()
    })
}

fn response(vias: &str) -> String {
    format!("SIP/2.0 200 OK\r\n{vias}To: <sip:a@b;oc=7>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n\r\n")
}

#[test]
fn the_values_of_a_response_are_read() {
    let all = r#";oc=20;oc-algo="loss";oc-validity=1000;oc-seq=1282321615.782"#;
    let expected = Feedback {
        percent: 20,
        validity_ms: 1_000,
        sequence: Some(128_232_161_578_200),
    };
    assert_eq!(read(all), Some(expected));
    let short = read(r#";oc=0;oc-algo="loss""#).unwrap();
    assert_eq!((short.validity_ms, short.sequence), (VALIDITY_MS, None));
    let upper = read(r#"; OC = 5 ;Oc-Algo="LOSS""#);
    assert_eq!(upper.map(|feedback| feedback.percent), Some(5));
}

#[test]
fn what_is_no_value_of_ours_is_passed_over() {
    for params in [
        "",
        OFFER_TEXT,
        r#";oc=101;oc-algo="loss""#,
        r#";oc=x;oc-algo="loss""#,
        r#";oc=-1;oc-algo="loss""#,
        r#";oc=5;oc-algo="rate""#,
        ";oc=5",
        r#";oc=5;oc-algo="loss";oc-validity=x"#,
        r#";oc-validity=500;oc-algo="loss""#,
        r#";oc=99999999999999999999999;oc-algo="loss""#,
    ] {
        assert_eq!(read(params), None, "{params}");
    }
}

const OFFER_TEXT: &str = r#";oc;oc-algo="loss""#;

#[test]
fn a_client_that_offers_is_told() {
    let told = r#";oc=0;oc-algo="loss";oc-validity=0;oc-seq=1282321615.072"#;
    let before = response(&format!("Via: {}\r\n", via(OFFER_TEXT)));
    let after = response(&format!("Via: {}\r\n", via(told)));
    assert_eq!(stamped(&before, Some(0)), Some(after));
    let told = r#";oc=35;oc-algo="loss";oc-validity=500;oc-seq=1282321615.072"#;
    let before = response(&format!(
        "v: {}\r\n",
        via(r#";oc;oc-algo="rate,loss";rport=1"#)
    ));
    let after = response(&format!("v: {}\r\n", via(&format!(";rport=1{told}"))));
    assert_eq!(stamped(&before, Some(35)), Some(after));
}

#[test]
fn who_does_not_offer_is_told_nothing() {
    let before = response(&format!("Via: {}\r\n", via(";rport=5060;ocean=1")));
    assert_eq!(stamped(&before, Some(10)), None);
    assert_eq!(stamped(&response(""), Some(10)), None);
    let other = response(&format!("Via: {}\r\n", via(r#";oc;oc-algo="rate""#)));
    let after = response(&format!("Via: {}\r\n", via("")));
    assert_eq!(stamped(&other, Some(10)), Some(after), "nothing in common");
}

#[test]
fn what_downstream_wrote_does_not_travel_on() {
    let forged = r#";oc=90;oc-algo="loss";oc-validity=9999;oc-seq=9.9"#;
    let deeper = "SIP/2.0/TCP far;branch=z9hG4bKy";
    let before = response(&format!(
        "Via: {}\r\nVia: {deeper}{forged}\r\n",
        via(forged)
    ));
    let told = r#";oc=0;oc-algo="loss";oc-validity=0;oc-seq=1282321615.072"#;
    let after = response(&format!(
        "Via: {}\r\nVia: {deeper};oc-algo=\"loss\"\r\n",
        via(told)
    ));
    assert_eq!(stamped(&before, Some(0)), Some(after));
    let only_deeper = response(&format!("Via: {}, {deeper};oc=90\r\n", via("")));
    let clean = response(&format!("Via: {}, {deeper}\r\n", via("")));
    assert_eq!(stamped(&only_deeper, Some(0)), Some(clean.clone()));
    assert_eq!(
        stamped(&only_deeper, None),
        Some(clean),
        "also when we do not take part"
    );
}

#[test]
fn a_later_value_counts_and_a_late_one_does_not() {
    let mut throttles = Throttles::default();
    throttles.heed(&hop(), feedback(100, 1_000, 500), 0);
    assert!(throttles.holds_back(&hop(), Class::Call, 1, 0));
    throttles.heed(&hop(), feedback(0, 0, 499), 10);
    assert!(throttles.holds_back(&hop(), Class::Call, 1, 10), "late");
    throttles.heed(&hop(), feedback(0, 0, 501), 20);
    assert!(!throttles.holds_back(&hop(), Class::Call, 1, 20), "ended");
    throttles.heed(&hop(), feedback(100, 1_000, 500), 30);
    assert!(
        !throttles.holds_back(&hop(), Class::Call, 1, 30),
        "late again"
    );
    throttles.heed(&hop(), feedback(100, 1_000, 3), 40);
    assert!(
        throttles.holds_back(&hop(), Class::Call, 1, 40),
        "began anew"
    );
}

#[test]
fn the_same_value_again_does_not_last_longer() {
    let mut throttles = Throttles::default();
    throttles.heed(&hop(), feedback(100, 1_000, 5), 0);
    throttles.heed(&hop(), feedback(100, 1_000, 5), 900);
    assert!(throttles.holds_back(&hop(), Class::Call, 1, 999));
    assert!(!throttles.holds_back(&hop(), Class::Call, 1, 1_000));
}

#[test]
fn only_the_hop_that_asked_is_spared() {
    let mut throttles = Throttles::default();
    throttles.heed(&hop(), feedback(100, 1_000, 5), 0);
    let other = Hop::new("192.0.2.3:5081".parse().unwrap(), 0);
    assert!(!throttles.holds_back(&other, Class::Call, 1, 0));
}

#[test]
fn the_table_of_hops_is_bounded() {
    let mut throttles = Throttles::default();
    for port in 1..2_000 {
        let hop = Hop::new(([192, 0, 2, 9], port).into(), 0);
        throttles.heed(&hop, feedback(50, 1_000, 5), 0);
    }
    assert_eq!(throttles.0.len(), HOPS);
    throttles.heed(&hop(), feedback(50, 1_000, 5), 1_000);
    assert_eq!(throttles.0.len(), 1, "what is over gives way");
}

/// Sends requests of a mix to a hop that wants less; the shares held back of each class and of all.
fn held_back(percent: u32, mix: [u32; 4]) -> ([f64; 4], f64) {
    const CLASSES: [Class; 4] = [Class::Event, Class::Other, Class::Call, Class::Kept];
    let mut throttles = Throttles::default();
    let (mut sent, mut held) = ([0.0; 4], [0.0; 4]);
    let turns: Vec<usize> = (0..4).flat_map(|c| vec![c; mix[c] as usize]).collect();
    for number in 0..40_000_u64 {
        let now_ms = number / 40;
        throttles.heed(&hop(), feedback(percent, 500, 1 + now_ms), now_ms);
        let at = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % turns.len();
        let class = turns[at];
        sent[class] += 1.0;
        let key = number.wrapping_mul(0xd6e8_feb8_6659_fd93);
        if throttles.holds_back(&hop(), CLASSES[class], key, now_ms) {
            held[class] += 1.0;
        }
    }
    let shares = std::array::from_fn(|c| held[c] / f64::max(sent[c], 1.0));
    (shares, held.iter().sum::<f64>() / 40_000.0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn as_much_is_held_back_as_was_asked(
        percent in 1..=100_u32,
        mix in prop::array::uniform4(0..5_u32).prop_filter("some", |mix| mix.iter().sum::<u32>() > 0),
    ) {
        let (shares, all) = held_back(percent, mix);
        prop_assert_eq!(shares[3], 0.0, "what calls in progress need");
        let total: u32 = mix.iter().sum();
        let most = f64::from(total - mix[3]) / f64::from(total);
        let asked = (f64::from(percent) / 100.0).min(most);
        prop_assert!((all - asked).abs() < 0.03, "{} {} {:?}", all, asked, mix);
        for lesser in 0..2 {
            let is_spared = mix[lesser] > 0 && shares[lesser] < 0.9;
            prop_assert!(!is_spared || shares[lesser + 1] < 0.1, "{:?}", shares);
        }
    }

    #[test]
    fn no_parameters_break_anything(params in r#"(;(oc|oc-seq|oc-validity|oc-algo|x)(=[0-9."a-z]{0,9})?){0,5}"#) {
        if let Ok(via) = Via::parse(via(&params).as_bytes(), 0) {
            let _ = Feedback::read(&via);
        }
        let before = response(&format!("Via: {}\r\nv: {}\r\n", via(&params), via(&params)));
        if let Some(after) = stamped(&before, Some(9)) {
            let mut index = Index::new();
            let message = index.parse(after.as_bytes()).unwrap();
            let top = message.top_via().unwrap();
            prop_assert!(matches!(top.param(b"oc"), None | Some(Some(b"9"))));
            prop_assert_eq!(message.values(Name::Via).count(), 2);
        }
    }
}
