//! baresip as a subscriber's phone, told over its control connection what to do.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::sipp::{Log, Seen};
use crate::wait::{PATIENCE, end_of, until, until_true, within};

const CONTROL_PORT: u16 = 4444;
const MODULES: &str = "/usr/lib/baresip/modules";

/// A phone that is to be started.
pub struct Account<'a> {
    pub user: &'a str,
    pub password: &'a str,
    /// The phone's address; nobody else has its host.
    pub at: SocketAddr,
    pub server: SocketAddr,
    /// `udp`, `tcp` or `tls`.
    pub transport: &'a str,
    /// Whose presence it subscribes to; nobody's where this is empty.
    pub watches: &'a str,
}

/// A running phone; it ends with its test.
pub struct Baresip {
    child: Child,
    control: TcpStream,
    heard: Arc<Mutex<Vec<Value>>>,
    server: SocketAddr,
    folder: PathBuf,
}

impl Baresip {
    /// Starts a phone; it is registered when this returns.
    pub fn start(folder: &Path, account: &Account<'_>) -> Self {
        let at = account.at;
        let root = folder.join("root.pem");
        let folder = folder.join(format!("baresip-{}", account.user));
        std::fs::create_dir_all(&folder).unwrap();
        let mut config = config(at, &root);
        let mut contacts = String::new();
        if !account.watches.is_empty() {
            config.push_str("module_app contact.so\nmodule_app presence.so\n");
            contacts = format!("\"Colleague\" <{}>;presence=p2p\n", account.watches);
        }
        std::fs::write(folder.join("config"), config).unwrap();
        std::fs::write(folder.join("accounts"), line(account)).unwrap();
        std::fs::write(folder.join("contacts"), contacts).unwrap();
        let output = std::fs::File::create(folder.join("output")).unwrap();
        let child = Command::new("baresip")
            .arg("-f")
            .arg(&folder)
            .arg("-s")
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let controller = SocketAddr::new(at.ip(), CONTROL_PORT);
        let mut phone = Unconnected { child, folder };
        let control = until(&format!("baresip at {at}"), || {
            phone.check();
            TcpStream::connect(controller).ok()
        });
        let heard = Arc::default();
        listen(control.try_clone().unwrap(), Arc::clone(&heard));
        let Unconnected { child, folder } = phone;
        let phone = Self {
            child,
            control,
            heard,
            server: account.server,
            folder,
        };
        until_true(&format!("{} is registered", account.user), || {
            let log = phone.log();
            let registered = |m: &Seen| m.status() == Some(200) && is_register(m);
            log.received().any(registered)
        });
        phone
    }

    /// Calls somebody.
    pub fn dial(&self, uri: &str) {
        self.command("dial", uri);
    }

    /// Takes the call that rings.
    pub fn accept(&self) {
        self.command("accept", "");
    }

    /// Ends the call, or refuses the one that rings.
    pub fn hang_up(&self) {
        self.command("hangup", "");
    }

    /// Waits until something has happened for the `count`th time; what it is about.
    pub fn wait_for(&self, kind: &str, count: usize) -> Value {
        let found = within(PATIENCE, || {
            let heard = self.heard.lock().unwrap();
            let mut fitting = heard.iter().filter(|event| event["type"] == kind);
            fitting.nth(count - 1).cloned()
        });
        let account = || (&self.folder, self.log().first_lines());
        found.unwrap_or_else(|| panic!("no {kind} no. {count}: {:?}", account()))
    }

    /// What it sent and received.
    pub fn log(&self) -> Log {
        let text = std::fs::read(self.folder.join("output")).unwrap();
        Log(read_trace(&String::from_utf8_lossy(&text), self.server))
    }

    /// What it says to whoever sits before it.
    pub fn screen(&self) -> String {
        let output = std::fs::read(self.folder.join("output")).unwrap();
        String::from_utf8_lossy(&output).into_owned()
    }

