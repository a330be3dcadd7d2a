//! A browser with an empty profile of its own, and what somebody does in it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::elements::Element;
use fantoccini::key::Key;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use crate::server::PATIENCE;

/// One test at a time has browsers: several would only be slower.
static TURN: Mutex<()> = Mutex::const_new(());

/// What starts browsers; it ends with its test, and they with it.
pub struct Driver {
    child: Child,
    url: String,
    _turn: MutexGuard<'static, ()>,
}

/// A browser.
pub struct Browser {
    pub client: Client,
    _profile: TempDir,
}

/// Whether a program can be started.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Says why a test is left out, past the test harness.
pub fn say(why: &str) {
    let test = std::thread::current().name().unwrap_or("page").to_owned();
    let _ = writeln!(std::io::stdout(), "{why}: page {test}");
}

impl Driver {
    /// Starts the driver; `None` where there is no browser and none is demanded.
    pub async fn start() -> Option<Self> {
        let is_wanted = std::env::var_os("POINTSMAN_REAL_PEERS").is_some();
        for program in ["chromium", "chromedriver"] {
            if !is_installed(program) {
                assert!(
                    !is_wanted,
                    "POINTSMAN_REAL_PEERS is set, but there is no {program}: run `make deps`"
                );
                say(&format!(
                    "left out, as there is no {program} (`make deps` installs it)"
                ));
                return None;
            }
        }
        let turn = TURN.lock().await;
        let mut child = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let port = line
                .rsplit_once("on port ")?
                .1
                .trim_end_matches('.')
                .to_owned();
            line.contains("successfully").then_some(port)
        });
        Some(Self {
            child,
            url: format!("http://127.0.0.1:{}", port.unwrap()),
            _turn: turn,
        })
    }

    /// A new browser whose user reads that language.
    pub async fn open(&self, language: &str) -> Browser {
        let profile = TempDir::new().unwrap();
        let mut arguments: Vec<String> = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--window-size=1200,850",
        ]
        .map(str::to_owned)
        .into();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        arguments.push(format!("--lang={language}"));
        arguments.push(format!("--accept-lang={language}"));
        let options = json!({
            "browserName": "chrome",
            "goog:chromeOptions": {
                "args": arguments, "binary": "/usr/bin/chromium",
                "prefs": {"intl.accept_languages": language},
            }
        });
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(serde_json::from_value(options).unwrap());
        Browser {
            client: builder.connect(&self.url).await.unwrap(),
            _profile: profile,
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command of the browser's own protocol.
#[derive(Debug)]
struct Native(Value);

impl WebDriverCompatibleCommand for Native {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        base.join(&format!(
            "session/{}/goog/cdp/execute",
            session.unwrap_or_default()
        ))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.0.to_string()))
    }
}

impl Browser {
    pub async fn native(&self, command: &str, parameters: Value) {
        let command = json!({"cmd": command, "params": parameters});
        self.client.issue_cmd(Native(command)).await.unwrap();
    }

    /// The element, as soon as it is there.
    pub async fn find(&self, css: &str) -> Element {
        let wait = self.client.wait().at_most(PATIENCE);
        match wait.for_element(Locator::Css(css)).await {
            Ok(element) => element,
            Err(error) => panic!(
                "no {css}: {error}; the page says: {}",
                self.text("body").await
            ),
        }
    }

    /// Clicks an element; once more where the page has drawn it afresh meanwhile.
    pub async fn click(&self, css: &str) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.find(css).await.click().await {
            let is_late = Instant::now() > deadline;
            let is_covered = error.to_string().contains("click intercepted");
            assert!(
                (error.is_stale_element_reference() || is_covered) && !is_late,
                "{css}: {error}"
            );
            // What stays at the top may lie over it.
            let script = "document.querySelector(arguments[0])?.scrollIntoView({block: 'center'})";
            let scrolled = self.client.execute(script, vec![json!(css)]);
            scrolled.await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Empties an input and types into it.
    pub async fn fill(&self, css: &str, text: &str) {
        let element = self.find(css).await;
        element.clear().await.unwrap();
        element.send_keys(text).await.unwrap();
    }

    /// Presses keys, whatever has the focus.
    pub async fn press(&self, keys: &[Key]) {
        for key in keys {
            let focused = self.client.active_element().await.unwrap();
            focused
                .send_keys(&char::from(*key).to_string())
                .await
                .unwrap();
        }
    }

    /// The visible text of an element; empty where it is not there.
    pub async fn text(&self, css: &str) -> String {
        match self.client.find(Locator::Css(css)).await {
            Ok(element) => element.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Waits until an element says this.
    pub async fn wait_for_text(&self, css: &str, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.text(css).await;
            if found.contains(text) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{css} never said {text:?} but {found:?}"
            );
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Waits until an expression of the page is true.
    pub async fn wait_until(&self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.value(expression).await != true {
            assert!(Instant::now() < deadline, "never: {expression}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// What an expression of the page is.
    pub async fn value(&self, expression: &str) -> Value {
        let script = format!("return {expression}");
        self.client.execute(&script, Vec::new()).await.unwrap()
    }

    /// Shows a view, `status`.
    pub async fn show(&self, view: &str) {
        let script = "location.hash = arguments[0]";
        let hash = json!(format!("#/{view}"));
        self.client.execute(script, vec![hash]).await.unwrap();
        let name = view
            .rsplit_once("of/")
            .map_or(view, |(_, rest)| rest.split_once('/').unwrap().1);
        let name = name.split('/').next().unwrap();
        self.find(&format!(".view-{name} h1")).await;
    }

    pub async fn close(self) {
        let _ = self.client.close().await;
    }
}
