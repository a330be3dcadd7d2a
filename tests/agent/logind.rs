//! A private bus, and a logind on it with one graphical session.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, OwnedObjectPath, connection, interface};

const MANAGER: &str = "/org/freedesktop/login1";
const SESSION: &str = "/org/freedesktop/login1/session/_31";

/// A D-Bus of its own; it ends with its test.
pub struct Bus {
    child: Child,
    pub address: String,
    _folder: TempDir,
}

impl Bus {
    /// Starts it; `None` where there is no `dbus-daemon` and none is demanded.
    pub fn start() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let is_there = std::env::split_paths(&path).any(|p| p.join("dbus-daemon").is_file());
        if !is_there {
            let is_wanted = std::env::var_os("POINTSMAN_REAL_PEERS").is_some();
            assert!(!is_wanted, "there is no dbus-daemon: run `make deps`");
            let _ = writeln!(std::io::stdout(), "left out, as there is no dbus-daemon");
            return None;
        }
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("bus.conf");
        let text = format!(
            "<busconfig><listen>unix:dir={}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/>\
             <allow send_type=\"method_call\"/><allow send_type=\"signal\"/>\
             <allow send_requested_reply=\"true\"/><allow receive_type=\"method_call\"/>\
             <allow receive_type=\"signal\"/><allow receive_type=\"method_return\"/>\
             <allow receive_type=\"error\"/></policy></busconfig>",
            folder.path().display()
        );
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--print-address"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut address)
            .unwrap();
        Some(Self {
            child,
            address: address.trim().to_owned(),
            _folder: folder,
        })
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// logind, as far as the agent asks it.
pub struct Logind(Connection);

struct Manager {
    uid: u32,
}

/// A session at a screen.
#[derive(Default)]
pub struct Session {
    pub idle_since: Option<u64>,
    pub locked: bool,
    pub is_closing: bool,
}

#[interface(name = "org.freedesktop.login1.Manager")]
impl Manager {
    fn list_sessions(&self) -> Vec<(String, u32, String, String, OwnedObjectPath)> {
        let session = |uid: u32, path: &str| {
            let path = OwnedObjectPath::try_from(path).unwrap();
            (
                "1".to_owned(),
                uid,
                "anna".to_owned(),
                "seat0".to_owned(),
                path,
            )
        };
        let somebody_else = "/org/freedesktop/login1/session/_32";
        vec![
            session(self.uid, SESSION),
            session(self.uid + 1, somebody_else),
        ]
    }

    #[zbus(signal)]
    async fn prepare_for_sleep(emitter: &SignalEmitter<'_>, start: bool) -> zbus::Result<()>;
}

#[interface(name = "org.freedesktop.login1.Session")]
impl Session {
    #[zbus(property)]
    fn class(&self) -> &str {
        "user"
    }

    #[zbus(property, name = "Type")]
    fn kind(&self) -> &str {
        "wayland"
    }

    #[zbus(property)]
    fn state(&self) -> &str {
        if self.is_closing { "closing" } else { "active" }
    }

    #[zbus(property)]
    fn idle_hint(&self) -> bool {
        self.idle_since.is_some()
    }

    #[zbus(property)]
    fn idle_since_hint(&self) -> u64 {
        self.idle_since.unwrap_or_default()
    }

    #[zbus(property)]
    fn locked_hint(&self) -> bool {
        self.locked
    }
}

impl Logind {
    /// Takes logind's place on that bus.
    pub async fn on(address: &str) -> Self {
        let uid = std::fs::metadata("/proc/self").unwrap().uid();
        let bus = connection::Builder::address(address)
            .name("org.freedesktop.login1")
            .serve_at(MANAGER, Manager { uid })
            .serve_at(SESSION, Session::default());
        Self(bus.build().await.unwrap())
    }

    /// Changes the session and tells so, as logind does.
    pub async fn set(&self, change: impl FnOnce(&mut Session)) {
        let session = self.0.object_server().interface::<_, Session>(SESSION);
        let session = session.await.unwrap();
        let mut held = session.get_mut().await;
        change(&mut held);
        let emitter = session.signal_emitter();
        held.idle_hint_changed(emitter).await.unwrap();
        held.locked_hint_changed(emitter).await.unwrap();
    }

    /// The computer goes to sleep, or wakes.
    pub async fn sleep(&self, start: bool) {
        let manager = self.0.object_server().interface::<_, Manager>(MANAGER);
        let manager = manager.await.unwrap();
        Manager::prepare_for_sleep(manager.signal_emitter(), start)
            .await
            .unwrap();
    }
}