    /// What it sent and received about a call or whatever else is no registration.
    pub fn calls(&self) -> Log {
        let mut log = self.log();
        log.0.retain(|message| !is_register(message));
        log
    }

    /// Switches the phone off: it takes its registration back.
    pub fn leave(mut self) -> Log {
        self.command("quit", "");
        let ended = end_of(&mut self.child, PATIENCE);
        assert!(ended.is_some(), "{:?}", self.log().first_lines());
        self.calls()
    }

    fn command(&self, name: &str, params: &str) {
        let command = json!({"command": name, "params": params, "token": name}).to_string();
        let framed = format!("{}:{command},", command.len());
        (&self.control).write_all(framed.as_bytes()).unwrap();
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A phone that cannot be told anything yet.
struct Unconnected {
    child: Child,
    folder: PathBuf,
}

impl Unconnected {
    fn check(&mut self) {
        let ended = self.child.try_wait().unwrap();
        let output = || std::fs::read_to_string(self.folder.join("output")).unwrap_or_default();
        assert!(ended.is_none(), "{}", output());
    }
}

/// Without any audio hardware: what it hears is what it says.
fn config(at: SocketAddr, root: &Path) -> String {
    let host = at.ip();
    let certificate = match root.exists() {
        true => format!("sip_cafile {}\n", root.display()),
        false => String::new(),
    };
    format!(
        "poll_method epoll\nsip_listen {at}\nnet_interface {host}\n{certificate}\
         module_path {MODULES}\naudio_player aubridge,nil\naudio_source aubridge,nil\n\
         audio_alert aubridge,nil\nmodule g711.so\nmodule aubridge.so\n\
         module_app account.so\nmodule_app menu.so\nmodule ctrl_tcp.so\n\
         ctrl_tcp_listen {host}:{CONTROL_PORT}\n"
    )
}

fn line(account: &Account<'_>) -> String {
    let Account {
        user,
        password,
        server,
        transport,
        ..
    } = account;
    format!(
        "<sip:{user}@example.com;transport={transport}>;auth_user={user};auth_pass={password};\
         outbound=\"sip:{server};transport={transport}\";regint=600;answermode=manual\n"
    )
}

/// Reads the control connection, netstrings of JSON, for as long as it is open.
fn listen(control: TcpStream, heard: Arc<Mutex<Vec<Value>>>) {
    control
        .set_read_timeout(Some(Duration::from_secs(120)))
        .unwrap();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(control);
        loop {
            let mut length = Vec::new();
            if !reader
                .read_until(b':', &mut length)
                .is_ok_and(|read| read > 0)
            {
                return;
            }
            length.pop();
            let length: usize = String::from_utf8(length).unwrap().parse().unwrap();
            let mut document = vec![0; length + 1];
            if reader.read_exact(&mut document).is_err() {
                return;
            }
            document.pop();
            let document = serde_json::from_slice(&document).unwrap();
            heard.lock().unwrap().push(document);
        }
    });
}

fn is_register(message: &Seen) -> bool {
    message.header("CSeq").ends_with("REGISTER")
}

/// Reads `-s`: a coloured `#`, a line with transport, sender and receiver, the message.
fn read_trace(text: &str, server: SocketAddr) -> Vec<Seen> {
    let text = text.replace("\r\n", "\n");
    let parts = text.split("\u{1b}[36;1m#\n").skip(1);
    let read = parts.filter_map(|part| {
        let (ways, message) = part.split_once('\n')?;
        let (from, _) = ways.split_once(" -> ")?;
        let (message, _) = message.split_once("\u{1b}[;m")?;
        Some(Seen {
            is_received: is_server(from, server),
            text: message.to_owned(),
        })
    });
    read.collect()
}

/// Whether `UDP 127.0.0.1:5060` names the server, from whichever port.
fn is_server(from: &str, server: SocketAddr) -> bool {
    let address = from.rsplit(' ').next().unwrap_or_default();
    let address: Option<SocketAddr> = address.parse().ok();
    address.is_some_and(|address| address.ip() == server.ip())
}
