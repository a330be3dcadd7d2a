//! The set of messages of a run: built in, each replaceable by a file of the same name.

use super::template::{Slot, Template, TemplateError, Values};

/// The names under which messages can be replaced, with what is built in.
const BUILT_IN: [(&str, &str); 9] = [
    ("invite", include_str!("templates/invite.sip")),
    ("ack", include_str!("templates/ack.sip")),
    ("bye", include_str!("templates/bye.sip")),
    ("cancel", include_str!("templates/cancel.sip")),
    ("register", include_str!("templates/register.sip")),
    ("subscribe", include_str!("templates/subscribe.sip")),
    ("unsubscribe", include_str!("templates/unsubscribe.sip")),
    ("180", include_str!("templates/180.sip")),
    ("200", include_str!("templates/200.sip")),
];

/// Without these the answers could not be told apart.
const NEEDED: [(&str, &[Slot]); 7] = [
    ("invite", &[Slot::Branch, Slot::CallId, Slot::Tag]),
    ("ack", &[Slot::Branch, Slot::CallId, Slot::ToTag]),
    ("bye", &[Slot::Branch, Slot::CallId, Slot::ToTag]),
    ("cancel", &[Slot::Branch, Slot::CallId]),
    ("register", &[Slot::Branch, Slot::CallId, Slot::Tag]),
    ("subscribe", &[Slot::Branch, Slot::CallId, Slot::Tag]),
    ("unsubscribe", &[Slot::Branch, Slot::CallId, Slot::ToTag]),
];

/// All messages that are sent.
#[derive(Debug)]
pub struct Templates {
    pub(super) invite: Template,
    pub(super) ack: Template,
    pub(super) bye: Template,
    pub(super) cancel: Template,
    pub(super) register: Template,
    pub(super) subscribe: Template,
    pub(super) unsubscribe: Template,
    pub(super) ringing: Answer,
    pub(super) answer: Answer,
    /// The Request-URI of an INVITE, also its To and a registration's address-of-record.
    pub(super) to: Template,
    /// The URI of who calls.
    pub(super) from: Template,
}

/// A response: what follows the fields that are copied from the request.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub reason: Vec<u8>,
    pub content_type: Option<Vec<u8>>,
    headers: Template,
    body: Template,
}

impl Templates {
    /// The messages built in, some of them replaced: pairs of a name and its text. `to` and
    /// `from` are URIs.
    ///
    /// # Errors
    /// A name that is none, a text that cannot be compiled or lacks what tells answers apart.
    pub fn compile(
        replaced: &[(String, String)],
        to: &str,
        from: &str,
    ) -> Result<Self, TemplateError> {
        let known = |name: &str| BUILT_IN.iter().any(|(known, _)| *known == name);
        if let Some((name, _)) = replaced.iter().find(|(name, _)| !known(name)) {
            let names: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            return Err(TemplateError {
                name: name.clone(),
                line: 0,
                reason: format!("no message has this name; there are {}", names.join(", ")),
            });
        }
        let text = |name: &str| {
            let replaced = replaced.iter().find(|(other, _)| other == name);
            let built_in = BUILT_IN.iter().find(|(other, _)| *other == name);
            replaced.map_or(built_in.map_or("", |(_, text)| text), |(_, text)| text)
        };
        let request = |name: &str| compile_request(name, text(name));
        Ok(Self {
            invite: request("invite")?,
            ack: request("ack")?,
            bye: request("bye")?,
            cancel: request("cancel")?,
            register: request("register")?,
            subscribe: request("subscribe")?,
            unsubscribe: request("unsubscribe")?,
            ringing: Answer::compile("180", text("180"))?,
            answer: Answer::compile("200", text("200"))?,
            to: Template::compile_piece("--to", to)?,
            from: compile_from(from)?,
        })
    }

    /// The message that has no place for credentials, of those that begin a call or subscription.
    pub fn without_credentials(&self) -> Option<&'static str> {
        let all = [("invite", &self.invite), ("subscribe", &self.subscribe)];
        let mut without = all.iter().filter(|(_, one)| !one.has(Slot::Authorization));
        without.next().map(|(name, _)| *name)
    }
}

/// The URI of who calls has slots that are the same for all calls, and the call itself.
fn compile_from(text: &str) -> Result<Template, TemplateError> {
    const KNOWN: [Slot; 6] = [
        Slot::LocalHost,
        Slot::Local,
        Slot::Domain,
        Slot::Server,
        Slot::Transport,
        Slot::CallId,
    ];
    let template = Template::compile_piece("--from", text)?;
    let are_known = template.slots().all(|slot| KNOWN.contains(&slot));
    are_known.then_some(template).ok_or_else(|| TemplateError {
        name: "--from".to_owned(),
        line: 0,
        reason: format!(
            "who calls can be written with these slots only: {}",
            KNOWN.map(Slot::name).join(", ")
        ),
    })
}

