//! WebSocket and secure WebSocket, from a client's side.

use std::net::TcpStream;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConnection, StreamOwned};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message as Frame, WebSocket, client};

use super::certificates::{Authority, client_config};
use super::peer::{Message, Peer, request};
use super::site::{PATIENCE, Plan, Site};

const WS: &str = r#""ws:127.0.0.1:0", "ws:[::1]:0""#;

type Browser<S = TcpStream> = WebSocket<S>;

fn connect<S: std::io::Read + std::io::Write>(
    stream: S,
    protocol: Option<&'static str>,
) -> Result<Browser<S>, Option<u16>> {
    let mut request = "ws://sip.example.com/".into_client_request().unwrap();
    if let Some(protocol) = protocol {
        let value = HeaderValue::from_static(protocol);
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", value);
    }
    match client(request, stream) {
        Ok((browser, response)) => {
            assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "sip");
            Ok(browser)
        }
        Err(tokio_tungstenite::tungstenite::HandshakeError::Failure(Error::Http(response))) => {
            Err(Some(response.status().as_u16()))
        }
        Err(_) => Err(None),
    }
}

fn stream(site: &Site, listener: usize) -> TcpStream {
    let stream = TcpStream::connect(site.at(listener)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn hear<S: std::io::Read + std::io::Write>(browser: &mut Browser<S>) -> Message {
    loop {
        match browser.read().unwrap() {
            Frame::Text(text) => return Message(text.to_string()),
            Frame::Binary(bytes) => {
                return Message(String::from_utf8_lossy(&bytes).into_owned());
            }
            _ => {}
        }
    }
}

fn final_response<S: std::io::Read + std::io::Write>(browser: &mut Browser<S>) -> Message {
    loop {
        let message = hear(browser);
        if message.status().is_some_and(|status| status >= 200) {
            return message;
        }
    }
}

const VIA: (&str, &str) = ("WS", "df7jal23ls0d.invalid");

#[test]
fn text_and_binary_carry_one_message_each_with_or_without_a_length() {
    let site = Site::listening(WS);
    for listener in [0, 1] {
        let mut browser = connect(stream(&site, listener), Some("sip")).unwrap();
        let of = |call: &str| request("INVITE", "101", VIA, &format!("{call}{listener}"));
        let bare = of("bare").replace("Content-Length: 0\r\n", "");
        for frame in [
            Frame::text(of("text")),
            Frame::binary(of("binary").into_bytes()),
            Frame::text(bare),
        ] {
            browser.send(frame).unwrap();
            let response = final_response(&mut browser);
            assert_eq!(response.status(), Some(480), "{}", response.0);
        }
        browser.send(Frame::Ping(b"x"[..].into())).unwrap();
        while !matches!(browser.read().unwrap(), Frame::Pong(_)) {}
        browser.send(Frame::text("\r\n\r\n")).unwrap();
        while hear(&mut browser).0 != "\r\n" {}
        let _ = browser.close(None);
        while browser.read().is_ok() {}
        site.until_empty();
    }
}

#[test]
fn only_the_subprotocol_sip_is_spoken() {
    let site = Site::listening(WS);
    for protocol in [None, Some("chat"), Some("chat, xmpp")] {
        assert_eq!(connect(stream(&site, 0), protocol).err(), Some(Some(400)));
    }
    assert!(connect(stream(&site, 0), Some("chat, sip")).is_ok());
    let mut plain = Peer::connect(site.at(0));
    plain.send(request("INVITE", "101", VIA, "plain"));
    plain.until_closed();
    site.until("connections_refused", "websocket", 4);
    site.until_empty();
}

#[test]
fn a_message_beyond_the_limit_or_what_is_no_frame_closes() {
    let site = Site::listening(WS);
    let mut browser = connect(stream(&site, 0), Some("sip")).unwrap();
    let _ = browser.send(Frame::text("x".repeat(70_000)));
    while browser.read().is_ok() {}
    site.until("connections_unframed", "too_long", 1);
    let mut browser = connect(stream(&site, 0), Some("sip")).unwrap();
    std::io::Write::write_all(browser.get_mut(), &[0xff; 64]).unwrap();
    while browser.read().is_ok() {}
    site.until("connections_closed", "broken", 1);
    site.until_empty();
}

#[test]
fn a_secure_websocket_is_both() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("root");
    authority
        .issue(&["sip.example.com"])
        .write(directory.path(), "server");
    let at = |name: &str| directory.path().join(name);
    let (certificate, key) = (at("server.pem"), at("server.key"));
    let more = format!("[tls]\ncertificate = {certificate:?}\nprivate_key = {key:?}\n");
    let plan = Plan {
        listen: r#""wss:127.0.0.1:0", "wss:[::1]:0""#,
        sip: "",
        more: &more,
    };
    let site = Site::within(directory, &plan);
    for listener in [0, 1] {
        let config = client_config(&authority, None);
        let name = ServerName::try_from("sip.example.com").unwrap();
        let tls = ClientConnection::new(Arc::clone(&config), name).unwrap();
        let secured = StreamOwned::new(tls, stream(&site, listener));
        let mut browser = connect(secured, Some("sip")).unwrap();
        let call = format!("secure{listener}");
        let invite = request("INVITE", "101", ("WSS", VIA.1), &call);
        browser.send(Frame::text(invite)).unwrap();
        assert_eq!(final_response(&mut browser).status(), Some(480));
        drop(browser);
        site.until_empty();
    }
}
