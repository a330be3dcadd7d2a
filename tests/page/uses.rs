//! What people do at the page, and what becomes of it on the call path.

use fantoccini::key::Key;
use serde_json::json;

use crate::journey::begin;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_on_the_page_is_in_force_and_on_a_colleagues_page_without_reload() {
    let Some((driver, server)) = begin("").await else {
        return;
    };
    let (anna, bob) = (driver.open("de").await, driver.open("en").await);
    bob.sign_in(&server.page, "bob").await;
    bob.show("colleagues").await;
    bob.wait_for_text("li[data-id=anna]", "Available").await;
    bob.run("window.isTheSame = true").await;
    anna.sign_in(&server.page, "anna").await;
    // The picture, and what is meant: that is all.
    anna.choose("away").await;
    bob.wait_for_text("li[data-id=anna]", "Away").await;
    anna.told("Ihr Status: Abwesend").await;
    // The same for a while.
    anna.click("#own").await;
    anna.find(".pop .option.off").await;
    anna.click(".chip:nth-of-type(2)").await;
    anna.click(".statuses [value=break]").await;
    bob.wait_for_text("li[data-id=anna]", "until").await;
    assert!(server.status("anna")["until"].is_string());
    // And with everything.
    anna.click("#own").await;
    anna.click(".more-choices").await;
    anna.find("input[value=in_call]:disabled").await;
    anna.click(".option:has([value=dnd])").await;
    anna.fill("input[name=message]", "Am Quartalsbericht").await;
    anna.click(".quick button:nth-child(4)").await;
    anna.click("dialog .primary").await;
    anna.wait_for_text("#pick", "Nicht stören").await;
    let status = server.status("anna");
    assert_eq!(status["status"], "dnd");
    assert_eq!(status["source"], "web");
    assert_eq!(status["message"], "Am Quartalsbericht");
    assert!(status["until"].is_string(), "{status}");
    bob.wait_for_text("li[data-id=anna]", "Do not disturb")
        .await;
    bob.wait_for_text("li[data-id=anna]", "Am Quartalsbericht")
        .await;
    bob.wait_for_text("li[data-id=anna]", "until").await;
    assert_eq!(bob.value("window.isTheSame").await, true);
    server.send(
        "PUT",
        "subscribers/anna/status",
        &json!({"status": "break"}),
    );
    anna.wait_for_text("#pick", "In Pause").await;
    bob.fill(".find input", "carla").await;
    bob.wait_for_text(".people", "Carla").await;
    bob.wait_until("document.querySelectorAll('.people li').length === 1")
        .await;
    bob.fill(".find input", "").await;
    bob.find("select option[value=Board]").await;
    bob.click("select option[value=Board]").await;
    bob.wait_until("document.querySelectorAll('.people li').length === 2")
        .await;
    bob.wait_for_text(".view [role=status]", "2 people").await;
    anna.close().await;
    bob.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_as_the_page_says_and_the_journal_says_why() {
    let Some((driver, server)) = begin("").await else {
        return;
    };
    let anna = driver.person(&server, "anna", "en").await;
    anna.show("settings/away").await;
    anna.click(".action[data-field=immediate] option[value=forward]")
        .await;
    anna.fill(".action[data-field=immediate] input", "no number!")
        .await;
    anna.click(".bar .primary").await;
    anna.find(".action[data-field=immediate] .fault:not([hidden])")
        .await;
    anna.fill(".action[data-field=immediate] input", "+491701234567")
        .await;
    anna.save("Saved").await;
    anna.show("status").await;
    anna.choose("away").await;
    anna.wait_for_text("#pick", "Away").await;
    let redirected = server.call("101");
    assert!(redirected.starts_with("SIP/2.0 302"), "{redirected}");
    assert!(redirected.contains("+491701234567"), "{redirected}");
    server.send("PUT", "subscribers/anna/status", &json!({"status": "dnd"}));
    let refused = server.call("101");
    assert!(refused.starts_with("SIP/2.0 480"), "{refused}");
    anna.show("journal").await;
    anna.wait_for_text(".journal", "forwarded → +491701234567")
        .await;
    anna.wait_for_text(".journal", "away → At once: forward")
        .await;
    anna.wait_for_text(".journal", "refused, do not disturb")
        .await;
    anna.show("whatif").await;
    anna.fill(".ask input", "+491701112233").await;
    anna.click(".ask .primary").await;
    anna.wait_for_text(".result", "answer 480").await;
    anna.wait_for_text(".result .chain", "Anna Arndt").await;
    server.send(
        "DELETE",
        "subscribers/anna/status",
        &serde_json::Value::Null,
    );
    anna.show("status").await;
    anna.wait_for_text(".digest", "While you did not want to be disturbed: 1 call")
        .await;
    anna.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_is_enough() {
    let Some((driver, server)) = begin("").await else {
        return;
    };
    let rule =
        |name: &str, caller: &str| json!({"name": name, "callers": [caller], "action": "reject"});
    let rules = json!({"rules": [rule("First", "+4989*"), rule("Second", "+4930*")]});
    server.send("PUT", "subscribers/anna/exceptions", &rules);
    let anna = driver.open("en").await;
    anna.client.goto(&server.page).await.unwrap();
    anna.find("input[name=id]").await;
    let focused = anna.client.active_element().await.unwrap();
    focused
        .send_keys("anna\u{e004}anna-secret\u{e007}")
        .await
        .unwrap();
    anna.find(".view-status #pick").await;
    anna.wait_until("document.activeElement.matches('h1')")
        .await;
    // To the button with the status, as far as Tab leads.
    for _ in 0..4 {
        anna.press(&[Key::Tab]).await;
        if anna.value("document.activeElement.id === 'pick'").await == true {
            break;
        }
    }
    assert_eq!(anna.value("document.activeElement.id").await, "pick");
    let outline = "getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(anna.value(outline).await, "solid", "the focus is seen");
    anna.press(&[Key::Enter]).await;
    anna.wait_until("document.activeElement.value === 'available'")
        .await;
    anna.press(&[Key::Down, Key::Enter]).await;
    anna.wait_for_text("#pick", "Away").await;
    assert_eq!(server.status("anna")["status"], "away");
    anna.wait_until("document.activeElement.id === 'pick'")
        .await;
    anna.press(&[Key::Enter]).await;
    anna.find("dialog[open]").await;
    anna.press(&[Key::Escape]).await;
    anna.wait_until("!document.querySelector('dialog')").await;
    anna.wait_until("document.activeElement.id === 'pick'")
        .await;
    anna.show("exceptions").await;
    anna.find(".rules li").await;
    let script = "document.querySelector('.rules li:nth-child(2) .tools button').focus()";
    anna.client.execute(script, vec![]).await.unwrap();
    anna.press(&[Key::Enter]).await;
    anna.wait_for_text(".rules li:first-child", "Second").await;
    anna.wait_for_text("#live", "“Second” is number 1 now")
        .await;
    let saved = server.get("subscribers/anna/exceptions");
    assert_eq!(saved["rules"][0]["name"], "Second");
    let held = "document.activeElement.closest('li')?.textContent.includes('Second')";
    anna.wait_until(held).await;
    anna.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_language_is_the_browsers_until_it_is_switched() {
    let Some((driver, server)) = begin("").await else {
        return;
    };
    let anna = driver.open("de").await;
    anna.client.goto(&server.page).await.unwrap();
    anna.wait_for_text("h1", "Anmelden bei pointsman").await;
    anna.sign_in(&server.page, "anna").await;
    anna.wait_for_text("#pick", "Anwesend").await;
    assert_eq!(anna.value("document.documentElement.lang").await, "de");
    anna.click(".more summary").await;
    anna.click(".sheet option[value=en]").await;
    anna.wait_for_text(".view-status h1", "My status").await;
    assert_eq!(anna.value("document.documentElement.lang").await, "en");
    anna.client.refresh().await.unwrap();
    anna.wait_for_text(".view-status h1", "My status").await;
    let english = driver.open("en").await;
    english.client.goto(&server.page).await.unwrap();
    english.wait_for_text("h1", "Sign in to pointsman").await;
    english.close().await;
    anna.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_session_that_is_over_are_told() {
    let Some((driver, server)) = begin("").await else {
        return;
    };
    let anna = driver.open("en").await;
    anna.client.goto(&server.page).await.unwrap();
    anna.enter("anna", "wrong").await;
    anna.wait_for_text(
        ".signin .fault[role=alert]",
        "The id or the password is wrong",
    )
    .await;
    anna.sign_in(&server.page, "anna").await;
    let signals = "subscribers/anna/signals";
    server.until("the page reports itself", signals, |found| {
        found[0]["kind"] == "client"
    });
    let password = json!({"password": "another password"});
    server.send("PUT", "subscribers/anna/page-password", &password);
    anna.run("location.hash = '#/journal'").await;
    // One goes on where one was, or leaves.
    anna.wait_for_text("dialog.again", "The session is over")
        .await;
    anna.fill("dialog.again [name=secret]", "anna-secret").await;
    anna.click("dialog.again .primary").await;
    anna.wait_for_text("dialog.again .fault", "password is wrong")
        .await;
    anna.click("dialog.again .quiet").await;
    anna.find("input[name=id]").await;
    anna.told("The session is over").await;
    anna.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_elsewhere_is_not_overwritten() {
    let Some((driver, server)) = begin("").await else {
        return;
    };
    let anna = driver.person(&server, "anna", "en").await;
    anna.show("settings/all").await;
    anna.fill("[data-field=message] input", "Mine").await;
    let elsewhere = json!({"all": {"message": "Theirs"}});
    server.send("PUT", "subscribers/anna/settings", &elsewhere);
    anna.click(".bar .primary").await;
    anna.told("Somebody else changed this meanwhile").await;
    anna.wait_until("document.querySelector('[data-field=message] input').value === 'Theirs'")
        .await;
    // In the form of the status what was typed stays, and may be sent once one knows.
    anna.click("#own").await;
    anna.click(".more-choices").await;
    anna.fill("dialog input[name=message]", "Typed").await;
    let elsewhere = json!({"status": "break"});
    server.send("PUT", "subscribers/anna/status", &elsewhere);
    anna.click("dialog .primary").await;
    anna.wait_for_text("dialog .toasts", "“On a break” is chosen now")
        .await;
    assert_eq!(server.status("anna")["status"], "break");
    anna.click("dialog .primary").await;
    anna.wait_until("!document.querySelector('dialog')").await;
    assert_eq!(server.status("anna")["message"], "Typed");
    let kept = server.get("subscribers/anna/settings");
    assert_eq!(kept["all"]["message"], "Theirs");
    anna.fill("[data-field=message] input", "Mine").await;
    let until = "2100-01-01T00:00:00Z";
    let signal = json!({"kind": "client", "id": "desk", "until": until});
    server.send("POST", "subscribers/anna/signals", &signal);
    anna.click(".bar .primary").await;
    server.until(
        "a report of a client is no conflict",
        "subscribers/anna/settings",
        |kept| kept["all"]["message"] == "Mine",
    );
    anna.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_automatic_status_is_explained_and_dismissed() {
    let Some((driver, server)) = begin("").await else {
        return;
    };
    let meeting = json!({"kind": "calendar", "id": "e1", "title": "Budget", "status": "dnd"});
    server.send("POST", "subscribers/anna/signals", &meeting);
    let anna = driver.person(&server, "anna", "en").await;
    anna.wait_for_text(
        ".sentence",
        "Do not disturb, by the calendar: Budget; chosen: Available",
    )
    .await;
    anna.click(".layers .now button").await;
    anna.wait_for_text("#pick", "Available").await;
    assert_eq!(server.status("anna")["status"], "available");
    let order = json!({"status": "away", "message": "Ill"});
    server.send("PUT", "subscribers/anna/override", &order);
    anna.wait_for_text(".sentence", "Away, set by the administrator")
        .await;
    let admin = driver.administrator(&server, "en").await;
    admin.click("li[data-id=anna] a").await;
    admin.wait_for_text(".view-status h1", "Anna Arndt").await;
    admin.click(".layers .now button").await;
    anna.wait_for_text("#pick", "Available").await;
    admin.close().await;
    anna.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_administrator_makes_changes_and_deletes_subscribers() {
    let Some((driver, server)) = begin("").await else {
        return;
    };
    let admin = driver.administrator(&server, "en").await;
    admin.click(".heading .primary").await;
    admin.fill("dialog [data-field=id] input", "bad id").await;
    admin.click("dialog .primary").await;
    admin
        .find("dialog [data-field=id] .fault:not([hidden])")
        .await;
    admin.fill("dialog [data-field=id] input", "dora").await;
    admin
        .fill("dialog [data-field=display_name] input", "Dora Dietrich")
        .await;
    admin
        .fill("dialog [data-field=aliases] textarea", "110")
        .await;
    admin
        .fill("dialog [data-field=page_password] input", "doras password")
        .await;
    admin.click("dialog .primary").await;
    admin.wait_for_text(".people", "Dora Dietrich").await;
    assert_eq!(server.get("subscribers/dora")["aliases"][0], "110");
    assert_eq!(server.get("subscribers/dora/page-password")["is_set"], true);
    admin.click("li[data-id=dora] .tool:last-child").await;
    admin.click("dialog .primary").await;
    admin
        .wait_until("!document.querySelector('li[data-id=dora]')")
        .await;
    let left = server.get("subscribers");
    assert_eq!(left["total"], 4);
    admin.close().await;
}
