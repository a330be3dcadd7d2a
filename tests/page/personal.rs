//! What people set about themselves, and what others then do for them.

use serde_json::json;

use crate::browser::Driver;
use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_is_named_and_sets_the_status_which_tells_who_it_was() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let server = Server::start();
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
    bob.wait_for_text("li[data-id=anna]", "ordered by Bob Bauer")
        .await;
    anna.show("status").await;
    anna.wait_for_text(".sentence", "angeordnet von Bob Bauer")
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
    let Some(driver) = Driver::start().await else {
        return;
    };
    let server = Server::start();
    let anna = driver.open("en").await;
    anna.sign_in(&server.page, "anna").await;
    anna.show("settings/dnd").await;
    anna.click("[data-field=chat] option[value=suppress]").await;
    anna.click(".bar .primary").await;
    anna.wait_for_text("#toasts", "Saved").await;
    let saved = server.get("subscribers/anna/settings");
    assert_eq!(saved["dnd"], json!({"chat": "suppress"}));
    anna.show("settings/all").await;
    anna.click("[data-field=chat] option[value=reject]").await;
    anna.click(".bar .primary").await;
    anna.wait_for_text("#toasts", "Saved").await;
    anna.show("settings/away").await;
    anna.wait_for_text(
        "[data-field=chat] option:first-child",
        "As all statuses: refused",
    )
    .await;
    anna.close().await;
}