fn compile_request(name: &str, text: &str) -> Result<Template, TemplateError> {
    let template = Template::compile(name, text)?;
    let needed = NEEDED.iter().find(|(other, _)| *other == name);
    for slot in needed.map_or(&[][..], |(_, slots)| slots) {
        if !template.has(*slot) {
            return Err(TemplateError {
                name: name.to_owned(),
                line: 0,
                reason: format!("{slot:?} has no slot, so no answer could be told from another"),
            });
        }
    }
    Ok(template)
}

impl Answer {
    fn compile(name: &str, text: &str) -> Result<Self, TemplateError> {
        let text = text.replace("\r\n", "\n");
        let bad = |line, reason: &str| TemplateError {
            name: name.to_owned(),
            line,
            reason: reason.to_owned(),
        };
        let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
        let mut lines = head.lines();
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("SIP/2.0 ").and_then(|rest| {
            let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
            Some((status.parse().ok()?, reason.as_bytes().to_vec()))
        });
        let (status, reason) = status.ok_or_else(|| bad(1, "no status line"))?;
        if Some(status) != name.parse().ok() {
            return Err(bad(1, "the status is not the one of its name"));
        }
        let mut headers = String::new();
        let mut content_type = None;
        for line in lines {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            match field.trim().to_ascii_lowercase().as_str() {
                "content-type" | "c" => content_type = Some(value.trim().as_bytes().to_vec()),
                "content-length" | "l" => {}
                "via" | "v" | "from" | "f" | "to" | "t" | "call-id" | "i" | "cseq" => {}
                _ => {
                    headers.push_str(line);
                    headers.push('\n');
                }
            }
        }
        Ok(Self {
            status,
            reason,
            content_type,
            headers: Template::compile_piece(name, &headers)?,
            body: Template::compile_piece(name, body)?,
        })
    }

    /// Appends the header lines.
    pub(super) fn write_headers(&self, values: &Values<'_>, out: &mut Vec<u8>) {
        self.headers.write_piece(values, out);
    }

    /// Appends the body.
    pub(super) fn write_body(&self, values: &Values<'_>, out: &mut Vec<u8>) {
        self.body.write_piece(values, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(name: &str, text: &str) -> Result<Templates, TemplateError> {
        Templates::compile(
            &[(name.to_owned(), text.to_owned())],
            "sip:{user}@x",
            "sip:b@x",
        )
    }

    #[test]
    fn what_is_built_in_compiles_and_an_invite_is_of_usual_size() {
        let templates = Templates::compile(&[], "sip:{user}@{domain}", "sip:b@x").unwrap();
        let local = b"127.0.0.1:5070";
        let long = b"sip:0123456789@127.0.0.1:5060";
        let values = Values::new()
            .set(Slot::RequestUri, long)
            .set(Slot::ToUri, long)
            .set(Slot::Caller, long)
            .set(Slot::Contact, long)
            .set(Slot::Local, local)
            .set(Slot::LocalHost, b"127.0.0.1")
            .set(Slot::Branch, &[b'x'; 30])
            .set(Slot::Tag, &[b'x'; 22])
            .set(Slot::CallId, &[b'x'; 32]);
        let mut out = Vec::new();
        templates.invite.write(&values, &mut out);
        assert!((750..900).contains(&out.len()), "{}", out.len());
        assert_eq!(templates.ringing.status, 180);
        assert_eq!(
            templates.answer.content_type.as_deref(),
            Some(&b"application/sdp"[..])
        );
    }

    #[test]
    fn a_replacement_that_cannot_work_is_refused() {
        for (name, text, part) in [
            ("invte", "", "no message has this name; there are invite"),
            ("invite", "INVITE x SIP/2.0\n\n", "Branch has no slot"),
            ("200", "HTTP/1.1 200 OK\n\n", "no status line"),
            ("180", "SIP/2.0 183 Progress\n\n", "not the one of its name"),
        ] {
            let error = compile(name, text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn an_answers_copied_fields_are_left_to_the_request() {
        let text = "SIP/2.0 200 Fine\nVia: x\nX-Mine: {user}\nContent-Type: text/plain\n\
                    Content-Length: 99\n\nhello";
        let templates = compile("200", text).unwrap();
        let mut out = Vec::new();
        let values = Values::new().set(Slot::User, b"anna");
        templates.answer.write_headers(&values, &mut out);
        templates.answer.write_body(&values, &mut out);
        assert_eq!(out, b"X-Mine: anna\r\nhello");
        assert_eq!(templates.answer.reason, b"Fine");
    }
}
