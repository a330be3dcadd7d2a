//! What people set about themselves, and what others then do for them.

use serde_json::json;

use crate::browser::Driver;
use crate::journey::begin;
use crate::provider::Provider;
use crate::server::{ADMIN, Server};

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_is_named_and_sets_the_status_which_tells_who_it_was() {
    let Some((driver, server)) = begin("").await else {
        return;
    };
    let (anna, bob) = (driver.open("de").await, driver.open("en").await);
    anna.sign_in(&server.page, "anna").await;
    anna.show("settings/personal").await;
    anna.fill("[data-field=delegate] input", "nobody here")
        .await;
    anna.click(".with-button button").await;
    anna.find("[data-field=delegate] .fault:not([hidden])")
        .await;
    anna.fill("[data-field=delegate] input", "Bob Bauer").await;
    anna.click(".with-button button").await;
    anna.wait_for_text(".chosen", "Bob Bauer").await;
    let named = server.get("subscribers/anna/delegates");
    assert_eq!(named["delegates"], json!(["bob"]));
    bob.sign_in(&server.page, "bob").await;
    bob.show("settings/personal").await;
    bob.wait_for_text(".view-settings", "You may set the status of")
        .await;
    bob.show("colleagues").await;
    bob.click("li[data-id=anna] .tool").await;
    bob.click(".option:has([value=away])").await;
    bob.fill("input[name=message]", "Ill until Monday").await;
    bob.click("dialog .primary").await;
    bob.wait_for_text("li[data-id=anna]", "set by Bob Bauer")
        .await;
    anna.show("status").await;
    anna.wait_for_text(".sentence", "gesetzt von Bob Bauer")
        .await;
    anna.wait_for_text(".hero", "Ill until Monday").await;
    bob.click("li[data-id=anna] .tool").await;
    bob.click("dialog .content > button").await;
    bob.wait_until("!document.querySelector('li[data-id=anna]').textContent.includes('Bob Bauer')")
        .await;
    anna.wait_for_text("#pick", "Anwesend").await;
    anna.show("settings/personal").await;
    anna.click(".chosen .tool").await;
    server.until("nobody is left", "subscribers/anna/delegates", |found| {
        found["delegates"] == json!([])
    });
    anna.close().await;
    bob.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_messages_is_set_for_each_status() {
    let Some((driver, server)) = begin("").await else {
        return;
    };
    let anna = driver.person(&server, "anna", "en").await;
    anna.show("settings/dnd").await;
    anna.click("[data-field=chat] option[value=suppress]").await;
    anna.save("Saved").await;
    let saved = server.get("subscribers/anna/settings");
    assert_eq!(saved["dnd"], json!({"chat": "suppress"}));
    anna.show("settings/all").await;
    anna.click("[data-field=chat] option[value=reject]").await;
    anna.save("Saved").await;
    anna.show("settings/away").await;
    anna.wait_for_text(
        "[data-field=chat] option:first-child",
        "As “All statuses”: refused",
    )
    .await;
    anna.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_signs_in_at_the_provider_and_out_again() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let provider = Provider::start().await;
    let oidc = format!(
        "[oidc]\nissuer = \"{}\"\nclient_id = \"page\"\nlabel = \"Company login\"\n\
         passwords = false\n",
        provider.issuer
    );
    let server = Server::start_with(&oidc);
    let browser = driver.open("en").await;
    browser.client.goto(&server.page).await.unwrap();
    browser
        .wait_for_text(".signin .button", "Company login")
        .await;
    browser
        .wait_until("document.querySelector('input[name=password]') === null")
        .await;
    provider.sign_in(None);
    browser.click(".signin .button").await;
    browser
        .wait_for_text(".signin .fault", "cancelled or refused")
        .await;
    provider.sign_in(Some("nobody"));
    browser.click(".signin .button").await;
    browser
        .wait_for_text(".signin .fault", "nobody here has that name")
        .await;
    provider.sign_in(Some("anna"));
    browser.click(".signin .button").await;
    browser.find(".view-status #pick").await;
    browser.wait_for_text(".hero .name", "Anna Arndt").await;
    browser.click(".more summary").await;
    browser.click(".sheet button:last-child").await;
    browser.find("#ended").await;
    browser.client.goto(&server.page).await.unwrap();
    browser.find(".signin .button").await;
    browser.click(".signin .link").await;
    browser.fill("input[name=token]", ADMIN).await;
    browser.click(".signin [type=submit]").await;
    browser.find(".view-people h1").await;
    browser.close().await;
}

const HOUSE: &str = "[[status]]\nid = \"business_trip\"\ntext_de = \"Dienstreise\"\n\
    text_en = \"Business trip\"\ncolour = \"blue\"\n[forwarding]\ndeny = [\"+49900*\"]\n\
    [[hours]]\nteam = \"Board\"\nmon = [\"09:00-17:00\"]\noutside = \"available\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_status_of_the_houses_own_is_chosen_seen_and_has_settings() {
    let Some((driver, server)) = begin(HOUSE).await else {
        return;
    };
    let (anna, bob) = (driver.open("de").await, driver.open("en").await);
    bob.sign_in(&server.page, "bob").await;
    bob.show("colleagues").await;
    anna.sign_in(&server.page, "anna").await;
    anna.choose("business_trip").await;
    anna.wait_for_text("#pick", "Dienstreise").await;
    let status = server.status("anna");
    assert_eq!(
        (&status["status"], &status["own_status"]),
        (&json!("away"), &json!("business_trip"))
    );
    bob.wait_for_text("li[data-id=anna]", "Business trip").await;
    bob.find("li[data-id=anna] .in-blue").await;
    anna.show("settings/business_trip").await;
    anna.wait_for_text(".tabs [aria-current]", "Dienstreise")
        .await;
    anna.fill("[data-field=message] input", "Auf Reisen").await;
    anna.click("[data-field=immediate] option[value=forward]")
        .await;
    anna.fill("[data-field=immediate] input", "0900 1234").await;
    anna.click(".bar .primary").await;
    anna.wait_for_text(
        "[data-field=immediate] .fault",
        "darf nicht weitergeleitet werden",
    )
    .await;
    anna.fill("[data-field=immediate] input", "102").await;
    anna.save("Gespeichert").await;
    let saved = server.get("subscribers/anna/settings");
    assert_eq!(
        saved["own"]["business_trip"],
        json!({"message": "Auf Reisen", "immediate": {"forward": "102"}})
    );
    bob.wait_for_text("li[data-id=anna]", "Auf Reisen").await;
    bob.click("select option[value=business_trip]").await;
    bob.wait_until("document.querySelectorAll('.people li').length === 1")
        .await;
    anna.close().await;
    bob.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_forwardings_is_warned_about() {
    let Some((driver, server)) = begin("").await else {
        return;
    };
    let back = json!({"away": {"immediate": {"forward": "101"}}});
    server.send("PUT", "subscribers/bob/settings", &back);
    let anna = driver.person(&server, "anna", "en").await;
    anna.show("settings/away").await;
    anna.click("[data-field=immediate] option[value=forward]")
        .await;
    anna.fill("[data-field=immediate] input", "102").await;
    anna.click(".bar .primary").await;
    anna.wait_for_text(".warn", "Bob Bauer forwards to you")
        .await;
    // It is told while it lasts, and in the language that is chosen.
    anna.show("status").await;
    anna.show("settings/away").await;
    anna.wait_for_text(".warn", "Bob Bauer forwards to you")
        .await;
    server.send("PUT", "subscribers/bob/settings", &json!({}));
    anna.show("status").await;
    anna.show("settings/away").await;
    anna.wait_until("!document.querySelector('.warn')").await;
    anna.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_calendars_and_who_sees_what_are_set_by_the_person() {
    let Some((driver, server)) = begin(HOUSE).await else {
        return;
    };
    let anna = driver.person(&server, "anna", "en").await;
    anna.show("settings/personal").await;
    anna.fill("[data-field=mon] input", "9-5").await;
    anna.click(".week ~ .bar .primary").await;
    anna.wait_for_text("[data-field=mon] .fault", "9-5").await;
    anna.fill("[data-field=mon] input", "09:00-12:30, 13:00 – 17:00")
        .await;
    anna.fill("[data-field=zone] input", "Europe/Vienna").await;
    anna.click("[data-field=in_breaks] option[value=business_trip]")
        .await;
    anna.click(".week ~ .bar .primary").await;
    let kept = server.until("the hours are kept", "subscribers/anna/hours", |found| {
        found["own"]["mon"].is_array()
    });
    assert_eq!(
        kept["own"],
        json!({"mon": ["09:00-12:30", "13:00-17:00"], "zone": "Europe/Vienna",
               "in_breaks": "business_trip"})
    );
    anna.fill("[data-field=calendars] textarea", "/etc/passwd")
        .await;
    anna.click("form:has([data-field=calendars]) .primary")
        .await;
    anna.wait_for_text("[data-field=calendars] .fault", "administrator")
        .await;
    anna.click("[data-field=calendar_categories] .bar button")
        .await;
    anna.fill("[data-field=calendar_categories] input", "Travel")
        .await;
    anna.click("[data-field=calendar_categories] option[value=business_trip]")
        .await;
    anna.click("form:has([data-field=calendar_categories]) .primary")
        .await;
    server.until(
        "the category counts",
        "subscribers/anna/triggers",
        |found| found["calendar_categories"] == json!({"Travel": "business_trip"}),
    );
    anna.click("[data-field=others] option[value=free_busy]")
        .await;
    anna.click("form:has([data-field=others]) .primary").await;
    server.until("others see less", "subscribers/anna/visibility", |found| {
        found["own"] == json!({"others": "free_busy"})
    });
    anna.click(".week ~ .bar .quiet").await;
    server.until(
        "the house's hours count",
        "subscribers/anna/hours",
        |found| found.get("own").is_none(),
    );
    let admin = driver.administrator(&server, "en").await;
    admin.show("house").await;
    for text in ["Business trip", "Sales", "Mon 09:00–17:00", "+49900*"] {
        admin.wait_for_text(".view-house", text).await;
    }
    admin.close().await;
    anna.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calendar_that_cannot_be_read_says_so_beside_its_address() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let server = Server::start_with("[presence]\ncalendar_refresh_s = 10\n");
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("anna.ics");
    let calendar = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\nCATEGORIES:Weltreise\r\n\
                    DTSTART:20200101T090000Z\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    let named = json!({"calendars": [file]});
    server.send("PUT", "subscribers/anna/calendars", &named);
    let anna = driver.open("de").await;
    anna.sign_in(&server.page, "anna").await;
    anna.show("settings/personal").await;
    anna.wait_for_text(".readings .badge", "nicht lesbar").await;
    anna.wait_for_text(".readings", "Datei lässt sich nicht lesen")
        .await;
    std::fs::write(&file, calendar).unwrap();
    // Nobody reloads: the server tells.
    anna.wait_for_text(".readings", "0 Termine in den nächsten zwei Tagen")
        .await;
    anna.find("datalist option[value=Weltreise]").await;
    anna.find("datalist option[value=Dienstreise]").await;
    anna.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_given_out_and_erased() {
    let Some((driver, server)) = begin("").await else {
        return;
    };
    server.send("PUT", "subscribers/anna/status", &json!({"status": "dnd"}));
    server.call("101");
    server.until("the call is noted", "subscribers/anna/journal", |found| {
        found["entries"][0]["kind"] == "rejected_dnd"
    });
    let anna = driver.person(&server, "anna", "en").await;
    anna.show("settings/personal").await;
    let data = ".view > section:last-child .bar";
    anna.click(&format!("{data} button:nth-child(1)")).await;
    anna.told("Downloaded").await;
    anna.click(&format!("{data} button:nth-child(2)")).await;
    anna.click("dialog .primary").await;
    server.until(
        "the journal is empty",
        "subscribers/anna/journal",
        |found| found["entries"] == json!([]),
    );
    let admin = driver.administrator(&server, "en").await;
    admin.show("of/bob/settings/personal").await;
    admin.click(&format!("{data} button:nth-child(3)")).await;
    admin.wait_for_text("dialog", "cannot be taken back").await;
    admin.click("dialog .primary").await;
    admin
        .wait_until("document.querySelector('li[data-id=anna]') && !document.querySelector('li[data-id=bob]')")
        .await;
    admin.close().await;
    anna.close().await;
}
