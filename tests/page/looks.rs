//! How each view looks, and whether everybody can use it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::browser::{Browser, Driver, is_installed, say};
use crate::server::{ADMIN, Server};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page/axe");

/// The views of a subscriber and of the administrator.
const OWN: [&str; 8] = [
    "status",
    "settings/away",
    "settings/dnd",
    "settings/personal",
    "exceptions",
    "colleagues",
    "journal",
    "whatif",
];
const ADMINS: [&str; 9] = [
    "people",
    "colleagues",
    "calls",
    "decisions",
    "house",
    "systems",
    "whatif",
    "of/anna/status",
    "of/anna/settings/all",
];

/// What looks for faults, pinned by `package-lock.json`; `None` where it cannot be had.
fn axe() -> Option<String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("axe");
    std::fs::create_dir_all(&folder).unwrap();
    let script = folder.join("node_modules/axe-core/axe.min.js");
    let mut is_current = true;
    for file in ["package.json", "package-lock.json"] {
        let text = std::fs::read(Path::new(SOURCES).join(file)).unwrap();
        is_current &= std::fs::read(folder.join(file)).is_ok_and(|old| old == text);
        std::fs::write(folder.join(file), text).unwrap();
    }
    if !(is_current && script.is_file()) {
        if !is_installed("npm") {
            say("faults are not looked for, as there is no npm");
            return None;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        let done = npm.current_dir(&folder).output().unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
    Some(std::fs::read_to_string(script).unwrap())
}

/// The faults of the view that are serious.
async fn faults(browser: &Browser, axe: &str) -> Vec<String> {
    browser.client.execute(axe, vec![]).await.unwrap();
    let run = "const done = arguments[arguments.length - 1]; \
               axe.run(document, { resultTypes: ['violations'] }).then((found) => done(found.violations))";
    let found = browser.client.execute_async(run, vec![]).await.unwrap();
    let serious = found.as_array().unwrap().iter();
    serious
        .filter(|fault| fault["impact"] == "serious" || fault["impact"] == "critical")
        .map(|fault| format!("{}: {} at {}", fault["id"], fault["help"], places(fault)))
        .collect()
}

fn places(fault: &Value) -> String {
    let nodes = fault["nodes"].as_array().unwrap().iter();
    let all: Vec<String> = nodes.map(|node| node["html"].to_string()).collect();
    all.join(" ")
}

async fn light(browser: &Browser, scheme: &str) {
    let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
    browser
        .native(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        )
        .await;
}

async fn screen(browser: &Browser, (width, height): (u32, u32)) {
    let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1,
                         "mobile": width < 600});
    browser
        .native("Emulation.setDeviceMetricsOverride", metrics)
        .await;
}

async fn draw(browser: &Browser, name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/page");
    std::fs::create_dir_all(&folder).unwrap();
    let picture = browser.client.screenshot().await.unwrap();
    let file: PathBuf = folder.join(format!("{}.png", name.replace('/', "-")));
    std::fs::write(file, picture).unwrap();
}

/// Draws a view on every screen in every light; what is wrong with it.
async fn look(browser: &Browser, axe: Option<&str>, who: &str, view: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (device, size) in [("desk", (1200, 850)), ("phone", (390, 844))] {
        screen(browser, size).await;
        for scheme in ["light", "dark"] {
            light(browser, scheme).await;
            browser
                .wait_until("document.getAnimations().length === 0")
                .await;
            let is_wide = "document.documentElement.scrollWidth > innerWidth";
            if browser.value(is_wide).await == true {
                found.push(format!("{who} {view} {device}: wider than the screen"));
            }
            draw(browser, &format!("{who}-{view}-{device}-{scheme}")).await;
            if let Some(axe) = axe {
                let faults = faults(browser, axe).await;
                found.extend(
                    faults
                        .iter()
                        .map(|f| format!("{who} {view} {device} {scheme}: {f}")),
                );
            }
        }
    }
    found
}

/// What the house has of its own.
const HOUSE: &str = "[[status]]\nid = \"business_trip\"\ntext_de = \"Dienstreise\"\n\
    text_en = \"Business trip\"\ncolour = \"blue\"\n[[status]]\nid = \"home_office\"\n\
    text_de = \"Homeoffice\"\ntext_en = \"Home office\"\nclass = \"available\"\n\
    [[hours]]\nteam = \"Board\"\nmon = [\"09:00-12:30\", \"13:00-17:00\"]\n\
    [forwarding]\ndeny = [\"+49900*\"]\n";

fn furnish(server: &Server) {
    let settings = json!({"all": {"no_answer": "voicemail", "ring_for_s": 25},
        "away": {"immediate": {"internal": "connect", "external": {"forward": "+491701234567"}}}});
    server.send("PUT", "subscribers/anna/settings", &settings);
    let exceptions = json!({"blocked": ["+49900*"], "vips": ["bob"], "rules": [
        {"name": "At night", "callers": ["external"], "when": {"from": "20:00", "to": "07:00"},
         "action": "voicemail"},
        {"name": "The workshop", "callers": ["+4989*"], "action": {"forward": "102"}}]});
    server.send("PUT", "subscribers/anna/exceptions", &exceptions);
    let calendar = json!({"kind": "calendar", "id": "e1", "title": "Budget", "status": "away"});
    server.send("POST", "subscribers/anna/signals", &calendar);
    for (id, status) in [("bob", "away"), ("carla", "dnd"), ("emil", "business_trip")] {
        let wish = json!({"status": status, "message": "Until tomorrow, please send me a mail"});
        server.send("PUT", &format!("subscribers/{id}/status"), &wish);
    }
    server.call("101");
    server.call("103");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_can_be_used_by_everybody_and_is_drawn() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let axe = axe();
    let axe = axe.as_deref();
    let server = Server::start_with(HOUSE);
    furnish(&server);
    let mut found = Vec::new();
    let anna = driver.open("de").await;
    anna.client.goto(&server.page).await.unwrap();
    anna.find(".signin h1").await;
    found.extend(look(&anna, axe, "nobody", "sign-in").await);
    anna.sign_in(&server.page, "anna").await;
    for view in OWN {
        anna.show(view).await;
        if view == "whatif" {
            anna.fill(".ask input", "+491701112233").await;
            anna.click(".ask .primary").await;
            anna.find(".result").await;
        }
        found.extend(look(&anna, axe, "anna", view).await);
    }
    anna.show("status").await;
    anna.click("#pick").await;
    found.extend(look(&anna, axe, "anna", "menu").await);
    anna.close().await;
    let admin = driver.open("en").await;
    admin.administer(&server.page, ADMIN).await;
    for view in ADMINS {
        admin.show(view).await;
        found.extend(look(&admin, axe, "admin", view).await);
    }
    admin.show("people").await;
    admin.click("li[data-id=anna] .tool").await;
    admin.find("dialog[open]").await;
    found.extend(look(&admin, axe, "admin", "person").await);
    admin.close().await;
    assert!(found.is_empty(), "{}", found.join("\n"));
}
