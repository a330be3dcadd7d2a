//! JsSIP in Node.js: a browser's phone without a browser.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

use crate::program::run;
use crate::wait::{PATIENCE, is_installed, say, within};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/websocket");
const INSTALLING: Duration = Duration::from_secs(120);

/// A browser's phone; it ends with its test.
pub struct Browser {
    child: Child,
    input: ChildStdin,
    heard: Arc<Mutex<Vec<Value>>>,
}

/// Whether there is a browser's phone. Its packages are installed by the first test that asks.
pub fn is_there() -> bool {
    if let Some(missing) = ["node", "npm"].into_iter().find(|name| !is_installed(name)) {
        say(&format!("left out, as there is no {missing}"));
        return false;
    }
    packages().is_dir()
}

/// Where the packages are, pinned by `package-lock.json`.
fn packages() -> &'static PathBuf {
    static PACKAGES: OnceLock<PathBuf> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("websocket");
        std::fs::create_dir_all(&folder).unwrap();
        let mut is_new = !folder.join("node_modules/jssip").is_dir();
        for file in ["package.json", "package-lock.json"] {
            let text = std::fs::read(Path::new(SOURCES).join(file)).unwrap();
            let place = folder.join(file);
            is_new |= std::fs::read(&place).is_ok_and(|old| old != text);
            std::fs::write(place, text).unwrap();
        }
        if is_new {
            let mut npm = Command::new("npm");
            npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
            let said = run(npm.current_dir(&folder), INSTALLING);
            assert_eq!(said.code, Some(0), "npm ci: {}", said.text);
        }
        folder
    })
}

impl Browser {
    /// Opens a page that registers `user` over `url`.
    pub fn open(url: &str, (user, password): (&str, &str), root: Option<&Path>) -> Self {
        let mut command = Command::new("node");
        command
            .arg(Path::new(SOURCES).join("phone.js"))
            .args([url, user, password])
            .args(root)
            .current_dir(packages())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let heard: Arc<Mutex<Vec<Value>>> = Arc::default();
        let hears = Arc::clone(&heard);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(json!({ "event": line }));
                hears.lock().unwrap().push(event);
            }
        });
        Self {
            child,
            input,
            heard,
        }
    }

    /// Tells it to do something.
    pub fn tell(&self, what: &Value) {
        writeln!(&self.input, "{what}").unwrap();
    }

    /// Waits for the first event of that name.
    pub fn wait_for(&self, event: &str) -> Value {
        let found = within(PATIENCE, || {
            let heard = self.heard.lock().unwrap();
            heard.iter().find(|heard| heard["event"] == event).cloned()
        });
        found.unwrap_or_else(|| panic!("no {event} in a browser: {}", self.account()))
    }

    /// All events of that name so far.
    pub fn all(&self, event: &str) -> Vec<Value> {
        let heard = self.heard.lock().unwrap();
        let fitting = heard.iter().filter(|heard| heard["event"] == event);
        fitting.cloned().collect()
    }

    fn account(&self) -> String {
        format!("{:?}", self.heard.lock().unwrap())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
