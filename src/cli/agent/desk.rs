//! What logind tells of the person's graphical sessions: idle, locked, or the computer asleep.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;

use futures_util::StreamExt as _;
use serde::Serialize;
use tokio::sync::watch;
use zbus::message::Type;
use zbus::{Connection, DynamicType, MatchRule, Message, MessageStream, OwnedVariant};

const LOGIND: &str = "org.freedesktop.login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/login1";
const SESSION: &str = "org.freedesktop.login1.Session";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// The kinds of session that somebody sits at.
const GRAPHICAL: [&str; 3] = ["x11", "wayland", "mir"];
/// How many sessions of one person are looked at.
const SESSIONS: usize = 16;

/// Whether somebody sits at this computer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Desk {
    /// How many graphical sessions the person has here.
    pub sessions: usize,
    /// Since when all of them have been left alone, in unix microseconds.
    pub idle_since_us: Option<u64>,
    /// Whether all of them are locked.
    pub is_locked: bool,
}

/// A connection to the system bus, on which logind is asked and listened to.
pub(super) struct Logind {
    bus: Connection,
    uid: u32,
    news: watch::Receiver<News>,
    /// While it is held, the computer goes to sleep only after we have told so.
    delay: Option<OwnedFd>,
}

/// What has been heard since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct News {
    count: u64,
    is_asleep: bool,
    is_over: bool,
}

/// One session as `ListSessions` tells it: id, uid, user, seat, path.
type Listed = (String, u32, String, String, zbus::OwnedObjectPath);

impl Logind {
    /// Connects to the system bus and listens.
    ///
    /// # Errors
    /// There is no bus, or no logind on it; in words.
    pub(super) async fn connect() -> Result<Self, String> {
        let bus = Connection::system().await.map_err(|error| {
            format!(
                "there is no system bus ({error}); logind tells over D-Bus whether a computer is \
                 idle or locked"
            )
        })?;
        let uid = std::fs::metadata("/proc/self").map_err(|error| error.to_string())?;
        let (told, news) = watch::channel(News::default());
        let fault = |error| format!("the system bus does not let us listen: {error}");
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(LOGIND)
            .path_namespace(MANAGER_PATH);
        let stream = MessageStream::for_match_rule(rule.build().map_err(fault)?, &bus, None);
        tokio::spawn(listen(stream.await.map_err(fault)?, told));
        let mut logind = Self {
            bus,
            uid: uid.uid(),
            news,
            delay: None,
        };
        logind.sessions().await?;
        logind.hold_sleep().await;
        Ok(logind)
    }

    /// Waits until logind says something; `false` where the bus is gone.
    pub(super) async fn changed(&mut self) -> bool {
        self.news.changed().await.is_ok() && !self.news.borrow_and_update().is_over
    }

    /// Whether the computer is about to sleep.
    pub(super) fn is_asleep(&self) -> bool {
        self.news.borrow().is_asleep
    }

    /// Lets the computer sleep, now that it has been told.
    pub(super) fn let_sleep(&mut self) {
        self.delay = None;
    }

    /// Asks for a moment before the computer sleeps. Without it the sleep is told when it ends.
    pub(super) async fn hold_sleep(&mut self) {
        if self.delay.is_some() {
            return;
        }
        let why = (
            "sleep",
            "pointsman agent",
            "Tells that nobody is at the computer",
            "delay",
        );
        let answer = self.call(MANAGER_PATH, MANAGER, "Inhibit", &why).await;
        let held = answer.ok().and_then(|message| {
            let fd: zbus::OwnedFd = message.body().deserialize().ok()?;
            Some(fd.into())
        });
        self.delay = held;
    }

    /// How it looks now.
    ///
    /// # Errors
    /// logind does not answer; in words.
    pub(super) async fn desk(&self) -> Result<Desk, String> {
        let mut desk = Desk {
            is_locked: true,
            ..Desk::default()
        };
        let mut idle_since_us = Some(0);
        for path in self.sessions().await? {
            let answer = self.call(&path, PROPERTIES, "GetAll", &SESSION).await;
            // A session that has just ended tells nothing.
            let Ok(answer) = answer else { continue };
            let found: HashMap<String, OwnedVariant> =
                answer.body().deserialize().unwrap_or_default();
            let seat = Seat(found);
            if !seat.is_used_by_a_person() {
                continue;
            }
            desk.sessions += 1;
            desk.is_locked &= seat.flag("LockedHint");
            // Idle only where all are: since the last of them is.
            let since = seat.idle_since_us();
            idle_since_us = idle_since_us.zip(since).map(|(a, b)| a.max(b));
        }
        if desk.sessions == 0 {
            return Ok(Desk::default());
        }
        desk.idle_since_us = idle_since_us;
        Ok(desk)
    }

    /// The paths of the person's own sessions.
    async fn sessions(&self) -> Result<Vec<String>, String> {
        let fault = |error: zbus::Error| {
            format!("logind does not answer on the system bus ({error}); is systemd-logind there?")
        };
        let answer = self.call(MANAGER_PATH, MANAGER, "ListSessions", &());
        let answer = answer.await.map_err(fault)?;
        let listed: Vec<Listed> = answer.body().deserialize().map_err(fault)?;
        let own = listed.into_iter().filter(|(_, uid, ..)| *uid == self.uid);
        Ok(own
            .take(SESSIONS)
            .map(|(.., path)| path.to_string())
            .collect())
    }

    async fn call<B>(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> zbus::Result<Message>
    where
        B: Serialize + DynamicType,
    {
        self.bus
            .call_method(Some(LOGIND), path, Some(interface), method, body)
            .await
    }
}

/// Notes that something was said; what, is read afresh, but for the sleep.
async fn listen(mut stream: MessageStream, told: watch::Sender<News>) {
    while let Some(Ok(message)) = stream.next().await {
        let header = message.header();
        let is_sleep = header
            .member()
            .is_some_and(|member| member.as_str() == "PrepareForSleep");
        let is_asleep = is_sleep.then(|| message.body().deserialize::<bool>().ok());
        told.send_modify(|news| {
            news.count = news.count.wrapping_add(1);
            if let Some(Some(is_asleep)) = is_asleep {
                news.is_asleep = is_asleep;
            }
        });
    }
    told.send_modify(|news| news.is_over = true);
}

/// The properties of a session.
struct Seat(HashMap<String, OwnedVariant>);

impl Seat {
    fn get<T: TryFrom<OwnedVariant>>(&self, name: &str) -> Option<T> {
        self.0.get(name)?.clone().try_into().ok()
    }

    fn flag(&self, name: &str) -> bool {
        self.get(name).unwrap_or(false)
    }

    fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default()
    }

    fn is_used_by_a_person(&self) -> bool {
        self.text("Class") == "user"
            && self.text("State") != "closing"
            && GRAPHICAL.contains(&self.text("Type").as_str())
    }

    fn idle_since_us(&self) -> Option<u64> {
        let since = self.flag("IdleHint").then(|| self.get("IdleSinceHint"));
        since.map(Option::unwrap_or_default)
    }
}
