//! What the page says to people: in their language, by their names, and no more than is theirs.

use fantoccini::key::Key;
use serde_json::json;

use crate::journey::begin;

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_warnings_speak_the_language_of_the_page() {
    let Some((driver, server)) = begin("[forwarding]\ndeny = [\"+49900*\"]\n").await else {
        return;
    };
    let anna = driver.person(&server, "anna", "de").await;
    anna.show("settings/away").await;
    let immediate = "[data-field=immediate]";
    anna.click(&format!("{immediate} option[value=forward]"))
        .await;
    anna.fill(&format!("{immediate} input"), "0900 1234").await;
    anna.click(".bar .primary").await;
    let fault = format!("{immediate} .fault");
    anna.wait_for_text(&fault, "darf nicht weitergeleitet werden")
        .await;
    // What is wrong is typed, so that is where the focus goes and what is described by the fault.
    let focused = "document.activeElement.matches('[data-field=immediate] input[aria-invalid]')";
    anna.wait_until(focused).await;
    anna.fill(&format!("{immediate} input"), "no number!").await;
    anna.click(".bar .primary").await;
    anna.wait_for_text(&fault, "weder eine Nummer noch").await;
    anna.fill(&format!("{immediate} input"), "101").await;
    anna.fill("[data-field=ring_for_s] input", "3").await;
    anna.click(".bar .primary").await;
    anna.wait_for_text("[data-field=ring_for_s] .fault", "5 bis 120 Sekunden")
        .await;
    anna.fill("[data-field=ring_for_s] input", "30").await;
    anna.click(".bar .primary").await;
    anna.wait_for_text(".warn", "Sie leiten an sich selbst weiter")
        .await;
    anna.close().await;
    let admin = driver.administrator(&server, "de").await;
    admin.click(".heading .primary").await;
    admin.fill("dialog [data-field=id] input", "anna").await;
    admin.click("dialog footer .primary").await;
    admin.wait_for_text("dialog", "schon vergeben").await;
    admin.fill("dialog [data-field=id] input", "jörg b").await;
    admin.click("dialog footer .primary").await;
    admin
        .wait_for_text("dialog [data-field=id] .fault", "keine Leerzeichen")
        .await;
    admin.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_names_people_and_says_how_long_it_is_kept() {
    let Some((driver, server)) = begin("").await else {
        return;
    };
    let settings = json!({"available": {"immediate": {"forward": "102"}}});
    server.send("PUT", "subscribers/anna/settings", &settings);
    let wish = json!({"status": "away"});
    server.send("PUT", "subscribers/bob/status", &wish);
    server.call("101");
    let read = server.until("the call is noted", "subscribers/anna/journal", |found| {
        found["entries"][0]["kind"] == "forwarded"
    });
    assert_eq!(read["entries"][0]["target_name"], "Bob Bauer", "{read}");
    let reasons = json!(["available", "immediate_forward"]);
    assert_eq!(
        read["entries"][0]["reasons"], reasons,
        "Bob's status is his"
    );
    let anna = driver.person(&server, "anna", "de").await;
    anna.show("journal").await;
    anna.wait_for_text(".journal", "weitergeleitet → Bob Bauer")
        .await;
    anna.wait_for_text(".view-journal", "90 Tage lang aufbewahrt")
        .await;
    anna.close().await;
    let admin = driver.administrator(&server, "en").await;
    admin.show("decisions").await;
    admin.wait_for_text("td .whom bdi", "+491701112233").await;
    admin.wait_for_text("td a.whom", "Anna Arndt").await;
    admin.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_the_page_often_comes_back_to_it() {
    let Some((driver, server)) = begin("").await else {
        return;
    };
    let anna = driver.person(&server, "anna", "en").await;
    // More often than a browser has connections to one server.
    for _ in 0..8 {
        anna.client.goto("about:blank").await.unwrap();
        anna.client.goto(&server.page).await.unwrap();
        anna.find(".view-status #pick").await;
    }
    // The way back shows the page that was left; it follows what happens again.
    anna.client.goto("about:blank").await.unwrap();
    anna.client.back().await.unwrap();
    let wish = json!({"status": "break"});
    server.send("PUT", "subscribers/anna/status", &wish);
    anna.wait_for_text("#pick", "On a break").await;
    anna.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_made_for_kinds_of_callers_with_the_keyboard() {
    let Some((driver, server)) = begin("").await else {
        return;
    };
    let anna = driver.person(&server, "anna", "en").await;
    anna.show("exceptions").await;
    anna.click(".card > .primary").await;
    anna.find("dialog[open]").await;
    let focused = anna.client.active_element().await.unwrap();
    focused.send_keys("Nobody unknown").await.unwrap();
    // Past internal and external to anonymous, and on to the numbers.
    anna.press(&[Key::Tab, Key::Tab, Key::Tab]).await;
    let focused = anna.client.active_element().await.unwrap();
    focused.send_keys(" ").await.unwrap();
    anna.press(&[Key::Tab]).await;
    let focused = anna.client.active_element().await.unwrap();
    focused.send_keys("+4940*").await.unwrap();
    anna.click("dialog .action option[value=reject]").await;
    for day in ["mon", "tue", "wed", "sat"] {
        anna.click(&format!("dialog input[value={day}]")).await;
    }
    anna.click("dialog footer .primary").await;
    anna.wait_for_text(".rules", "Mon–Wed, Sat").await;
    anna.wait_for_text(".rules", "Anonymous, +4940* → refuse")
        .await;
    let saved = server.get("subscribers/anna/exceptions");
    let callers = json!(["anonymous", "+4940*"]);
    assert_eq!(saved["rules"][0]["callers"], callers, "{saved}");
    anna.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_into_the_page_survives_signing_in_and_back_closes_what_lies_over() {
    let Some((driver, server)) = begin("").await else {
        return;
    };
    let anna = driver.open("en").await;
    let link = format!("{}/#/journal/missed", server.page);
    anna.client.goto(&link).await.unwrap();
    anna.enter("anna", "anna-secret").await;
    anna.find(".view-journal h1").await;
    anna.show("status").await;
    anna.click("#pick").await;
    anna.find("dialog[open]").await;
    anna.client.back().await.unwrap();
    anna.find(".view-journal h1").await;
    anna.wait_until("!document.querySelector('dialog')").await;
    // What nobody can read leads to the first view, and so does what is not one's own.
    for hash in ["#/%E0%A4%A", "#/of/bob/settings"] {
        let script = "location.hash = arguments[0]";
        let arguments = vec![json!(hash)];
        anna.client.execute(script, arguments).await.unwrap();
        anna.wait_for_text(".view-status .name", "Anna Arndt").await;
        anna.show("journal").await;
    }
    // What was typed when the session ended is there when one has signed in again.
    anna.show("settings/away").await;
    anna.fill("[data-field=message] input", "Back on Monday")
        .await;
    anna.client.delete_all_cookies().await.unwrap();
    anna.click(".bar .primary").await;
    anna.wait_for_text("dialog.again", "The session is over")
        .await;
    anna.fill("dialog.again [name=secret]", "anna-secret").await;
    anna.click("dialog.again .primary").await;
    anna.wait_until("!document.querySelector('dialog')").await;
    anna.save("Saved").await;
    let saved = server.get("subscribers/anna/settings");
    assert_eq!(saved["away"]["message"], "Back on Monday");
    assert_eq!(
        anna.value("document.querySelectorAll('.toast').length")
            .await,
        1
    );
    anna.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_colleagues_are_counted_and_a_status_is_sought_among_all() {
    let Some((driver, server)) = begin("").await else {
        return;
    };
    for number in 0..504 {
        let document =
            json!({"id": format!("p{number:03}"), "display_name": format!("Person {number}")});
        server.send("POST", "subscribers", &document);
    }
    server.send("PUT", "subscribers/p503/status", &json!({"status": "dnd"}));
    let anna = driver.person(&server, "anna", "en").await;
    anna.show("colleagues").await;
    anna.wait_for_text(".view [role=status]", "500 of 508 people")
        .await;
    anna.click("select option[value=dnd]").await;
    anna.wait_for_text(".people", "Person 503").await;
    anna.wait_for_text(".view [role=status]", "1 person").await;
    // Somebody of whom nothing was loaded comes in as soon as it is so, and goes out again.
    let path = "subscribers/p502/status";
    server.send("PUT", path, &json!({"status": "dnd"}));
    anna.wait_for_text(".people", "Person 502").await;
    server.send("PUT", path, &json!({"status": "away"}));
    anna.wait_for_text(".view [role=status]", "1 person").await;
    // A team all of whose members stand further back is there to choose.
    let team = json!({"id": "p501", "display_name": "Person 501", "teams": ["Night shift"]});
    server.send("PUT", "subscribers/p501", &team);
    anna.show("journal").await;
    anna.show("colleagues").await;
    anna.click("select option[value=\"Night shift\"]").await;
    anna.wait_for_text(".view [role=status]", "1 person").await;
    anna.wait_for_text(".people", "Person 501").await;
    // So is everybody, where somebody is named.
    anna.show("whatif").await;
    anna.fill(".ask input", "Person 503").await;
    anna.click(".ask .primary").await;
    anna.wait_for_text(".result", "Person 503 → Anna Arndt")
        .await;
    anna.close().await;
}
